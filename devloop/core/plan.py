"""The planner: graph, files and traces in; for every node what is to be done and why out.

Planning starts from nothing each time. Scheduler: topological; rebuilder: verifying traces (see `core.trace`); early
cut-off: dependents look at a node's result, never at whether it ran.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from devloop.core import digests
from devloop.core.graph import Graph, ImageDetail, Node, ServiceDetail, TaskDetail
from devloop.core.sync.rules import Placement
from devloop.core.tables import Memory, differing, paths_of
from devloop.core.trace import Inputs, Result, Trace, changed_files, reasons
from devloop.model import Digest, Kind, NodeId, RelPath

__all__ = [
    "ACTIONS",
    "Busy",
    "Due",
    "Idle",
    "Mode",
    "Situation",
    "Step",
    "Synced",
    "UpToDate",
    "Waiting",
    "plan",
    "runs_by_itself",
]

ACTIONS: Final[Mapping[Kind, str]] = {
    Kind.IMAGE: "build",
    Kind.SERVICE: "deploy",
    Kind.SYNC: "sync",
    Kind.TASK: "task",
    Kind.CHECK: "check",
}

_PLACED: Final = Memory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a session does by itself.

    Attributes:
        kinds: The kinds of node that are run.
        sync: Whether changed files may be copied into running containers in place of a build.
        once: Whether the session ends when nothing is left to do.
        alone: Whether files are copied into containers of the images whoever built them, and nothing is built.
    """

    kinds: frozenset[Kind] = frozenset({Kind.IMAGE, Kind.SERVICE, Kind.SYNC, Kind.TASK})
    sync: bool = True
    once: bool = False
    alone: bool = False

    @property
    def uses_cluster(self) -> bool:
        """Whether it has to do with what runs in a cluster."""
        return Kind.SERVICE in self.kinds or self.alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a plan depends on.

    Attributes:
        graph: The nodes.
        files: For each node that reads files, their digests.
        traces: The last good run of each node.
        failed: The inputs with which a node's last run failed.
        running: The inputs with which a node runs now.
        verified: The nodes whose trace was confirmed in this session (services: in the cluster).
        refused: Images whose containers cannot take files, with the reason.
        unsettled: Nodes whose last run began to change something outside and did not do well.
        asked: Nodes that a person wants to run in this session, changed or not.
        mode: What is done at all.
    """

    graph: Graph = field(default_factory=Graph)
    files: Mapping[NodeId, Mapping[RelPath, Digest]] = field(default_factory=dict)
    traces: Mapping[NodeId, Trace] = field(default_factory=dict)
    failed: Mapping[NodeId, Inputs] = field(default_factory=dict)
    running: Mapping[NodeId, Inputs] = field(default_factory=dict)
    verified: frozenset[NodeId] = frozenset()
    refused: Mapping[NodeId, str] = field(default_factory=dict)
    unsettled: frozenset[NodeId] = frozenset()
    asked: frozenset[NodeId] = frozenset()
    mode: Mode = field(default_factory=Mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpToDate:
    """The trace stands for the present inputs."""

    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """The image itself is older, but the files that differ can be copied into its containers."""

    result: Result
    paths: tuple[RelPath, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The node must run with these inputs."""

    inputs: Inputs
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A run is under way that will make it right.

    Attributes:
        inputs: What it was started with.
        overtaken: Files that changed since; what they hold will be synced after the run.
    """

    inputs: Inputs
    overtaken: tuple[RelPath, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The node is not run now.

    Attributes:
        reason: What it waits for.
        failed: Whether only a new change (or help from outside) can end the waiting.
    """

    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """The session does not run this node by itself."""


Step = UpToDate | Synced | Due | Busy | Waiting | Idle


def plan(situation: Situation) -> dict[NodeId, Step]:
    """Return for every node what is to be done, in order of dependency."""
    steps: dict[NodeId, Step] = {}
    for node in situation.graph.nodes.values():
        steps[node.id] = _step(situation, node, steps)
    return steps


def runs_by_itself(node: Node, graph: Graph, mode: Mode, asked: frozenset[NodeId] = frozenset()) -> bool:
    """Return whether a session runs the node unasked: a task only if it has inputs, or another node needs it."""
    if node.id.kind not in mode.kinds:
        return False
    if node.id in asked:
        return True
    if isinstance(node.detail, TaskDetail) and node.id.kind is Kind.TASK:
        return node.detail.inputs is not None or bool(graph.dependents(node.id))
    return node.id.kind is not Kind.SYNC


def _step(situation: Situation, node: Node, steps: Mapping[NodeId, Step]) -> Step:
    if not runs_by_itself(node, situation.graph, situation.mode, situation.asked):
        return Idle()
    if node.problems:
        return Waiting(reason=f"it has a mistake: {node.problems[0]}", failed=True)
    data = [need for need in node.needs if need.kind is Kind.IMAGE]
    held = _held(situation, node, data, steps)
    if held is not None:
        return held
    inputs = _inputs(situation, node, steps)
    return (
        _under_way(situation, node, inputs)
        or _settled(situation, node, inputs)
        or _held(situation, node, node.needs, steps)
        or _next(situation, node, inputs)
    )


def _under_way(situation: Situation, node: Node, inputs: Inputs) -> Step | None:
    """Return that a run which will make it right is under way."""
    running = situation.running.get(node.id)
    if running is None:
        return None
    if running == inputs:
        return Busy(inputs=running)
    overtaken = _syncable(situation, node, running, inputs)
    return None if overtaken is None else Busy(inputs=running, overtaken=overtaken)


