"""Who builds first: on few processors, builds that all begin at once all end late."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

__all__ = ["Turns"]

_LONGEST: Final = 0.3
"""Seconds: about what a build takes in which nothing is run. A longer one waits for others than the processors."""


class Turns:
    """Lets some builds begin before others, so that the first results are there while others are still to come.

    Args:
        places: How many have their turn at a time.
        longest: For how many seconds others wait for each that is before them; none waits longer.
    """

    def __init__(self, places: int, longest: float = _LONGEST) -> None:
        self._places = places
        self._longest = longest
        self._free = anyio.Semaphore(places)
        self._line = 0

    async def wait(self) -> bool:
        """Wait for a turn, or until that took long enough; return whether there is a place to give back."""
        before = self._line // self._places
        self._line += 1
        if not before:
            self._free.acquire_nowait()
            return True
        got = False
        try:
            with anyio.move_on_after(before * self._longest):
                await self._free.acquire()
                got = True
        finally:
            if not got:
                self._line -= 1
        return got

    @contextmanager
    def place(self, *, held: bool) -> Iterator[Callable[[], None]]:
        """Hold what `wait` returned, and yield what gives it back early; otherwise that is done at the end."""

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._line -= 1
                self._free.release()

        try:
            yield give_back
        finally:
            give_back()
