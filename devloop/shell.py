"""`sh`: run a shell command from a task, a check or a custom builder, visibly and cancellably."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from devloop import children
from devloop.errors import ToolError

__all__ = ["Shell", "sh", "using"]

_TAIL = 20
_GRACE = 2.0


class Shell:
    """Runs the commands of one task: tells each line that they print, and can end them from another thread.

    Args:
        tell: Called with each line, from the threads that read the output.
        folder: The working directory of commands that name none.
    """

    def __init__(self, tell: Callable[[str], None], folder: Path) -> None:
        self._tell = tell
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def run(
        self, command: str, *, cwd: str | os.PathLike[str] | None, env: Mapping[str, str] | None
    ) -> tuple[int, str]:
        """Return the command's exit code and standard output.

        Raises:
            ToolError: The task was cancelled.
        """
        with self._lock:
            if self._cancelled:
                raise ToolError("the task was cancelled", command=(command,))
            process = subprocess.Popen(  # noqa: S602 - a shell command is what the user asks for
                command,
                shell=True,
                cwd=self._folder if cwd is None else self._folder / cwd,
                env=None if env is None else {**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._process = process
        children.remember(process.pid)
        output: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        errors = threading.Thread(target=self._read, args=(process.stderr, []), daemon=True)
        errors.start()
        self._read(process.stdout, output)
        code = process.wait()
        children.forget(process.pid)
        errors.join(timeout=1)
        return code, "".join(output)

    def cancel(self) -> None:
        """End the running command with its whole process group, and refuse further ones."""
        with self._lock:
            self._cancelled = True
            process = self._process
        if process is None or process.poll() is not None:
            return
        _signal(process, signal.SIGTERM)
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)

    def _read(self, stream: IO[bytes], into: list[str]) -> None:
        for raw in stream:
            line = raw.decode(errors="replace")
            into.append(line)
            self._tell(line.rstrip("\r\n"))


_shell: ContextVar[Shell | None] = ContextVar("devloop_shell", default=None)


@contextmanager
def using(shell: Shell) -> Iterator[None]:
    """Let `sh` run its commands by this shell inside the block."""
    token = _shell.set(shell)
    try:
        yield
    finally:
        _shell.reset(token)


def sh(
    command: str,
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> str:
    """Run a shell command and return what it printed to standard output.

    Args:
        command: The command line, for `/bin/sh`.
        cwd: Where to run it, relative to the devfile's folder; left out, there.
        env: Variables on top of the environment's.
        check: Whether an exit code other than 0 is an error.

    Raises:
        ToolError: The command failed, or the task was cancelled.
    """
    shell = _shell.get() or Shell(print, Path.cwd())
    code, output = shell.run(command, cwd=cwd, env=env)
    if check and code != 0:
        tail = output.splitlines()[-_TAIL:]
        raise ToolError(f"`{command}` failed with exit code {code}", command=(command,), exit_code=code, tail=tail)
    return output


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
