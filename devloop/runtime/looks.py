"""Looks at the disk that decide what a build reads, beyond the texts of its files: symbolic links and archives.

Each look is remembered with what was seen, so that it can be repeated when something may have changed.
"""

import functools
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

from devloop.core.dockerfile.archives import may_be_archive
from devloop.core.dockerfile.links import followed
from devloop.core.dockerfile.sources import Source, SourceKind
from devloop.core.patterns import Glob, IgnoreRules, is_glob
from devloop.model import RelPath
from devloop.runtime.ports import Entry, Files
from devloop.runtime.selection import lies_in

__all__ = ["Look", "Looks", "Subject", "archives", "links", "may_differ"]


Entries: TypeAlias = Callable[[RelPath], Mapping[str, Entry]]


class Subject(StrEnum):
    """What was looked at."""

    LINK = "link"
    """Where a symbolic link leads."""
    LINKS = "links"
    """The symbolic links in a folder."""
    FOLDERS = "folders"
    """The folders in a folder."""
    FILES = "files"
    """The files in a folder."""
    ARCHIVE = "archive"
    """Whether a file may be an archive."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look.

    Attributes:
        subject: What was looked at.
        path: Where, relative to the project's root.
    """

    subject: Subject
    path: str


class Looks:
    """Looks at the project's files, each once, and remembers what was seen.

    Args:
        files: The files.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._entries: Entries = functools.cache(files.entries)
        self.seen: dict[Look, object] = {}

    def link(self, path: str) -> str | None:
        """Return where a symbolic link leads; None for what is none."""
        seen = self._look(Subject.LINK, path)
        assert seen is None or isinstance(seen, str)
        return seen

    def links_in(self, folder: str) -> Mapping[str, str]:
        """Return the symbolic links in a folder, by their names."""
        seen = self._look(Subject.LINKS, folder)
        assert isinstance(seen, Mapping)
        return seen

    def names_in(self, folder: str, subject: Subject) -> frozenset[str]:
        """Return the names of the folders or files in a folder."""
        seen = self._look(subject, folder)
        assert isinstance(seen, frozenset)
        return seen

    def may_be_archive(self, path: str) -> bool:
        """Return whether the file may be an archive."""
        return bool(self._look(Subject.ARCHIVE, path))

    def _look(self, subject: Subject, path: str) -> object:
        look = Look(subject, path)
        if look not in self.seen:
            self.seen[look] = _seen(self._files, look, self._entries)
        return self.seen[look]


def may_differ(seen: Mapping[Look, object], files: Files, hinted: Collection[str] | None) -> bool:
    """Return whether another look would show something else.

    Args:
        seen: What was seen.
        files: The files.
        hinted: The paths that may have changed, None when any may have.
    """
    entries: Entries = functools.cache(files.entries)
    named = frozenset(hinted or ())
    folders = {posixpath.dirname(path) or "." for path in named}
    return any(
        _seen(files, look, entries) != before
        for look, before in seen.items()
        if hinted is None or lies_in(look.path, named) or (look.subject in _LISTED and look.path in folders)
    )


_LISTED: Final = frozenset({Subject.LINKS, Subject.FOLDERS, Subject.FILES})


def _seen(files: Files, look: Look, entries: Entries) -> object:
    path = RelPath(look.path)
    match look.subject:
        case Subject.LINK:
            return files.link_target(path)
        case Subject.ARCHIVE:
            head = files.head(path)
            return head is not None and may_be_archive(head)
        case Subject.LINKS:
            names = [name for name, kind in entries(path).items() if kind is Entry.LINK]
            return {name: files.link_target(RelPath(_join(path, name))) for name in names}
        case Subject.FOLDERS:
            return frozenset(name for name, kind in entries(path).items() if kind is Entry.FOLDER)
        case Subject.FILES:
            return frozenset(name for name, kind in entries(path).items() if kind is Entry.FILE)
        case _:
            assert_never(look.subject)


def links(sources: Iterable[Source], context: str, ignore: IgnoreRules, looks: Looks) -> dict[str, str]:
    """Return the symbolic links of a context that its sources name or pass, with their targets.

    Args:
        sources: What a build reads.
        context: The context's folder, relative to the project's root.
        ignore: Its `.dockerignore`.
        looks: Looks at the disk.
    """
    written = tuple(sources)
    found: dict[str, str] = {}
    while True:
        known = len(found)
        # A link that leads to another one is found in the next round.
        for source in followed(written, found):
            found.update(_links_of(source, found, context, ignore, looks))
        if len(found) == known:
            return found


def archives(sources: Iterable[Source], context: str, looks: Looks) -> frozenset[str]:
    """Return those of the files of a context that `ADD` names, which it may unpack.

    Args:
        sources: What a build reads, the links of the context followed.
        context: The context's folder, relative to the project's root.
        looks: Looks at the disk.
    """
    named = {path for each in sources if each.kind is SourceKind.ADD for path in _files_of(each, context, looks)}
    return frozenset(path for path in named if looks.may_be_archive(_join(context, path)))


def _links_of(
    source: Source, known: Mapping[str, str], context: str, ignore: IgnoreRules, looks: Looks
) -> Iterator[tuple[str, str]]:
    folder, rest = _literal(source)
    for path in _prefixes(folder):
        if path in known:
            return
        target = looks.link(_join(context, path))
        if target is not None and not ignore.excludes(path):
            yield path, target
            return
    if rest:
        waiting = _folders(folder, rest[:-1], context, ignore, looks)
        glob = Glob(source.pattern)
        while waiting:
            parent = waiting.pop()
            for name, target in looks.links_in(_join(context, parent)).items():
                path = _join(parent or ".", name)
                if glob.root_of(path) is not None and not ignore.excludes(path):
                    yield path, target
            # What the pattern found is looked through to the bottom.
            names = looks.names_in(_join(context, parent), Subject.FOLDERS)
            below = (_join(parent or ".", name) for name in names)
            waiting += [path for path in below if glob.root_of(path) is not None and ignore.may_contain_included(path)]


def _files_of(source: Source, context: str, looks: Looks) -> Iterator[str]:
    folder, rest = _literal(source)
    if not rest:
        if folder:
            yield folder
        return
    glob = Glob(source.pattern)
    for parent in _folders(folder, rest[:-1], context, IgnoreRules(), looks):
        paths = (_join(parent or ".", name) for name in looks.names_in(_join(context, parent), Subject.FILES))
        yield from (path for path in paths if glob.root_of(path) == path)


def _folders(start: str, patterns: list[str], context: str, ignore: IgnoreRules, looks: Looks) -> list[str]:
    """Return the folders that the leading parts of a pattern lead to."""
    found = [start]
    for pattern in patterns:
        matches: Callable[[str], str | None] = Glob(pattern).root_of
        below = [
            _join(folder or ".", name)
            for folder in found
            for name in looks.names_in(_join(context, folder), Subject.FOLDERS)
            if matches(name) == name
        ]
        found = [folder for folder in below if ignore.may_contain_included(folder)]
    return found


def _literal(source: Source) -> tuple[str, list[str]]:
    """Return the part of a source that is a name, and the parts from the first one on that is a pattern."""
    if not source.is_glob:
        return source.pattern, []
    parts = source.pattern.split("/")
    first = next(index for index, part in enumerate(parts) if is_glob(part))
    return "/".join(parts[:first]), parts[first:]


def _prefixes(path: str) -> Iterator[str]:
    parts = path.split("/") if path else []
    return ("/".join(parts[:length]) for length in range(1, len(parts) + 1))


def _join(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path))
