"""How often a pod's port is tried: freely while it answers; one at a time and ever more rarely while it does not."""

from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Gate", "Timer"]

_FIRST_DELAY: Final = 0.02
_LONGEST_DELAY: Final = 0.5


class Timer(Protocol):
    """The part of an event loop that a gate needs."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        """Call back after a delay in seconds."""


class Gate:
    """Lets connection attempts to one port of one pod pass, or not.

    Args:
        timer: The event loop.
        opened: Called when an attempt may pass again.
    """

    __slots__ = ("_failures", "_opened", "_resting", "_timer", "_trying")

    def __init__(self, timer: Timer, opened: Callable[[], None]) -> None:
        self._timer = timer
        self._opened = opened
        self._failures = 0
        self._resting = False
        self._trying = False

    def enter(self) -> bool:
        """Return whether an attempt may be made now; whoever gets True calls `worked`, `failed` or `left`."""
        if not self._failures:
            return True
        if self._resting or self._trying:
            return False
        self._trying = True
        return True

    def worked(self) -> None:
        """The pod answered."""
        failures, self._failures = self._failures, 0
        self._trying = False
        if failures:
            self._opened()

    def failed(self) -> None:
        """The pod did not answer: the next attempt comes after a while."""
        self._trying = False
        if self._resting:
            return
        self._resting = True
        delay = min(_FIRST_DELAY * 2**self._failures, _LONGEST_DELAY)
        self._failures += 1
        self._timer.call_later(delay, self._rested)

    def left(self) -> None:
        """The attempt was given up before it told anything."""
        if self._trying:
            self._trying = False
            self._opened()

    def _rested(self) -> None:
        self._resting = False
        self._opened()
