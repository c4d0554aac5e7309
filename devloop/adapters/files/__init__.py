"""The project's files on disk: reading, walking, digesting, and a cache of digests that is right even within a second.

Nothing here decides what a file means. Called from worker threads: the long waits (system calls, hashing) let other
threads run.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from devloop.adapters.files import stat_cache
from devloop.adapters.files.hashing import Hashed, Unknown, hash_all, hash_one
from devloop.adapters.files.stat_cache import Record, identity
from devloop.core import digests
from devloop.core.dockerfile.archives import HEAD
from devloop.core.names import from_system, to_system
from devloop.errors import InputError, Where
from devloop.model import Digest, RelPath
from devloop.runtime.ports import Entry, every_file

__all__ = ["DiskFiles"]

Keep = Callable[[RelPath], bool]

_CACHE: Final = "files.cache"
_HERE: Final = ("", ".")


class DiskFiles:
    """The files below (and beside) a project's root.

    Args:
        root: The project's root.
        state_dir: Where the digests of unchanged files are remembered for the next start; made when needed.
    """

    def __init__(self, root: Path, state_dir: Path) -> None:
        self._root = root.resolve()
        self._state = state_dir
        self._remembered: dict[str, Record] | None = None
        self._current: dict[str, Record] = {}
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

    def link_target(self, path: RelPath) -> str | None:
        """Return where a symbolic link leads, as it is written; None for what is none."""
        with suppress(OSError):
            return from_system(str(Path(self._absolute(path)).readlink()))
        return None

    def entries(self, folder: RelPath) -> Mapping[str, Entry]:
        """Return what stands in a folder, by name; nothing where there is no folder."""
        with suppress(OSError), os.scandir(self._absolute(folder)) as found:
            return {from_system(each.name): _kind(each) for each in found}
        return {}

    def head(self, path: RelPath) -> bytes | None:
        """Return the first bytes of a file (links followed), enough to tell an archive; None where there is none."""
        absolute = Path(self._absolute(path))
        with suppress(OSError):
            if absolute.is_file():
                with absolute.open("rb") as file:
                    return file.read(HEAD)
        return None

    def scan(self, directory: RelPath, keep: Keep, wanted: Keep = every_file) -> dict[RelPath, Digest]:
        """Return the digest of every wanted file below `directory`, without the sub-directories that are not kept.

        Links are followed to reach `directory`, never below it. A `directory` that is a file is its own result.
        """
        directory = _clean(directory)
        self._scanned.add(directory)
        return self._digests_of(directory, keep, wanted)

    def look_again(
        self, paths: Collection[RelPath], known: Collection[RelPath], keep: Keep, wanted: Keep = every_file
    ) -> dict[RelPath, Digest | None]:
        """Return the present digest of what the paths name; None for what is gone or not wanted.

        A path that is a directory now is walked; of a path that was one, every known file below it is reported gone.
        """
        found: dict[RelPath, Digest | None] = {}
        perhaps_directories: set[RelPath] = set()
        inside_link = _LinkTest(self._absolute, self._scanned)
        for path in map(_clean, paths):
            present = {} if inside_link(path) else self._present(path, known, keep, wanted)
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
        self._changed = False
        remembered = self._cache()
        rescanned = tuple("" if directory in _HERE else f"{directory}/" for directory in self._scanned)
        elsewhere = {path: seen for path, seen in remembered.items() if not path.startswith(rescanned)}
        stat_cache.save(self._state / _CACHE, str(self._root), elsewhere | self._current)

    def _absolute(self, path: str) -> str:
        return os.path.normpath(f"{self._root}/{to_system(path)}")

    def _present(self, path: RelPath, known: Collection[RelPath], keep: Keep, wanted: Keep) -> dict[RelPath, Digest]:
        """Return the digests at a path that a hint named."""
        absolute = self._absolute(path)
        with suppress(OSError):
            status = os.lstat(absolute)
            if not stat.S_ISDIR(status.st_mode) and path not in self._scanned:
                digest = self._digest(path, absolute, status) if wanted(path) else None
                return {path: digest} if digest else {}
            if stat.S_ISDIR(status.st_mode) and path not in _HERE and path not in self._scanned and not keep(path):
                return {}
            found = self._digests_of(path, keep, wanted)
            if path in known and path not in found and (digest := self._digest(path, absolute, status)):
                found[path] = digest  # the source of a copy that is also a link in a wider context
            return found
        return {}

    def _digests_of(self, path: RelPath, keep: Keep, wanted: Keep) -> dict[RelPath, Digest]:
        absolute = self._absolute(path)
        with suppress(OSError):
            if not Path(absolute).is_dir():
                digest = self._digest(path, absolute, os.lstat(absolute))
                return {path: digest} if digest else {}
        found: dict[RelPath, Digest] = {}
        walk = _walk("" if path in _HERE else path + "/", absolute, keep)
        unknown = self._take_known((each for each in walk if wanted(each[0])), found)
        found.update([(each.path, self._learn(each)) for each in hash_all(unknown)])
        return found

    def _take_known(
        self, entries: Iterable[tuple[RelPath, os.DirEntry[str]]], found: dict[RelPath, Digest]
    ) -> Iterator[Unknown]:
        """Add the digests that need no reading to those found; yield the files that do."""
        for path, entry in entries:
            try:
                digest = self._without_reading(path, entry.path, entry.stat(follow_symlinks=False))
            except OSError:  # it vanished while we walk
                continue
            if isinstance(digest, Unknown):
                yield digest
            elif digest is not None:
                found[path] = digest

    def _digest(self, path: RelPath, absolute: str, status: os.stat_result) -> Digest | None:
        """Return the digest of a file or link; None for what has no content."""
        digest = self._without_reading(path, absolute, status)
        return self._learn(hash_one(digest)) if isinstance(digest, Unknown) else digest

    def _without_reading(self, path: RelPath, absolute: str, status: os.stat_result) -> Digest | Unknown | None:
        """Return the digest of a link, or of a file that looks as it did when it was read; None for no content."""
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            return digests.of_link(from_system(str(Path(absolute).readlink()))) if stat.S_ISLNK(mode) else None
        now = identity(status)
        remembered = self._current.get(path) or self._cache().get(path)
        if remembered is None or not remembered.startswith(now):
            return Unknown(path, absolute, now, status.st_size, mode)
        self._current[path] = remembered
        return stat_cache.digest_of(remembered)

    def _learn(self, hashed: Hashed) -> Digest:
        """Remember a digest if it is safe to rely on how the file looks from now on; return it."""
        if hashed.seen is None:
            self._current.pop(hashed.path, None)
        else:
            self._current[hashed.path] = stat_cache.record(hashed.seen, hashed.digest)
            self._changed = True
        return hashed.digest

    def _cache(self) -> dict[str, Record]:
        """Return what the last start remembered."""
        if self._remembered is None:
            self._remembered = stat_cache.load(self._state / _CACHE, str(self._root))
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


def _kind(entry: os.DirEntry[str]) -> Entry:
    if entry.is_symlink():
        return Entry.LINK
    return Entry.FOLDER if entry.is_dir(follow_symlinks=False) else Entry.FILE


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
