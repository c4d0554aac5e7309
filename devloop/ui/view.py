"""What a front-end knows: a pure fold of the event stream into one frozen view.

`fold(view, event)` returns the next view, or the same one where an event changes nothing that it holds (output lines).
The clock is the events' own `at`; replaying a recorded stream gives an equal view.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from devloop import events
from devloop.events import Event, Problem
from devloop.model import NodeId

__all__ = [
    "EMPTY",
    "Cancelled",
    "Ended",
    "Failed",
    "Held",
    "Idle",
    "NodeView",
    "PodView",
    "PortView",
    "Rejected",
    "Round",
    "Running",
    "Settled",
    "State",
    "Succeeded",
    "UpToDate",
    "View",
    "Waiting",
    "Working",
    "fold",
    "replay",
]


# --- a node's state ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Nothing is known yet, or a run was decided on and has not begun."""

    action: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """It waits for something, which `reason` names."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A run goes on since `since`; `message` is the last that it told, with the step where steps are counted."""

    run: int
    action: str
    since: float
    reasons: tuple[str, ...] = ()
    message: str | None = None
    step: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The last run did its work."""

    action: str
    summary: str
    seconds: float
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UpToDate:
    """Nothing had to be done."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The last run failed."""

    action: str
    problems: tuple[Problem, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The last run was overtaken."""

    action: str
    reason: str
    seconds: float


Settling = Waiting | Held | Succeeded | UpToDate | Failed | Cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The node's files have mistakes; what was there `before` goes on."""

    problems: tuple[Problem, ...]
    before: Settling


State = Settling | Rejected | Running


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One pod, as `kubectl get pods` would show it."""

    name: str
    status: str
    ready: bool
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """A local port: open at `url`, or not, for the reason that `problem` gives."""

    local: int
    url: str | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """All that is known of one node."""

    node: NodeId
    settled: Settling | Rejected = field(default_factory=Waiting)
    runs: tuple[Running, ...] = ()
    pods: tuple[PodView, ...] = ()
    ports: tuple[PortView, ...] = ()

    @property
    def state(self) -> State:
        """Return the newest run that goes on, or else how the last one ended."""
        return self.runs[-1] if self.runs else self.settled


# --- the round and the whole -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing has happened yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """Something is to be done, since `since`."""

    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Nothing is left to do for now."""

    ok: bool
    failed: tuple[NodeId, ...]
    seconds: float


Round = Idle | Working | Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The session is over."""

    reason: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The nodes in order of dependency, the round, and what is wrong with the project's files."""

    project: str | None = None
    target: str | None = None
    nodes: Mapping[NodeId, NodeView] = field(default_factory=dict)
    round: Round = field(default_factory=Idle)
    rejected: tuple[Problem, ...] = ()
    ended: Ended | None = None


EMPTY: Final = View()


def replay(stream: Iterable[Event], view: View = EMPTY) -> View:
    """Return the view after all these events."""
    for event in stream:
        view = fold(view, event)
    return view


def fold(view: View, event: Event) -> View:
    """Return the view after this event."""
    match event:
        case events.ProjectLoaded():
            return _loaded(view, event)
        case events.ProjectRejected():
            return _rejected(view, event)
        case events.FilesChanged():
            return _working(view, event.at)
        case events.Settled(ok=ok, failed=failed, seconds=seconds):
            return replace(view, round=Settled(ok=ok, failed=failed, seconds=seconds))
        case events.Stopped(reason=reason, exit_code=code):
            return replace(view, ended=Ended(reason=reason, exit_code=code))
        case events.RunOutput() | events.PodOutput() | events.Noted():
            return view
        case events.Planned() | events.RunStarted():
            return _with_node(_working(view, event.at), event)
        case _:
            return _with_node(view, event)


_OfRun = events.RunStarted | events.RunProgressed | events.RunSucceeded | events.RunFailed | events.RunCancelled
_OfNode = (
    events.Planned | events.Held | events.Skipped | events.PodChanged | events.PortOpened | events.PortClosed | _OfRun
)


def _loaded(view: View, event: events.ProjectLoaded) -> View:
    nodes = {node: _mended(view.nodes.get(node) or NodeView(node=node)) for node in event.nodes}
    started = _working(view, event.at - event.seconds) if isinstance(view.round, Idle) else view
    return replace(started, project=event.project, target=event.target, nodes=nodes, rejected=())


def _mended(node: NodeView) -> NodeView:
    return replace(node, settled=node.settled.before) if isinstance(node.settled, Rejected) else node


def _rejected(view: View, event: events.ProjectRejected) -> View:
    if event.node is None:
        return replace(view, rejected=event.problems)
    node = _mended(view.nodes.get(event.node) or NodeView(node=event.node))
    if isinstance(node.settled, Rejected):
        return view
    return _put(view, replace(node, settled=Rejected(problems=event.problems, before=node.settled)))


def _working(view: View, at: float) -> View:
    return view if isinstance(view.round, Working) else replace(view, round=Working(since=at))


def _with_node(view: View, event: _OfNode) -> View:
    if event.node is None:
        return view
    node = view.nodes.get(event.node) or NodeView(node=event.node)
    changed = _fold_node(node, event)
    return view if changed == node else _put(view, changed)


def _put(view: View, node: NodeView) -> View:
    return replace(view, nodes={**view.nodes, node.node: node})


def _fold_node(node: NodeView, event: _OfNode) -> NodeView:
    match event:
        case events.Planned(action=action, reasons=reasons):
            return replace(node, settled=Waiting(action=action, reasons=reasons))
        case events.Held(reason=reason):
            return replace(node, settled=Held(reason=reason))
        case events.Skipped(reason=reason):
            return _skipped(_mended(node), reason)
        case events.PodChanged():
            return _pod_changed(node, event)
        case events.PortOpened(local=local, url=url):
            return replace(node, ports=_ports(node, PortView(local=local, url=url)))
        case events.PortClosed(local=local, problem=None):
            return replace(node, ports=tuple(port for port in node.ports if port.local != local))
        case events.PortClosed(local=local, problem=problem):
            return replace(node, ports=_ports(node, PortView(local=local, problem=problem)))
        case _:
            return _fold_run(node, event)


def _fold_run(node: NodeView, event: _OfRun) -> NodeView:
    match event:
        case events.RunStarted(run=run, action=action, reasons=reasons):
            started = Running(run=run, action=action, since=event.at, reasons=reasons)
            return replace(node, runs=(*_without(node, run), started))
        case events.RunProgressed():
            return _progressed(node, event)
        case events.RunSucceeded(run=run, action=action, summary=summary, seconds=seconds, changed=changed):
            done = Succeeded(action=action, summary=summary, seconds=seconds, changed=changed)
            return replace(node, settled=done, runs=_without(node, run))
        case events.RunFailed(run=run, action=action, seconds=seconds):
            failed = Failed(action=action, problems=event.problems, seconds=seconds)
            return replace(node, settled=failed, runs=_without(node, run))
        case events.RunCancelled(run=run, action=action, reason=reason, seconds=seconds):
            cancelled = Cancelled(action=action, reason=reason, seconds=seconds)
            return replace(node, settled=cancelled, runs=_without(node, run))
        case _:
            assert_never(event)


def _skipped(node: NodeView, reason: str) -> NodeView:
    # What the last run of this session did is worth more than that it still holds.
    return node if isinstance(node.settled, Succeeded) else replace(node, settled=UpToDate(reason=reason))


def _without(node: NodeView, run: int) -> tuple[Running, ...]:
    return tuple(each for each in node.runs if each.run != run)


def _progressed(node: NodeView, event: events.RunProgressed) -> NodeView:
    def step(run: Running) -> Running:
        if run.run != event.run:
            return run
        return replace(run, message=event.message, step=event.step, steps=event.steps)

    return replace(node, runs=tuple(step(run) for run in node.runs))


def _pod_changed(node: NodeView, event: events.PodChanged) -> NodeView:
    pods = {pod.name: pod for pod in node.pods}
    if event.status == "Gone":
        pods.pop(event.pod, None)
    else:
        pods[event.pod] = PodView(name=event.pod, status=event.status, ready=event.ready, restarts=event.restarts)
    return replace(node, pods=tuple(pods.values()))


def _ports(node: NodeView, port: PortView) -> tuple[PortView, ...]:
    ports = {each.local: each for each in node.ports}
    return tuple({**ports, port.local: port}.values())
