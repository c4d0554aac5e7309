"""Child processes that can be cancelled for real: each in a session of its own, ended as a group, always reaped.

Not `anyio.open_process`: cancelled, it kills only the direct child, and on some Pythons its `wait` returns only when
the pipes are closed, which a grandchild in the background can put off for ever. Here the end of the process is awaited
by itself (a pidfd, or a thread where the system has none), and the pipes are read without blocking.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio import CancelScope

from devloop import children
from devloop.errors import ToolError

__all__ = ["Captured", "Lines", "capture", "run", "run_lines"]

GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""

DRAIN: Final = 0.5
"""Seconds to wait for more output once the process itself has ended and something it started holds its pipes."""

_CHUNK: Final = 65536
_POLL: Final = 0.01
_PROC: Final = Path("/proc")


def _ignore(_: bytes) -> None:
    """Read, so that the writer never blocks, and forget."""


async def run(
    command: Sequence[str],
    *,
    stdout: Callable[[bytes], None] = _ignore,
    stderr: Callable[[bytes], None] | None = None,
    stdin: bytes | Path = b"",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = GRACE,
) -> int:
    """Run a command to its end and return its exit code (negative: the signal that ended it).

    Nothing of the command's process group outlives this call: what the command leaves behind in the background is ended
    after it. A call that is cancelled returns only when the whole group is gone.

    Args:
        command: The program and its arguments; no shell is involved.
        stdout: Told each piece of standard output as it comes.
        stderr: The same for standard error; None sends both to `stdout`, in the order of writing.
        stdin: What the command can read, or the file that it reads; empty means that it sees the end at once.
        cwd: The working directory; None for devloop's own.
        env: Variables on top of devloop's own environment.
        grace: Seconds between SIGTERM and SIGKILL.

    Raises:
        ToolError: The program cannot be started.
    """
    child = _Child(command, merged=stderr is None, stdin=stdin, cwd=cwd, env=env)
    try:
        async with anyio.create_task_group() as pipes:
            for descriptor, receive in zip(child.outputs, (stdout, stderr or stdout), strict=False):
                pipes.start_soon(_read, descriptor, receive, name=f"output of {command[0]}")
            if child.input is not None and isinstance(stdin, bytes):
                pipes.start_soon(child.feed, child.input, stdin, name=f"input of {command[0]}")
            code = await child.ended()
            pipes.cancel_scope.deadline = anyio.current_time() + DRAIN
        return code
    finally:
        with CancelScope(shield=True):
            await child.close(grace)


async def run_lines(
    command: Sequence[str],
    report: Callable[[str], None],
    *,
    stdin: bytes | Path = b"",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = GRACE,
) -> int:
    """Run a command as `run` does, telling `report` each line of its output and errors; return its exit code."""
    lines = Lines()

    def receive(data: bytes) -> None:
        for line in lines.feed(data):
            report(line)

    code = await run(command, stdout=receive, stdin=stdin, cwd=cwd, env=env, grace=grace)
    for line in lines.end():
        report(line)
    return code


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What a command printed, and how it ended."""

    exit_code: int
    stdout: str
    stderr: str


async def capture(
    command: Sequence[str],
    *,
    stdin: bytes | Path = b"",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = GRACE,
) -> Captured:
    """Run a command as `run` does and return all that it printed, as text."""
    out, err = bytearray(), bytearray()
    code = await run(command, stdout=out.extend, stderr=err.extend, stdin=stdin, cwd=cwd, env=env, grace=grace)
    return Captured(exit_code=code, stdout=out.decode(errors="replace"), stderr=err.decode(errors="replace"))


