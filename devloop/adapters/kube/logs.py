r"""A container's log as raw lines, split at `\n` only. To go on after a lost connection is the reader's business."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ObjectReceiveStream

from devloop.adapters.kube.discovery import PODS
from devloop.adapters.kube.session import Session, Stream, refusal
from devloop.errors import UnreachableError
from devloop.runtime.ports import ContainerLostError, ContainerTarget

__all__ = ["LogLines", "open_log"]


class LogLines(ObjectReceiveStream[bytes]):
    """The lines of one response, read as they are asked for; a slow reader slows the server down.

    A cancelled `receive` ends the stream: the connection under it does not outlive that.

    Attributes:
        complaint: What the node said instead of the log, or None. It says so with status 200, where lines should be;
            but a line of a log begins with a time.

    Args:
        stream: The open response.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._ended = False
        self.complaint: str | None = None

    async def look_ahead(self) -> None:
        """Read until there is a line, or the end."""
        while not self._lines and not self._ended:
            await self._read()

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

    async def _read(self) -> None:
        try:
            chunk = await self._stream.receive()
        except UnreachableError:
            self._ended = True  # what was cut off comes again when the log is read on
            raise
        if chunk:
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._take(lines)
        else:
            self._ended = True
            self._take([self._rest] if self._rest else [])

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            if not _is_stamped(line):
                self.complaint = line.decode(errors="replace")
                self._ended = True
                return
            self._lines.append(line)

    async def aclose(self) -> None:
        """Read nothing more; the connection is closed by whoever opened it."""
        self._ended = True
        self._lines.clear()


@asynccontextmanager
async def open_log(
    session: Session,
    target: ContainerTarget,
    *,
    follow: bool,
    since: str | None = None,
    previous: bool = False,
    tail: int | None = None,
) -> AsyncIterator[LogLines]:
    """Open a container's log; `tail` is how many of its last lines are wanted, None for all.

    Raises:
        ContainerLostError: There is no such container or run, or it has not started yet.
        UnreachableError: The API server did not answer.
    """
    parameters = {"container": target.container, "timestamps": "true"}
    parameters |= {"follow": "true"} if follow else {}
    parameters |= {"sinceTime": since} if since else {}
    parameters |= {"previous": "true"} if previous else {}
    parameters |= {"tailLines": str(tail)} if tail is not None else {}
    named = f"container `{target.container}` of pod `{target.pod}`"
    async with session.stream(PODS.path(target.namespace, target.pod) + "/log", parameters=parameters) as stream:
        if stream.code >= 300:
            error = refusal("reading its log", stream.code, await stream.rest())
            if not error.concerns_object:
                raise error
            raise ContainerLostError(f"{named} has no log: {error.reason}") from error
        lines = LogLines(stream)
        if not follow:
            await lines.look_ahead()
            if lines.complaint:
                raise ContainerLostError(f"{named} has no log: {lines.complaint}")
        yield lines


def _is_stamped(line: bytes) -> bool:
    return line[:4].isdigit() and line[4:5] == b"-" and line[10:11] == b"T"
