r"""A container's log as raw lines, split at `\n` only, from the engine's own record of it."""

import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import anyio
from anyio.abc import ObjectReceiveStream

from devloop.adapters.docker.engine import Engine
from devloop.errors import ToolError, UnreachableError
from devloop.runtime.ports import ContainerLostError

__all__ = ["open_log"]

_HEADER: Final = struct.Struct(">BxxxI")


class _Lines(ObjectReceiveStream[bytes]):
    """The lines of one answer, read as they are asked for.

    Args:
        pieces: The answer.
        framed: Whether output and errors come in headed blocks; without, the container has a terminal.
    """

    def __init__(self, pieces: AsyncIterator[bytes], *, framed: bool) -> None:
        self._pieces = pieces
        self._framed = framed
        self._raw = b""
        self._rests: dict[int, bytes] = {}
        self._lines: deque[bytes] = deque()
        self._ended = False

    async def receive(self) -> bytes:
        """Return the next line, without its end.

        Raises:
            UnreachableError: The connection was lost: there may be more.
        """
        while not self._lines:
            if self._ended:
                raise anyio.EndOfStream
            await self._read()
        return self._lines.popleft()

    async def aclose(self) -> None:
        """Read nothing more; whoever opened the log closes the connection."""
        self._ended = True
        self._lines.clear()

    async def _read(self) -> None:
        try:
            piece = await anext(self._pieces, b"")
        except UnreachableError:
            self._ended = True
            raise
        if not piece:
            self._ended = True
            self._lines.extend(rest for rest in self._rests.values() if rest)
            return
        if not self._framed:
            self._take(0, piece)
            return
        self._raw += piece
        at = 0
        while len(self._raw) - at >= _HEADER.size:
            channel, size = _HEADER.unpack_from(self._raw, at)
            end = at + _HEADER.size + size
            if end > len(self._raw):
                break
            data = self._raw[at + _HEADER.size : end]
            goes_on = bool(self._rests.get(channel))  # what was written in pieces has a time in front of each
            self._take(channel, data.partition(b" ")[2] if goes_on else data)
            at = end
        self._raw = self._raw[at:]

    def _take(self, channel: int, data: bytes) -> None:
        *lines, self._rests[channel] = (self._rests.get(channel, b"") + data).split(b"\n")
        self._lines.extend(line.removesuffix(b"\r") if not self._framed else line for line in lines)


@asynccontextmanager
async def open_log(
    engine: Engine,
    container: str,
    name: str,
    *,
    terminal: bool = False,
    follow: bool = False,
    since: str | None = None,
    tail: int | None = None,
) -> AsyncIterator[ObjectReceiveStream[bytes]]:
    """Open a container's log.

    Raises:
        ContainerLostError: The container is gone.
        UnreachableError: The engine did not answer.
    """
    options = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0"}
    options |= {"since": _seconds(since)} if since else {}
    options |= {"tail": str(tail)} if tail is not None else {}
    opened = engine.reading(f"/containers/{container}/logs", **options)
    try:
        pieces = await opened.__aenter__()
    except UnreachableError:
        raise
    except ToolError as error:
        raise ContainerLostError(f"{name} has no log: {error.message}") from error
    try:
        yield _Lines(pieces, framed=not terminal)
    finally:
        with anyio.CancelScope(shield=True):
            await opened.__aexit__(None, None, None)


def _seconds(moment: str) -> str:
    """Return an RFC 3339 time in seconds since the epoch, whole ones: that second included."""
    return str(int(datetime.fromisoformat(moment[:19] + "+00:00").timestamp()))
