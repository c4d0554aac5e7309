"""The engine: what a session knows, how each input changes it, and what is started or cancelled then.

`decide` is synchronous and pure: the same state and input give the same decision. Late results are recognised by their
run's number and ignored.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar, assert_never

from devloop.core.catch_up import difference, holding, wanted_files, what_changed
from devloop.core.graph import Graph, ServiceDetail
from devloop.core.plan import ACTIONS, Busy, Due, Idle, Mode, Situation, Step, Synced, UpToDate, Waiting, plan
from devloop.core.runs import DONE, Cancel, Command, Follow, Make, Remove, Run, RunEnded, RunKey, Start, Sync
from devloop.core.syncing import Placement
from devloop.core.trace import UNSURE, Inputs, Trace, reasons
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
        declared: All nodes that the project declares, also those that this session has nothing to do with.
        touched: For each node, what it reads and what may have changed meanwhile, even if it is now as it was before.
        touched_since: When the first of these may have changed, in seconds of `RunEnded`'s clock.
    """

    graph: Graph
    files: Mapping[NodeId, Mapping[RelPath, Digest]]
    declared: frozenset[NodeId] | None = None
    touched: Mapping[NodeId, frozenset[RelPath]] = field(default_factory=dict)
    touched_since: float = 0.0


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
        held: What a container has acknowledged beyond its image, as `catch_up.holding` says it; `UNSURE` for what is
            on its way.
        refused: Images whose containers take no files, with the reason.
        paused: Containers that nothing is sent to before files or pods were looked at again: a copy was cut off, or
            what was sent is not what was wanted.
        broken: Where a copy or what follows it failed, with the files.
        unsettled: Nodes whose last run began to change something outside and has not done well.
        asked: Nodes that a person wants to run in this session, changed or not.
        made: When each node's last run ended.
        greeted: Containers in which something has followed a copy, or that were asked for what they have.
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
    paused: frozenset[ContainerTarget] = frozenset()
    broken: Mapping[RunKey, frozenset[RelPath]] = field(default_factory=dict)
    unsettled: frozenset[NodeId] = frozenset()
    asked: frozenset[NodeId] = frozenset()
    made: Mapping[NodeId, float] = field(default_factory=dict)
    greeted: frozenset[ContainerTarget] = frozenset()
    next: int = 1

    @property
    def certain(self) -> Mapping[ContainerTarget, Mapping[RelPath, Digest]]:
        """What containers hold for certain: `held`, less the files after whose copy something is still to be done."""
        certain = dict(self.held)
        unfinished = [*self.running.items(), *self.following.items()]
        open_ends = [(key, run.work.paths) for key, run in unfinished if isinstance(run.work, Follow)]
        for key, paths in (*open_ends, *self.broken.items()):
            if key.target in certain:
                certain[key.target] = {**certain[key.target], **dict.fromkeys(paths, UNSURE)}
        return certain


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
    for phase in (_stale, _removals, _due, _syncs, _follows, _greetings):
        for command in phase(state, steps):
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
            return replace(
                _with_doubts(state, received),
                observed=received,
                running=_with_touched(state, received.touched),
                paused=frozenset(),
            )
        case PodsSeen():
            return _see_pods(state, received)
        case Requested():
            return replace(
                state,
                asked=state.asked | received.nodes,
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
        greeted=state.greeted & seen.containers.keys(),
        failed=_without(state.failed, recovered),
        following={key: run for key, run in state.following.items() if key.target in seen.containers},
        held={target: held for target, held in state.held.items() if target in seen.containers},
        paused=frozenset(),
        broken={key: paths for key, paths in state.broken.items() if key.target in seen.containers},
    )


def _with_touched(state: State, touched: Mapping[NodeId, frozenset[RelPath]]) -> Mapping[RunKey, Run]:
    """Return the runs, each with the files that may have changed while it read them."""
    return {
        key: replace(run, unsure=run.unsure | touched[key.node])
        if key.node in touched and isinstance(run.work, Make)
        else run
        for key, run in state.running.items()
    }


def _with_doubts(state: State, seen: Observed) -> State:
    """Return the state; a run that ended after a file changed may have read it as it was in between."""
    doubtful = [node for node, ended in state.made.items() if seen.touched.get(node) and ended >= seen.touched_since]
    traces, failed = dict(state.traces), dict(state.failed)
    for node in doubtful:
        if node in traces:
            traces[node] = replace(traces[node], inputs=traces[node].inputs.unsure_of(seen.touched[node]))
        if node in failed:
            failed[node] = failed[node].unsure_of(seen.touched[node])
    return replace(state, traces=traces, failed=failed)


def _end(state: State, run: Run, ended: RunEnded) -> State:
    state = replace(state, running={key: each for key, each in state.running.items() if key != run.key})
    node = run.key.node
    match run.work:
        case Make() if ended.result is not None:
            trace = Trace(inputs=run.inputs.unsure_of(run.unsure), result=ended.result)
            return replace(
                state,
                traces={**state.traces, node: trace},
                made={**state.made, node: ended.at},
                failed=_without(state.failed, {node}),
                verified=state.verified | {node},
                refused=_without(state.refused, _perhaps_mended(state, node, trace)),
                unsettled=state.unsettled - {node},
            )
        case Make():
            failed = {**state.failed, node: run.inputs.unsure_of(run.unsure)}
            return replace(state, failed=failed, made={**state.made, node: ended.at})
        case Remove() if ended.result is None:
            return replace(state, failed={**state.failed, node: run.inputs})
        case Remove():
            gone = {node}
            return replace(
                state,
                traces=_without(state.traces, gone),
                failed=_without(state.failed, gone),
                verified=state.verified - gone,
                unsettled=state.unsettled - gone,
            )
        case Sync():
            return _end_sync(state, run, run.work, ended)
        case Follow() if ended.lost:
            return state
        case Follow():
            paths = state.broken.get(run.key, frozenset())
            paths = paths | run.work.paths if ended.result is None else paths - run.work.paths
            return replace(state, broken=_with_broken(state, run.key, paths))
        case _:
            assert_never(run.work)


