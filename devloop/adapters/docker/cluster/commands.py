"""Commands in containers: the Engine API's exec, with its streams in one connection."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpcore

from devloop.adapters.docker.engine import Engine
from devloop.adapters.docker.streams import EngineStream
from devloop.errors import ToolError, UnreachableError
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput, ExecStream

__all__ = ["open_command", "run_command"]

_READ: Final = 64 * 1024
_KILLED: Final = 137


class _Terminal:
    """A command with a terminal: its output is one plain stream.

    Args:
        engine: The engine.
        path: The command in the API.
        connection: The streams.
        name: What runs there, for messages.
    """

    def __init__(self, engine: Engine, path: str, connection: httpcore.AsyncNetworkStream, name: str) -> None:
        self._engine = engine
        self._path = path
        self._connection = connection
        self._name = name

    async def send(self, data: bytes) -> None:
        try:
            await self._connection.write(data)
        except (httpcore.NetworkError, httpcore.TimeoutException, anyio.ClosedResourceError) as error:
            raise ContainerLostError(f"the connection to {self._name} is lost") from error

    async def receive(self) -> ExecOutput | ExecExit:
        try:
            data = await self._connection.read(_READ)
        except (httpcore.NetworkError, httpcore.TimeoutException, anyio.ClosedResourceError) as error:
            raise ContainerLostError(f"the connection to {self._name} is lost") from error
        if data:
            return ExecOutput(data=data)
        return ExecExit(code=await _exit_code(self._engine, self._path, self._name))

    async def resize(self, columns: int, rows: int) -> None:
        await self._engine.post(f"{self._path}/resize", w=str(columns), h=str(rows))


@asynccontextmanager
async def open_command(
    engine: Engine, container: str, command: Sequence[str], name: str, *, stdin: bool = False, tty: bool = False
) -> AsyncIterator[ExecStream]:
    """Run a command in a container.

    Raises:
        ContainerLostError: It does not run.
        UnreachableError: The engine did not answer.
    """
    process: dict[str, Any] = {
        "AttachStdin": stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": tty,
        "Cmd": list(command),
    }
    try:
        created = await engine.post(f"/containers/{container}/exec", process)
    except UnreachableError:
        raise
    except ToolError as error:
        raise ContainerLostError(f"{name} takes no commands: {error.message}") from error
    path = f"/exec/{created['Id']}"
    async with engine.streams(f"{path}/start", {"Detach": False, "Tty": tty}) as connection:
        if tty:
            yield _Terminal(engine, path, connection, name)
        else:
            yield EngineStream(connection, lambda: _exit_code(engine, path, name), name)


async def run_command(engine: Engine, container: str, command: Sequence[str]) -> tuple[int, str]:
    """Run a command in a container to its end, and return its exit code and output.

    Raises:
        ToolError: It could not be run.
    """
    output = bytearray()
    async with open_command(engine, container, command, "the container") as stream:
        while True:
            match await stream.receive():
                case ExecOutput(data=data):
                    output += data
                case ExecExit(code=code):
                    return code, output.decode(errors="replace").strip()


async def _exit_code(engine: Engine, path: str, name: str) -> int:
    found = await engine.get(f"{path}/json")
    if found is None:
        raise ContainerLostError(f"{name} is gone")
    code = found["ExitCode"]
    if code is None or (code == _KILLED and await _is_over(engine, found)):
        raise ContainerLostError(f"{name} ended")
    return int(code)


async def _is_over(engine: Engine, found: Any) -> bool:
    container = await engine.get(f"/containers/{found['ContainerID']}/json")
    return container is None or not container["State"]["Running"]
