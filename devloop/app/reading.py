"""The commands that only read: plan, why, graph, settings, render. They need neither an engine nor a cluster."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from anyio import to_thread

from devloop.app.inputs import inputs_of
from devloop.app.options import Options
from devloop.app.paths import path_row
from devloop.app.places import Places
from devloop.app.planning import planned
from devloop.app.workspace import Place, Workspace, place_of
from devloop.core.engine.state import State
from devloop.core.graph import Graph, ImageDetail, Node
from devloop.core.manifest import Manifest
from devloop.core.names import from_system
from devloop.core.plan import Mode
from devloop.core.trace import Result, file_of
from devloop.errors import InputError, InputErrors
from devloop.events import Problem
from devloop.model import Kind, NodeId
from devloop.runtime.definitions import Definitions
from devloop.runtime.observe import Observation
from devloop.runtime.ports import Saved
from devloop.runtime.render import PLACEHOLDER_TAG, manifests_of, with_images
from devloop.runtime.tools import handles, references
from devloop.ui.explained import InputRow, NodeInputs, PathRow
from devloop.ui.rows import Decision, Edge, PlanRow, SettingRow

__all__ = ["Reading"]

_ALL: Final = Mode(kinds=frozenset({Kind.IMAGE, Kind.SERVICE, Kind.TASK, Kind.CHECK}))


class Reading:
    """A project as it is on disk, with what earlier sessions left.

    Args:
        options: What is asked for.

    Raises:
        InputError: There is no devfile.
    """

    def __init__(self, options: Options) -> None:
        self._workspace = Workspace(options)
        self._options = options
        self._observation: Observation | None = None
        self._saved = Saved()
        self._namespace = ""

    async def open(self) -> "Reading":
        """Read the project.

        Raises:
            InputErrors: Its files have mistakes.
        """
        loaded = await to_thread.run_sync(self._workspace.load)
        if loaded.errors:
            raise InputErrors(loaded.errors)
        place = place_of(self._options, loaded.project)
        self._saved = self._load(place)
        self._namespace = place.namespace
        self._observation = await self._workspace.look(place.namespace)
        return self

    def _load(self, place: Place) -> Saved:
        return self._workspace.store(place).load()

    @property
    def observation(self) -> Observation:
        """The project, once it is open."""
        assert self._observation is not None
        return self._observation

    @property
    def graph(self) -> Graph:
        """Its nodes."""
        return self.observation.graph

    def plan(self, changed: Sequence[str] = ()) -> list[PlanRow]:
        """Return what would run, and why."""
        state = State(mode=_ALL, traces=self._saved.traces)
        return [
            PlanRow(node=each.node, action=each.action, reasons=each.reasons, after=each.after)
            for each in planned(state, self.observation, changed)
        ]

    def named(self, text: str) -> NodeId | str:
        """Return the node that a person means, or else the path: relative to here, or to the project's root.

        Raises:
            InputError: There is neither such a node nor such a path.
        """
        try:
            return self.graph.find(text)
        except InputError as error:
            root = self._workspace.root
            places = [folder / text for folder in (Path.cwd(), root)]
            named = [place for place in places if place.exists() or place.is_symlink()]
            if not named and "/" in text:
                named = [place for place in places if place.parent.exists()] or places[1:]  # it was deleted
            if named:
                return from_system(Path(os.path.relpath(named[0].parent.resolve() / named[0].name, root)).as_posix())
            hint = f"nor is there such a file; {error.hint}" if error.hint else "nor is there such a file"
            raise InputError(error.message, where=error.where, hint=hint) from None

    def path(self, path: str) -> PathRow:
        """Return what becomes of a file or folder, and which lines say so."""
        return path_row(path, self.observation, self._workspace.files)

    def causes(self, decision: Decision) -> list[InputRow]:
        """Return the files that the reasons of a decision name, each with the lines that bring it into the node."""
        places = Places(self.observation, self._workspace.files)
        node = self.graph.nodes[decision.node]
        paths = dict.fromkeys(path for reason in decision.reasons if (path := file_of(reason)) is not None)
        rows = (InputRow(name=path, kind="file", places=places.bringing(node, path)) for path in paths)
        return [row for row in rows if row.places]

    def why(self, node: NodeId) -> Decision:
        """Return the last decision on a node."""
        decision = self._saved.decisions.get(str(node))
        if decision is None:
            return Decision(node=node, action=None, reasons=("no session has decided on it yet",), outcome="unknown")
        return _decision(node, decision)

    def edges(self) -> list[Edge]:
        """Return who needs whom, and what says so."""
        found = []
        for node in self.graph.nodes.values():
            for need in node.needs:
                reasons = [
                    f"{edge.where.path}:{edge.where.line} {edge.reason}" if edge.where.line else edge.reason
                    for edge in node.edges
                    if edge.to == need
                ]
                found.append(Edge(source=node.id, target=need, reasons=tuple(reasons)))
        return found

    def inputs(self, name: str) -> NodeInputs:
        """Return all that a node reads, with the lines that bring it.

        Raises:
            InputError: There is no such node.
        """
        return inputs_of(self.graph.nodes[self.graph.find(name)], self.observation, self._workspace.files)

    def settings(self) -> list[SettingRow]:
        """Return all settings with their values."""
        rows = []
        for setting in self.observation.project.settings:
            if setting.node is not None and setting.node not in self.graph.nodes:
                continue
            rows.append(
                SettingRow(
                    name=str(setting),
                    type=setting.type,
                    value=_shown(setting.value),
                    default=_shown(setting.default),
                    origin=setting.source,
                    where=setting.where,
                )
            )
        return rows

    def manifests(self) -> tuple[tuple[Manifest, ...], list[str]]:
        """Return all services' manifests as they would be applied, and the images that are not built yet."""
        state = State(mode=_ALL, traces=self._saved.traces)
        stale = {str(each.node) for each in planned(state, self.observation) if each.action == "build"}
        results = {
            node: Result(digest=trace.result.digest, ref=trace.result.ref)
            for node, trace in self._saved.traces.items()
            if node.kind is Kind.IMAGE and node in self.graph.nodes and str(node) not in stale
        }
        found: list[Manifest] = []
        for node in self.graph.of_kind(Kind.SERVICE):
            manifests = self._workspace.renderings(self._namespace).complete(
                partial(self._manifests_of, node, handles(node, self.graph, results))
            )
            found.extend(with_images(manifests, _with_placeholders(self.graph, results)))
        unbuilt = [node.id.name for node in self.graph.of_kind(Kind.IMAGE) if node.id not in results]
        return tuple(found), unbuilt

    def _manifests_of(self, node: Node, arguments: Mapping[str, object]) -> tuple[Manifest, ...]:
        workspace = self._workspace
        read = Definitions(workspace.files)
        return manifests_of(node, arguments, read=read, renderings=workspace.renderings(self._namespace))


