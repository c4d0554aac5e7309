"""Where files of the context end up in the image.

The instructions of the needed stages are played on file systems that know only names: which path holds which file of the
context, and what may have been there before or been changed since. What a base image or a `RUN` makes is not known, and a
destination that depends on it is reported as unknown: a wrong destination would be worse than none.
"""

import bisect
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from devloop.core.build_model import BuildFacts, Copy, CopySource, MakeDirectory, Run, Stage, Unknown
from devloop.core.links import Links
from devloop.core.patterns import is_glob
from devloop.core.sources import Selector, Source, SourceKind

__all__ = ["Destinations", "Landed", "Landing", "land"]


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
class Destinations:
    """Where a file of the context is in the image.

    Attributes:
        landed: Its places. None, and nothing unknown either, means that it is not in the image as such.
        unknown: Why there may be other places, or why a place may hold something else.
        read_at: The lines that read it.
    """

    landed: tuple[Landed, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    read_at: tuple[int, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The absolute paths."""
        return tuple(each.path for each in self.landed)


class Landing:
    """The destinations of all files of a context."""

    __slots__ = ("_facts", "_found")

    def __init__(self, facts: BuildFacts, found: Mapping[str, Destinations]) -> None:
        self._facts = facts
        self._found = found

    def of(self, path: str) -> Destinations:
        """Return where this file of the context is in the image."""
        found = self._found.get(path, _NOWHERE)
        return replace(found, read_at=tuple(dict.fromkeys(source.line for source in self._facts.selects(path))))

    def files(self) -> Mapping[str, Destinations]:
        """Return the destinations of all files that reach the image, or may."""
        return self._found


_NOWHERE: Final = Destinations()


def land(facts: BuildFacts, files: Iterable[str], links: Mapping[str, str] | None = None) -> Landing:
    """Return where the files of the context end up in the image.

    Args:
        facts: The build.
        files: The files and symbolic links of the context, less what `.dockerignore` keeps out.
        links: The symbolic links among them, with their targets.
    """
    context = _Context(sorted(files), Links(links or {}))
    systems: dict[int, _FileSystem] = {}
    for index in sorted(facts.stages):
        systems[index] = _play(facts.stages[index], systems, context)
    return Landing(facts, systems[max(systems)].destinations())


@dataclass(frozen=True, slots=True)
class _File:
    """A file in the image; `origin` is its path in the context, None when it comes from elsewhere."""

    origin: str | None
    line: int
    runs: tuple[int, ...]
    since: int
    doubt: Unknown | None = None


@dataclass(frozen=True, slots=True)
class _Directory:
    since: int


_Node: TypeAlias = _File | _Directory
_Kind: TypeAlias = Literal["directory", "file", "absent", "unknown"]


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that a source selects: its name below the root of the source, and what it is."""

    rest: str
    name: str
    node: _File


class _Context:
    """The files of the context, as a place to copy from."""

    def __init__(self, paths: list[str], links: Links) -> None:
        self._paths = paths
        self._links = links

    def under(self, directory: str) -> Iterator[tuple[str, _File]]:
        """Yield everything below a directory by its name as seen through symbolic links, with the file itself."""
        actual = self._links.resolve(directory)
        if actual is None:
            return
        prefix = f"{actual}/" if actual else ""
        start = bisect.bisect_left(self._paths, prefix)
        for path in self._paths[start:]:
            if not path.startswith(prefix):
                return
            apparent = f"{directory}/{path[len(prefix) :]}" if directory else path
            yield apparent, _File(origin=path, line=0, runs=(), since=0)

    def file(self, path: str) -> _File | None:
        actual = self._links.resolve(path)
        if actual is None:
            return None
        position = bisect.bisect_left(self._paths, actual)
        if position < len(self._paths) and self._paths[position] == actual:
            return _File(origin=actual, line=0, runs=(), since=0)
        return None

    def is_link(self, path: str) -> bool:
        return path in self._links.targets


@dataclass(slots=True)
class _FileSystem:
    nodes: dict[str, _Node] = field(default_factory=dict)
    opaque: bool = False
    runs: list[tuple[int, str | None]] = field(default_factory=list)
    workdir: str | None = "/"
    lost: dict[str, Unknown] = field(default_factory=dict)

    def copy(self) -> "_FileSystem":
        return _FileSystem(dict(self.nodes), self.opaque, list(self.runs), self.workdir, dict(self.lost))

    @property
    def is_known(self) -> bool:
        return not self.opaque and not self.runs

    # --- as a place to copy from ------------------------------------------------------------------------------------

    def under(self, directory: str) -> Iterator[tuple[str, _File]]:
        prefix = f"/{directory}/" if directory else "/"
        for path, node in self.nodes.items():
            if isinstance(node, _File) and path.startswith(prefix):
                yield path[1:], self._current(node)

    def file(self, path: str) -> _File | None:
        node = self.nodes.get(f"/{path}")
        return self._current(node) if isinstance(node, _File) else None

    def is_link(self, path: str) -> bool:  # noqa: ARG002 - the other place to copy from has links
        return False

    def _current(self, node: _File) -> _File:
        later = tuple(line for line, _ in self.runs[node.since :])
        return replace(node, runs=(*node.runs, *later), since=0)

    # --- as a place to copy to --------------------------------------------------------------------------------------

    def kind(self, path: str) -> _Kind:
        if path == "/":
            return "directory"
        node = self.nodes.get(path)
        if isinstance(node, _Directory) and self._stands(path, node.since):
            return "directory"
        if isinstance(node, _File) and node.doubt is None and node.since == len(self.runs):
            return "file"
        if node is None and self.is_known:
            return "absent"
        return "unknown"

    def _stands(self, path: str, since: int) -> bool:
        """Return whether a directory is still one: only a `RUN` that works in it cannot have taken it away."""
        return all(workdir and _is_within(workdir, path) for _, workdir in self.runs[since:])

    def make_directory(self, path: str) -> None:
        while path != "/" and self.kind(path) != "directory":
            self.nodes[path] = _Directory(since=len(self.runs))
            path = posixpath.dirname(path)

    def put(self, path: str, file: _File, line: int) -> None:
        self.make_directory(posixpath.dirname(path))
        self.nodes[path] = replace(file, line=line, since=len(self.runs))

    def doubt(self, path: str, why: Unknown, *, below: bool) -> None:
        """Note that the file at `path`, or any file below it, may have been replaced."""
        node = self.nodes.get(path)
        if isinstance(node, _File):
            self.nodes[path] = replace(node, doubt=why)
        if below:
            for each, found in self.nodes.items():
                if isinstance(found, _File) and _is_within(each, path):
                    self.nodes[each] = replace(found, doubt=why)

    def destinations(self) -> dict[str, Destinations]:
        landed: dict[str, list[Landed]] = {}
        unknown: dict[str, list[Unknown]] = {origin: [why] for origin, why in self.lost.items()}
        for path, node in self.nodes.items():
            if not isinstance(node, _File) or node.origin is None:
                continue
            if node.doubt is not None:
                unknown.setdefault(node.origin, []).append(node.doubt)
                continue
            current = self._current(node)
            landed.setdefault(node.origin, []).append(Landed(path=path, line=node.line, runs=current.runs))
        return {
            origin: Destinations(
                landed=tuple(sorted(landed.get(origin, ()), key=lambda each: each.path)),
                unknown=tuple(dict.fromkeys(unknown.get(origin, ()))),
            )
            for origin in sorted({*landed, *unknown})
        }


def _is_within(path: str, directory: str) -> bool:
    return path == directory or directory == "/" or path.startswith(directory + "/")


def _play(stage: Stage, systems: Mapping[int, _FileSystem], context: _Context) -> _FileSystem:
    system = systems[stage.base].copy() if stage.base is not None else _FileSystem(opaque=stage.image is not None)
    if stage.image is not None:
        system.workdir = None
    for operation in stage.operations:
        match operation:
            case MakeDirectory(path=path):
                system.workdir = path
                if path is None:
                    system.opaque = True
                else:
                    system.make_directory(path)
            case Run(line=line):
                system.runs.append((line, system.workdir))
            case Copy():
                _Copying(operation, system, _origin(operation, systems, context)).do()
    return system


def _origin(operation: Copy, systems: Mapping[int, _FileSystem], context: _Context) -> "_Origin":
    if operation.stage is not None:
        return systems[operation.stage]
    if operation.image is not None:
        return _FileSystem(opaque=operation.image != "scratch")
    return context


_Origin: TypeAlias = _Context | _FileSystem


@dataclass(slots=True)
class _Copying:
    """One `COPY` or `ADD` at work."""

    operation: Copy
    system: _FileSystem
    origin: _Origin

    def do(self) -> None:
        operation = self.operation
        if isinstance(self.origin, _FileSystem):
            self._carry_losses(self.origin)
        if self._brings_unknown():
            self._spoil(f"line {operation.line} may put something else there")
        for source in operation.sources:
            if source is None:
                self._lose(self.origin.under(""), "its source is not known")
            else:
                self._copy(source)
        for name in operation.documents:
            self._put_file(name, _File(origin=None, line=0, runs=(), since=0))

    def _unknown(self, why: str) -> Unknown:
        return Unknown(message=why, line=self.operation.line)

    def _carry_losses(self, origin: _FileSystem) -> None:
        # A file somewhere in the other stage may be among what is copied.
        for path, why in origin.lost.items():
            self.system.lost.setdefault(path, why)

    def _brings_unknown(self) -> bool:
        operation, origin = self.operation, self.origin
        if operation.remote:
            return True
        if isinstance(origin, _Context) or origin.is_known:
            return False
        return not all(
            source is not None and not is_glob(source.pattern) and origin.file(source.pattern) is not None
            for source in operation.sources
        )

    def _spoil(self, message: str) -> None:
        destination = self.operation.destination
        self.system.doubt(destination or "/", self._unknown(message), below=True)
        if destination and self.operation.into_directory:
            self.system.make_directory(destination)
        self.system.opaque = True

    def _lose(self, found: Iterable[tuple[str, _File]], why: str) -> None:
        unknown = self._unknown(f"it is copied in line {self.operation.line}, but {why}")
        for _, file in found:
            if file.origin is not None:
                self.system.lost.setdefault(file.origin, unknown)

    def _copy(self, source: CopySource) -> None:
        for root, files in self._roots(source):
            file = self.origin.file(root) if root and source.below is None else None
            if file is not None:
                if files:
                    self._put_file(posixpath.basename(root), file)
            else:
                self._put_directory(root, files)

    def _roots(self, source: CopySource) -> Iterator[tuple[str, list[tuple[str, _File]]]]:
        """Yield what the source names, each with what is selected of it."""
        selector = Selector(
            Source(
                pattern=source.pattern,
                below=source.below,
                excludes=self.operation.excludes,
                kind=SourceKind.COPY,
                line=self.operation.line,
                instruction="",
            )
        )
        found: dict[str, list[tuple[str, _File]]] = {}
        for path, file in self._candidates(source.pattern):
            root = selector.root_of(path)
            if root is not None:
                found.setdefault(root, []).append((path, file))
        for root, files in sorted(found.items()):
            if self.origin.is_link(root):
                # What a link names is copied under the name of the link.
                actual = self.origin.file(root)
                yield root, [(root, actual)] if actual else list(self.origin.under(root))
            else:
                yield root, files

    def _candidates(self, pattern: str) -> Iterator[tuple[str, _File]]:
        if not is_glob(pattern):
            file = self.origin.file(pattern) if pattern else None
            if file is not None:
                yield pattern, file
            else:
                yield from self.origin.under(pattern)
            return
        parts = pattern.split("/")
        literal = next(index for index, part in enumerate(parts) if is_glob(part))
        yield from self.origin.under("/".join(parts[:literal]))

    def _put_directory(self, root: str, files: list[tuple[str, _File]]) -> None:
        destination = self.operation.destination
        if destination is None:
            self._lose(files, "the directory that it is copied to is not known")
            return
        self.system.make_directory(destination)
        skip = len(root) + 1 if root else 0
        for path, file in files:
            self.system.put(posixpath.join(destination, path[skip:]), file, self.operation.line)

    def _put_file(self, name: str, file: _File) -> None:
        operation = self.operation
        destination = operation.destination
        inside = posixpath.join(destination or "/", name)
        why = ""
        if destination is None:
            why = "the directory that it is copied to is not known"
        elif operation.unpacks and _may_be_archive(name):
            why = "it may be an archive, which `ADD` unpacks"
            self._spoil(f"line {operation.line} may unpack something there")
        elif self._is_directory(destination) is None:
            why = f"whether `{destination}` is a directory is up to the base image or a `RUN`"
            for place in (destination, inside):
                self.system.doubt(place, self._unknown(f"line {operation.line} may replace it"), below=False)
        if why or destination is None:
            self._lose([(name, file)], why)
        elif self._is_directory(destination):
            self.system.make_directory(destination)
            self.system.put(inside, file, operation.line)
        else:
            self.system.put(destination, file, operation.line)

    def _is_directory(self, destination: str) -> bool | None:
        if self.operation.into_directory or destination == "/":
            return True
        kind = self.system.kind(destination)
        if self.operation.link and kind == "directory":
            # Engines that make the layer apart replace the directory, others put the file into it.
            return None
        return None if kind == "unknown" else kind == "directory"


def _may_be_archive(name: str) -> bool:
    stem, dot, suffix = name.lower().rpartition(".")
    return bool(dot) and (suffix in _ARCHIVES or stem.endswith(".tar"))


_ARCHIVES: Final = frozenset(
    {"tar", "tgz", "tbz", "tbz2", "txz", "tzst", "tzo", "gz", "bz2", "xz", "zst", "lz", "lzma"}
)
