"""The bus: numbers and stamps events and hands each to every subscriber. Emitting never waits."""

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from anyio import ClosedResourceError, WouldBlock, create_memory_object_stream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from devloop.events import Event, Noted, PodOutput, RunOutput

__all__ = ["Bus"]

_LIVE_BUFFER: Final = 5_000


class Bus:
    """Hands events to subscribers, in one order for all.

    Args:
        listener: Called with each event before the subscribers get it; must be quick.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(self, listener: Callable[[Event], None] | None = None, clock: Callable[[], float] = time.time) -> None:
        self._listener = listener
        self._clock = clock
        self._seq = 0
        self._subscribers: list[_Subscriber] = []

    def emit(self, event: Event) -> None:
        """Stamp the event and give it to all subscribers; never waits."""
        self._seq += 1
        stamped = replace(event, seq=self._seq, at=self._clock())
        if self._listener is not None:
            self._listener(stamped)
        for subscriber in tuple(self._subscribers):
            subscriber.take(stamped)

    @contextmanager
    def subscribe(self, *, lossy: bool = False) -> Iterator[AsyncIterator[Event]]:
        """Subscribe to all events from now on; the iterator ends when the bus is closed.

        Args:
            lossy: Whether lines of output may be dropped when the subscriber is slow (for the live terminal view); how
                many were is told as `Noted`. Without it nothing is ever lost.
        """
        send, receive = create_memory_object_stream[Event](math.inf)
        subscriber = _Subscriber(send, receive, lossy=lossy)
        self._subscribers.append(subscriber)
        try:
            yield receive
        finally:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
            send.close()
            receive.close()

    def close(self) -> None:
        """End all subscriptions after what was emitted so far."""
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()


class _Subscriber:
    def __init__(
        self, send: MemoryObjectSendStream[Event], receive: MemoryObjectReceiveStream[Event], *, lossy: bool
    ) -> None:
        self._send = send
        self._receive = receive
        self._lossy = lossy
        self._dropped = 0

    def take(self, event: Event) -> None:
        waiting = self._receive.statistics().current_buffer_used
        if self._lossy and waiting >= _LIVE_BUFFER and isinstance(event, PodOutput | RunOutput):
            self._dropped += 1
            return
        if self._dropped and waiting < _LIVE_BUFFER // 2:
            note = Noted(seq=event.seq, at=event.at, message=f"{self._dropped} lines of output were not shown")
            self._dropped = 0
            self._push(note)
        self._push(event)

    def close(self) -> None:
        self._send.close()

    def _push(self, event: Event) -> None:
        try:
            self._send.send_nowait(event)
        except (WouldBlock, ClosedResourceError):
            return  # the subscriber has left
