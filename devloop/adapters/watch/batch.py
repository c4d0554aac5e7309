"""When a burst of events is over: pure, told the time by its caller.

A lone save must come out at once, a checkout of thousands of files as one batch, and an editor's save dance (probe
file, backup, rename) when it is finished. What the watcher knows about open files and git's lock decides; where it
knows nothing, silence. Parts of a large batch are told while it goes on, so that its files can be looked at meanwhile.
"""

import re
from typing import Final

from devloop.model import RelPath
from devloop.runtime.ports import Hint, PathsHint, RescanHint

__all__ = ["Batch"]

_QUIET: Final = 0.004
"""Seconds of silence that end a small batch; the steps of a save dance follow one another within 1 ms."""
_LONG_QUIET: Final = 0.03
"""Seconds of silence that end what looks like the middle of a save dance, and the least that end a large batch.

A file that went may be one: `git checkout` deletes each file before it writes the new one.
"""
_SHARE: Final = 0.1
"""What part of the time that a large batch has lasted is added to the silence: a busy machine writes with pauses."""
_LONGEST_QUIET: Final = 0.1
_LARGE: Final = 8
"""Files that nobody saves at once by hand."""
_DELAY: Final = 0.02
"""Seconds that may lie between a change and our reading of its event."""
_PATIENCE: Final = 0.05
"""Seconds after which a small batch comes out although more happens."""
_LONG_PATIENCE: Final = 2.0
_LOCKED_QUIET: Final = 0.5
"""Seconds of silence that end a large batch while git holds its lock: it is at work, or left the lock behind."""
_LOCKED_PATIENCE: Final = 30.0
_LOCK_PERIOD: Final = 0.01
"""Seconds between two looks at the lock."""
_PART_PERIOD: Final = 0.05
"""Seconds between two parts of a large batch that are told before it is over."""
_WRITING: Final = 0.3
"""Seconds that a file which is being written is waited for. One that stays open is a log, and not waited for again."""
_DANCE: Final = re.compile(r"(^|/)(4913\d*|\.#[^/]*|#[^/]*#|[^/]*~|\.[^/]*\.sw[a-z]|[^/]*___jb_(tmp|old)___)$")


class Batch:
    """Gathers paths until they are worth a hint."""

    def __init__(self) -> None:
        self._settled: set[RelPath] = set()
        self._writing: dict[RelPath, float] = {}
        self._born: set[RelPath] = set()
        self._gone: set[RelPath] = set()
        self._streaming: set[RelPath] = set()
        self._newest: RelPath | None = None
        self._told = 0
        self._next_part = 0.0
        self._reason: str | None = None
        self._first = 0.0
        self._last = 0.0
        self._locked = False
        self._unlocked: float | None = None

    @property
    def burst(self) -> RelPath | None:
        """The newest path of a large batch; None of a small one."""
        return self._newest if self._is_large() else None

    def lock(self, now: float, *, held: bool) -> None:
        """Say of a large batch whether git, which writes it, still holds its lock; no longer, once all was told."""
        if held:
            self._unlocked = None
        elif self._locked:
            self._unlocked = now
        self._locked = held

    def changed(self, path: RelPath, now: float) -> None:
        """Something about the path changed, at one stroke."""
        self._touch(path, now)
        self._gone.discard(path)
        if path not in self._writing:
            self._settled.add(path)

    def written(self, path: RelPath, now: float, *, born: bool = False) -> None:
        """Somebody writes to the file and will close it; `born` if it was not there before."""
        self._touch(path, now)
        if born and path not in self._settled:  # else it only came back: that it was there before may have been told
            self._born.add(path)
        self._gone.discard(path)
        if path in self._streaming:
            self._settled.add(path)
        else:
            self._writing.setdefault(path, now)
            self._settled.discard(path)

    def closed(self, path: RelPath, now: float) -> None:
        """The file was closed by one who could write to it."""
        self._touch(path, now)
        self._writing.pop(path, None)
        self._streaming.discard(path)
        self._settled.add(path)

    def gone(self, path: RelPath, now: float) -> None:
        """The file was deleted or moved away; what came and went within the batch never was."""
        self.closed(path, now)
        if path in self._born:
            self._born.discard(path)
            self._settled.discard(path)
        else:
            self._gone.add(path)

    def lost(self, reason: str) -> None:
        """Events were lost: only a rescan tells what is there."""
        self._reason = reason

    def wait(self, now: float) -> float | None:
        """Return for how many seconds to wait for more events; None when there is nothing to release."""
        if self._reason:
            return 0.0
        dues = [since + _WRITING for since in self._writing.values()]
        if self._settled or self._told:
            dues.append(self._due())
        if self._locked:
            dues.append(now + _LOCK_PERIOD)
        return max(0.0, min(dues) - now) if dues else None

    def take(self, now: float) -> Hint | None:
        """Return what is ready to be told, and forget it."""
        if self._reason:
            lost = RescanHint(reason=self._reason)
            self._writing, self._born, self._reason = {}, set(), None
            self._end()
            return lost
        for path in [path for path, since in self._writing.items() if now >= since + _WRITING]:
            del self._writing[path]
            self._streaming.add(path)
            self._settled.add(path)
        if not self._settled and not self._told:
            return None
        over = now >= self._due()
        if not over and not (self._settled and self._is_large() and now >= self._next_part):
            return None
        hint = PathsHint(paths=frozenset(self._settled), since=self._first - _DELAY, over=over)
        self._born &= self._writing.keys()
        if over:
            self._end()
        else:
            self._told += len(self._settled)
            self._settled = set()
            self._next_part = now + _PART_PERIOD
        return hint

    def _end(self) -> None:
        self._settled, self._gone, self._told = set(), set(), 0
        self._locked, self._unlocked = False, None

    def _touch(self, path: RelPath, now: float) -> None:
        if not self._settled and not self._writing and not self._told:
            self._first = now
            self._next_part = now + _PART_PERIOD
            self._born.clear()
        self._last = now
        self._newest = path

    def _due(self) -> float:
        if self._is_large():
            return self._burst_due()
        if self._writing:
            return self._first + _PATIENCE
        dancing = bool(self._gone) or any(_DANCE.search(path) for path in self._settled)
        return min(self._last + (_LONG_QUIET if dancing else _QUIET), self._first + _PATIENCE)

    def _is_large(self) -> bool:
        return len(self._settled) + self._told >= _LARGE

    def _burst_due(self) -> float:
        if self._locked:
            return min(self._last + _LOCKED_QUIET, self._first + _LOCKED_PATIENCE)
        if self._unlocked is not None:  # a rebase takes the lock again for its next commit
            return min(max(self._last, self._unlocked) + _LONG_QUIET, self._unlocked + _LONG_PATIENCE)
        quiet = min(_LONG_QUIET + _SHARE * (self._last - self._first), _LONGEST_QUIET)
        return min(self._last + quiet, self._first + _LONG_PATIENCE)
