"""Events by watchfiles: for every system but Linux.

What watchfiles is known to do, and what is done about it: it says nothing when its queue overflowed (large batches and
jumps of the clock cause a rescan), dies of a file name that is not UTF-8 and with its root (it is made again, and a
rescan follows), and follows links that were there at the start (their events come out under the link's path, as roots
need it).
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from devloop.adapters.watch.batch import Batch
from devloop.core.names import from_system
from devloop.errors import ToolError
from devloop.model import RelPath
from devloop.runtime.ports import Hint

__all__ = ["PortableSource"]

_DEBOUNCE_MS: Final = 50
_STEP_MS: Final = 5
_OVERFLOW: Final = 4000
_JUMP: Final = 5.0
"""Seconds between two steps that mean the computer slept."""
_MISSING_MS: Final = 500


class _Stop:
    """What watchfiles asks at each step; also the place to notice that time jumped, or that a root is gone."""

    def __init__(self) -> None:
        self.stopped = False
        self.jumped = False
        self.until: float | None = None
        self._last = time.time()

    def is_set(self) -> bool:
        now = time.time()
        if not -_JUMP < now - self._last < _JUMP:
            self.jumped = True
        self._last = now
        return self.stopped or self.jumped or (self.until is not None and time.monotonic() >= self.until)


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
        self._stop = _Stop()
        self._missing: frozenset[str] = frozenset()
        self._notify: RustNotify | None = None
        self._places: dict[str, RelPath] = {}
        self._verdicts: dict[RelPath, bool] = {}

    def start(self) -> None:
        """Begin to watch; what changes from now on is told by `run`."""
        self._places = {os.path.normpath(self._root / path): path for path in self._roots}
        present = [path for path in self._places if Path(path).exists()]
        self._missing = frozenset(self._places.keys() - set(present))
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
        self._stop.stopped = True

    def run(self, push: Callable[[Hint], None]) -> None:
        """Tell hints until stopped."""
        batch = Batch()
        while not self._stop.stopped:
            wait = batch.wait(time.monotonic())
            events = self._events(wait)
            now = time.monotonic()
            if isinstance(events, str):
                batch.lost(events)
            else:
                for path in events:
                    batch.changed(path, now)
            if hint := batch.take(time.monotonic()):
                push(hint)

    def close(self) -> None:
        """Give everything back, once `run` has returned."""
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _events(self, wait: float | None) -> list[RelPath] | str:
        """Return what changed within the time, or why that cannot be known."""
        if self._notify is None or self._roots_moved():
            return self._again("a watched directory was deleted or made")
        self._stop.until = time.monotonic() + (_MISSING_MS / 1000 if wait is None else wait)
        try:
            changes = self._notify.watch(_DEBOUNCE_MS, _STEP_MS, 0, self._stop)
        except (WatchfilesRustInternalError, OSError) as error:
            return self._again(f"the watcher failed ({error})")
        if self._stop.jumped:
            self._stop.jumped = False
            return "the computer slept"
        if not isinstance(changes, set):
            return []
        if len(changes) > _OVERFLOW:
            return f"{len(changes)} files changed at once"
        return [path for _, name in changes for path in self._named(name)]

    def _roots_moved(self) -> bool:
        return self._missing != frozenset(path for path in self._places if not Path(path).exists())

    def _again(self, reason: str) -> str:
        self.close()
        self.start()
        return reason

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
