r"""A container's log as raw lines, split at `\n` only. To go on after a lost connection is the reader's business."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
from anyio.abc import ObjectReceiveStream

from devloop.adapters.kube.discovery import PODS
from devloop.adapters.kube.session import Session, refusal
from devloop.runtime.ports import ContainerLostError, ContainerTarget

__all__ = ["LogLines", "open_log"]


class LogLines(ObjectReceiveStream[bytes]):
    """The lines of one response, read as they are asked for; a slow reader slows the server down.

    Args:
        response: The open response.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.aiter_raw()
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._ended = False

    async def receive(self) -> bytes:
        """Return the next line, without its end."""
        while not self._lines:
            if self._ended:
                raise anyio.EndOfStream
            await self._read()
        return self._lines.popleft()

    async def _read(self) -> None:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._ended = True
            if self._rest:
                self._lines.append(self._rest)
        except (httpx.HTTPError, httpx.StreamError):
            self._ended = True  # what was cut off comes again when the log is read on
        else:
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._lines.extend(lines)

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
    async with session.stream(PODS.path(target.namespace, target.pod) + "/log", parameters=parameters) as response:
        if response.status_code >= 300:
            error = refusal("reading its log", response.status_code, await response.aread())
            if not error.concerns_object:
                raise error
            named = f"container `{target.container}` of pod `{target.pod}`"
            raise ContainerLostError(f"{named} has no log: {error.reason}") from error
        yield LogLines(response)
