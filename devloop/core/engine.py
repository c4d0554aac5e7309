"""The engine: what a session knows, how each input changes it, and what is started or cancelled then.

`decide` is synchronous and pure: the same state and input give the same decision. Late results are recognised by their
run's number and ignored.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar, assert_never

from devloop.core.catch_up import difference, wanted_files, what_changed
from devloop.core.digests import ABSENT
from devloop.core.graph import Graph
from devloop.core.plan import ACTIONS, Busy, Due, Idle, Mode, Situation, Step, Synced, UpToDate, Waiting, plan
from devloop.core.runs import Cancel, Command, Follow, Make, Run, RunEnded, RunKey, Start, Sync
from devloop.core.syncing import Placement
from devloop.core.trace import Inputs, Result, Trace
from devloop.model import ContainerTarget, Digest, Kind, NodeId, RelPath

__all__ = ["Decision", "Input", "Observed", "PodsSeen", "Requested", "State", "decide", "situation"]

_V = TypeVar("_V")


# --- inputs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The project as it is on disk now.

    Attributes:
        graph: The nodes.
        files: For each node that reads files, their digests.
    """

    graph: Graph
    files: Mapping[NodeId, Mapping[RelPath, Digest]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsSeen:
    """What runs in the cluster now.

    Attributes:
        containers: Running containers, with the image reference that their pod names.
        ready: The services all of whose pods are ready.
    """

    containers: Mapping[ContainerTarget, str]
    ready: frozenset[NodeId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A person asks for these nodes to run again."""

    nodes: frozenset[NodeId]


Input = Observed | PodsSeen | Requested | RunEnded


# --- the state -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a session knows.

    Attributes:
        mode: What it does by itself.
        observed: The project, once it has been read.
        traces: The last good run of each node.
        failed: The inputs with which a node's last run failed.
        verified: The nodes that did well in this session.
        running: What is under way.
        following: What is to be done next in a container after a copy.
        containers: Running containers and the image reference of each.
        ready: The services all of whose pods are ready.
        held: What a container has acknowledged beyond its image: path to digest.
        refused: Images whose containers take no files, with the reason.
        lost: Containers that went away in the middle of a sync.
        broken: Where what follows a copy failed.
        unsettled: Nodes whose last run began to change something outside and has not done well.
        asked: Nodes that a person wants to run in this session, changed or not.
        next: The next run's number.
    """

    mode: Mode = field(default_factory=Mode)
    observed: Observed | None = None
    traces: Mapping[NodeId, Trace] = field(default_factory=dict)
    failed: Mapping[NodeId, Inputs] = field(default_factory=dict)
    verified: frozenset[NodeId] = frozenset()
    running: Mapping[RunKey, Run] = field(default_factory=dict)
    following: Mapping[RunKey, Run] = field(default_factory=dict)
    containers: Mapping[ContainerTarget, str] = field(default_factory=dict)
    ready: frozenset[NodeId] = frozenset()
    held: Mapping[ContainerTarget, Mapping[RelPath, Digest]] = field(default_factory=dict)
    refused: Mapping[NodeId, str] = field(default_factory=dict)
    lost: frozenset[ContainerTarget] = frozenset()
    broken: frozenset[RunKey] = frozenset()
    unsettled: frozenset[NodeId] = frozenset()
    asked: frozenset[NodeId] = frozenset()
    next: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from an input.

    Attributes:
        state: The next state.
        commands: What to cancel and start, in this order.
        steps: The plan that led there: what each node does or waits for.
    """

    state: State
    commands: tuple[Command, ...]
    steps: Mapping[NodeId, Step]

    @property
    def settled(self) -> bool:
        """Whether nothing is under way and nothing will start without another input."""
        return not self.state.running and self.state.observed is not None

    @property
    def unhealthy(self) -> tuple[NodeId, ...]:
        """The nodes that failed, or wait for one that did."""
        held = [node for node, step in self.steps.items() if isinstance(step, Waiting)]
        return tuple(dict.fromkeys([*held, *sorted(key.node for key in self.state.broken)]))


def decide(state: State, received: Input) -> Decision:
    """Return the next state and what is to be started and cancelled, after one input."""
    state = _take(state, received)
    if state.observed is None:
        return Decision(state=state, commands=(), steps={})
    steps = plan(situation(state))
    state = _note_overtaken(state, steps)
    commands: list[Command] = []
    for command in (*_stale(state, steps), *_due(state, steps), *_syncs(state, steps), *_follows(state)):
        state, carried_out = _carry_out(state, command)
        commands.append(carried_out)
    return Decision(state=state, commands=tuple(commands), steps=steps)


def situation(state: State) -> Situation:
    """Return what the planner needs to know of a state."""
    observed = state.observed or Observed(graph=Graph(), files={})
    making = (run for run in state.running.values() if isinstance(run.work, Make))
    return Situation(
        graph=observed.graph,
        files=observed.files,
        traces=state.traces,
        failed=state.failed,
        running={run.key.node: run.inputs for run in making},
        verified=state.verified,
        refused=state.refused,
        unsettled=state.unsettled,
        asked=state.asked,
        mode=state.mode,
    )


# --- taking an input ---------------------------------------------------------------------------------------------


def _take(state: State, received: Input) -> State:
    match received:
        case Observed():
            return replace(state, observed=received, lost=frozenset())
        case PodsSeen():
            return _see_pods(state, received)
        case Requested():
            return replace(
                state,
                asked=state.asked | received.nodes,
                traces=_without(state.traces, received.nodes),
                failed=_without(state.failed, received.nodes),
                verified=state.verified - received.nodes,
            )
        case RunEnded():
            run = next((each for each in state.running.values() if each.number == received.number), None)
            return state if run is None else _end(state, run, received)
        case _:
            assert_never(received)


def _see_pods(state: State, seen: PodsSeen) -> State:
    recovered = [node for node in seen.ready - state.ready if node in state.failed]
    return replace(
        state,
        containers=seen.containers,
        ready=seen.ready,
        failed=_without(state.failed, recovered),
        held={target: held for target, held in state.held.items() if target in seen.containers},
        lost=state.lost & seen.containers.keys(),
        broken=frozenset(key for key in state.broken if key.target in seen.containers),
    )


def _end(state: State, run: Run, ended: RunEnded) -> State:
    state = replace(state, running={key: each for key, each in state.running.items() if key != run.key})
    node = run.key.node
    match run.work:
        case Make() if ended.result is not None:
            trace = Trace(inputs=run.inputs.unsure_of(run.unsure), result=ended.result)
            return replace(
                state,
                traces={**state.traces, node: trace},
                failed=_without(state.failed, {node}),
                verified=state.verified | {node},
                unsettled=state.unsettled - {node},
            )
        case Make():
            return replace(state, failed={**state.failed, node: run.inputs})
        case Sync():
            return _end_sync(state, run, run.work, ended)
        case Follow():
            fine = ended.result is not None or ended.lost
            return replace(state, broken=state.broken - {run.key} if fine else state.broken | {run.key})
        case _:
            assert_never(run.work)


def _end_sync(state: State, run: Run, work: Sync, ended: RunEnded) -> State:
    if ended.refused is not None:
        return replace(state, refused={**state.refused, work.image: ended.refused})
    if ended.lost or ended.result is None:
        return replace(state, lost=state.lost | {work.target})
    acknowledged = {change.source: change.digest or ABSENT for change in ended.acknowledged}
    held = {**state.held.get(work.target, {}), **acknowledged}
    state = replace(state, held={**state.held, work.target: held})
    placement = _placement(state, work.image)
    due = placement.due(tuple(acknowledged)) if placement is not None else ()
    if placement is None or not due:
        return state
    key = replace(run.key, follow=True)
    overtaken = state.running.get(key)
    if overtaken is not None and isinstance(overtaken.work, Follow):
        unfinished = overtaken.work.follow_ups
        due = tuple(each for each in placement.follow_ups if each in due or each in unfinished)
    following = Run(
        key=key,
        action="follow-up",
        reasons=what_changed(ended.acknowledged),
        work=Follow(image=work.image, target=work.target, follow_ups=due),
    )
    return replace(state, following={**state.following, key: following})


def _note_overtaken(state: State, steps: Mapping[NodeId, Step]) -> State:
    """Remember which files changed under the hands of a run that goes on."""
    running = dict(state.running)
    for node, step in steps.items():
        if isinstance(step, Busy) and step.overtaken:
            key = RunKey(node=node)
            running[key] = replace(running[key], unsure=running[key].unsure | frozenset(step.overtaken))
    return replace(state, running=running)


# --- what is to be done ------------------------------------------------------------------------------------------


def _stale(state: State, steps: Mapping[NodeId, Step]) -> Iterator[Command]:
    """Cancel what newer content overtook, and what no longer exists."""
    for key, run in state.running.items():
        if key.target is not None:
            if key.target not in state.containers:
                yield Cancel(run=run, reason="the container is gone")
            continue
        step = steps.get(key.node)
        if step is None or isinstance(step, Idle):
            yield Cancel(run=run, reason=f"{key.node} is no longer wanted")
        elif isinstance(step, Waiting) and key.node.kind is Kind.IMAGE:
            yield Cancel(run=run, reason=step.reason)
        elif isinstance(step, Due):
            yield Cancel(run=run, reason=f"newer content: {step.reasons[0]}")
        elif isinstance(step, UpToDate | Synced):
            yield Cancel(run=run, reason="its files are again what they were")


def _due(state: State, steps: Mapping[NodeId, Step]) -> Iterator[Command]:
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
    for image, step in steps.items():
        placement = _placement(state, image)
        if placement is None or not isinstance(step, UpToDate | Synced) or image in state.refused:
            continue
        wanted: Mapping[RelPath, Digest] | None = None
        for target, ref in state.containers.items():
            key = RunKey(node=placement.node, target=target)
            if ref != step.result.ref or key in state.running or target in state.lost:
                continue
            wanted = wanted_files(state.observed.files, image, placement) if wanted is None else wanted
            built = state.traces[image].inputs.files
            changes = tuple(difference(placement, wanted, built, state.held.get(target, {})))
            if changes:
                work = Sync(image=image, target=target, changes=changes)
                yield Start(run=Run(key=key, action="sync", reasons=what_changed(changes), work=work))


def _follows(state: State) -> Iterator[Command]:
    """Start what follows a copy once the copy itself is through."""
    for key, run in state.following.items():
        if replace(key, follow=False) in state.running or key.target not in state.containers:
            continue
        if key in state.running:
            yield Cancel(run=state.running[key], reason="newer files were copied")
        yield Start(run=run)


def _placement(state: State, image: NodeId) -> Placement | None:
    return None if state.observed is None else state.observed.graph.placements.get(image)


def _carry_out(state: State, command: Command) -> tuple[State, Command]:
    """Return the state with the command carried out, and the command with its run's number."""
    match command:
        case Cancel():
            running = {key: run for key, run in state.running.items() if run.number != command.run.number}
            return replace(state, running=running), command
        case Start():
            run = replace(command.run, number=state.next)
            following = {key: each for key, each in state.following.items() if key != run.key}
            changed = replace(
                state,
                running={**state.running, run.key: run},
                following=following,
                unsettled=state.unsettled | ({run.key.node} if _acts_outside(run) else set()),
                next=state.next + 1,
            )
            return changed, Start(run=run)
        case _:
            assert_never(command)


def _acts_outside(run: Run) -> bool:
    """Return whether a run that is broken off leaves something half done: a deploy, a task; never a build."""
    return isinstance(run.work, Make) and run.key.node.kind is not Kind.IMAGE


def _without(mapping: Mapping[NodeId, _V], nodes: Iterable[NodeId]) -> dict[NodeId, _V]:
    gone = set(nodes)
    return {node: value for node, value in mapping.items() if node not in gone}
