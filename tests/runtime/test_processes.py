"""Child processes: their output, their end, and that nothing of them stays."""

import os
import signal
import sys
import time
from pathlib import Path

import anyio
import psutil
import pytest

from devloop.errors import ToolError
from devloop.runtime.processes import Lines, capture, run, run_lines

pytestmark = pytest.mark.anyio


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


async def pid_in(file: Path) -> int:
    while not file.is_file() or not file.read_text().strip():  # noqa: ASYNC110, ASYNC240 - another process writes it
        await anyio.sleep(0.005)
    return int(file.read_text())  # noqa: ASYNC240


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))  # noqa: PTH208 - the numbers


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_the_exit_code_and_both_streams_come_back() -> None:
    done = await capture(shell("echo out; echo err >&2; exit 3"))
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")


async def test_a_process_that_a_signal_ended_says_which() -> None:
    assert await run(shell("kill -KILL $$")) == -signal.SIGKILL


async def test_merged_lines_come_in_the_order_of_writing() -> None:
    lines: list[str] = []
    assert await run_lines(shell("echo 1; echo 2 >&2; echo 3; printf end"), lines.append) == 0
    assert lines == ["1", "2", "3", "end"]


async def test_lines_are_told_while_the_process_runs(tmp_path: Path) -> None:
    release = tmp_path / "release"
    lines: list[str] = []

    def receive(line: str) -> None:
        lines.append(line)
        release.touch()

    assert await run_lines(shell(f"echo first; until [ -e {release} ]; do sleep 0.01; done; echo last"), receive) == 0
    assert lines == ["first", "last"]


async def test_a_large_output_arrives_whole() -> None:
    done = await capture((sys.executable, "-c", "import sys; sys.stdout.write('x' * 20_000_000)"))
    assert len(done.stdout) == 20_000_000


async def test_a_command_may_read_a_file(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"y" * 5_000_000)
    assert len((await capture(("cat",), stdin=tmp_path / "input")).stdout) == 5_000_000
    with pytest.raises(ToolError):
        await capture((str(tmp_path / "nothing"),), stdin=tmp_path / "input")


async def test_a_large_input_is_written_while_the_output_is_read() -> None:
    done = await capture(("cat",), stdin=b"y" * 5_000_000)
    assert len(done.stdout) == 5_000_000


async def test_input_that_nobody_reads_is_no_error() -> None:
    assert (await capture(("true",), stdin=b"y" * 5_000_000)).exit_code == 0


async def test_without_input_the_process_sees_its_end_at_once() -> None:
    assert (await capture(("cat",))).stdout == ""


async def test_variables_come_on_top_of_our_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVLOOP_TEST_A", "a")
    done = await capture(shell("echo $DEVLOOP_TEST_A$DEVLOOP_TEST_B; pwd"), env={"DEVLOOP_TEST_B": "b"}, cwd="/")
    assert done.stdout == "ab\n/\n"


async def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_call(tmp_path: Path) -> None:
    start = time.perf_counter()
    done = await capture(shell(f"sleep 60 & echo $! >{tmp_path}/pid; echo done"))
    assert done.stdout == "done\n"
    assert time.perf_counter() - start < 30
    assert not is_running(await pid_in(tmp_path / "pid"))


async def test_a_grandchild_that_lets_the_pipe_go_is_ended_too(tmp_path: Path) -> None:
    await capture(shell(f"sleep 60 >/dev/null 2>&1 & echo $! >{tmp_path}/pid"))
    assert not is_running(await pid_in(tmp_path / "pid"))


async def test_cancelling_ends_the_whole_group(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, shell(f"sleep 60 & echo $! >{tmp_path}/child; echo $$ >{tmp_path}/leader; wait"))
        pids = [await pid_in(tmp_path / "child"), await pid_in(tmp_path / "leader")]
        start = time.perf_counter()
        tasks.cancel_scope.cancel()
    assert not any(is_running(pid) for pid in pids)
    assert time.perf_counter() - start < 30


async def test_cancelling_kills_what_does_not_heed_sigterm(tmp_path: Path) -> None:
    script = f"trap '' TERM; (trap '' TERM; sleep 60) & echo $! >{tmp_path}/child; echo $$ >{tmp_path}/leader; wait"

    async def task() -> None:
        await run(shell(script), grace=0.2)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task)
        pids = [await pid_in(tmp_path / "child"), await pid_in(tmp_path / "leader")]
        tasks.cancel_scope.cancel()
    assert not any(is_running(pid) for pid in pids)


async def test_a_process_may_write_much_while_it_says_good_bye(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, time\n"
        "def bye(*_):\n"
        "    sys.stdout.write('x' * 1_000_000); sys.stdout.flush()\n"
        f"    open({str(tmp_path / 'bye')!r}, 'w').close(); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, (sys.executable, "-c", program))
        await pid_in(tmp_path / "pid")
        tasks.cancel_scope.cancel()
    assert (tmp_path / "bye").exists()


async def test_no_descriptor_is_left_open() -> None:
    await capture(shell("echo warm up"))
    before = open_descriptors()
    await capture(shell("cat; echo err >&2"), stdin=b"in")
    with anyio.move_on_after(0.05):
        await run(("sleep", "60"))
    assert open_descriptors() == before


async def test_a_program_that_is_not_there_is_a_tool_error_with_a_hint() -> None:
    with pytest.raises(ToolError, match="`no-such-program` cannot be started: no such file") as caught:
        await run(("no-such-program",))
    assert caught.value.hint == "is `no-such-program` installed and on the PATH?"


async def test_a_directory_that_is_not_there_is_named() -> None:
    with pytest.raises(ToolError, match="cannot be run in `/no/such/directory`"):
        await run(("true",), cwd="/no/such/directory")


async def test_where_there_are_no_pidfds_a_thread_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert await run(shell("exit 4")) == 4
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, shell(f"echo $$ >{tmp_path}/leader; sleep 60"))
        leader = await pid_in(tmp_path / "leader")
        tasks.cancel_scope.cancel()
    assert not is_running(leader)


def test_lines_are_joined_over_pieces() -> None:
    lines = Lines()
    assert [lines.feed(piece) for piece in (b"a", b"b\nc", b"\n\nd")] == [[], ["ab"], ["c", ""]]
    assert (lines.end(), lines.end()) == (["d"], [])


def test_a_character_cut_in_two_is_put_together() -> None:
    lines = Lines()
    assert lines.feed("ü".encode()[:1]) + lines.feed("ü".encode()[1:] + b"\n") == ["ü"]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert Lines().feed(b"\xff\x00ok\n") == ["\ufffd\x00ok"]


def test_a_redrawn_line_shows_its_last_state() -> None:
    assert Lines().feed(b" 10%\r 50%\r100%\r\nplain\r\n") == ["100%", "plain"]


def test_only_newlines_end_a_line() -> None:
    assert Lines().feed("a\u2028b\x0bc\x85d\n".encode()) == ["a\u2028b\x0bc\x85d"]


def test_an_endless_line_comes_in_pieces() -> None:
    lines = Lines(limit=4)
    assert lines.feed(b"abcdefghij") == ["abcd", "efgh"]
    assert lines.feed(b"\n") == ["ij"]
