"""The instructions of a stage, played on file systems that know only names."""

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from devloop.core.dockerfile.file_systems import ContextFiles, File, FileSystem
from devloop.core.dockerfile.stages import Copy, CopySource, MakeDirectory, Operation, Run, Stage, Unknown
from devloop.core.dockerfile.taking import Origin, Taken, may_lead_through_link, selected, selector_of
from devloop.core.patterns import is_glob

__all__ = ["play"]


def play(
    stage: Stage,
    systems: Mapping[int, FileSystem],
    context: ContextFiles,
    *,
    may_be_archive: Callable[[str], bool] = lambda _: True,
    after: Callable[[Operation, FileSystem], None] = lambda _operation, _system: None,
) -> FileSystem:
    """Return the file system at the end of a stage, given those of the stages before it.

    Args:
        stage: The stage.
        systems: The file systems of the stages before it.
        context: The build context.
        may_be_archive: Whether a file of the context may be one that `ADD` unpacks.
        after: Called after each operation.
    """
    system = systems[stage.base].copy() if stage.base is not None else FileSystem(opaque=stage.image is not None)
    if stage.image is not None:
        system.workdir = None
    for operation in stage.operations:
        match operation:
            case MakeDirectory(path=path):
                system.workdir = path
                if path is None or system.leads_through_link(path):
                    system.sparse = True
                else:
                    system.make_directory(path)
            case Run(line=line):
                system.runs.append((line, system.workdir))
            case Copy():
                _Copying(operation, stage.index, system, _origin(operation, systems, context), may_be_archive).do()
        after(operation, system)
    return system


def _origin(operation: Copy, systems: Mapping[int, FileSystem], context: ContextFiles) -> Origin:
    if operation.stage is not None:
        return systems[operation.stage]
    if operation.image is not None:
        return FileSystem(opaque=operation.image != "scratch")
    return context


@dataclass(slots=True)
class _Copying:
    """One `COPY` or `ADD` at work."""

    operation: Copy
    stage: int
    system: FileSystem
    origin: Origin
    may_be_archive: Callable[[str], bool]

    def do(self) -> None:
        operation = self.operation
        if isinstance(self.origin, FileSystem):
            self._carry_losses(self.origin)
            self.system.sparse |= self.origin.sparse
        if self._brings_unknown():
            self._spoil(f"line {operation.line} may put something else there")
        for source in operation.sources:
            if source is None:
                self._lose(self.origin.under(""), "its source is not known")
            elif isinstance(self.origin, FileSystem) and may_lead_through_link(source, self.origin):
                self._lose(self.origin.under(""), "a symbolic link may lead to it")
                self._spoil(f"line {operation.line} may put something else there")
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
        """Note files that go nobody knows where."""
        unknown = self._unknown(f"it is copied in line {self.operation.line}, but {why}")
        for _, file in found:
            if file.origin is not None:
                self.system.lost.setdefault(file.origin, unknown)

    def _copy(self, source: CopySource) -> None:
        for taken in selected(source, self.operation, self.origin):
            file = self.origin.file(taken.root) if taken.root and source.below is None else None
            if file is not None:
                if taken.files:
                    self._put_file(posixpath.basename(taken.root), file)
                    below = [found for found in taken.files if found[0] != taken.root]
                    self._lose(below, f"whether `/{taken.root}` is a directory is not known")
            else:
                self._put_directory(taken)
        if isinstance(self.origin, ContextFiles) and not self.origin.is_listed:
            self._allow_for_empty_directories(source)

    def _allow_for_empty_directories(self, source: CopySource) -> None:
        if is_glob(source.pattern) or self.origin.file(source.pattern) is None:
            self.system.sparse = True

    def _put_directory(self, taken: Taken) -> None:
        destination = self.operation.destination
        skip = len(taken.root) + 1 if taken.root else 0
        if destination is None:
            self._lose(taken.files, "the directory that it is copied to is not known")
            self._doubt_everywhere(path[skip:] for path, _ in taken.files)
            return
        if self.system.leads_through_link(destination):
            self._lose_in_link(taken.files)
            return
        self.system.make_directory(destination)
        for path, file in taken.files:
            self._put(posixpath.join(destination, path[skip:]), file)
        if self.operation.excludes or self.operation.parents:
            # Engines differ in which directories they make of those that hold nothing that is copied.
            self.system.sparse = True
            return
        for path in taken.directories:
            self.system.make_directory(posixpath.join(destination, path[skip:]))

    def _put_file(self, name: str, file: File) -> None:
        operation = self.operation
        destination = operation.destination
        if self._may_exclude(name):
            self._lose([(name, file)], "engines differ in whether `--exclude` holds for a source that is a file")
            self._spoil(f"line {operation.line} may put something else there")
            return
        if destination is None:
            self._lose([(name, file)], "the directory that it is copied to is not known")
            self._doubt_everywhere([name])
            return
        if operation.unpacks and file.origin is not None and self.may_be_archive(file.origin):
            self._lose([(name, file)], "it may be an archive, which `ADD` unpacks")
            self._spoil(f"line {operation.line} may unpack something there")
            return
        inside = posixpath.join(destination, name)
        if self.system.leads_through_link(destination):
            self._lose_in_link([(name, file)])
            return
        match self._is_directory(destination):
            case True:
                self.system.make_directory(destination)
                self._put(inside, file)
            case False:
                self._put(destination, file)
            case None:
                self.system.doubt(inside, self._unknown(f"line {operation.line} may replace it"))
                # Whichever of the two it is, what stood there before may be gone or not.
                self.system.doubt(destination, self._unknown(f"line {operation.line} may replace it"), below=True)
                if isinstance(self.system.nodes.get(destination), File):
                    self._lose([(name, file)], f"whether `{destination}` is a directory is not known")
                else:
                    self._put(destination, file, inside=inside)

    def _may_exclude(self, name: str) -> bool:
        if not self.operation.excludes:
            return False
        return selector_of(CopySource(pattern=name), self.operation).may_exclude(name)

    def _lose_in_link(self, found: Iterable[tuple[str, File]]) -> None:
        self._lose(found, "a symbolic link stands in its way")
        self.system.doubt("/", self._unknown(f"line {self.operation.line} may replace it through a link"), below=True)

    def _doubt_everywhere(self, names: Iterable[str]) -> None:
        """Note that files of these names, which go nobody knows where, may have replaced others of the same name."""
        ends: dict[str, tuple[str, ...]] = {}
        for name in names:
            last = posixpath.basename(name)
            ends[last] = (*ends.get(last, ()), f"/{name}")
        why = self._unknown(f"line {self.operation.line} may replace it")
        for path in [path for path in self.system.nodes if path.endswith(ends.get(posixpath.basename(path), ()))]:
            self.system.doubt(path, why)

    def _put(self, path: str, file: File, inside: str | None = None) -> None:
        if self.system.leads_through_link(path):
            self._lose_in_link([(path, file)])
            return
        entered = (self.stage, self.operation.line) if self.operation.from_context else file.entered
        self.system.put(path, replace(file, entered=entered), line=self.operation.line, inside=inside)

    def _is_directory(self, destination: str) -> bool | None:
        if self.operation.into_directory or destination == "/":
            return True
        kind = self.system.kind(destination)
        if self.operation.link and kind == "directory":
            # Engines that make the layer apart replace the directory, others put the file into it.
            return None
        return None if kind == "unknown" else kind == "directory"
