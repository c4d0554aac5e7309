"""How often a pod's port is tried: freely while it answers; one at a time and ever more rarely while it does not."""

from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Gate", "Timer"]

_FIRST_DELAY: Final = 0.02
_LONGEST_DELAY: Final = 0.25
_DETOUR_EVERY: Final = 4


class Timer(Protocol):
    """The part of an event loop that a gate needs."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        """Call back after a delay in seconds."""


class Gate:
    """Lets connection attempts to one port of one pod pass, or not.

    Args:
        timer: The event loop.
        opened: Called when an attempt may pass again.

    Attributes:
        detour_works: Whether the pod answers through the cluster although it does not directly: on its loopback alone.
    """

    __slots__ = ("_failures", "_opened", "_resting", "_timer", "_trying", "detour_works")

    def __init__(self, timer: Timer, opened: Callable[[], None]) -> None:
        self._timer = timer
        self._opened = opened
        self._failures = 0
        self._resting = False
        self._trying = False
        self.detour_works = False

    def enter(self) -> bool:
        """Return whether an attempt may be made now; whoever gets True calls `worked`, `failed` or `left`."""
        if not self._failures:
            return True
        if self._resting or self._trying:
            return False
        self._trying = True
        return True

    @property
    def detour_is_due(self) -> bool:
        """Whether to go through the cluster after a refusal; not each time, for that takes long."""
        return self.detour_works or self._failures % _DETOUR_EVERY == _DETOUR_EVERY - 1

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
