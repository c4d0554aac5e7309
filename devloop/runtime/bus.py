"""The bus: numbers and stamps events and hands each to every subscriber. Emitting never waits, and nothing is lost.

A front-end that cannot keep up with a flood decides by itself what it leaves out.
"""

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from anyio import BrokenResourceError, ClosedResourceError, create_memory_object_stream
from anyio.streams.memory import MemoryObjectSendStream

from devloop.events import Event

__all__ = ["Bus"]


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
        self._subscribers: list[MemoryObjectSendStream[Event]] = []

    def emit(self, event: Event) -> None:
        """Stamp the event and give it to all subscribers; never waits."""
        self._seq += 1
        stamped = replace(event, seq=self._seq, at=self._clock())
        if self._listener is not None:
            self._listener(stamped)
        for subscriber in tuple(self._subscribers):
            with suppress(BrokenResourceError, ClosedResourceError):  # the subscriber has left
                subscriber.send_nowait(stamped)

    @contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[Event]]:
        """Subscribe to all events from now on; the iterator ends when the bus is closed."""
        send, receive = create_memory_object_stream[Event](math.inf)
        self._subscribers.append(send)
        try:
            yield receive
        finally:
            if send in self._subscribers:
                self._subscribers.remove(send)
            send.close()
            receive.close()

    def close(self) -> None:
        """End all subscriptions after what was emitted so far."""
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()
