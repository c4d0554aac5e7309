"""Changes found by looking: for file systems that send no events, such as shares of networks and virtual machines."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from devloop.core.names import from_system
from devloop.model import RelPath
from devloop.runtime.ports import Hint, PathsHint

__all__ = ["PollingSource", "sends_no_events"]

_SHORTEST: Final = 0.3
_SHARE: Final = 0.1
"""The part of the time that looking may take."""
_SILENT: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "drvfs", "nfs", "nfs4", "prl_fs", "smb3", "vboxsf", "virtiofs"}
)

_Look = tuple[int, int, int, int]


def sends_no_events(place: Path, mounts: str) -> bool:
    """Return whether changes that others make below a place go unnoticed, by what is mounted there.

    Args:
        place: An absolute path.
        mounts: The text of `/proc/self/mounts`.
    """
    kinds = {}
    for line in mounts.splitlines():
        match line.split(" "):
            case [_, where, kind, *_]:
                kinds[Path(where.replace("\\040", " "))] = kind
    nearest = next((kinds[above] for above in (place, *place.parents) if above in kinds), "")
    return nearest in _SILENT or (nearest.startswith("fuse.") and nearest != "fuse.fuse-overlayfs")


class PollingSource:
    """Looks at all files again and again, seldom enough to take a tenth of the time.

    Args:
        root: The project's root.
        roots: The directories to watch, relative to it.
        keep: Says of a directory whether it is of interest.
    """

    def __init__(self, root: Path, roots: Sequence[RelPath], keep: Callable[[RelPath], bool]) -> None:
        self._root = root
        self._roots = roots
        self._keep = keep
        self._stopped = threading.Event()
        self._seen: dict[RelPath, _Look] = {}

    def start(self) -> None:
        """Look for the first time."""
        self._seen = self._look()

    def stop(self) -> None:
        """Make `run` return soon; safe from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Nothing is kept open."""

    def run(self, push: Callable[[Hint], None]) -> None:
        """Tell hints until stopped."""
        pause = _SHORTEST
        begin = 0.0
        while not self._stopped.wait(pause):
            earlier, begin = begin, time.monotonic()
            before, self._seen = self._seen, self._look()
            pause = max(_SHORTEST, (time.monotonic() - begin) / _SHARE)
            if changed := {path for path, _ in before.items() ^ self._seen.items()}:
                push(PathsHint(paths=frozenset(changed), since=earlier))

    def _look(self) -> dict[RelPath, _Look]:
        return {path: look for root in self._roots for path, look in self._looks(root)}

    def _looks(self, root: RelPath) -> Iterator[tuple[RelPath, _Look]]:
        waiting = [(os.path.normpath(self._root / root), root)]
        while waiting and not self._stopped.is_set():
            absolute, path = waiting.pop()
            try:
                with os.scandir(absolute) as entries:
                    listed = list(entries)
            except OSError:
                continue
            for entry in listed:
                name = from_system(entry.name)
                inner = RelPath(name if path in ("", ".") else f"{path}/{name}")
                if not entry.is_dir(follow_symlinks=False):
                    yield inner, _identity(entry)
                elif self._keep(inner):
                    waiting.append((entry.path, inner))


def _identity(entry: os.DirEntry[str]) -> _Look:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return (0, 0, 0, 0)
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