def _with_placeholders(graph: Graph, results: Mapping[NodeId, Result]) -> Mapping[NodeId, Any]:
    found = dict(references(graph, results))
    for node in graph.of_kind(Kind.IMAGE):
        if node.id not in found and isinstance(node.detail, ImageDetail):
            found[node.id] = (node.detail.repository, f"{node.detail.repository}:{PLACEHOLDER_TAG}")
    return found


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _decision(node: NodeId, decision: Mapping[str, Any]) -> Decision:
    outcome = str(decision["outcome"])
    failed = outcome.startswith("failed: ")
    words = {"hold": "held", "skip": "up to date"}.get(str(decision["action"]))
    rest = outcome.partition(": ")[2]
    if words is None:
        words = next((each for each in ("failed", "cancelled", "running") if outcome.startswith(each)), "succeeded")
    return Decision(
        node=node,
        action=None if words in {"held", "up to date"} else str(decision["action"]),
        reasons=tuple(decision["reasons"]),
        outcome=words,
        at=_ago(time.time() - float(decision["at"])),
        seconds=decision["seconds"],
        summary="" if failed else (rest if words == "cancelled" else outcome if words == "succeeded" else ""),
        problems=(Problem(message=rest),) if failed else (),
    )


def _ago(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now" if seconds < 2 else f"{int(seconds)} seconds ago"