def _perhaps_mended(state: State, node: NodeId, trace: Trace) -> frozenset[NodeId]:
    """Return the images whose containers may take files now, though they did not before: they run by another recipe."""
    before = state.traces.get(node)
    if state.observed is None or (before is not None and before.inputs.recipe == trace.inputs.recipe):
        return frozenset()
    known = state.observed.graph.nodes.get(node)
    of_service = known.detail.images if known is not None and isinstance(known.detail, ServiceDetail) else ()
    return frozenset({node, *of_service})


def _end_sync(state: State, run: Run, work: Sync, ended: RunEnded) -> State:
    if ended.refused is not None:
        return replace(state, refused={**state.refused, work.image: ended.refused})
    if ended.lost:
        return replace(state, paused=state.paused | {work.target})
    if ended.result is None:
        paths = frozenset(change.source for change in work.changes)
        return replace(state, paused=state.paused | {work.target}, broken=_with_broken(state, run.key, paths))
    acknowledged = {change.source: holding(change) for change in ended.acknowledged}
    ahead = _sent_ahead(state, work, acknowledged)
    state = replace(
        state,
        held={**state.held, work.target: {**state.held.get(work.target, {}), **acknowledged}},
        paused=state.paused | {work.target} if ahead else state.paused,
        broken=_with_broken(state, run.key, frozenset()),
    )
    return _with_follow(state, run, work, ended)


def _sent_ahead(state: State, work: Sync, acknowledged: Mapping[RelPath, Digest]) -> bool:
    """Return whether a file was sent in a form that was not looked at yet, so that news of it are on their way."""
    placement = _placement(state, work.image)
    if placement is None or state.observed is None:
        return False
    seen = wanted_files(state.observed.files, work.image, placement)
    return any(
        acknowledged.get(change.source) != holding(change) and seen.get(change.source) == change.digest
        for change in work.changes
    )


def _with_broken(state: State, key: RunKey, paths: frozenset[RelPath]) -> Mapping[RunKey, frozenset[RelPath]]:
    others = {each: broken for each, broken in state.broken.items() if each != key}
    return {**others, key: paths} if paths else others


def _with_follow(state: State, run: Run, work: Sync, ended: RunEnded) -> State:
    """Note what is to be done after a copy, with what was to be done after earlier ones and was not."""
    placement = _placement(state, work.image)
    paths = frozenset(change.source for change in ended.acknowledged)
    due = placement.due(tuple(paths)) if placement is not None else ()
    if placement is None or not due:
        return state
    key = replace(run.key, follow=True)
    for unfinished in (state.running.get(key), state.following.get(key)):
        if unfinished is not None and isinstance(unfinished.work, Follow):
            both = {*due, *unfinished.work.follow_ups}
            due = tuple(each for each in placement.due(tuple(paths | unfinished.work.paths)) if each in both)
            paths |= unfinished.work.paths
    following = Run(
        key=key,
        action="follow-up",
        reasons=what_changed(ended.acknowledged),
        work=Follow(image=work.image, target=work.target, follow_ups=due, paths=paths),
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
    for image, step in steps.items():
        placement = _placement(state, image)
        if placement is None or not isinstance(step, UpToDate | Synced) or image in state.refused:
            continue
        wanted: Mapping[RelPath, Digest] | None = None
        for target, ref in state.containers.items():
            key = RunKey(node=placement.node, target=target)
            if ref != step.result.ref or key in state.running or target in state.paused:
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
    for image, step in steps.items():
        placement = _placement(state, image)
        if placement is None or not placement.pulls or not isinstance(step, UpToDate | Synced):
            continue
        for target, ref in state.containers.items():
            key = RunKey(node=placement.node, target=target, follow=True)
            if ref == step.result.ref and target not in state.greeted and key not in state.running:
                work = Follow(image=image, target=target, follow_ups=placement.pulls, paths=frozenset())
                yield Start(run=Run(key=key, action="follow-up", reasons=("the container is new",), work=work))


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
                _with_unsure(state, run),
                running={**state.running, run.key: run},
                following=following,
                unsettled=state.unsettled | ({run.key.node} if _acts_outside(run) else set()),
                greeted=state.greeted | ({run.work.target} if isinstance(run.work, Follow) else set()),
                next=state.next + 1,
            )
            return changed, Start(run=run)
        case _:
            assert_never(command)


def _with_unsure(state: State, run: Run) -> State:
    """Return the state with the files that a copy is about to send marked, until the container acknowledges them."""
    if not isinstance(run.work, Sync):
        return state
    on_their_way = {change.source: UNSURE for change in run.work.changes}
    held = {**state.held.get(run.work.target, {}), **on_their_way}
    return replace(state, held={**state.held, run.work.target: held})


def _acts_outside(run: Run) -> bool:
    """Return whether a run that is broken off leaves something half done: a deploy, a task; never a build."""
    return isinstance(run.work, Make | Remove) and run.key.node.kind is not Kind.IMAGE


def _without(mapping: Mapping[NodeId, _V], nodes: Iterable[NodeId]) -> dict[NodeId, _V]:
    gone = set(nodes)
    return {node: value for node, value in mapping.items() if node not in gone}
