"""The typed events: everything that devloop tells its users, in the past tense, one frozen class each.

Every front-end (terminal, plain lines, JSON lines, notebook) folds this one stream. The JSON form of an event is a flat
object with `type` (the class's name) and `v` (the version of the form, now 1); `to_json` and `from_json` are each
other's inverse, so that a recorded stream can be replayed.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from devloop.errors import DevloopError, InputError, InputErrors, ToolError, Where
from devloop.model import Kind, NodeId

__all__ = [
    "VERSION",
    "Event",
    "FilesChanged",
    "Held",
    "Noted",
    "Planned",
    "PodChanged",
    "PodOutput",
    "PortClosed",
    "PortOpened",
    "Problem",
    "ProjectLoaded",
    "ProjectRejected",
    "RunCancelled",
    "RunFailed",
    "RunOutput",
    "RunProgressed",
    "RunStarted",
    "RunSucceeded",
    "Settled",
    "Skipped",
    "Stopped",
    "from_json",
    "problems",
    "to_json",
]

VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake or failure as a front-end shows it: what went wrong, where, how we got there, the way out.

    Attributes:
        message: One sentence.
        where: The place in the project's files, or None.
        chain: The places that led there, the nearest first.
        hint: The way out, or None.
        tail: The last lines of output, for a tool that failed.
        command: What was run, for a tool that failed.
    """

    message: str
    where: Where | None = None
    chain: tuple[Where, ...] = ()
    hint: str | None = None
    tail: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def problems(error: DevloopError) -> tuple[Problem, ...]:
    """Return what an error has to say, one problem for each mistake in it."""
    match error:
        case InputErrors():
            return tuple(problem for each in error.errors for problem in problems(each))
        case InputError():
            return (Problem(message=error.message, where=error.where, chain=error.chain, hint=error.hint),)
        case ToolError():
            return (Problem(message=error.message, hint=error.hint, tail=error.tail, command=error.command),)
        case _:
            return (Problem(message=str(error)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What all events have.

    Attributes:
        seq: Counts the events of a session from 1; set by the bus.
        at: Seconds since the Unix epoch; set by the bus.
        node: The node that it is about, or None for the whole project.
    """

    seq: int = 0
    at: float = 0.0
    node: NodeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLoaded(_Event):
    """The devfile was read: these are its nodes, in order of dependency.

    Attributes:
        project: The project's name.
        target: Where it is deployed to: `context/namespace`, or the engine.
        nodes: Its nodes.
        seconds: How long reading took.
    """

    project: str
    target: str
    nodes: tuple[NodeId, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRejected(_Event):
    """The project's files have mistakes; the last good state goes on (`node`: only this node is concerned).

    Attributes:
        problems: All the mistakes that were found.
    """

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesChanged(_Event):
    """The content of files changed: up to 20 of them by name, and how many in all.

    Attributes:
        paths: The files, relative to the project's root; the first 20.
        count: How many files changed.
    """

    paths: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(_Event):
    """A run of the node was decided on; `reasons` say why.

    Attributes:
        action: What will be run, as in `RunStarted`.
        reasons: What changed, in words.
    """

    action: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(_Event):
    """The node is not run now; `reason` says what it waits for.

    Attributes:
        reason: What it waits for, in words.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(_Event):
    """The node is up to date; `reason` says since what.

    Attributes:
        reason: Why nothing has to be done, in words.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(_Event):
    """A run of the node began.

    Attributes:
        run: The run's number, unique in the session.
        action: `build`, `deploy`, `remove`, `sync`, `run`, `restart`, `pull`, `task` or `check`.
        reasons: Why.
    """

    run: int
    action: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgressed(_Event):
    """A run got on: a build's step, a rollout's state. `step` of `steps` where they are countable.

    Attributes:
        run: The run's number.
        message: What it does now.
        step: The number of the present step, from 1, or None.
        steps: How many steps there are, or None.
    """

    run: int
    message: str
    step: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutput(_Event):
    """A run printed a line.

    Attributes:
        run: The run's number.
        line: The line, as it was printed, without its end.
    """

    run: int
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSucceeded(_Event):
    """A run did its work; `summary` says what was done, `changed` is False when it turned out that nothing had to be.

    Attributes:
        run: The run's number.
        action: As in `RunStarted`.
        seconds: How long it took.
        summary: What was done, in words; may be empty.
        changed: Whether anything is different from before.
    """

    run: int
    action: str
    seconds: float
    summary: str
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(_Event):
    """A run failed. The loop goes on; the node is run again when one of its inputs changes.

    Attributes:
        run: The run's number.
        action: As in `RunStarted`.
        seconds: How long it took.
        problems: What went wrong, at least one.
    """

    run: int
    action: str
    seconds: float
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled(_Event):
    """A run was cancelled, because newer content or the end of the session overtook it.

    Attributes:
        run: The run's number.
        action: As in `RunStarted`.
        seconds: How long it had run.
        reason: What overtook it, in words.
    """

    run: int
    action: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodChanged(_Event):
    """A service's pod came, changed or went (`status` is what `kubectl get pods` calls it, or `Gone`).

    Attributes:
        pod: The pod's name.
        status: What `kubectl get pods` calls it, or `Gone`.
        ready: Whether it takes requests.
        restarts: How often its containers were restarted.
    """

    pod: str
    status: str
    ready: bool
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOutput(_Event):
    """A container printed a line.

    Attributes:
        pod: The pod's name.
        container: The container's name.
        line: The line, as it was printed.
        time: The container engine's RFC 3339 timestamp.
        previous: Whether it is from the run before the container's present one.
    """

    pod: str
    container: str
    line: str
    time: str
    previous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOpened(_Event):
    """A service answers on a local port.

    Attributes:
        local: The local port.
        remote: The port that it leads to, as the project's files name it.
        url: The address to use.
    """

    local: int
    remote: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortClosed(_Event):
    """A local port could not be opened, or was closed; `problem` says who holds it.

    Attributes:
        local: The local port.
        problem: Why it could not be opened, or None when it was closed.
    """

    local: int
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(_Event):
    """Something that the user should know and that is no failure (polling, a rebuild instead of a sync).

    Attributes:
        message: What it is.
        hint: What can be done about it, or None.
    """

    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(_Event):
    """Nothing is left to do for now.

    Attributes:
        ok: Whether every node is up to date and ready.
        failed: The nodes that failed or wait for one that did.
        seconds: Since the round's first change, or since the start.
    """

    ok: bool
    failed: tuple[NodeId, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(_Event):
    """The session ended.

    Attributes:
        reason: Why, in words.
        exit_code: What the command ends with.
    """

    reason: str
    exit_code: int


Event = (
    ProjectLoaded
    | ProjectRejected
    | FilesChanged
    | Planned
    | Held
    | Skipped
    | RunStarted
    | RunProgressed
    | RunOutput
    | RunSucceeded
    | RunFailed
    | RunCancelled
    | PodChanged
    | PodOutput
    | PortOpened
    | PortClosed
    | Noted
    | Settled
    | Stopped
)

_TYPES: Final[Mapping[str, Any]] = {each.__name__: each for each in get_args(Event)}


def to_json(event: Event) -> dict[str, object]:
    """Return the event's JSON form: `type` and `v` first, then its fields; absent ones are null, nodes `kind:name`."""
    fields = {each.name: _plain(getattr(event, each.name)) for each in dataclasses.fields(event)}
    return {"type": type(event).__name__, "v": VERSION, **fields}


def from_json(data: Mapping[str, Any]) -> Event:
    """Return the event that `to_json` made this of.

    Raises:
        ValueError: The type or the version is not known.
    """
    if data.get("v") != VERSION or data.get("type") not in _TYPES:
        message = f"not an event of version {VERSION}: {data.get('type')!r} v{data.get('v')!r}"
        raise ValueError(message)
    event_type = _TYPES[data["type"]]
    names = [each.name for each in dataclasses.fields(event_type) if each.name in data]  # older ones lack newer fields
    fields = {name: _READERS.get(name, _same)(data[name]) for name in names}
    event: Event = event_type(**fields)
    return event


def _plain(value: object) -> object:
    match value:
        case NodeId():
            return str(value)
        case tuple():
            return [_plain(each) for each in value]
        case Problem() | Where():
            return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
        case _:
            return value


def _same(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _node(value: str | None) -> NodeId | None:
    if value is None:
        return None
    kind, _, name = value.partition(":")
    return NodeId(Kind(kind), name)


def _where(value: Mapping[str, Any] | None) -> Where | None:
    return None if value is None else Where(**value)


def _problem(value: Mapping[str, Any] | None) -> Problem | None:
    if value is None:
        return None
    return Problem(
        message=value["message"],
        where=_where(value["where"]),
        chain=tuple(Where(**each) for each in value["chain"]),
        hint=value["hint"],
        tail=tuple(value["tail"]),
        command=tuple(value["command"]),
    )


_READERS: Final[Mapping[str, Any]] = {
    "node": _node,
    "nodes": lambda value: tuple(_node(each) for each in value),
    "failed": lambda value: tuple(_node(each) for each in value),
    "problem": _problem,
    "problems": lambda value: tuple(_problem(each) for each in value),
}
