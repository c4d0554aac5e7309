"""Which files each node reads, and which folders therefore have to be looked at and watched."""

import posixpath
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from devloop.core.dockerfile.sources import Source, table_of
from devloop.core.graph import Graph, ImageDetail, Node, SyncDetail, TaskDetail
from devloop.core.patterns import IgnoreRules
from devloop.model import CopyRule, Digest, NodeId, RelPath
from devloop.runtime.definitions import Tree

__all__ = [
    "FileTable",
    "Readers",
    "Selection",
    "below",
    "folders_of",
    "inside",
    "keep_directory",
    "lies_in",
    "outermost",
    "roots",
    "selections",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The files that a node reads below one folder.

    Attributes:
        node: The node.
        folder: The folder, relative to the project's root.
        signature: Equal for selections that select the same.
        wants: Whether a file (relative to the project's root, below the folder) is read.
        may_want_below: False when nothing in a folder (relative to the root, below `folder`) can be read.
    """

    node: NodeId
    folder: str
    signature: object
    wants: Callable[[str], bool]
    may_want_below: Callable[[str], bool]


class Readers:
    """All selections, found by the path that they may read: with many nodes, few have to do with any one path.

    Args:
        selected: The selections.
    """

    def __init__(self, selected: Iterable[Selection] = ()) -> None:
        self._by_folder: dict[str, list[Selection]] = {}
        for each in selected:
            self._by_folder.setdefault(each.folder, []).append(each)
        self._above: dict[str, tuple[Selection, ...]] = {}

    def around(self, path: str) -> Iterator[Selection]:
        """Yield the selections whose folder is the path or lies above it, whether or not they want it."""
        yield from self._by_folder.get(path, ())
        if path not in {".", ".."}:
            directory = path.rpartition("/")[0] or "."
            above = self._above.get(directory)
            if above is None:
                above = tuple(each for folder in _folders_of(directory) for each in self._by_folder.get(folder, ()))
                self._above[directory] = above
            yield from above

    def of(self, path: str) -> Iterator[Selection]:
        """Yield the selections that read this file."""
        return (each for each in self.around(path) if each.wants(path))

    def wanted(self, path: str) -> bool:
        """Return whether anything reads this file."""
        return any(self.of(path))


class FileTable:
    """The digests of all files that were looked at, found by path and by folder.

    Args:
        digests: The digest of each file.
    """

    def __init__(self, digests: Mapping[RelPath, Digest] | None = None) -> None:
        self.digests: dict[RelPath, Digest] = dict(digests or {})
        self._ordered: list[RelPath] | None = None

    def apply(self, changed: Mapping[RelPath, Digest | None]) -> None:
        """Take over the digests of the files that changed; None for those that are gone."""
        for path, digest in changed.items():
            if (digest is None) == (path in self.digests):
                self._ordered = None
            if digest is None:
                self.digests.pop(path, None)
            else:
                self.digests[path] = digest

    def below(self, folder: str) -> Iterator[tuple[RelPath, Digest]]:
        """Yield the files below a folder, sorted by path, with their digests; a file lies below itself."""
        if self._ordered is None:
            self._ordered = sorted(self.digests)
        ordered = self._ordered
        if folder == ".":
            yield from ((path, self.digests[path]) for path in ordered if below(path, folder))
            return
        if (itself := RelPath(folder)) in self.digests:
            yield itself, self.digests[itself]
        for index in range(bisect_left(ordered, f"{folder}/"), len(ordered)):
            path = ordered[index]
            if not path.startswith(f"{folder}/"):
                return
            yield path, self.digests[path]


def selections(graph: Graph, last_good: Mapping[NodeId, Node]) -> tuple[Selection, ...]:
    """Return what all nodes read; a node with mistakes reads what it did when it was good."""
    good = {each.id: each if each.detail is not None else last_good.get(each.id) for each in graph.nodes.values()}
    return tuple(selection for node in good.values() if node is not None for selection in _of_node(node, good))


def roots(selected: Iterable[Selection], definitions: Iterable[str], trees: Iterable[str] = ()) -> tuple[RelPath, ...]:
    """Return the folders to watch: the project's root and what lies outside of it, none inside another."""
    outside = {each.folder for each in selected if _is_outside(each.folder)}
    outside |= {posixpath.dirname(path) for path in definitions if _is_outside(path)}
    outside |= {folder for folder in trees if _is_outside(folder)}
    return tuple(RelPath(each) for each in (".", *outermost(outside)))


def keep_directory(
    selected: Iterable[Selection], definitions: Iterable[str], trees: Mapping[RelPath, Tree] | None = None
) -> Callable[[RelPath], bool]:
    """Return whether a folder can hold anything that some node reads, or a definition file."""
    charts = (trees or {}).values()
    selected = tuple(selected)
    readers = Readers(selected)
    needed = {parent for path in definitions for parent in _parents(path)}
    needed |= {parent for each in selected for parent in (each.folder, *_parents(each.folder))}
    needed |= {parent for tree in charts for parent in (tree.folder, *_parents(tree.folder))}
    memory: dict[str, bool] = {}

    def keep(directory: RelPath) -> bool:
        known = memory.get(directory)
        if known is None:
            known = (
                directory in needed
                or any(each.may_want_below(directory) for each in readers.around(directory))
                or any(tree.holds(directory) and tree.may_want_below(directory) for tree in charts)
            )
            memory[directory] = known
        return known

    return keep


def folders_of(definitions: Iterable[str]) -> frozenset[RelPath]:
    """Return the folders that definition files lie in."""
    return frozenset(RelPath(posixpath.dirname(path) or ".") for path in definitions)


def below(path: str, folder: str) -> bool:
    """Return whether the path is the folder or lies below it."""
    return (folder == "." and not _is_outside(path)) or path == folder or path.startswith(folder + "/")


def lies_in(path: str, folders: Container[str]) -> bool:
    """Return whether the path is one of many folders or lies below one."""
    return any(each in folders for each in _folders_of(path))


def outermost(folders: Iterable[str]) -> tuple[str, ...]:
    """Return the folders that lie in none of the others, sorted."""
    every = frozenset(folders)
    return tuple(
        sorted(each for each in every if every.isdisjoint(above for above in _folders_of(each) if above != each))
    )


def _of_node(node: Node, good: Mapping[NodeId, Node | None]) -> Iterator[Selection]:
    match node.detail:
        case ImageDetail(facts=None):
            yield from _by_patterns(node, node.detail.ignore)
        case ImageDetail():
            assert node.detail.facts is not None
            yield _of_folder(node, node.detail.context, node.detail.facts.sources, node.detail.ignore)
            for each in node.detail.contexts:
                yield _of_folder(node, each.folder, each.sources, each.ignore)
        case SyncDetail():
            fed = [image.detail for each in node.detail.images if (image := good.get(each)) is not None]
            for rule in node.detail.rules:
                if isinstance(rule, CopyRule) and rule.source:
                    yield _of_copy(node, rule.source, [each for each in fed if isinstance(each, ImageDetail)])
        case TaskDetail() if node.detail.inputs is not None:
            yield from _by_patterns(node, node.detail.inputs)
        case _:
            return


def _of_folder(node: Node, folder: str, sources: tuple[Source, ...], ignore: IgnoreRules) -> Selection:
    """Return what a build reads of its context, or of another folder."""
    table = table_of(sources)

    def wants(path: str) -> bool:
        inner = inside(path, folder)
        return bool(table.selects(inner)) and not ignore.excludes(inner)

    def may_want_below(directory: str) -> bool:
        inner = inside(directory, folder)
        return not inner or (table.reads_below(inner) and ignore.may_contain_included(inner))

    return Selection(
        node=node.id,
        folder=folder,
        signature=("image", folder, sources, ignore.rules),
        wants=wants,
        may_want_below=may_want_below,
    )


def _of_copy(node: Node, source: str, images: list[ImageDetail]) -> Selection:
    def wants(path: str) -> bool:
        return not any(
            below(path, each.context) and each.ignore.excludes(inside(path, each.context)) for each in images
        )

    def may_want_below(directory: str) -> bool:
        return all(
            not below(directory, each.context) or each.ignore.may_contain_included(inside(directory, each.context))
            for each in images
        )

    signature = ("copy", source, tuple(each.ignore.rules for each in images))
    return Selection(node=node.id, folder=source, signature=signature, wants=wants, may_want_below=may_want_below)


def _by_patterns(node: Node, patterns: IgnoreRules) -> Iterator[Selection]:
    """Yield what patterns select: in the project, and in each folder outside of it that one of them leads to."""
    starts = [_literal_start(rule.pattern) for rule in patterns.rules if not rule.included]

    def may_want_below(directory: str) -> bool:
        return any(below(directory, start) or below(start, directory) for start in starts)

    outside = {start for start in starts if _is_outside(start)}
    for folder in [".", *sorted(outside)] if len(outside) < len(starts) else sorted(outside):
        yield Selection(
            node=node.id,
            folder=folder,
            signature=("patterns", folder, patterns.rules),
            wants=patterns.excludes,
            may_want_below=may_want_below,
        )


def _literal_start(pattern: str) -> str:
    """Return the folder that everything which the pattern matches lies below."""
    parts = []
    for part in pattern.split("/"):
        if any(each in part for each in "*?[\\"):
            break
        parts.append(part)
    return "/".join(parts) or "."


def inside(path: str, folder: str) -> str:
    """Return a path below the folder as relative to it; empty for the folder itself."""
    if folder == ".":
        return "" if path == "." else path
    return "" if path == folder else path[len(folder) + 1 :]


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path
    yield "."


def _folders_of(path: str) -> Iterator[str]:
    """Yield the folders that the path lies below, itself first: all for which `below` holds."""
    outside = _is_outside(path)
    while path and path != ".":
        yield path
        path = path.rpartition("/")[0]
    if not outside:
        yield "."


def _is_outside(path: str) -> bool:
    return path == ".." or path.startswith("../")
