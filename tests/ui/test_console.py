import fcntl
import io
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from inline_snapshot import snapshot

from devloop.events import (
    Event,
    FilesChanged,
    PodOutput,
    Problem,
    ProjectLoaded,
    RunFailed,
    RunOutput,
    RunStarted,
    RunSucceeded,
    Settled,
    Stopped,
)
from devloop.ui.console import ConsoleFront
from tests.outside import ROOT
from tests.ui.story import API, API_IMAGE, START, STORE, story, told
from tests.ui.terminal import Terminal

pytestmark = pytest.mark.anyio

LOADED = ProjectLoaded(at=START, project="shop", target="t", nodes=(API_IMAGE, API, STORE), seconds=0.1)
SHOWN, HIDDEN = "\x1b[?25h", "\x1b[?25l"


class Utf8(io.StringIO):
    """A stream in memory that says it takes UTF-8."""

    encoding = "utf-8"


def console(columns: int = 80, rows: int = 24) -> ConsoleFront:
    return ConsoleFront(Utf8(), colour=False, size=lambda: (columns, rows), clock=lambda: START + 1)


def output(line: str, number: int = 0) -> PodOutput:
    return PodOutput(seq=number, node=API, pod="api-1", container="api", line=line, time="t")


def screen(*events: Event, columns: int = 80, rows: int = 24) -> list[str]:
    """Return what stands on the screen when each event had its frame."""
    front, terminal = console(columns, rows), Terminal(columns)
    for event in events:
        front.show(event)
        terminal.feed(front.frame())
    terminal.feed(front.farewell())
    return terminal.lines()


async def test_a_whole_session_on_the_screen() -> None:
    assert "\n".join(screen(*story())) == snapshot("""\
store    │ error: local port 6379 is taken by `redis-server` (pid 812)
store    │   devfile.py:18  ports={6379: 6379}
store    │ hint: stop it, or choose another local port for `store`
store    │ ✓ deployed in 1.1s: 2 objects, 1 pod ready
store    │ Ready to accept connections
base     │ Collecting fastapi
base     │   Downloading fastapi-0.121.0-py3-none-any.whl (109 kB)
base     │ Successfully installed fastapi-0.121.0 uvicorn-0.38.0
base     │ ✓ built in 3.0s: base:dev-3f2a9c81d0e4
api      │ ✓ built in 0.9s: api:dev-91aa02bd7f10
worker   │ ✗ build failed after 1.1s
worker   │ error: step `[3/4] RUN pip install -r requirements.txt` failed with exit code 1
worker   │   worker/Dockerfile:7  RUN pip install -r requirements.txt
worker   │   devfile.py:9  worker_image(base_image)
worker   │   | ERROR: Could not find a version that satisfies the requirement fastapi==9.9 (from versions: 0.1.0, 0.1.2)
worker   │   | ERROR: No matching distribution found for fastapi==9.9
worker   │ hint: mend the line in `worker/requirements.txt`; the build starts again by itself
api      │ INFO: Started server process
api      │ INFO: Startup complete
api      │ ✓ deployed in 1.4s: 3 objects, 1 pod ready
smoke    │ ✓ passed in 0.2s
devloop  │ worker/requirements.txt changed
devloop  │ worker/main.py changed
worker   │ ✓ built in 1.4s: worker:dev-0c77d1e6a2b3
worker   │ ✓ deployed in 0.7s: 1 object, 1 pod ready
worker   │ waiting for jobs
devloop  │ api/src/main.py changed
api-code │ ✓ synced in 12ms: 1 file to 1 container
devloop  │ error: service `api` asks for `api_imgae`, which nothing defines
devloop  │   devfile.py:25  def api(api_imgae: Image, postgres: Service)
devloop  │ hint: did you mean `api_image` (image, devfile.py:4)?
devloop  │ note: no sync covers `api/Dockerfile`: image `api` is rebuilt
devloop  │ hint: this is slower
── shop → docker-desktop/default ─────────────────────────────────── stopped ──
✓ base      image    built      base:dev-3f2a9c81d0e4                      3.0s
✓ api       image    built      api:dev-91aa02bd7f10                       0.9s
✓ worker    image    built      worker:dev-0c77d1e6a2b3                    1.4s
! store     service  ready      port 6379 is not open                      1.1s
✓ api       service  ready      http://localhost:8000                      1.4s
! worker    service  not ready  0 of 1 ready, CrashLoopBackOff, 3 rest…
✓ api-code  sync     synced     1 file to 1 container                      12ms
✓ smoke     check    passed                                                0.2s
interrupted; what was deployed stays, `devloop down` removes it
""")


