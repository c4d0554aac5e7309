"""Whether git is in the middle of rewriting files: it holds its index's lock from before the first to after the last.

The lock is the file `index.lock` in the repository's own directory (git's api-lockfile).
"""

import os
import posixpath
from contextlib import suppress
from pathlib import Path
from typing import Final

from devloop.core.names import to_system
from devloop.model import RelPath

__all__ = ["IndexLocks"]

_LOCK: Final = "index.lock"
_POINTER: Final = "gitdir: "


class IndexLocks:
    """The locks of the repositories that a project's files lie in.

    Args:
        root: The project's root.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Path | None] = {}

    def is_held(self, path: RelPath | None) -> bool:
        """Return whether git holds the lock of the repository that this file lies in."""
        if path is None:
            return False
        folder = posixpath.dirname(path)
        if folder not in self._known:
            self._known[folder] = _lock(self._root / to_system(folder))
        lock = self._known[folder]
        return lock is not None and lock.exists()

    def forget(self) -> None:
        """Look for the repositories anew: they come and go."""
        self._known.clear()


def _lock(folder: Path) -> Path | None:
    """Return where the lock of the repository that holds this folder would be; None where there is no repository."""
    for each in (folder, *folder.parents):
        git = each / ".git"
        if git.is_dir():
            return git / _LOCK
        with suppress(OSError):
            if git.is_file():  # a worktree's or a submodule's
                return each / os.fsdecode(git.read_bytes()).removeprefix(_POINTER).strip() / _LOCK
    return None
