"""How each input changes what a session knows."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar, assert_never

from devloop.core.engine.runs import Follow, Make, Remove, Run, RunEnded, RunKey, Sync
from devloop.core.engine.state import Input, Observed, PodsSeen, Requested, Retried, State, Stirred
from devloop.core.graph import ServiceDetail
from devloop.core.sync.catch_up import holding, wanted_files, what_changed
from devloop.core.trace import Trace
from devloop.model import Digest, NodeId, RelPath

__all__ = ["take"]

_V = TypeVar("_V")


def take(state: State, received: Input) -> State:
    """Return the state after an input."""
    match received:
        case Observed():
            return replace(
                _with_doubts(state, received),
                observed=received,
                running=_with_touched(state, received.touched),
                paused=frozenset(),
                lost=frozenset(),
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
        case Retried():
            return replace(state, lost=frozenset())
        case Stirred():
            return replace(state, stirred=(state.stirred | {received.target}) & state.containers.keys())
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
        pods=seen.pods,
        seen=True,
        greeted=state.greeted & seen.containers.keys(),
        stirred=state.stirred & seen.containers.keys(),
        ledger=state.ledger.without(state.containers.keys() - seen.containers.keys()),
        failed=_without(state.failed, recovered),
        following={key: run for key, run in state.following.items() if key.target in seen.containers},
        held={target: held for target, held in state.held.items() if target in seen.containers},
        paused=frozenset(),
        lost=frozenset(),
        served=state.served & seen.containers.keys(),
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
            again = {run.key: run, **state.following}
            return replace(state, following=again, lost=state.lost | {run.work.target})
        case Follow():
            paths = state.broken.get(run.key, frozenset())
            paths = paths | run.work.paths if ended.result is None else paths - run.work.paths
            ledger = state.ledger if ended.looked is None else state.ledger.after(ended.looked)
            return replace(state, ledger=ledger, broken=_with_broken(state, run.key, paths))
        case _:
            assert_never(run.work)


def _perhaps_mended(state: State, node: NodeId, trace: Trace) -> frozenset[NodeId]:
    """Return the images whose containers may take files now, though they did not before.

    They run by another recipe, or are new, and it was for the first time that something was in the way of the old ones.
    """
    before = state.traces.get(node)
    if state.observed is None or (before is not None and before.inputs.recipe == trace.inputs.recipe):
        return frozenset({node} & state.passing.keys())
    known = state.observed.graph.nodes.get(node)
    of_service = known.detail.images if known is not None and isinstance(known.detail, ServiceDetail) else ()
    return frozenset({node, *of_service})


def _end_sync(state: State, run: Run, work: Sync, ended: RunEnded) -> State:
    key = replace(run.key, lane=0)
    sent = frozenset(change.source for change in work.changes)
    broken = state.broken.get(key, frozenset())
    if ended.refused is not None:
        refused = {**state.refused, work.image: ended.refused}
        passing = _without(state.passing, {work.image})
        if not ended.lasting and state.passing.get(work.image) != ended.refused:
            passing[work.image] = ended.refused
        return replace(state, refused=refused, passing=passing)
    if ended.lost:
        return replace(state, lost=state.lost | {work.target})
    if ended.result is None:
        return replace(state, paused=state.paused | {work.target}, broken=_with_broken(state, key, broken | sent))
    acknowledged = {change.source: holding(change) for change in ended.acknowledged}
    ahead = _sent_ahead(state, work, acknowledged)
    state = replace(
        state,
        held={**state.held, work.target: {**state.held.get(work.target, {}), **acknowledged}},
        paused=state.paused | {work.target} if ahead else state.paused,
        broken=_with_broken(state, key, broken - sent),
    )
    return _with_follow(state, run, work, ended)


def _sent_ahead(state: State, work: Sync, acknowledged: Mapping[RelPath, Digest]) -> bool:
    """Return whether a file was sent in a form that was not looked at yet, so that news of it are on their way."""
    placement = state.placement(work.image)
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
    placement = state.placement(work.image)
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


def _without(mapping: Mapping[NodeId, _V], nodes: Iterable[NodeId]) -> dict[NodeId, _V]:
    gone = set(nodes)
    return {node: value for node, value in mapping.items() if node not in gone}
