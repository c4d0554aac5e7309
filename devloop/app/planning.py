"""What would run and why, without running it: for `devloop plan` and notebooks."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from devloop.core.engine import situation
from devloop.core.engine.state import Observed, State
from devloop.core.graph import Graph
from devloop.core.plan import ACTIONS, Busy, Due, Idle, Step, Synced, UpToDate, Waiting, assume, plan
from devloop.core.trace import UNSURE
from devloop.model import Digest, Kind, NodeId, RelPath
from devloop.runtime.observe import Observation

__all__ = ["Planned", "planned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a plan says about a node.

    Attributes:
        node: The node.
        action: What would run: `build`, `deploy`, `sync`, `task`, `check`; None when nothing would.
        reasons: Why it would run, or why not.
        after: The nodes that would run first.
    """

    node: NodeId
    action: str | None
    reasons: tuple[str, ...] = ()
    after: tuple[NodeId, ...] = ()


def planned(state: State, observation: Observation, changed: Sequence[str] = ()) -> tuple[Planned, ...]:
    """Return what would run if the files changed (none: what would run now), each node after those that it needs.

    Args:
        state: What the session knows.
        observation: The project as it is.
        changed: Paths relative to the project's root.
    """
    files = _as_if_changed(observation, changed) if changed else observation.files
    state = replace(state, observed=Observed(graph=observation.graph, files=files), running={}, failed={})
    start = situation(state)
    if not state.verified:
        start = replace(
            start, verified=frozenset(start.traces)
        )  # no cluster at hand: its services are as last deployed
    touched = _definitions(observation.graph, changed)
    start = replace(start, traces={node: trace for node, trace in start.traces.items() if node not in touched})
    first = plan(start)
    rows = dict(_rows(first, after={}))
    assumed, steps = start, first
    while due := {node: step for node, step in steps.items() if isinstance(step, Due)}:
        assumed = assume(assumed, due)
        steps = plan(assumed)
        later = {node: step for node, step in steps.items() if isinstance(step, Due) and node not in due}
        after = {
            node: tuple(each for each in observation.graph.nodes[node].needs if _runs(rows, each)) for node in later
        }
        rows.update(_rows(later, after))
        if not later:
            break
    return tuple(
        replace(rows[node], reasons=(f"{', '.join(sorted(touched[node]))} changed",))
        if node in touched and rows[node].action
        else rows[node]
        for node in observation.graph.nodes
        if node in rows and node.kind is not Kind.SYNC
    )


def _runs(rows: Mapping[NodeId, Planned], node: NodeId) -> bool:
    return node in rows and rows[node].action not in {None, "sync"}


def _as_if_changed(observation: Observation, changed: Sequence[str]) -> dict[NodeId, Mapping[RelPath, Digest]]:
    paths = {posixpath.normpath(path) for path in changed}
    return {
        node: {path: UNSURE if _named(path, paths) else digest for path, digest in files.items()}
        for node, files in observation.files.items()
    }


def _named(path: str, paths: set[str]) -> bool:
    return path in paths or any(path.startswith(folder + "/") for folder in paths)


def _definitions(graph: Graph, changed: Sequence[str]) -> dict[NodeId, set[str]]:
    """Return the nodes whose own definition files are among the changed ones."""
    paths = {posixpath.normpath(path) for path in changed}
    found: dict[NodeId, set[str]] = {}
    for node in graph.nodes.values():
        for name in node.definitions:
            if _named(name, paths):
                found.setdefault(node.id, set()).add(name)
    return found


def _rows(steps: Mapping[NodeId, Step], after: Mapping[NodeId, tuple[NodeId, ...]]) -> list[tuple[NodeId, Planned]]:
    return [(node, _row(node, step, after.get(node, ()))) for node, step in steps.items()]


def _row(node: NodeId, step: Step, after: tuple[NodeId, ...]) -> Planned:
    match step:
        case Due():
            return Planned(node=node, action=ACTIONS[node.kind], reasons=step.reasons, after=after)
        case Synced():
            return Planned(node=node, action="sync", reasons=tuple(f"{path} changed" for path in step.paths))
        case UpToDate():
            return Planned(node=node, action=None, reasons=("nothing changed",))
        case Waiting():
            return Planned(node=node, action=None, reasons=(step.reason,))
        case Idle():
            return Planned(node=node, action=None, reasons=("runs only when it is asked for",))
        case Busy():
            return Planned(node=node, action=ACTIONS[node.kind], reasons=("it is running",))
        case _:
            assert_never(step)