def _settled(situation: Situation, node: Node, inputs: Inputs) -> Step | None:
    """Return that the node is right as it is, or can be made so by copying files."""
    trace = situation.traces.get(node.id)
    if trace is None or node.id in situation.unsettled:
        return None
    if node.id not in situation.verified and not _verifies_itself(situation, node):
        return None
    if trace.inputs == inputs:
        return UpToDate(result=trace.result)
    paths = _syncable(situation, node, trace.inputs, inputs)
    return None if paths is None else Synced(result=trace.result, paths=paths)


def _next(situation: Situation, node: Node, inputs: Inputs) -> Step:
    if situation.failed.get(node.id) == inputs:
        return Waiting(reason=f"its last {ACTIONS[node.id.kind]} failed and nothing changed since", failed=True)
    return Due(inputs=inputs, reasons=_why(situation, node, situation.traces.get(node.id), inputs))


def _verifies_itself(situation: Situation, node: Node) -> bool:
    """Return whether a trace is confirmed by being read: of images and tasks; a service's is only so in the cluster."""
    return node.id.kind not in {Kind.SERVICE, Kind.CHECK} and node.id not in situation.asked


def _held(situation: Situation, node: Node, needs: Sequence[NodeId], steps: Mapping[NodeId, Step]) -> Waiting | None:
    waiting: Waiting | None = None
    for need in needs:
        match steps.get(need):
            case UpToDate() | Synced() | Idle() | None:
                continue
            case Waiting(failed=True) as step:
                if need.kind is Kind.SERVICE and need in situation.verified and node.id.kind is not Kind.CHECK:
                    continue  # it runs in an older form, which is enough to go on with
                return Waiting(reason=f"waits for {need}: {_short(step)}", failed=True)
            case _:
                waiting = waiting or Waiting(reason=f"waits for {need}")
    return waiting


def _short(step: Waiting) -> str:
    """Return what is wrong with a node in a few words, for those that wait for it."""
    return step.reason.partition(":")[0].removesuffix(" and nothing changed since")


def _inputs(situation: Situation, node: Node, steps: Mapping[NodeId, Step]) -> Inputs:
    results = {}
    for need in node.needs:
        step = steps.get(need)
        if isinstance(step, UpToDate | Synced) and need.kind is not Kind.SERVICE:
            results[need] = step.result.digest
    recipe = node.recipe
    if situation.mode.sync and isinstance(node.detail, ServiceDetail):
        restarting = sorted(str(image) for image in node.detail.images if _restarts(situation.graph, image))
        if restarting:
            recipe = {**recipe, "restart rules": digests.of_value(restarting)}
    files = situation.files.get(node.id, {})
    return Inputs(recipe=recipe, files=files, results=results, sources=node.sources)


def _restarts(graph: Graph, image: NodeId) -> bool:
    placement = graph.placements.get(image)
    return placement is not None and placement.restarts


def _syncable(situation: Situation, node: Node, old: Inputs, new: Inputs) -> tuple[RelPath, ...] | None:
    """Return the changed files if all of them can reach the image's containers without a build, else None."""
    placement = situation.graph.placements.get(node.id)
    if placement is None or not situation.mode.sync or node.id in situation.refused:
        return None
    if old.recipe != new.recipe or old.results != new.results or not isinstance(node.detail, ImageDetail):
        return None
    if any(need.kind is Kind.IMAGE for need in situation.graph.dependents(node.id)):
        return None  # images built on this one would go without the change
    return changed_files(old, new) if _can_be_placed(placement, old.files, new.files) else None


def _can_be_placed(placement: Placement, old: Mapping[RelPath, Digest], new: Mapping[RelPath, Digest]) -> bool:
    """Return whether all files that differ can be copied to where they belong."""
    news = None if placement.asks_dockerfile else _PLACED.news(placement, old, (new,))
    paths = differing(new, old) if news is None else [path for path in news if new.get(path) != old.get(path)]
    files = paths_of(new, old) if placement.asks_dockerfile else frozenset[RelPath]()
    if any(placement.place(path, files) is None for path in paths):
        return False
    _PLACED.found(placement, old, (new,))
    return True


def _why(situation: Situation, node: Node, trace: Trace | None, inputs: Inputs) -> tuple[str, ...]:
    refused = situation.refused.get(node.id)
    why = reasons(trace, inputs)
    if trace is not None and refused is not None:
        return (*why, f"its containers take no files: {refused}")
    if not why and node.id in situation.unsettled:
        return ("its last run was broken off",)
    if not why and node.id in situation.asked:
        return ("it was asked for",)
    if not why and node.id.kind is Kind.SERVICE:
        return ("to see that the cluster still has it",)
    if trace is not None and node.id in situation.graph.placements and situation.mode.sync:
        placement = situation.graph.placements[node.id]
        files = trace.inputs.files.keys() | inputs.files.keys()
        outside = [path for path in changed_files(trace.inputs, inputs) if placement.place(path, files) is None]
        if outside:
            return (*why, f"{outside[0]} cannot be synced: {placement.why_not(outside[0], files)}")
    return why or ("it was asked for",)


def assume(situation: Situation, steps: Mapping[NodeId, Step]) -> Situation:
    """Return the situation as if all that is due had run, each with a new result: what `devloop plan` shows."""
    traces = dict(situation.traces)
    for node, step in steps.items():
        if isinstance(step, Due):
            traces[node] = Trace(inputs=step.inputs, result=Result(digest=_all_of(node, step.inputs)))
    due = frozenset(node for node, step in steps.items() if isinstance(step, Due))
    return replace(situation, traces=traces, verified=situation.verified | due)


def _all_of(node: NodeId, inputs: Inputs) -> Digest:
    """Return a digest that differs whenever anything that the node reads does."""
    results = {str(need): digest for need, digest in inputs.results.items()}
    read: list[object] = [str(node), dict(inputs.recipe), dict(inputs.files), results]
    return digests.of_value(read)
