"""File systems that know only names: which path of an image holds which file of the build context.

`landing` plays the instructions of a Dockerfile on them.
"""

import bisect
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from devloop.core.dockerfile.links import Links
from devloop.core.dockerfile.stages import Unknown

__all__ = ["Choice", "ContextFiles", "Destinations", "File", "FileSystem", "Landed", "is_within"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """One place of a file in the image.

    Attributes:
        path: The absolute path.
        line: The line of the Dockerfile that put it there.
        runs: The lines of the `RUN` instructions after that, which may have changed it.
    """

    path: str
    line: int
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of two places, which only a look into the image can tell apart.

    `COPY f /x` makes the file `/x`, or `/x/f` where the base image or a `RUN` has made `/x` a directory.

    Attributes:
        path: The place where `path` is no directory in the image.
        inside: The place where it is one.
        why: The same in words.
        line: The line of the Dockerfile that put it there.
        runs: The lines of the `RUN` instructions after that, which may have changed it.
    """

    path: str
    inside: str
    why: Unknown
    line: int
    runs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where a file of the context is in the image.

    Attributes:
        landed: Its places. None, and nothing unknown either, means that it is not in the image as such.
        choices: Places that depend on what is a directory in the image.
        doubts: Why there may be other places, or why a place may hold something else.
        read_at: The lines that read it.
    """

    landed: tuple[Landed, ...] = ()
    choices: tuple[Choice, ...] = ()
    doubts: tuple[Unknown, ...] = ()
    read_at: tuple[int, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The absolute paths that are certain."""
        return tuple(each.path for each in self.landed)

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        """Everything that keeps the places from being certain, the choices included."""
        return (*self.doubts, *(choice.why for choice in self.choices))


@dataclass(frozen=True, slots=True)
class File:
    """A file in the image.

    Attributes:
        origin: Its path in the context, None when it comes from elsewhere.
        line: The line that put it there.
        runs: The `RUN` instructions of earlier stages that may have changed it.
        since: How many `RUN` instructions of this stage came before it.
        doubt: Why something else may be in its place.
        inside: Where it is instead, if its path is a directory.
        entered: The stage and the line that took it from the context.
        target: Where it leads, if it is a symbolic link that was copied as such.
        by: The symbolic links of the context that led to it.
    """

    origin: str | None
    line: int = 0
    runs: tuple[int, ...] = ()
    since: int = 0
    doubt: Unknown | None = None
    inside: str | None = None
    entered: tuple[int, int] | None = None
    target: str | None = None
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Directory:
    since: int


_Kind: TypeAlias = Literal["directory", "file", "absent", "unknown"]


class ContextFiles:
    """The files of the context, as a place to copy from.

    Args:
        paths: The files and links.
        directories: The directories, None when they are not known, apart from those that hold a file.
        links: The links among the files.
    """

    __slots__ = ("_directories", "_links", "_paths", "is_listed")

    def __init__(self, paths: Iterable[str], directories: Iterable[str] | None, links: Links) -> None:
        self._paths = sorted(paths)
        self._directories = sorted({*(directories or ()), *_parents(self._paths)})
        self._links = links
        self.is_listed = directories is not None

    def under(self, directory: str) -> Iterator[tuple[str, File]]:
        """Yield everything below a directory by its name as seen through symbolic links, with the file itself."""
        by = self._links.passed(directory)
        for apparent, path in self._below(directory, self._paths):
            yield apparent, File(origin=path, target=self._links.targets.get(path), by=by)

    def directories_under(self, directory: str) -> Iterator[str]:
        """Yield the directories below a directory, by their names as seen through symbolic links."""
        for apparent, _ in self._below(directory, self._directories):
            yield apparent

    def _below(self, directory: str, paths: list[str]) -> Iterator[tuple[str, str]]:
        actual = self._links.resolve(directory)
        if actual is None:
            return
        prefix = f"{actual}/" if actual else ""
        start = bisect.bisect_left(paths, prefix)
        for path in paths[start:]:
            if not path.startswith(prefix):
                return
            yield f"{directory}/{path[len(prefix) :]}" if directory else path, path

    def file(self, path: str) -> File | None:
        """Return the file of this name, links followed."""
        actual = self._links.resolve(path)
        if actual is None:
            return None
        position = bisect.bisect_left(self._paths, actual)
        found = position < len(self._paths) and self._paths[position] == actual
        return File(origin=actual, by=self._links.passed(path)) if found else None

    def is_link(self, path: str) -> bool:
        """Return whether this is a symbolic link."""
        return path in self._links.targets


@dataclass(slots=True)
class FileSystem:
    """The file system of a stage while its instructions are played.

    Attributes:
        nodes: What is known of it.
        opaque: Whether there may be more than `nodes`, apart from what `RUN` made.
        sparse: Whether there may be more empty directories than `nodes` has.
        has_links: Whether there may be symbolic links among `nodes`.
        runs: The line and the working directory of each `RUN`.
        workdir: The working directory, None when it is not known.
        lost: Files of the context that were copied to a place that is not known, with the reason.
    """

    nodes: dict[str, File | _Directory] = field(default_factory=dict)
    opaque: bool = False
    sparse: bool = False
    has_links: bool = False
    runs: list[tuple[int, str | None]] = field(default_factory=list)
    workdir: str | None = "/"
    lost: dict[str, Unknown] = field(default_factory=dict)

    def copy(self) -> "FileSystem":
        """Return a file system that starts as this one."""
        return replace(self, nodes=dict(self.nodes), runs=list(self.runs), lost=dict(self.lost))

    @property
    def is_known(self) -> bool:
        """Whether there is nothing but what `nodes` says, empty directories apart."""
        return not self.opaque and not self.runs

    def links(self) -> Links:
        """Return the symbolic links that were copied here, without leading slashes."""
        if not self.has_links:
            return _NO_LINKS
        found = {path[1:]: node for path, node in self.nodes.items() if isinstance(node, File)}
        return Links({path: node.target for path, node in found.items() if node.target is not None})

    def leads_through_link(self, path: str) -> bool:
        """Return whether something on this path is a symbolic link, so that it leads elsewhere."""
        return any(is_within(path, f"/{link}") for link in self.links().targets)

    def passed(self, path: str) -> Iterator[File]:
        """Yield the links on the way to what this path, written without the leading slash, leads to."""
        for link in self.links().passed(path):
            node = self.nodes[f"/{link}"]
            assert isinstance(node, File)
            yield node

    # --- as a place to copy from ------------------------------------------------------------------------------------

    def under(self, directory: str) -> Iterator[tuple[str, File]]:
        """Yield every known file below a directory, by its path without the leading slash."""
        for apparent, path in self._below(directory):
            if isinstance(node := self.nodes[path], File):
                yield apparent, self._current(node, path)

    def directories_under(self, directory: str) -> Iterator[str]:
        """Yield the known directories below a directory, without the leading slash."""
        for apparent, path in self._below(directory):
            if isinstance(self.nodes[path], _Directory):
                yield apparent

    def _below(self, directory: str) -> Iterator[tuple[str, str]]:
        """Yield what is below a directory, by its name as seen through symbolic links, with its path."""
        actual = self.links().resolve(directory)
        if actual is None:
            return
        prefix, start = (f"/{actual}/", f"{directory}/") if actual else ("/", f"{directory}/" if directory else "")
        for path in self.nodes:
            if path.startswith(prefix):
                yield start + path[len(prefix) :], path

    def file(self, path: str) -> File | None:
        """Return the file that is known at this path, written without the leading slash, links followed."""
        actual = self.links().resolve(path)
        node = None if actual is None else self.nodes.get(f"/{actual}")
        return self._current(node, f"/{actual}") if isinstance(node, File) else None

    def is_link(self, path: str) -> bool:
        """Return whether this is a symbolic link, written without the leading slash."""
        node = self.nodes.get(f"/{path}")
        return isinstance(node, File) and node.target is not None

    def _current(self, node: File, path: str) -> File:
        doubt = node.doubt
        if node.inside is not None:
            doubt = _why(path, node.line)
        return replace(node, runs=self._later(node), since=0, doubt=doubt, inside=None)

    def _later(self, node: File) -> tuple[int, ...]:
        return (*node.runs, *(line for line, _ in self.runs[node.since :]))

    # --- as a place to copy to --------------------------------------------------------------------------------------

    def kind(self, path: str) -> _Kind:
        """Return what stands at this path, as far as it is certain."""
        if path == "/":
            return "directory"
        node = self.nodes.get(path)
        if isinstance(node, _Directory):
            return "directory" if self._stands(path, node.since) else "unknown"
        if isinstance(node, File):
            certain = node.doubt is None and node.inside is None and node.since == len(self.runs)
            return "file" if certain else "unknown"
        return "absent" if self.is_known and not self.sparse else "unknown"

    def _stands(self, path: str, since: int) -> bool:
        """Return whether a directory is still one: only a `RUN` that works in it cannot have taken it away."""
        return all(workdir and is_within(workdir, path) for _, workdir in self.runs[since:])

    def make_directory(self, path: str) -> None:
        """Note that this path is a directory from here on."""
        while path != "/" and self.kind(path) != "directory":
            before = self.nodes.get(path)
            self.nodes[path] = _Directory(since=len(self.runs))
            if isinstance(before, File) and before.origin is not None:
                self._was_directory(path, before)
            path = posixpath.dirname(path)

    def _was_directory(self, path: str, file: File) -> None:
        # The builder makes no directory over a file; so it was one, unless a RUN came between.
        if file.inside is not None and file.since == len(self.runs):
            self.nodes[file.inside] = replace(file, inside=None)
        elif file.origin is not None:
            self.lost.setdefault(file.origin, _why(path, file.line))

    def put(self, path: str, file: File, *, line: int, inside: str | None = None) -> None:
        """Note that this file stands at `path` from here on, or else at `inside`."""
        self.make_directory(posixpath.dirname(path))
        self.nodes[path] = replace(file, line=line, since=len(self.runs), inside=inside)
        self.has_links |= file.target is not None

    def doubt(self, path: str, why: Unknown, *, below: bool = False) -> None:
        """Note that the file at `path`, or any file below it, may have been replaced."""
        for each in [path, *(known for known in self.nodes if below and is_within(known, path))]:
            node = self.nodes.get(each)
            if isinstance(node, File):
                self.nodes[each] = replace(node, doubt=why)

    def destinations(self) -> dict[str, Destinations]:
        """Return where the files of the context are, for all that are or may be here."""
        found = {origin: Destinations(doubts=(why,)) for origin, why in self.lost.items()}
        for path, node in sorted(self.nodes.items()):
            if not isinstance(node, File) or node.origin is None:
                continue
            known = found.get(node.origin, Destinations())
            runs = self._later(node)
            if node.doubt is not None:
                known = replace(known, doubts=tuple(dict.fromkeys((*known.doubts, node.doubt))))
            elif node.inside is not None:
                why = _why(path, node.line)
                choice = Choice(path=path, inside=node.inside, why=why, line=node.line, runs=runs)
                known = replace(known, choices=(*known.choices, choice))
            else:
                known = replace(known, landed=(*known.landed, Landed(path=path, line=node.line, runs=runs)))
            found[node.origin] = known
        return found


def is_within(path: str, directory: str) -> bool:
    """Return whether `path` is this directory or lies in it."""
    return directory in {path, "/"} or path.startswith(directory + "/")


_NO_LINKS: Final = Links({})


def _parents(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parent = posixpath.dirname(path)
        while parent and parent not in found:
            found.add(parent)
            parent = posixpath.dirname(parent)
    return found


def _why(path: str, line: int) -> Unknown:
    return Unknown(message=f"whether `{path}` is a directory is up to the base image or a `RUN`", line=line)
