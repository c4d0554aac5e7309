"""The streams of a process that the engine runs, as they come over one connection: headed blocks of output."""

import struct
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import httpcore

from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput

__all__ = ["EngineStream"]

_HEADER: Final = struct.Struct(">BxxxI")
_STDERR: Final = 2
_READ: Final = 64 * 1024


class EngineStream:
    """A process in a container, with its streams.

    Args:
        connection: What the engine turned into the streams; the process has no terminal.
        ended: Returns the exit code after the output's end.
        name: What runs there, for messages.
    """

    def __init__(self, connection: httpcore.AsyncNetworkStream, ended: Callable[[], Awaitable[int]], name: str) -> None:
        self._connection = connection
        self._ended = ended
        self._name = name
        self._pending = b""

    async def send(self, data: bytes) -> None:
        """Write to the process's standard input.

        Raises:
            ContainerLostError: The connection is gone.
        """
        try:
            await self._connection.write(data)
        except (httpcore.NetworkError, httpcore.TimeoutException, anyio.ClosedResourceError) as error:
            raise self._lost() from error

    async def receive(self) -> ExecOutput | ExecExit:
        """Return the next output, and the exit code as the last.

        Raises:
            ContainerLostError: The connection ended without an exit code.
        """
        while True:
            if len(self._pending) >= _HEADER.size:
                channel, size = _HEADER.unpack_from(self._pending)
                end = _HEADER.size + size
                if len(self._pending) >= end:
                    data, self._pending = self._pending[_HEADER.size : end], self._pending[end:]
                    return ExecOutput(data=data, stderr=channel == _STDERR)
            try:
                more = await self._connection.read(_READ)
            except (httpcore.NetworkError, httpcore.TimeoutException, anyio.ClosedResourceError) as error:
                raise self._lost() from error
            if not more:
                return ExecExit(code=await self._ended())
            self._pending += more

    async def resize(self, columns: int, rows: int) -> None:
        """Do nothing: there is no terminal."""

    def _lost(self) -> ContainerLostError:
        return ContainerLostError(f"the connection to {self._name} is lost")
