"""The process groups that devloop has started, so that an end at once leaves none of them behind."""

import os
import signal
from contextlib import suppress

__all__ = ["forget", "kill_all", "remember"]

_groups: set[int] = set()


def remember(group: int) -> None:
    """Note a started process group (the leader's pid)."""
    _groups.add(group)


def forget(group: int) -> None:
    """Forget a process group that has ended."""
    _groups.discard(group)


def kill_all() -> None:
    """End all remembered groups with SIGKILL."""
    for group in tuple(_groups):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
