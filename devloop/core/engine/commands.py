"""What is to be started and cancelled, given what a session knows and what its plan says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from devloop.core.engine.feeds import feeds
from devloop.core.engine.runs import DONE, Cancel, Command, Follow, Make, Remove, Run, RunKey, Start, Sync
from devloop.core.engine.state import State
from devloop.core.plan import ACTIONS, Due, Idle, Step, Synced, UpToDate, Waiting
from devloop.core.sync.catch_up import difference, wanted_files, what_changed
from devloop.core.sync.protocol import ancestors
from devloop.core.trace import Trace, reasons
from devloop.model import Digest, FileChange, Kind, NodeId, RelPath

__all__ = ["PHASES", "apart"]

_LANES: Final = (0, 1)
"""The copies to one container that go on beside one another: one may be large, and others must not wait for it."""


def _stale(state: State, steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    """Cancel what newer content overtook, and what no longer exists."""
    for key, run in state.running.items():
        if key.target is not None:
            if key.target not in state.containers:
                yield Cancel(run=run, reason="the container is gone")
            continue
        step = steps.get(key.node)
        if isinstance(run.work, Remove):
            if step is not None:
                yield Cancel(run=run, reason=f"{key.node} is declared again")
        elif step is None or isinstance(step, Idle):
            yield Cancel(run=run, reason=f"{key.node} is no longer wanted")
        elif isinstance(step, Waiting) and key.node.kind is Kind.IMAGE:
            yield Cancel(run=run, reason=step.reason)
        elif isinstance(step, Due):
            since = reasons(Trace(inputs=run.inputs, result=DONE), step.inputs)
            yield Cancel(run=run, reason=f"newer content: {(since or step.reasons)[0]}")
        elif isinstance(step, UpToDate | Synced):
            yield Cancel(run=run, reason="its files are again what they were")


def _removals(state: State, _steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    """Remove what this project deployed for services that it does not declare any more."""
    declared = state.observed.declared if state.observed is not None else None
    if declared is None or Kind.SERVICE not in state.mode.kinds:
        return
    for node in sorted(state.traces.keys() | state.unsettled):
        if node.kind is Kind.SERVICE and node not in declared and node not in state.failed:
            key = RunKey(node=node)
            if key not in state.running:
                yield Start(run=Run(key=key, action="remove", reasons=("it is no longer declared",), work=Remove()))


def _due(_state: State, steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    results = {node: step.result for node, step in steps.items() if isinstance(step, UpToDate | Synced)}
    for node, step in steps.items():
        if isinstance(step, Due):
            yield Start(
                run=Run(
                    key=RunKey(node=node),
                    action=ACTIONS[node.kind],
                    reasons=step.reasons,
                    inputs=step.inputs,
                    work=Make(results=results),
                )
            )


def _syncs(state: State, steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    """Start a copy to each container that does not hold what it should."""
    if state.observed is None:
        return
    wanted: dict[NodeId, Mapping[RelPath, Digest]] = {}
    for feed in feeds(state, steps):
        source, target, placement = feed.source, feed.target, feed.placement
        keys = [RunKey(node=placement.node, target=target, lane=lane) for lane in _LANES]
        key = next((each for each in keys if each not in state.running), None)
        if key is None or target in state.paused or target in state.lost:
            continue
        if source not in wanted:
            wanted[source] = wanted_files(state.observed.files, source, placement)
        copies = [run.work for each in keys if (run := state.running.get(each)) and isinstance(run.work, Sync)]
        sent = {change.source for copy in copies for change in copy.changes}
        held = state.held.get(target, {})
        changes = apart(tuple(difference(placement, wanted[source], feed.built, held, sent)), copies)
        if changes:
            work = Sync(image=source, target=target, changes=changes, built=_can_be_built(state, source))
            yield Start(run=Run(key=key, action="sync", reasons=what_changed(changes), work=work))


def apart(changes: tuple[FileChange, ...], copies: Sequence[Sync]) -> tuple[FileChange, ...]:
    """Return the changes that touch nothing of what is being copied: no place of it, none above, none below."""
    if not changes or not copies:
        return changes
    busy = {place for copy in copies for change in copy.changes for place in change.destinations}
    above = {ancestor for place in busy for ancestor in ancestors(place)}

    def touches(place: str) -> bool:
        return place in busy or place in above or not busy.isdisjoint(ancestors(place))

    return tuple(change for change in changes if not any(touches(place) for place in change.destinations))


def _can_be_built(state: State, source: NodeId) -> bool:
    return source.kind is Kind.IMAGE and not state.mode.alone


def _follows(state: State, _steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    """Start what follows a copy once the copy itself is through."""
    for key, run in state.following.items():
        if key.target not in state.containers.keys() - state.lost or replace(key, follow=False) in state.running:
            continue
        if any(replace(key, lane=lane) in state.running for lane in _LANES if lane != key.lane):
            continue
        if key in state.running:
            yield Cancel(run=state.running[key], reason="newer files were copied")
        yield Start(run=run)


def _greetings(state: State, steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    """Start to bring back what a container that is new has, or what changed in it, where rules ask for it."""
    for feed in feeds(state, steps):
        placement, target = feed.placement, feed.target
        key = RunKey(node=placement.node, target=target, follow=True)
        if not placement.pulls or target in state.lost or key in state.running:
            continue
        if target not in state.greeted or target in state.stirred:
            reason = "files changed in the container" if target in state.greeted else "the container is new"
            work = Follow(image=feed.source, target=target, follow_ups=placement.pulls, paths=frozenset())
            yield Start(run=Run(key=key, action="follow-up", reasons=(reason,), work=work))


PHASES = (_stale, _removals, _due, _syncs, _follows, _greetings)
"""Each takes the state, as the phases before it left it, and the plan."""
