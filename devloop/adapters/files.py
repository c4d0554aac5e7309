"""The project's files on disk: reading, walking, digesting, and a cache of digests that is right even within a second.

Nothing here decides what a file means. Called from worker threads: the long waits (system calls, hashing) let other
threads run.
"""

import json
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from devloop.core import digests
from devloop.core.names import from_system, to_system
from devloop.errors import InputError, Where
from devloop.model import Digest, RelPath

__all__ = ["DiskFiles"]

Keep = Callable[[RelPath], bool]

_VERSION: Final = 1
_CACHE: Final = "files.json"
_RACY_NS: Final = 2_000_000_000
"""A file that changed this shortly before it was hashed may change again without its times showing it (FAT: 2 s)."""
_PIECE: Final = 1 << 20
_ATTEMPTS: Final = 3
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_HERE: Final = ("", ".")


class _Seen(NamedTuple):
    """A file as it was when its digest was taken; any change of its content changes one of the other fields."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int
    digest: Digest

    def fits(self, status: os.stat_result) -> bool:
        return self[:5] == _identity(status)


class DiskFiles:
    """The files below (and beside) a project's root.

    Args:
        root: The project's root.
        state_dir: Where the digests of unchanged files are remembered for the next start; made when needed.
    """

    def __init__(self, root: Path, state_dir: Path) -> None:
        self._root = root.resolve()
        self._state = state_dir
        self._remembered: dict[str, _Seen] | None = None
        self._current: dict[str, _Seen] = {}
        self._scanned: set[RelPath] = set()
        self._changed = False

    def read(self, path: RelPath) -> str | None:
        """Return the text of a definition file (UTF-8), or None when there is no such file.

        Raises:
            InputError: It is there but cannot be read as text.
        """
        where = Where(path=path)
        try:
            return Path(self._absolute(path)).read_bytes().decode()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError as error:
            raise InputError(f"`{path}` is not UTF-8 text (byte {error.start})", where=where) from error
        except IsADirectoryError as error:
            raise InputError(f"`{path}` is a directory, not a file", where=where) from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"`{path}` cannot be read: {reason}", where=where) from error

    def is_directory(self, path: RelPath) -> bool:
        """Return whether the path is a directory (links followed)."""
        return Path(self._absolute(path)).is_dir()

    def scan(self, directory: RelPath, keep: Keep) -> dict[RelPath, Digest]:
        """Return the digest of every file below `directory`, without the sub-directories that `keep` says no to.

        Links are followed to reach `directory`, never below it. A `directory` that is a file is its own result.
        """
        directory = _clean(directory)
        self._scanned.add(directory)
        return self._digests_of(directory, keep)

    def look_again(
        self, paths: Collection[RelPath], known: Collection[RelPath], keep: Keep
    ) -> dict[RelPath, Digest | None]:
        """Return the present digest of what the paths name; None for what is gone.

        A path that is a directory now is walked; of a path that was one, every known file below it is reported gone.
        """
        found: dict[RelPath, Digest | None] = {}
        perhaps_directories: set[RelPath] = set()
        inside_link = _LinkTest(self._absolute, self._scanned)
        for path in map(_clean, paths):
            present = {} if inside_link(path) else self._present(path, known, keep)
            found |= present
            if path not in present:
                perhaps_directories.add(path)
                if not present or path in known:
                    found[path] = None
            elif path not in known:
                perhaps_directories.add(path)
        found |= {path: None for path in _below(known, perhaps_directories) if path not in found}
        return found

    def save(self) -> None:
        """Keep the stat cache for the next start."""
        if not self._changed:
            return
        remembered = self._cache()
        rescanned = tuple("" if directory in _HERE else f"{directory}/" for directory in self._scanned)
        elsewhere = {path: seen for path, seen in remembered.items() if not path.startswith(rescanned)}
        document = {"version": _VERSION, "root": str(self._root), "files": elsewhere | self._current}
        # Like all that can be rebuilt, the cache is given up silently where it cannot be written.
        with suppress(OSError):
            self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self._state / f"{_CACHE}.{os.getpid()}"
            temporary.write_text(json.dumps(document, separators=(",", ":")))
            temporary.replace(self._state / _CACHE)
            self._changed = False

    def _absolute(self, path: str) -> str:
        return os.path.normpath(f"{self._root}/{to_system(path)}")

    def _present(self, path: RelPath, known: Collection[RelPath], keep: Keep) -> dict[RelPath, Digest]:
        """Return the digests at a path that a hint named."""
        absolute = self._absolute(path)
        with suppress(OSError):
            status = os.lstat(absolute)
            if not stat.S_ISDIR(status.st_mode) and path not in self._scanned:
                digest = self._digest(path, absolute, status)
                return {path: digest} if digest else {}
            if stat.S_ISDIR(status.st_mode) and path not in _HERE and path not in self._scanned and not keep(path):
                return {}
            found = self._digests_of(path, keep)
            if path in known and path not in found and (digest := self._digest(path, absolute, status)):
                found[path] = digest  # the source of a copy that is also a link in a wider context
            return found
        return {}

    def _digests_of(self, path: RelPath, keep: Keep) -> dict[RelPath, Digest]:
        absolute = self._absolute(path)
        found = {}
        with suppress(OSError):
            if not Path(absolute).is_dir():
                digest = self._digest(path, absolute, os.lstat(absolute))
                return {path: digest} if digest else {}
            for name, entry in _walk("" if path in _HERE else path + "/", absolute, keep):
                with suppress(OSError):  # it vanished while we walk
                    if digest := self._digest(name, entry.path, entry.stat(follow_symlinks=False)):
                        found[name] = digest
        return found

    def _digest(self, path: RelPath, absolute: str, status: os.stat_result) -> Digest | None:
        """Return the digest of a file or link, from the cache where that is safe; None for what has no content."""
        if stat.S_ISLNK(status.st_mode):
            return digests.of_link(from_system(str(Path(absolute).readlink())))
        if not stat.S_ISREG(status.st_mode):
            return None
        seen = self._current.get(path) or self._cache().get(path)
        if seen is None or not seen.fits(status):
            seen = _hashed(absolute)
            if seen is None:
                self._current.pop(path, None)
                return digests.of_text(f"unreadable\0{status.st_mode & 0o777:o}")
            self._changed = True
        if _may_change_unseen(seen):
            self._current.pop(path, None)
        else:
            self._current[path] = seen
        return seen.digest

    def _cache(self) -> dict[str, _Seen]:
        """Return what the last start remembered; anything unexpected counts as nothing."""
        if self._remembered is None:
            self._remembered = {}
            with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                document = json.loads((self._state / _CACHE).read_bytes())
                if document["version"] == _VERSION and document["root"] == str(self._root):
                    self._remembered = {path: _Seen(*seen) for path, seen in document["files"].items()}
        return self._remembered


class _LinkTest:
    """Tells whether a path lies behind a symbolic link that is a file to us: one below a scanned directory."""

    def __init__(self, absolute: Callable[[str], str], scanned: Collection[RelPath]) -> None:
        self._absolute = absolute
        self._followed = {ancestor for directory in scanned for ancestor in (directory, *_ancestors(directory))}
        self._known: dict[str, bool] = {}

    def __call__(self, path: str) -> bool:
        return any(self._is_link(ancestor) for ancestor in _ancestors(path) if ancestor not in self._followed)

    def _is_link(self, directory: str) -> bool:
        if directory not in self._known:
            self._known[directory] = Path(self._absolute(directory)).is_symlink()
        return self._known[directory]


def _hashed(absolute: str) -> _Seen | None:
    """Read a file; None when it may not be read."""
    for _ in range(_ATTEMPTS):
        try:
            handle = os.open(absolute, _OPEN)
        except PermissionError:
            return None
        try:
            before = os.fstat(handle)
            hasher = digests.FileHasher(before.st_mode)
            while data := os.read(handle, _PIECE):
                hasher.update(data)
            after = os.fstat(handle)
        finally:
            os.close(handle)
        seen = _Seen(*_identity(after), hasher.digest())
        if seen.fits(before):
            return seen
    # Somebody keeps writing. The digest is that of no moment; the event of the last write brings the right one.
    return seen


def _identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)


def _may_change_unseen(seen: _Seen) -> bool:
    return time.time_ns() - max(seen.mtime_ns, seen.ctime_ns) < _RACY_NS


def _walk(prefix: str, directory: str, keep: Keep) -> Iterator[tuple[RelPath, os.DirEntry[str]]]:
    """Yield what is not a directory below `directory`; links are not followed, what cannot be listed is left out."""
    waiting = [(prefix, directory)]
    while waiting:
        prefix, directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                listed = list(entries)
        except OSError:
            continue
        for entry in listed:
            path = RelPath(prefix + from_system(entry.name))
            if not entry.is_dir(follow_symlinks=False):
                yield path, entry
            elif keep(path):
                waiting.append((f"{path}/", entry.path))


def _below(known: Collection[RelPath], directories: set[RelPath]) -> Iterator[RelPath]:
    """Yield those of the known paths that lie below one of the directories."""
    if not directories:
        return
    if directories & set(_HERE):
        yield from known
    elif len(directories) < 10:
        prefixes = tuple(f"{directory}/" for directory in directories)
        yield from (path for path in known if path.startswith(prefixes))
    else:
        yield from (path for path in known if not directories.isdisjoint(_ancestors(path)))


def _ancestors(path: str) -> Iterator[RelPath]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield RelPath(path)


def _clean(path: RelPath) -> RelPath:
    return RelPath("." if path in _HERE else path.rstrip("/"))
