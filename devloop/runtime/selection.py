"""Which files each node reads, and which folders therefore have to be looked at and watched."""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from devloop.core.graph import Graph, ImageDetail, Node, SyncDetail, TaskDetail
from devloop.core.patterns import IgnoreRules
from devloop.model import CopyRule, ImageSpec, NodeId, RelPath
from devloop.runtime.render import in_folder

__all__ = ["Selection", "below", "inside", "keep_directory", "roots", "selections"]


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


def selections(graph: Graph, last_good: Mapping[NodeId, Node]) -> tuple[Selection, ...]:
    """Return what all nodes read; a node with mistakes reads what it did when it was good."""
    good = {each.id: each if each.detail is not None else last_good.get(each.id) for each in graph.nodes.values()}
    return tuple(selection for node in good.values() if node is not None for selection in _of_node(node, good))


def roots(selected: Iterable[Selection], definitions: Iterable[str]) -> tuple[RelPath, ...]:
    """Return the folders to watch: the project's root and what lies outside of it, none inside another."""
    outside = {each.folder for each in selected if each.folder.startswith("..")}
    outside |= {posixpath.dirname(path) for path in definitions if path.startswith("..")}
    found: list[str] = ["."]
    for folder in sorted(outside):
        if not any(below(folder, each) for each in found[1:]):
            found.append(folder)
    return tuple(RelPath(each) for each in found)


def keep_directory(selected: Iterable[Selection], definitions: Iterable[str]) -> Callable[[RelPath], bool]:
    """Return whether a folder can hold anything that some node reads, or a definition file."""
    selected = tuple(selected)
    needed = {parent for path in definitions for parent in _parents(path)}
    needed |= {parent for each in selected for parent in (each.folder, *_parents(each.folder))}
    memory: dict[str, bool] = {}

    def keep(directory: RelPath) -> bool:
        known = memory.get(directory)
        if known is None:
            known = directory in needed or any(
                below(directory, each.folder) and each.may_want_below(directory) for each in selected
            )
            memory[directory] = known
        return known

    return keep


def below(path: str, folder: str) -> bool:
    """Return whether the path is the folder or lies below it."""
    return (folder == "." and not path.startswith("..")) or path == folder or path.startswith(folder + "/")


def _of_node(node: Node, good: Mapping[NodeId, Node | None]) -> Iterator[Selection]:
    match node.detail:
        case ImageDetail(facts=None):
            yield from _by_patterns(node, node.detail.ignore)
        case ImageDetail():
            yield _of_context(node, node.detail)
            spec = node.declaration.spec
            assert isinstance(spec, ImageSpec)
            for value in spec.contexts.values():
                if "://" not in value:
                    folder = in_folder(node.declaration.folder, value)
                    yield Selection(
                        node=node.id,
                        folder=folder,
                        signature=("context", folder),
                        wants=_always,
                        may_want_below=_always,
                    )
        case SyncDetail():
            fed = [image.detail for each in node.detail.images if (image := good.get(each)) is not None]
            for rule in node.detail.rules:
                if isinstance(rule, CopyRule) and rule.source:
                    yield _of_copy(node, rule.source, [each for each in fed if isinstance(each, ImageDetail)])
        case TaskDetail() if node.detail.inputs is not None:
            yield from _by_patterns(node, node.detail.inputs)
        case _:
            return


def _of_context(node: Node, detail: ImageDetail) -> Selection:
    facts, ignore, context = detail.facts, detail.ignore, detail.context
    assert facts is not None

    def wants(path: str) -> bool:
        inner = inside(path, context)
        return bool(facts.selects(inner)) and not ignore.excludes(inner)

    def may_want_below(directory: str) -> bool:
        inner = inside(directory, context)
        return not inner or (facts.reads_below(inner) and ignore.may_contain_included(inner))

    return Selection(
        node=node.id,
        folder=context,
        signature=("image", context, facts.sources, ignore.rules),
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

    outside = {start for start in starts if start.startswith("..")}
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


def _always(_path: str) -> bool:
    return True
