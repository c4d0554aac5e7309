"""A project's files in memory."""

import posixpath
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from devloop.core import digests
from devloop.core.dockerfile.archives import HEAD
from devloop.errors import InputError, Where
from devloop.model import Digest, RelPath
from devloop.runtime.ports import Entry, every_file

__all__ = ["FakeFiles", "Stored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file, or a link when it has a target."""

    data: bytes = b""
    mode: int = 0o644
    target: str | None = None

    @property
    def digest(self) -> Digest:
        if self.target is not None:
            return digests.of_link(self.target)
        hasher = digests.FileHasher(self.mode)
        hasher.update(self.data)
        return hasher.digest()


class FakeFiles:
    """Files that a test writes; whoever listens hears of each change.

    Args:
        texts: The files there are at first.
    """

    def __init__(self, texts: dict[str, str] | None = None) -> None:
        self.stored: dict[RelPath, Stored] = {}
        self.listeners: list[Callable[[RelPath], None]] = []
        self.saves = 0
        for path, text in (texts or {}).items():
            self.write(path, text)

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Make or change a file."""
        self._put(path, Stored(data=text.encode() if isinstance(text, str) else text, mode=mode))

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self._put(path, Stored(target=target))

    def delete(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it."""
        for stored in [name for name in self.stored if name == path or name.startswith(f"{path}/")]:
            del self.stored[stored]
        self._tell(RelPath(path))

    # --- the port ---

    def read(self, path: RelPath) -> str | None:
        where = Where(path=path)
        if path not in self.stored:
            if self.is_directory(path):
                raise InputError(f"`{path}` is a directory, not a file", where=where)
            return None
        try:
            return self.stored[path].data.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"`{path}` is not UTF-8 text (byte {error.start})", where=where) from error

    def is_directory(self, path: RelPath) -> bool:
        return path in ("", ".") or any(name.startswith(f"{path}/") for name in self.stored)

    def link_target(self, path: RelPath) -> str | None:
        return self.stored[path].target if path in self.stored else None

    def entries(self, folder: RelPath) -> Mapping[str, Entry]:
        prefix = "" if folder in ("", ".") else f"{folder}/"
        found: dict[str, Entry] = {}
        for path, stored in self.stored.items():
            if path.startswith(prefix) and not path.startswith("../"):
                name, slash, _ = path.removeprefix(prefix).partition("/")
                found[name] = Entry.FOLDER if slash else Entry.FILE if stored.target is None else Entry.LINK
        return found

    def head(self, path: RelPath) -> bytes | None:
        stored = self.stored.get(path)
        if stored is not None and stored.target is not None:
            return self.head(RelPath(posixpath.normpath(posixpath.join(posixpath.dirname(path), stored.target))))
        return None if stored is None else stored.data[:HEAD]

    def scan(
        self,
        directory: RelPath,
        keep: Callable[[RelPath], bool],
        wanted: Callable[[RelPath], bool] = every_file,
    ) -> dict[RelPath, Digest]:
        if directory in self.stored:
            return {directory: self.stored[directory].digest}
        prefix = "" if directory in ("", ".") else f"{directory}/"
        return {
            path: stored.digest
            for path, stored in self.stored.items()
            if path.startswith(prefix)
            and wanted(path)
            and (prefix or not path.startswith("../"))
            and all(keep(RelPath(between)) for between in _between(prefix, path))
        }

    def look_again(
        self,
        paths: Collection[RelPath],
        known: Collection[RelPath],
        keep: Callable[[RelPath], bool],
        wanted: Callable[[RelPath], bool] = every_file,
    ) -> dict[RelPath, Digest | None]:
        found: dict[RelPath, Digest | None] = {}
        for path in paths:
            is_file = path in self.stored
            looked_at = wanted(path) if is_file else path in ("", ".") or keep(path)
            present = self.scan(path, keep, wanted) if looked_at else {}
            found |= present
            if not present or (path in known and path not in present):
                found[path] = None
            below = "" if path in ("", ".") else f"{path}/"
            found |= {name: None for name in known if name.startswith(below) and name not in found}
        return found

    def save(self) -> None:
        self.saves += 1

    # ---

    def _put(self, path: str, stored: Stored) -> None:
        assert posixpath.normpath(path) == path, path
        self.stored[RelPath(path)] = stored
        self._tell(RelPath(path))

    def _tell(self, path: RelPath) -> None:
        for listener in tuple(self.listeners):
            listener(path)


def _between(prefix: str, path: str) -> list[str]:
    """Return the directories below the prefix that lead to the path."""
    parts = path.removeprefix(prefix).split("/")[:-1]
    return [prefix + "/".join(parts[:length]) for length in range(1, len(parts) + 1)]
