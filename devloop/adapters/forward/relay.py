"""The bytes of one forwarded connection: two ends that pass on what they get, with half-close and back-pressure kept.

asyncio's transports rather than streams: a connection costs no task of its own once it stands, and there are many short
ones. Knows neither pods nor rules.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import anyio
from anyio.abc import ByteStream

from devloop.runtime.ports import ContainerLostError

__all__ = ["End", "SocketEnd", "StreamEnd", "join", "part"]

_HIGH_WATER: Final = 256 * 1024
_CHUNK: Final = 64 * 1024


class End(Protocol):
    """One end of a relayed connection.

    Attributes:
        other: The end that gets what this one receives.
        ended: Whether its peer has said that it sends nothing more.
        touched: When it last received something, by the loop's clock; 0 for never.
    """

    other: "End | None"
    ended: bool
    touched: float

    def send(self, data: bytes) -> None:
        """Send to the peer, now or as soon as it takes it."""

    def send_eof(self) -> None:
        """Tell the peer that nothing more comes, after all that was sent."""

    def hold(self) -> None:
        """Receive nothing for now: the other end's peer is slow."""

    def go_on(self) -> None:
        """Receive again."""

    def close(self) -> None:
        """Close the connection after all that was sent."""

    def abort(self) -> None:
        """Close the connection at once."""


def join(client: "SocketEnd", pod: End) -> None:
    """Let each end have what the other receives, what the client has sent already included."""
    client.other, pod.other = pod, client
    for data in client.take_held():
        pod.send(data)
    if client.ended:
        pod.send_eof()


def part(client: "SocketEnd", unsent: list[bytes]) -> None:
    """Give the client back what it sent to an end that did not take it, for the next `join`."""
    client.other = None
    client.give_back(unsent)


class SocketEnd(asyncio.Protocol):
    """An end that is a TCP socket.

    Args:
        opened: Called once the socket is connected.
        closed: Called once it is closed.
    """

    __slots__ = ("_closed", "_held", "_held_size", "_now", "_opened", "_transport", "ended", "other", "touched")

    def __init__(
        self, now: Callable[[], float], opened: Callable[["SocketEnd"], None], closed: Callable[["SocketEnd"], None]
    ) -> None:
        self.other: End | None = None
        self.ended = False
        self.touched = 0.0
        self._now = now
        self._opened = opened
        self._closed = closed
        self._held: list[bytes] = []
        self._held_size = 0
        self._transport: asyncio.Transport | None = None

    # --- what asyncio tells ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # a TCP server's and client's always is
        self._transport = transport
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass the data on, or keep it while there is no other end."""
        self.touched = self._now()
        if self.other is not None:
            self.other.send(data)
            return
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > _HIGH_WATER:
            self.hold()

    def eof_received(self) -> bool:
        """Pass the end on; keep the connection as long as the other direction lives."""
        self.ended = True
        if self.other is None:
            return True
        if self.other.ended:
            self.other.close()
            return False
        self.other.send_eof()
        return True

    def pause_writing(self) -> None:
        """Let the other end wait."""
        if self.other is not None:
            self.other.hold()

    def resume_writing(self) -> None:
        """Let the other end go on."""
        if self.other is not None:
            self.other.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end, in the same way."""
        if self.other is not None:
            if exc is None:
                self.other.close()
            else:
                self.other.abort()
        self._closed(self)

    # --- what the other end asks ---

    def take_held(self) -> list[bytes]:
        """Return what came before there was another end."""
        held, self._held = self._held, []
        self._held_size = 0
        self.go_on()
        return held

    def give_back(self, data: list[bytes]) -> None:
        """Keep what came before again, ahead of what comes."""
        self._held = data
        self._held_size = sum(map(len, data))

    def send(self, data: bytes) -> None:
        """Write to the socket; asyncio keeps what it does not take yet."""
        if self._transport is not None:
            self._transport.write(data)

    def send_eof(self) -> None:
        """Shut the socket's sending side down."""
        if self._transport is not None:
            with suppress(OSError):  # the peer has reset the connection: `connection_lost` follows
                self._transport.write_eof()

    def hold(self) -> None:
        """Stop reading."""
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close after what was written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


