"""Waking those who wait for changes, and giving them what is newest. Nothing here polls."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from anyio.abc import ObjectReceiveStream

__all__ = ["Latest", "Signal"]

T = TypeVar("T")


class Signal:
    """Counts changes and wakes whoever waits for the next."""

    __slots__ = ("_event", "count")

    def __init__(self) -> None:
        self.count = 0
        self._event = anyio.Event()

    def fire(self) -> None:
        """Tell of a change."""
        self.count += 1
        self._event.set()
        self._event = anyio.Event()

    async def beyond(self, count: int) -> int:
        """Return the present count as soon as it differs from `count`."""
        while self.count == count:
            await self._event.wait()
        return self.count


class Latest(ObjectReceiveStream[T], Generic[T]):
    """A stream of snapshots: whoever receives slowly gets the newest and misses those between.

    Args:
        signal: Fires when there may be a new snapshot.
        snapshot: Returns it, waiting for the first as long as it takes.
    """

    def __init__(self, signal: Signal, snapshot: Callable[[], Awaitable[T]]) -> None:
        self._signal = signal
        self._snapshot = snapshot
        self._seen = -1
        self._last: T | None = None
        self._closed = False

    async def receive(self) -> T:
        """Return the newest snapshot that was not returned before."""
        while True:
            if self._closed:
                raise anyio.ClosedResourceError
            self._seen = await self._signal.beyond(self._seen)
            snapshot = await self._snapshot()
            if self._last is None or snapshot != self._last:
                self._last = snapshot
                return snapshot

    async def aclose(self) -> None:
        """Receive nothing more."""
        self._closed = True
        self._signal.fire()
