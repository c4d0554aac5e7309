"""What a `COPY` or `ADD` takes of the place that it copies from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from devloop.core.dockerfile.file_systems import ContextFiles, File, FileSystem
from devloop.core.dockerfile.sources import Selector, Source, SourceKind
from devloop.core.dockerfile.stages import Copy, CopySource
from devloop.core.patterns import Glob, is_glob

__all__ = ["Origin", "Taken", "may_lead_through_link", "selected", "selector_of"]

Origin: TypeAlias = ContextFiles | FileSystem


@dataclass(frozen=True, slots=True)
class Taken:
    """What is copied of one thing that a source names.

    Attributes:
        root: The file or directory that the source names.
        files: The files that are copied, by their paths.
        directories: The directories below the root.
    """

    root: str
    files: list[tuple[str, File]]
    directories: list[str]


def selected(source: CopySource, operation: Copy, origin: Origin) -> Iterator[Taken]:
    """Yield what a source names, in the order of the builder."""
    selector = selector_of(source, operation)
    found: dict[str, Taken] = {}
    files, directories = _candidates(source.pattern, origin)
    for path in directories:
        root = selector.root_of(path)
        if root is not None:
            taken = found.setdefault(root, Taken(root, [], []))
            if path != root:
                taken.directories.append(path)
    for path, file in files:
        root = selector.root_of(path)
        if root is not None:
            found.setdefault(root, Taken(root, [], [])).files.append((path, file))
    if not is_glob(source.pattern) and (isinstance(origin, ContextFiles) or origin.is_known):
        # What is named and not found is a directory without files, or the builder would complain.
        found.setdefault(source.pattern, Taken(source.pattern, [], []))
    for root, taken in sorted(found.items()):
        if origin.is_link(root):
            # What a link names is copied under the name of the link.
            actual = origin.file(root)
            below = [(root, actual)] if actual else list(origin.under(root))
            yield Taken(root, below, list(origin.directories_under(root)))
        else:
            yield taken


def may_lead_through_link(source: CopySource, origin: FileSystem) -> bool:
    """Return whether a pattern may find something by way of a symbolic link of the file system."""
    links = origin.links().targets
    if not links or not is_glob(source.pattern):
        return False
    glob = Glob(source.pattern)
    depth = source.pattern.count("/")
    return any(link.count("/") <= depth and glob.may_match_below(link) for link in links)


def selector_of(source: CopySource, operation: Copy) -> Selector:
    """Return what decides whether a source of a copy selects a path."""
    return Selector(
        Source(
            pattern=source.pattern,
            below=source.below,
            excludes=operation.excludes,
            kind=SourceKind.COPY,
            line=operation.line,
            instruction="",
        )
    )


def _candidates(pattern: str, origin: Origin) -> tuple[Iterable[tuple[str, File]], Iterable[str]]:
    start = _literal_start(pattern)
    if not is_glob(pattern) and pattern and (file := origin.file(pattern)) is not None:
        return [(pattern, file)], ()
    return origin.under(start), origin.directories_under(start)


def _literal_start(pattern: str) -> str:
    """Return the directory that everything which the pattern matches lies below, or the name that it is."""
    if not is_glob(pattern):
        return pattern
    parts = pattern.split("/")
    return "/".join(parts[: next(index for index, part in enumerate(parts) if is_glob(part))])
