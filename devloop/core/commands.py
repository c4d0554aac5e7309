"""What is to be started and cancelled, given what a session knows and what its plan says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from devloop.core.catch_up import difference, wanted_files, what_changed
from devloop.core.plan import ACTIONS, Due, Idle, Step, Synced, UpToDate, Waiting
from devloop.core.runs import DONE, Cancel, Command, Follow, Make, Remove, Run, RunKey, Start, Sync
from devloop.core.state import State
from devloop.core.trace import Trace, reasons
from devloop.model import ContainerTarget, Digest, Kind, NodeId, RelPath

__all__ = ["PHASES"]


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
    if not state.mode.sync or state.observed is None:
        return
    containers = _by_reference(state)
    for image, step in steps.items():
        placement = state.placement(image)
        if placement is None or not isinstance(step, UpToDate | Synced) or image in state.refused:
            continue
        wanted: Mapping[RelPath, Digest] | None = None
        for target in containers.get(step.result.ref, ()):
            key = RunKey(node=placement.node, target=target)
            if key in state.running or target in state.paused:
                continue
            wanted = wanted_files(state.observed.files, image, placement) if wanted is None else wanted
            built = state.traces[image].inputs.files
            changes = tuple(difference(placement, wanted, built, state.held.get(target, {})))
            if changes:
                work = Sync(image=image, target=target, changes=changes)
                yield Start(run=Run(key=key, action="sync", reasons=what_changed(changes), work=work))


def _follows(state: State, _steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    """Start what follows a copy once the copy itself is through."""
    for key, run in state.following.items():
        if replace(key, follow=False) in state.running or key.target not in state.containers:
            continue
        if key in state.running:
            yield Cancel(run=state.running[key], reason="newer files were copied")
        yield Start(run=run)


def _greetings(state: State, steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    """Start to bring back what a container that is new has, where rules ask for it."""
    if not state.mode.sync:
        return
    containers = _by_reference(state)
    for image, step in steps.items():
        placement = state.placement(image)
        if placement is None or not placement.pulls or not isinstance(step, UpToDate | Synced):
            continue
        for target in containers.get(step.result.ref, ()):
            key = RunKey(node=placement.node, target=target, follow=True)
            if target not in state.greeted and key not in state.running:
                work = Follow(image=image, target=target, follow_ups=placement.pulls, paths=frozenset())
                yield Start(run=Run(key=key, action="follow-up", reasons=("the container is new",), work=work))


def _by_reference(state: State) -> Mapping[str, Sequence[ContainerTarget]]:
    """Return the running containers by the image that their pod names."""
    found: dict[str, list[ContainerTarget]] = {}
    for target, ref in state.containers.items():
        found.setdefault(ref, []).append(target)
    return found


PHASES = (_stale, _removals, _due, _syncs, _follows, _greetings)
"""Each takes the state, as the phases before it left it, and the plan."""
