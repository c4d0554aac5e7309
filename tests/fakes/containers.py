"""What runs in the containers of `FakeCluster`: commands that a test writes, and ports that say what they are told."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream
from anyio.streams.stapled import StapledObjectStream

from devloop.model import ContainerTarget
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput

__all__ = ["Echo", "FakeExec", "Program", "small_shell"]


class FakeExec:
    """A command in a fake container: the test's `Program` talks to one end, the caller of `exec` to the other."""

    def __init__(self, command: Sequence[str], target: ContainerTarget) -> None:
        self.command = tuple(command)
        self.target = target
        self.sizes: list[tuple[int, int]] = []
        self.ended = anyio.Event()
        self._input: deque[bytes] = deque()
        self._output: deque[ExecOutput | ExecExit] = deque()
        self._lost = False
        self._changed = anyio.Event()

    # --- the caller's end ---

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if self._lost:
            raise ContainerLostError("the connection is lost")
        self._input.append(data)
        self._tell()

    async def receive(self) -> ExecOutput | ExecExit:
        while not self._output:
            if self._lost:
                raise ContainerLostError("the connection is lost")
            await self._changed.wait()
        return self._output.popleft()

    async def resize(self, columns: int, rows: int) -> None:
        await anyio.lowlevel.checkpoint()
        self.sizes.append((columns, rows))

    # --- the program's end ---

    async def read(self) -> bytes:
        """Return what was sent to standard input next; nothing more comes after the caller has gone."""
        while not self._input:
            await self._changed.wait()
        return self._input.popleft()

    def write(self, data: bytes, *, stderr: bool = False) -> None:
        """Print."""
        self._output.append(ExecOutput(data=data, stderr=stderr))
        self._tell()

    def exit(self, code: int) -> None:
        self._output.append(ExecExit(code=code))
        self._tell()

    def lose(self) -> None:
        """Cut the connection."""
        self._lost = True
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


Program = Callable[[FakeExec], Awaitable[int]]
"""What a command does: returns its exit code."""


async def small_shell(stream: FakeExec) -> int:
    """Understand `cat`, `echo …`, `sleep`, and `sh -c` with `echo`, `exit` and `>&2` between semicolons."""
    await anyio.lowlevel.checkpoint()
    match stream.command:
        case ["cat"]:
            while data := await stream.read():
                stream.write(data)
            return 0
        case ["sleep", _]:
            await anyio.sleep_forever()
            return 0
        case ["echo", *words]:
            stream.write((" ".join(words) + "\n").encode())
            return 0
        case ["sh", "-c", script]:
            return _run(script, stream)
        case _:
            stream.write(f"{stream.command[0]}: not found\n".encode(), stderr=True)
            return 127


def _run(script: str, stream: FakeExec) -> int:
    for part in script.split(";"):
        match part.split():
            case ["exit", code]:
                return int(code)
            case ["echo", *words, ">&2"]:
                stream.write((" ".join(words) + "\n").encode(), stderr=True)
            case ["echo", *words]:
                stream.write((" ".join(words) + "\n").encode())
            case _:
                stream.write(f"sh: {part}: not found\n".encode(), stderr=True)
                return 127
    return 0


class Echo(ByteStream):
    def __init__(self) -> None:
        send, receive = anyio.create_memory_object_stream[bytes](100)
        self._pipe = StapledObjectStream(send, receive)
        self._rest = b""

    async def send(self, item: bytes) -> None:
        await self._pipe.send(item)

    async def send_eof(self) -> None:
        await self._pipe.send_eof()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = self._rest or await self._pipe.receive()
        self._rest = data[max_bytes:]
        return data[:max_bytes]

    async def aclose(self) -> None:
        await self._pipe.aclose()
