"""What becomes of a file: which lines bring it where, and what a change of it leads to. For `devloop why PATH`."""

import posixpath
from collections.abc import Iterator

from devloop.app.inputs import service_files
from devloop.app.places import Places
from devloop.core.graph import Graph, ImageDetail, Node, ServiceDetail, SyncDetail, TaskDetail
from devloop.core.sync.rules import FollowUp, Placement
from devloop.errors import Where
from devloop.model import Kind, NodeId, PullRule, RelPath, RestartRule, RunRule
from devloop.runtime.observe import Observation
from devloop.runtime.ports import Files
from devloop.runtime.selection import below, inside
from devloop.runtime.syncs import Landings
from devloop.ui.explained import PathRow, PathUse

__all__ = ["path_row"]

_SHOWN = 4


def path_row(path: str, observation: Observation, files: Files) -> PathRow:
    """Return what becomes of a file or folder.

    Args:
        path: Relative to the project's root.
        observation: The project.
        files: Its files.
    """
    explained = _Path(path, observation, Places(observation, files))
    uses = [use for node in observation.graph.nodes.values() for use in explained.uses(node)]
    told = [use for use in uses if use.role != "not read"] or uses
    return PathRow(path=path, uses=[*explained.own(), *told] or [explained.unknown()])


class _Path:
    """One path, asked of all nodes."""

    def __init__(self, path: str, observation: Observation, places: Places) -> None:
        self._path = path
        self._observation = observation
        self._graph: Graph = observation.graph
        self._places = places

    def uses(self, node: Node) -> Iterator[PathUse]:
        """Yield what a node has to do with the path."""
        match node.detail:
            case ImageDetail():
                yield from self._image(node, node.detail)
            case ServiceDetail():
                named = service_files(node, self._observation, self._places)
                if self._path in named:
                    summary = "is deployed by it" if named[self._path] == self._places.declared(node) else "includes it"
                    yield self._definition(
                        node, summary, named[self._path], "it is deployed anew when what it renders changed"
                    )
            case SyncDetail():
                yield from self._sync(node, node.detail)
            case TaskDetail():
                found = self._below(node)
                if places := self._places_of(node, found):
                    yield PathUse(
                        node=node.id, role="input", summary="reads it", places=places, effects=["a change runs it"]
                    )
            case _:
                return

    def own(self) -> Iterator[PathUse]:
        """Yield what the project as a whole has to do with the path."""
        declarations = [node.declaration for node in self._graph.nodes.values()]
        if any(each.where.path == self._path for each in declarations):
            nodes = ", ".join(str(each.id) for each in declarations if each.where.path == self._path)
            yield PathUse(node=None, role="definition", summary="the devfile", effects=[f"it declares {nodes}"])

    def unknown(self) -> PathUse:
        """Return that no node has to do with it."""
        if RelPath(self._path) in self._observation.project.read:
            return PathUse(node=None, role="definition", summary="read while the devfile is loaded, or looked for")
        return PathUse(
            node=None, role="not read", summary="nothing reads it", effects=["a change of it leads to nothing"]
        )

    # --- images

    def _image(self, node: Node, detail: ImageDetail) -> Iterator[PathUse]:
        places = self._places
        if self._path == detail.dockerfile:
            effect = "a new image when an instruction that the target needs changes; layout and comments do not count"
            yield self._definition(node, "is built by it", places.declared(node), effect)
        elif self._path == places.ignore_file(detail):
            effect = "it decides which files reach the builder; a change is one of these files"
            yield self._definition(node, "leaves files out by it", places.declared(node), effect)
        found = self._below(node)
        if found:
            is_file = found == [self._path]
            summary = "builds with it" if is_file else f"builds with {_times(len(found), 'file')} of it"
            landed, doubt = self._landed(node, detail, found[0]) if is_file else ((), ())
            yield PathUse(
                node=node.id,
                role="input",
                summary=summary,
                places=self._places_of(node, found),
                destinations=landed,
                effects=[*doubt, *self._effects(node, found, landed)],
            )
        elif below(self._path, detail.context) and detail.facts is not None:
            yield self._not_read(node, detail)

    def _not_read(self, node: Node, detail: ImageDetail) -> PathUse:
        assert detail.facts is not None
        inner = inside(self._path, detail.context)
        sources = detail.facts.selects(inner)
        target = f"stage `{detail.facts.target}`"
        rule = detail.ignore.deciding_rule(inner)
        if sources and rule is not None and not rule.included:
            named = [Where(path=str(detail.dockerfile), line=each.line, text=each.instruction) for each in sources]
            places = [self._places.ignoring(detail, rule), *named]
            return PathUse(node=node.id, role="left out", summary="does without it: it is ignored", places=places)
        if sources:
            named = [Where(path=str(detail.dockerfile), line=each.line, text=each.instruction) for each in sources]
            return PathUse(
                node=node.id, role="input", summary="would build with it; there is no such file", places=named
            )
        effect = f"nothing that {target} needs of {detail.dockerfile} names it: a change of it builds nothing"
        return PathUse(node=node.id, role="not read", summary="does not read it", effects=[effect])

    def _landed(self, node: Node, detail: ImageDetail, path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return where a file is in the image, or why that is not known."""
        found = Landings(detail)(RelPath(path), self._observation.files.get(node.id, {}).keys())
        return ((), (f"no certain place in the image: {found}",)) if isinstance(found, str) else (found, ())

    def _effects(self, node: Node, found: list[str], landed: tuple[str, ...]) -> list[str]:
        """Return what a change of these files of an image leads to, for each kind of file."""
        effects: dict[str, list[str]] = {}
        for path in found:
            name = posixpath.relpath(path, self._path)
            effects.setdefault(self._effect_of(node, path, landed if len(found) == 1 else None), []).append(name)
        if len(effects) == 1:
            return [f"a change {effect}" for effect in effects]
        return [f"a change of {_some(paths)} {effect}" for effect, paths in effects.items()]

    def _effect_of(self, node: Node, path: str, landed: tuple[str, ...] | None) -> str:
        """Return what a change of a file leads to.

        Args:
            node: The image.
            path: The file.
            landed: Where it is in the image, which is not told again; None where destinations do not matter.
        """
        placement = self._graph.placements.get(node.id)
        built = f"means a new image{self._after(node)}"
        if placement is None:
            return f"{built} (no sync feeds it)"
        built_on = [each for each in self._graph.dependents(node.id) if each.kind is Kind.IMAGE]
        if built_on:
            return f"{built} ({_list(built_on)} is built on it)"
        files = self._observation.files.get(node.id, {}).keys()
        placed = placement.place(RelPath(path), files)
        if placed is None:
            return f"{built} ({placement.why_not(RelPath(path), files)})"
        if not placed:
            return "does nothing: a sync ignores it"
        elsewhere = () if landed in {None, placed} else placed
        return f"is copied into running containers{self._copied(placement, path, elsewhere)}"

    def _copied(self, placement: Placement, path: str, placed: tuple[str, ...]) -> str:
        source = next((each for each in placement.sources if each.covers(path)), None)
        by = f" by {source.node} ({self._graph.nodes[source.node].declaration.where})" if source is not None else ""
        to = f" to {', '.join(placed)}" if placed else ""
        then = "".join(f", then {_done(follow)}" for follow in placement.due([RelPath(path)]))
        return f"{by}{to}{then}"

    def _after(self, node: Node) -> str:
        """Return in words what follows a new image."""
        found: list[NodeId] = []
        waiting = [node.id]
        while waiting:
            for each in self._graph.dependents(waiting.pop()):
                if each not in found and each.kind in {Kind.IMAGE, Kind.SERVICE}:
                    found.append(each)
                    if each.kind is Kind.IMAGE:
                        waiting.append(each)
        return f", then {_list(found)}" if found else ""

    # --- others

    def _sync(self, node: Node, detail: SyncDetail) -> Iterator[PathUse]:
        """Yield what a sync does with a file that no image has."""
        for image in detail.images or (node.id,):
            placement = self._graph.placements.get(image)
            built = image != node.id and RelPath(self._path) in self._observation.files.get(image, {})
            if placement is None or built or RelPath(self._path) not in self._observation.files.get(node.id, {}):
                continue
            source = next(
                (each for each in placement.sources if each.node == node.id and each.covers(self._path)), None
            )
            placed = placement.place(RelPath(self._path), self._observation.files[node.id].keys())
            if source is not None and placed:
                yield PathUse(
                    node=node.id,
                    role="sync",
                    summary=f"copies it into the containers of {image}, whose build does not read it"
                    if detail.images
                    else "copies it into the containers that it chooses",
                    places=[self._places.copying(source)],
                    destinations=placed,
                )

    def _definition(self, node: Node, summary: str, where: Where, effect: str) -> PathUse:
        return PathUse(node=node.id, role="definition", summary=summary, places=[where], effects=[effect])

    def _below(self, node: Node) -> list[str]:
        """Return the files that a node reads and that are the path or lie below it."""
        return sorted(each for each in self._observation.files.get(node.id, {}) if below(each, self._path))

    def _places_of(self, node: Node, paths: list[str]) -> tuple[Where, ...]:
        return tuple(dict.fromkeys(where for path in paths for where in self._places.bringing(node, path)))


def _done(follow: FollowUp) -> str:
    match follow.rule:
        case RunRule(command=command):
            return f"`{command}` is run there"
        case RestartRule():
            return "its process is restarted"
        case PullRule(source=source, destination=destination):
            return f"{source} is brought back to {destination}"


def _list(nodes: list[NodeId]) -> str:
    shown = ", ".join(map(str, nodes[:_SHOWN]))
    return shown if len(nodes) <= _SHOWN else f"{shown} and {len(nodes) - _SHOWN} more"


def _some(paths: list[str]) -> str:
    return ", ".join(paths) if len(paths) <= _SHOWN else f"{_times(len(paths), 'file')}, such as {paths[0]},"


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
