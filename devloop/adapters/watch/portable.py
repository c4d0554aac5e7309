"""Events by watchfiles: for every system but Linux.

What watchfiles is known to do, and what is done about it: it says nothing when its queue overflowed (large batches and
jumps of the clock cause a rescan), dies of a file name that is not UTF-8 and with its root (it is made again, and a
rescan follows), and follows links that were there at the start (their events come out under the link's path, as roots
need it).
"""

import os
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from devloop.adapters.watch.batch import Batch
from devloop.adapters.watch.git import IndexLocks
from devloop.core.names import from_system
from devloop.errors import ToolError
from devloop.model import RelPath
from devloop.runtime.ports import Hint

__all__ = ["PortableSource"]

_DEBOUNCE_MS: Final = 20
_STEP_MS: Final = 5
_OVERFLOW: Final = 4000
_JUMP: Final = 5.0
"""Seconds between two steps that mean the computer slept."""
_LOOK_PERIOD: Final = 0.5


class PortableSource:
    """Watches directories recursively and leaves out afterwards what is not kept.

    Args:
        root: The project's root.
        roots: The directories to watch, relative to it.
        keep: Says of a directory whether it is of interest.
    """

    def __init__(self, root: Path, roots: Sequence[RelPath], keep: Callable[[RelPath], bool]) -> None:
        self._root = root
        self._roots = roots
        self._keep = keep
        self._missing: frozenset[str] = frozenset()
        self._notify: RustNotify | None = None
        self._places: dict[str, RelPath] = {}
        self._verdicts: dict[RelPath, bool] = {}
        self._batch = Batch()
        self._locks = IndexLocks(root)
        self._push: Callable[[Hint], None] = lambda _: None
        self._stopped = False
        self._lost: str | None = None
        self._last_step = time.time()
        self._next_look = 0.0

    def start(self) -> None:
        """Begin to watch; what changes from now on is told by `run`."""
        self._places = {os.path.normpath(self._root / path): path for path in self._roots}
        self._missing = self._absent()
        present = [path for path in self._places if path not in self._missing]
        try:
            # Without anything to watch, an empty list makes a watcher that only waits.
            self._notify = RustNotify(present, False, False, 0, True, True)  # noqa: FBT003 (they are positional)
        except OSError as error:
            raise ToolError(
                f"the directories cannot be watched: {error}",
                hint="the system's limit of watches is reached: close other watchers or raise the limit",
            ) from error

    def stop(self) -> None:
        """Make `run` return soon; safe from any thread."""
        self._stopped = True

    def run(self, push: Callable[[Hint], None]) -> None:
        """Tell hints until stopped."""
        self._push = push
        while not self._stopped:
            try:
                changes = self._notify.watch(_DEBOUNCE_MS, _STEP_MS, 0, self) if self._notify else "stop"
            except (WatchfilesRustInternalError, OSError) as error:
                self._lost = f"the watcher failed ({error})"
                changes = "stop"
            if isinstance(changes, set):
                self._take(changes)
            elif self._lost and not self._stopped:
                self.close()
                self.start()
                self._batch.lost(self._lost)
                self._lost = None
            self._tell()

    def is_set(self) -> bool:
        """Return whether watchfiles shall come back, which it asks at each step.

        It forgets what it has not yet told then. So it is called back only to end, or when all is looked at again
        anyway; what has to be done now and then is done in here.
        """
        now = time.time()
        if not -_JUMP < now - self._last_step < _JUMP:
            self._lost = "the computer slept"
        self._last_step = now
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_PERIOD
            if self._missing != self._absent():
                self._lost = "a watched directory was deleted or made"
        self._tell()
        return self._stopped or self._lost is not None

    def close(self) -> None:
        """Give everything back, once `run` has returned."""
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _absent(self) -> frozenset[str]:
        return frozenset(path for path in self._places if not Path(path).exists())

    def _take(self, changes: AbstractSet[tuple[int, str]]) -> None:
        if len(changes) > _OVERFLOW:
            self._batch.lost(f"{len(changes)} files changed at once")
        now = time.monotonic()
        for _, name in changes:
            for path in self._named(name):
                self._batch.changed(path, now)

    def _tell(self) -> None:
        now = time.monotonic()
        self._batch.lock(now, held=self._locks.is_held(self._batch.burst))
        if hint := self._batch.take(now):
            self._locks.forget()
            self._push(hint)

    def _named(self, name: str) -> list[RelPath]:
        """Return the path under each root that the name lies below, where everything on the way is kept."""
        found = []
        for place, path in self._places.items():
            if name == place:
                found.append(path)
            elif name.startswith(place + os.sep):
                parts = Path(from_system(name[len(place) + 1 :])).parts
                inner = [
                    RelPath("/".join(parts[:length]) if path in ("", ".") else "/".join((path, *parts[:length])))
                    for length in range(1, len(parts) + 1)
                ]
                directories = inner if Path(name).is_dir() else inner[:-1]
                if all(self._kept(directory) for directory in directories):
                    found.append(inner[-1])
        return found

    def _kept(self, directory: RelPath) -> bool:
        if directory not in self._verdicts:
            self._verdicts[directory] = self._keep(directory)
        return self._verdicts[directory]
