"""Inputs that nothing of the image is made of, though an instruction reads them.

`COPY . /w` in one stage and `COPY --from=one /w/src /` in the next make an input of `src` alone. The stages are played,
and what is looked at is noted: whatever becomes a layer of the image or is there before a `RUN`, which may do something
else each time it runs; and what such stages take of others. Where the play cannot know, all that may be looked at
counts.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from devloop.core.dockerfile.file_systems import ContextFiles, File, FileSystem
from devloop.core.dockerfile.links import Links
from devloop.core.dockerfile.playing import play
from devloop.core.dockerfile.sources import Source, SourceKind
from devloop.core.dockerfile.stages import Copy, CopySource, Operation, Run, Stage
from devloop.core.dockerfile.taking import may_lead_through_link, selected

__all__ = ["narrowed"]


def narrowed(
    inputs: Mapping[str, tuple[Source, ...]],
    stages: Mapping[int, Stage],
    *,
    directories: Iterable[str] | None,
    links: Mapping[str, str],
    may_be_archive: Callable[[str], bool],
) -> dict[str, tuple[Source, ...]]:
    """Return the inputs without those that cannot change the image.

    Args:
        inputs: What the sources select.
        stages: The needed stages; the last one is built.
        directories: The directories of the context, None when they are not known.
        links: The symbolic links among the inputs, with their targets.
        may_be_archive: Whether a file of the context may be one that `ADD` unpacks.
    """
    viewer = _Viewer()
    context = ContextFiles(inputs, directories, Links(links))
    for index, stage in sorted(stages.items()):
        viewer.begin(stage)
        note = functools.partial(viewer.note, viewer.brought[index])
        viewer.systems[index] = play(stage, viewer.systems, context, may_be_archive=may_be_archive, after=note)
    viewer.see(viewer.brought[max(stages)])
    kept: dict[str, tuple[Source, ...]] = {}
    for path, sources in inputs.items():
        left = tuple(each for each in sources if viewer.needs(path, each))
        if left:
            kept[path] = left
    return kept


@dataclass(slots=True, kw_only=True)
class _Brought:
    """What the instructions of a stage and of those it continues have brought so far.

    Attributes:
        stage: The stage.
        instructions: Those that copied from the context, by stage and line.
        files: What was copied from other stages: the instruction that took it from the context, and the file.
    """

    stage: int
    instructions: set[tuple[int, int]] = field(default_factory=set)
    files: set[tuple[int, int, str]] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class _Viewer:
    """Notes which files of the context something looks at, and as brought by which instruction."""

    systems: dict[int, FileSystem] = field(default_factory=dict)
    brought: dict[int, _Brought] = field(default_factory=dict)
    instructions: set[tuple[int, int]] = field(default_factory=set)
    files: set[tuple[int, int, str]] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)

    def needs(self, path: str, source: Source) -> bool:
        """Return whether something looks at the file as this source brings it, or misses it when it is gone."""
        is_named = source.pattern == path and not source.is_glob and not source.is_found
        if is_named or source.kind is SourceKind.BIND or path in self.lost:
            return True
        instruction = (source.stage, source.line)
        return instruction in self.instructions or (*instruction, path) in self.files

    def begin(self, stage: Stage) -> None:
        """Note that a stage starts with what the one that it continues has brought."""
        own = self.brought[stage.index] = _Brought(stage=stage.index)
        if stage.base is not None:
            before = self.brought[stage.base]
            own.instructions |= before.instructions
            own.files |= before.files

    def note(self, brought: _Brought, operation: Operation, system: FileSystem) -> None:
        """Note what an operation brings, or looks at."""
        self.lost |= system.lost.keys()
        match operation:
            case Run(mounts=mounts):
                self.see(brought)
                for origin, path in mounts:
                    self.files |= _entries(self._mounted(CopySource(pattern=path), origin))
            case Copy(stage=int(origin)):
                brought.files |= _entries(self._taken(operation, origin))
            case Copy():
                brought.instructions.add((brought.stage, operation.line))
            case _:
                pass

    def see(self, brought: _Brought) -> None:
        """Note that something looks at all of this."""
        self.instructions |= brought.instructions
        self.files |= brought.files

    def _taken(self, operation: Copy, origin: int) -> Iterator[File]:
        system = self.systems[origin]
        for source in operation.sources:
            if source is None or not _is_sure(source, system):
                yield from _all(system)
            else:
                yield from system.passed(source.pattern)
                for taken in selected(source, operation, system):
                    yield from (file for _, file in taken.files)

    def _mounted(self, source: CopySource, origin: int) -> Iterator[File]:
        system = self.systems[origin]
        if not _is_sure(source, system):
            yield from _all(system)
            return
        yield from system.passed(source.pattern)
        file = system.file(source.pattern)
        if file is not None:
            yield file
        yield from (below for _, below in system.under(source.pattern))


def _is_sure(source: CopySource, system: FileSystem) -> bool:
    """Return whether it is known what this source means in a stage."""
    return source.pattern == "" or (system.is_known and not may_lead_through_link(source, system))


def _all(system: FileSystem) -> Iterator[File]:
    return (file for _, file in system.under(""))


def _entries(files: Iterable[File]) -> set[tuple[int, int, str]]:
    """Return the files, and the links that led to them, with the instruction that took them from the context."""
    found: set[tuple[int, int, str]] = set()
    for file in files:
        if file.entered is not None and file.origin is not None:
            found.update((*file.entered, path) for path in (file.origin, *file.by))
    return found