class Lines:
    r"""Cuts a stream of bytes into lines of text, split at `\n` only.

    Of a line that was redrawn by carriage returns the last state is kept, as a terminal would show it. Bytes that are
    not UTF-8 become U+FFFD. A line longer than `limit` bytes comes in pieces, so that memory stays bounded.

    Args:
        limit: The longest piece, in bytes.
    """

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int = 1 << 20) -> None:
        self._rest = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes; return the lines that they complete."""
        self._rest += data
        if b"\n" not in data and len(self._rest) <= self._limit:
            return []
        *complete, rest = self._rest.split(b"\n")
        lines = [self._text(piece) for line in complete for piece in self._pieces(line)]
        while len(rest) > self._limit:
            lines.append(self._text(rest[: self._limit]))
            rest = rest[self._limit :]
        self._rest = rest
        return lines

    def end(self) -> list[str]:
        """Return the last line when the stream did not end in a newline."""
        rest, self._rest = self._rest, bytearray()
        return [self._text(rest)] if rest else []

    def _pieces(self, line: bytearray) -> list[bytearray]:
        return [line[start : start + self._limit] for start in range(0, len(line), self._limit)] or [line]

    @staticmethod
    def _text(line: bytearray) -> str:
        shown = line.rstrip(b"\r")
        return shown[shown.rfind(b"\r") + 1 :].decode(errors="replace")


class _Child:
    """One process, leader of its own session and group, with the parent's ends of its pipes."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        merged: bool,
        stdin: bytes | Path,
        cwd: str | None,
        env: Mapping[str, str] | None,
    ) -> None:
        file = stdin.open("rb") if isinstance(stdin, Path) else None
        fed = subprocess.PIPE if stdin else subprocess.DEVNULL
        try:
            # Starting takes 1 to 3 ms and no asyncio child watcher is involved, so that nobody else reaps the process.
            self._process = subprocess.Popen(  # noqa: S603 - a list of arguments, never a shell
                list(command),
                stdin=fed if file is None else file,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                bufsize=0,
                cwd=cwd,
                env={**os.environ, **env} if env else None,
                start_new_session=True,
            )
        except OSError as error:
            raise _unstartable(command, cwd, error) from error
        finally:
            if file is not None:
                file.close()  # the process has its own
        children.remember(self._process.pid)
        self._pipes = [pipe for pipe in (self._process.stdout, self._process.stderr) if pipe is not None]
        self.outputs = tuple(pipe.fileno() for pipe in self._pipes)
        self.input = self._process.stdin.fileno() if self._process.stdin else None
        for descriptor in (*self.outputs, *(() if self.input is None else (self.input,))):
            os.set_blocking(descriptor, False)

    async def feed(self, descriptor: int, data: bytes) -> None:
        """Write to the process's standard input, then close it."""
        rest = memoryview(data)
        try:
            while rest:
                await anyio.wait_writable(descriptor)
                with suppress(BlockingIOError):
                    rest = rest[os.write(descriptor, rest) :]
        except BrokenPipeError:
            pass  # it does not want to read the rest, which is its own affair
        finally:
            self._close_input()

    async def ended(self) -> int:
        """Return the exit code when the process itself has ended, whoever still holds its pipes."""
        if (code := self._process.poll()) is not None:
            return code
        try:
            descriptor = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):  # macOS, or a kernel or sandbox without pidfds
            return await anyio.to_thread.run_sync(
                self._process.wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        return self._process.wait()

    async def close(self, grace: float) -> None:
        """End what is left of the group, reap the process, close the pipes. To be called under a shield."""
        try:
            if self._group_is_alive():
                async with anyio.create_task_group() as pipes:
                    # Go on reading: a process that says good-bye must not block on a full pipe or die of a closed one.
                    for descriptor in self.outputs:
                        pipes.start_soon(_read, descriptor, _ignore, name="last output")
                    await self._end_group(grace)
                    pipes.cancel_scope.cancel("the group is gone")
        finally:
            children.forget(self._process.pid)
            self._close_input()
            for pipe in self._pipes:
                anyio.notify_closing(pipe.fileno())
                pipe.close()

    async def _end_group(self, grace: float) -> None:
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, GRACE)):
            self._signal(number)
            with anyio.move_on_after(patience):
                await self.ended()
                await self._group_is_gone()
                return

    async def _group_is_gone(self) -> None:
        pause = _POLL
        while self._group_is_alive():
            await anyio.sleep(pause)
            pause = min(2 * pause, 10 * _POLL)

    def _group_is_alive(self) -> bool:
        self._process.poll()  # reaps the leader: a zombie would still count as alive
        return self._signal(0) and _has_living(self._process.pid)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS says so of a group of zombies; elsewhere: it changed its user
            return self._process.returncode is None
        return True

    def _close_input(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            anyio.notify_closing(self._process.stdin.fileno())
            self._process.stdin.close()


async def _read(descriptor: int, receive: Callable[[bytes], None]) -> None:
    """Hand on what can be read until the end of the stream."""
    while True:
        await anyio.wait_readable(descriptor)
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            continue
        if not data:
            return
        receive(data)


def _has_living(group: int) -> bool:
    """Return whether a process group has a member that is no zombie; true where the system does not tell.

    In a container whose PID 1 reaps late or never, dead orphans keep the group in being.
    """
    if not _PROC.is_dir():
        return True
    for stat in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, member_of, *_ = stat.read_bytes().rpartition(b")")[2].split()
            if int(member_of) == group and state not in b"ZX":
                return True
    return False


def _unstartable(command: Sequence[str], cwd: str | None, error: OSError) -> ToolError:
    if cwd is not None and error.filename == cwd:
        return ToolError(f"`{command[0]}` cannot be run in `{cwd}`: {_reason(error)}", command=command)
    hint = f"is `{command[0]}` installed and on the PATH?" if isinstance(error, FileNotFoundError) else None
    return ToolError(f"`{command[0]}` cannot be started: {_reason(error)}", command=command, exit_code=127, hint=hint)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
