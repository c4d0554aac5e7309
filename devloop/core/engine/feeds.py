"""Which running containers are fed by which syncs, and how far they have come."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from devloop.core.engine.runs import Follow, Sync
from devloop.core.engine.state import State
from devloop.core.graph import ImageDetail
from devloop.core.plan import Step, Synced, UpToDate
from devloop.core.reference import parse, same_repository
from devloop.core.sync.rules import Placement
from devloop.errors import InputError
from devloop.model import ContainerTarget, Digest, ImageRef, Kind, NodeId, PullRule, RelPath

__all__ = ["Feed", "all_feeds", "feeds", "held_back", "looked_at", "unfed", "unfinished", "wants_others"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A running container, and what is known of the files that it started with.

    Attributes:
        source: The image whose files it should hold; for a container that is chosen by labels, the sync.
        placement: Where they go.
        target: The container.
        built: What its image was built from; nothing where devloop did not build it.
    """

    source: NodeId
    placement: Placement
    target: ContainerTarget
    built: Mapping[RelPath, Digest] = field(default_factory=dict)


def feeds(state: State, steps: Mapping[NodeId, Step]) -> Iterator[Feed]:
    """Yield the containers that syncs feed now; those of an image that is not as it should be wait for its build."""
    for feed in all_feeds(state):
        if (
            feed.placement.selector is not None
            or state.mode.alone
            or isinstance(steps.get(feed.source), UpToDate | Synced)
        ):
            yield feed


def all_feeds(state: State) -> Iterator[Feed]:
    """Yield the containers that syncs have to do with, whether or not something is sent to them now."""
    if not state.mode.sync or state.observed is None:
        return
    by_reference = _by_reference(state)
    for source, placement in state.observed.graph.placements.items():
        trace = state.traces.get(source)
        if source in state.refused:
            continue
        if placement.selector is not None:
            yield from _chosen(state, source, placement)
        elif state.mode.alone:
            yield from _of_repository(state, source, placement, by_reference)
        elif trace is not None:
            for target in by_reference.get(trace.result.ref, ()):
                yield Feed(source=source, placement=placement, target=target, built=trace.inputs.files)


def unfed(state: State) -> tuple[NodeId, ...]:
    """Return the syncs for which no container runs, in a session that does nothing but sync."""
    if not state.mode.alone or state.observed is None or not state.seen:
        return ()
    fed = {feed.source for feed in all_feeds(state)}
    placements = state.observed.graph.placements
    return tuple(placement.node for source, placement in placements.items() if source not in fed)


def looked_at(state: State) -> Mapping[ContainerTarget, tuple[str, ...]]:
    """Return the containers that may hand files back, with the paths of these."""
    found: dict[ContainerTarget, tuple[str, ...]] = {}
    for feed in all_feeds(state):
        rules = [follow.rule for follow in feed.placement.pulls if isinstance(follow.rule, PullRule)]
        if rules:
            found[feed.target] = tuple(dict.fromkeys(rule.source for rule in rules))
    return found


def wants_others(state: State) -> bool:
    """Return whether pods matter that the project did not deploy."""
    if not state.mode.sync or state.observed is None:
        return False
    placements = state.observed.graph.placements.values()
    return state.mode.alone or any(each.selector is not None and not each.selector.own for each in placements)


def unfinished(state: State) -> frozenset[ContainerTarget]:
    """Return the containers that do not yet hold all that they should, or in which something is still to be done."""
    under_way = {
        run.work.target
        for run in (*state.running.values(), *state.following.values())
        if isinstance(run.work, Sync) or (isinstance(run.work, Follow) and not _only_pulls(run.work))
    }
    # What is paused waits for news of its files, which a session that looks once does not get.
    awaiting = set() if state.mode.once else state.paused - {key.target for key in state.broken}
    return frozenset(under_way | state.lost | awaiting)


def held_back(state: State, steps: Mapping[NodeId, Step]) -> frozenset[ContainerTarget]:
    """Return the containers that are new and have not come as far as those before them: nobody is led to them yet.

    A container that once held all that it should is never held back again; nor is one in which something failed.
    """
    behind = unfinished(state) - state.served
    return frozenset(feed.target for feed in feeds(state, steps) if feed.target in behind) if behind else frozenset()


def _chosen(state: State, source: NodeId, placement: Placement) -> Iterator[Feed]:
    for target in state.containers:
        facts = state.pods.get(target.uid)
        if facts is not None and placement.selector is not None and placement.selector.selects(target, facts):
            yield Feed(source=source, placement=placement, target=target)


def _of_repository(
    state: State, source: NodeId, placement: Placement, by_reference: Mapping[str, Sequence[ContainerTarget]]
) -> Iterator[Feed]:
    node = state.observed.graph.nodes.get(source) if state.observed is not None else None
    if node is None or source.kind is not Kind.IMAGE or not isinstance(node.detail, ImageDetail):
        return
    trace = state.traces.get(source)
    for ref, targets in by_reference.items():
        if _is_of(ref, node.detail.repository):
            built = trace.inputs.files if trace is not None and trace.result.ref == ref else {}
            for target in targets:
                yield Feed(source=source, placement=placement, target=target, built=built)


def _is_of(ref: str, repository: ImageRef) -> bool:
    try:
        return same_repository(parse(ref), repository)
    except InputError:
        return False


def _by_reference(state: State) -> Mapping[str, Sequence[ContainerTarget]]:
    found: dict[str, list[ContainerTarget]] = {}
    for target, ref in state.containers.items():
        facts = state.pods.get(target.uid)
        if state.mode.alone or facts is None or facts.own:
            found.setdefault(ref, []).append(target)
    return found


def _only_pulls(work: Follow) -> bool:
    return all(isinstance(follow.rule, PullRule) for follow in work.follow_ups)