async def test_output_flows_by_above_the_nodes() -> None:
    assert screen(LOADED, output("hello"), output("world"))[:3] == snapshot(
        [
            "api     │ hello",
            "api     │ world",
            "── shop → t ───────────────────────────────────────────────────── working 1s ──",
        ]
    )


async def test_a_failure_is_told_once() -> None:
    failed = RunFailed(node=API_IMAGE, run=1, action="build", seconds=1.0, problems=(Problem(message="no `x`"),))
    front = console()
    front.show(LOADED)
    front.show(failed)
    assert front.frame().count("error: no `x`") == 1
    front.show(output("hello"))
    assert "error: no `x`" not in front.frame()


async def test_what_changed_nothing_is_not_told() -> None:
    done = RunSucceeded(node=API, run=1, action="deploy", seconds=1.0, summary="nothing to apply", changed=False)
    assert not [line for line in screen(LOADED, done) if "│" in line]


async def test_without_news_nothing_is_written() -> None:
    front = console()
    front.show(LOADED)
    front.show(Settled(ok=True, failed=(), seconds=1.0))
    assert front.frame()
    assert front.frame() == ""


async def test_the_time_of_a_run_goes_on() -> None:
    now = [START]
    front = ConsoleFront(Utf8(), colour=False, size=lambda: (80, 24), clock=lambda: now[0])
    front.show(LOADED)
    front.show(RunStarted(at=START, node=API_IMAGE, run=1, action="build"))
    front.frame()
    now[0] += 3
    assert "working 3s" in front.frame()


async def test_programs_cannot_break_the_screen() -> None:
    lines = screen(LOADED, output("a\x1b[2Jb\x1b[10Ac\rd"), output("\x1b]0;title\x07e\x08\x1b[?1049h"))
    assert lines[:2] == ["api     │ d", "api     │ e"]


async def test_of_a_progress_bar_the_last_state_is_shown() -> None:
    assert screen(LOADED, RunOutput(node=API_IMAGE, run=1, line="10%\r50%\r100%\r"))[0] == "api     │ 100%"


async def test_an_endless_line_is_cut() -> None:
    line = screen(LOADED, output("x" * 1_000_000))[0]
    assert line.endswith("… (1,000,000 characters)")
    assert len(line) < 5_000


async def test_a_long_line_can_be_copied_whole() -> None:
    assert screen(LOADED, output("x" * 200))[0] == f"api     │ {'x' * 200}"


async def test_under_a_flood_the_newest_lines_are_shown_and_the_others_counted() -> None:
    front, terminal = console(), Terminal(80)
    front.show(LOADED)
    for number in range(5_000):
        front.show(output(f"line {number}"))
    terminal.feed(front.frame())
    assert terminal.lines()[0] == (
        "devloop │ 4,000 lines of output came too fast to be shown (api 4,000); `--output plain` shows all"
    )
    assert terminal.lines()[1] == "api     │ line 4000"
    assert "api     │ line 4999" in terminal.lines()


async def test_a_flood_hides_nothing_but_output() -> None:
    front, terminal = console(), Terminal(80)
    front.show(LOADED)
    front.show(FilesChanged(paths=("api/main.py",), count=1))
    for number in range(5_000):
        front.show(output(f"line {number}"))
    terminal.feed(front.frame())
    assert "devloop │ api/main.py changed" in terminal.lines()


async def test_a_resize_draws_anew() -> None:
    size = [80]
    front, terminal = (
        ConsoleFront(Utf8(), colour=False, size=lambda: (size[0], 24), clock=lambda: START + 1),
        Terminal(80),
    )
    front.show(LOADED)
    front.show(output("hello"))
    terminal.feed(front.frame())
    size[0] = 40
    terminal.resize(40)
    terminal.feed(front.frame())
    assert terminal.lines() == snapshot(
        [
            "api     │ hello",
            "── shop → t ───────────── working 1s ──",
            "· api    waiting",
            "· api    waiting",
            "· store  waiting",
        ]
    )


async def test_colours_are_the_terminals_own_sixteen() -> None:
    front = ConsoleFront(Utf8(), colour=True, size=lambda: (80, 24), clock=lambda: START)
    front.show(LOADED)
    front.show(output("\x1b[38;5;200mown\x1b[0m"))
    written = front.frame()
    assert "\x1b[38;5;200mown" in written
    assert "38;2" not in written


async def test_it_is_drawn_at_most_ten_times_a_second() -> None:
    frames: list[str] = []

    class Counting(Utf8):
        def write(self, text: str) -> int:
            frames.append(text)
            return super().write(text)

    async def busy() -> AsyncIterator[Event]:
        yield LOADED
        begin = time.monotonic()
        number = 0
        while time.monotonic() - begin < 0.55:
            number += 1
            yield output("hello", number)
            await anyio.sleep(0.001)

    await ConsoleFront(Counting(), size=lambda: (80, 24)).run(busy())
    assert 2 <= len(frames) <= 8