class StreamEnd:
    """An end that is a stream, as `Cluster.connect` gives it; `carry` runs as long as the connection lives.

    Some streams learn only after they were opened that nobody answers at their far end. What was sent until the first
    answer is kept, so that it can be sent elsewhere.
    """

    def __init__(self, stream: ByteStream, now: Callable[[], float]) -> None:
        self.other: End | None = None
        self.ended = False
        self.touched = 0.0
        self._stream = stream
        self._now = now
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._unanswered: list[bytes] | None = []
        self._unanswered_size = 0
        self._refused = False
        self._finish = False
        self._more = anyio.Event()
        self._held: anyio.Event | None = None
        self._scope = anyio.CancelScope()

    async def carry(self) -> list[bytes] | None:
        """Move bytes until both directions have ended or one end is closed.

        Returns:
            What the client has sent, if nobody at the far end has taken it: to be sent elsewhere. Else None, and the
            other end is closed.
        """
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._receive, name="forward: from the pod")
                tasks.start_soon(self._send, name="forward: to the pod")
        if self._refused and self._unanswered is not None:
            return self._unanswered
        if self.other is not None:
            self.other.close()
        return None

    async def _receive(self) -> None:
        while True:
            if self._held is not None:
                await self._held.wait()
            try:
                data = await self._stream.receive(_CHUNK)
            except anyio.EndOfStream:
                break
            except ContainerLostError:
                self._refused = True
                self._scope.cancel("nobody answers")
                return
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._scope.cancel("the connection to the pod is lost")
                return
            self._unanswered = None
            self.touched = self._now()
            if self.other is not None:
                self.other.send(data)
        self._unanswered = None
        self.ended = True
        if self.other is not None:
            self.other.send_eof()
            if self.other.ended and not self._queue:
                self._scope.cancel("both directions have ended")

    async def _send(self) -> None:
        try:
            while not (self._finish and not self._queue):
                await self._more.wait()
                self._more = anyio.Event()
                await self._send_queued()
            await self._stream.send_eof()
        except ContainerLostError:
            self._refused = True
            self._scope.cancel("nobody answers")
            return
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._scope.cancel("the connection to the pod is lost")
            return
        if self.ended:
            self._scope.cancel("both directions have ended")

    async def _send_queued(self) -> None:
        while self._queue:
            data = self._queue.popleft()
            self._queued -= len(data)
            await self._stream.send(data)
            if self._queued < _HIGH_WATER and self.other is not None:
                self.other.go_on()

    def send(self, data: bytes) -> None:
        """Queue for the stream; the other end waits while the queue is long."""
        self._keep(data)
        self._queue.append(data)
        self._queued += len(data)
        if self._queued >= _HIGH_WATER and self.other is not None:
            self.other.hold()
        self._more.set()

    def _keep(self, data: bytes) -> None:
        if self._unanswered is not None:
            self._unanswered.append(data)
            self._unanswered_size += len(data)
            if self._unanswered_size > _HIGH_WATER:
                self._unanswered = None

    def send_eof(self) -> None:
        """Shut the stream's sending side down after what is queued."""
        self._finish = True
        self._more.set()

    def hold(self) -> None:
        """Stop receiving after the chunk that is on its way."""
        if self._held is None:
            self._held = anyio.Event()

    def go_on(self) -> None:
        """Receive again."""
        if self._held is not None:
            self._held.set()
            self._held = None

    def close(self) -> None:
        """End the connection once what is queued was sent."""
        if self._queue:
            self.ended = True
            self.send_eof()
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection."""
        self._scope.cancel("the connection is closed")
