"""Where files of the context end up in the image.

The instructions of the needed stages are played on file systems that know only names: which path holds which file of
the context, and what may have been there before or been changed since. What a base image or a `RUN` makes is not known,
and a destination that depends on it is reported as unknown: a wrong destination would be worse than none.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from devloop.core.build_model import BuildFacts, Copy, CopySource, MakeDirectory, Run, Stage, Unknown
from devloop.core.file_systems import Choice, ContextFiles, Destinations, File, FileSystem, Landed
from devloop.core.links import Links
from devloop.core.patterns import is_glob
from devloop.core.sources import Selector, Source, SourceKind

__all__ = ["Choice", "Destinations", "Landed", "Landing", "land"]


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
    context = ContextFiles(sorted(files), Links(links or {}))
    systems: dict[int, FileSystem] = {}
    for index in sorted(facts.stages):
        systems[index] = _play(facts.stages[index], systems, context)
    return Landing(facts, systems[max(systems)].destinations())


def _play(stage: Stage, systems: Mapping[int, FileSystem], context: ContextFiles) -> FileSystem:
    system = systems[stage.base].copy() if stage.base is not None else FileSystem(opaque=stage.image is not None)
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


def _origin(operation: Copy, systems: Mapping[int, FileSystem], context: ContextFiles) -> "_Origin":
    if operation.stage is not None:
        return systems[operation.stage]
    if operation.image is not None:
        return FileSystem(opaque=operation.image != "scratch")
    return context


_Origin: TypeAlias = ContextFiles | FileSystem


@dataclass(slots=True)
class _Copying:
    """One `COPY` or `ADD` at work."""

    operation: Copy
    system: FileSystem
    origin: _Origin

    def do(self) -> None:
        operation = self.operation
        if isinstance(self.origin, FileSystem):
            self._carry_losses(self.origin)
        if self._brings_unknown():
            self._spoil(f"line {operation.line} may put something else there")
        for source in operation.sources:
            if source is None:
                self._lose(self.origin.under(""), "its source is not known")
            else:
                self._copy(source)
        for name in operation.documents:
            self._put_file(name, File(origin=None))

    def _unknown(self, why: str) -> Unknown:
        return Unknown(message=why, line=self.operation.line)

    def _carry_losses(self, origin: FileSystem) -> None:
        # A file somewhere in the other stage may be among what is copied.
        for path, why in origin.lost.items():
            self.system.lost.setdefault(path, why)

    def _brings_unknown(self) -> bool:
        operation, origin = self.operation, self.origin
        if operation.remote:
            return True
        if isinstance(origin, ContextFiles) or origin.is_known:
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

    def _lose(self, found: Iterable[tuple[str, File]], why: str) -> None:
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

    def _roots(self, source: CopySource) -> Iterator[tuple[str, list[tuple[str, File]]]]:
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
        found: dict[str, list[tuple[str, File]]] = {}
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

    def _candidates(self, pattern: str) -> Iterator[tuple[str, File]]:
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

    def _put_directory(self, root: str, files: list[tuple[str, File]]) -> None:
        destination = self.operation.destination
        if destination is None:
            self._lose(files, "the directory that it is copied to is not known")
            return
        self.system.make_directory(destination)
        skip = len(root) + 1 if root else 0
        for path, file in files:
            self.system.put(posixpath.join(destination, path[skip:]), file, line=self.operation.line)

    def _put_file(self, name: str, file: File) -> None:
        operation = self.operation
        destination = operation.destination
        if destination is None:
            self._lose([(name, file)], "the directory that it is copied to is not known")
            return
        if operation.unpacks and _may_be_archive(name):
            self._lose([(name, file)], "it may be an archive, which `ADD` unpacks")
            self._spoil(f"line {operation.line} may unpack something there")
            return
        inside = posixpath.join(destination, name)
        match self._is_directory(destination):
            case True:
                self.system.make_directory(destination)
                self.system.put(inside, file, line=operation.line)
            case False:
                self.system.put(destination, file, line=operation.line)
            case None:
                self.system.doubt(inside, self._unknown(f"line {operation.line} may replace it"))
                if isinstance(self.system.nodes.get(destination), File):
                    # Whichever of the two it is, what stood there before may be gone or not.
                    self._lose([(name, file)], f"whether `{destination}` is a directory is not known")
                    self.system.doubt(destination, self._unknown(f"line {operation.line} may replace it"))
                else:
                    self.system.put(destination, file, line=operation.line, inside=inside)

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