async def test_an_error_in_the_session_leaves_the_terminal_as_it_was() -> None:
    async def failing() -> AsyncIterator[Event]:
        yield LOADED
        await anyio.sleep(0.05)
        raise RuntimeError

    stream = Utf8()
    with pytest.raises(ExceptionGroup):
        await ConsoleFront(stream, size=lambda: (80, 24)).run(failing())
    assert_restored(stream.getvalue())


async def test_a_cancelled_session_leaves_the_terminal_as_it_was() -> None:
    async def endless() -> AsyncIterator[Event]:
        yield LOADED
        await anyio.sleep_forever()

    stream = Utf8()
    with anyio.move_on_after(0.05):
        await ConsoleFront(stream, size=lambda: (80, 24)).run(endless())
    assert_restored(stream.getvalue())


async def test_a_program_that_ends_at_once_can_leave_the_terminal_as_it_was() -> None:
    stream = Utf8()
    front = ConsoleFront(stream, size=lambda: (80, 24))

    async def endless() -> AsyncIterator[Event]:
        yield LOADED
        await anyio.sleep(0.05)
        front.close()
        assert_restored(stream.getvalue())
        written = stream.getvalue()
        front.close()
        assert stream.getvalue() == written

    await front.run(endless())


async def test_the_last_events_are_shown_before_the_end() -> None:
    stream = Utf8()
    events: list[Event] = [LOADED, output("last words"), Stopped(reason="interrupted", exit_code=130)]
    await ConsoleFront(stream, colour=False, size=lambda: (80, 24)).run(told(events))
    assert "last words" in stream.getvalue()
    assert stream.getvalue().endswith("interrupted\n")


async def test_a_terminal_that_takes_nothing_does_not_stop_the_loop() -> None:
    released = threading.Event()

    class Stuck(Utf8):
        def write(self, text: str) -> int:
            released.wait()
            return len(text)

    async def many() -> AsyncIterator[Event]:
        yield LOADED
        for number in range(20_000):
            yield output("hello", number)

    with anyio.fail_after(60):
        await ConsoleFront(Stuck(), size=lambda: (80, 24)).run(many())
    released.set()


def assert_restored(written: str) -> None:
    assert HIDDEN in written
    assert written.rindex(SHOWN) > written.rindex(HIDDEN)
    assert written.rindex("\x1b[?7h") > written.rindex("\x1b[?7l")


# --- on a real terminal device -------------------------------------------------------------------------------

_CHILD = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv = ["story", "live", sys.argv[1]]
runpy.run_module("tests.ui.story", run_name="__main__")
"""


class Session:
    """A story told on a pseudo-terminal."""

    def __init__(self, child: "subprocess.Popen[bytes]", control: int) -> None:
        self.child = child
        self._control = control
        self.written = ""

    def read_until(self, text: str) -> None:
        while text not in self.written:
            self._read()

    def end(self) -> int:
        while self._read():
            pass
        return self.child.wait()

    def echoes(self) -> bool:
        local: Any = termios.tcgetattr(self._control)[3]
        return bool(local & termios.ECHO)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._control], [], [], 0.05)
        if readable:
            try:
                self.written += os.read(self._control, 65_536).decode()
            except OSError:  # the other side is closed
                return False
            return True
        return self.child.poll() is None


@contextmanager
def session(speed: float) -> Iterator[Session]:
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, b"\x1e\x00\x64\x00\x00\x00\x00\x00")  # 30 rows, 100 columns
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(speed)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"},
        start_new_session=True,
    )
    try:
        yield Session(child, control)
    finally:
        child.kill()
        child.wait()
        os.close(terminal)
        os.close(control)


def test_a_real_terminal_is_as_it_was_after_a_session() -> None:
    with session(speed=50) as running:
        running.read_until("shop ")
        assert not running.echoes()
        assert running.end() == 0
        assert running.echoes()
        assert_restored(running.written)


def test_a_real_terminal_is_as_it_was_after_an_interrupt() -> None:
    with session(speed=0.1) as running:
        running.read_until("shop ")
        running.child.send_signal(signal.SIGINT)
        running.end()
        assert running.echoes()
        assert_restored(running.written)


def test_a_session_can_be_suspended_and_resumed() -> None:
    with session(speed=0.1) as running:
        running.read_until("shop ")
        running.child.send_signal(signal.SIGTSTP)
        _, status = os.waitpid(running.child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert running.echoes()
        running.read_until(SHOWN)
        before = running.written.count("shop ")
        running.child.send_signal(signal.SIGCONT)
        while running.written.count("shop ") == before:
            running.read_until(HIDDEN)
            running._read()
        assert not running.echoes()
