"""Inputs that only reach a stage of which something else is taken.

`COPY . /w` in one stage and `COPY --from=one /w/src /` in the next make an input of `src` alone. That can be said for
sure where the first stage holds nothing but files of the context: it starts from nothing, runs nothing, and there are
no symbolic links. Elsewhere everything that a stage reads counts.
"""

from collections.abc import Iterable, Iterator, Mapping

from devloop.core.file_systems import ContextFiles, File, FileSystem
from devloop.core.links import Links
from devloop.core.playing import play, selected
from devloop.core.sources import Source
from devloop.core.stages import Copy, Run, Stage

__all__ = ["narrowed"]


def narrowed(
    inputs: Mapping[str, tuple[Source, ...]], stages: Mapping[int, Stage], directories: Iterable[str]
) -> dict[str, tuple[Source, ...]]:
    """Return the inputs without those that cannot reach the image.

    Args:
        inputs: What the sources select, of all files of a context without symbolic links.
        stages: The needed stages; the last one is built.
        directories: The directories of the context.
    """
    plain = _plain_stages(stages)
    narrow = plain - _continued(stages, plain)
    if not narrow:
        return dict(inputs)
    context = ContextFiles(inputs, directories, Links({}))
    systems: dict[int, FileSystem] = {}
    for index in sorted(plain):
        systems[index] = play(stages[index], systems, context)
        if systems[index].opaque or systems[index].lost:
            return dict(inputs)
    taken = {
        (*file.entered, file.origin)
        for index, stage in stages.items()
        if index not in narrow
        for file in _taken(stage, systems)
        if file.entered is not None
    }
    kept: dict[str, tuple[Source, ...]] = {}
    for path, sources in inputs.items():
        left = tuple(each for each in sources if each.stage not in narrow or (each.stage, each.line, path) in taken)
        if left:
            kept[path] = left
    return kept


def _plain_stages(stages: Mapping[int, Stage]) -> frozenset[int]:
    """Return the stages that hold nothing but files of the context."""
    plain: set[int] = set()
    for index, stage in sorted(stages.items()):
        starts_plain = stage.image is None if stage.base is None else stage.base in plain
        if starts_plain and all(_is_plain(each, plain) for each in stage.operations):
            plain.add(index)
    return frozenset(plain)


def _continued(stages: Mapping[int, Stage], plain: frozenset[int]) -> frozenset[int]:
    """Return the stages that become a part of the image, or of a stage that may read all of them."""
    ends = [max(stages), *(index for index in stages if index not in plain)]
    return frozenset(part for index in ends for part in _chain(index, stages))


def _is_plain(operation: object, plain: set[int]) -> bool:
    match operation:
        case Run():
            return False
        case Copy(stage=stage, image=image):
            return image in {None, "scratch"} and (stage is None or stage in plain)
        case _:
            return True


def _chain(index: int, stages: Mapping[int, Stage]) -> Iterator[int]:
    current: int | None = index
    while current is not None:
        yield current
        current = stages[current].base


def _taken(stage: Stage, systems: Mapping[int, FileSystem]) -> Iterator[File]:
    for operation in stage.operations:
        match operation:
            case Copy(stage=int(origin)) if origin in systems:
                for source in operation.sources:
                    if source is None:
                        yield from (file for _, file in systems[origin].under(""))
                    else:
                        for taken in selected(source, operation, systems[origin]):
                            yield from (file for _, file in taken.files)
            case Run(mounts=mounts):
                for origin, path in mounts:
                    if origin in systems:
                        yield from _mounted(path, systems[origin])
            case _:
                pass


def _mounted(path: str, system: FileSystem) -> Iterator[File]:
    file = system.file(path)
    if file is not None:
        yield file
    yield from (below for _, below in system.under(path))
