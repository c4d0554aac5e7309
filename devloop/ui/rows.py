"""What the data commands show: small frozen rows, which the app makes and `tables` and `drawings` render."""

from collections.abc import Sequence
from dataclasses import dataclass

from devloop.errors import Where
from devloop.events import Problem
from devloop.model import NodeId

__all__ = [
    "CheckRow",
    "ClusterRow",
    "Decision",
    "Edge",
    "ObjectRow",
    "PlanRow",
    "PodRow",
    "PortRow",
    "ServiceRow",
    "SettingRow",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRow:
    """An object in the cluster: `deployment/api` and how it is."""

    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRow:
    """A pod as `kubectl get pods` shows it."""

    name: str
    status: str
    ready: bool
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRow:
    """A local port and where it leads; `url` is None while nothing listens there."""

    local: int
    remote: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """A service of `devloop status`.

    Attributes:
        node: The service.
        status: One word or a few: `ready`, `not deployed`, `failing`.
        detail: Why, where that needs saying.
        objects: What it has in the cluster.
        pods: Its pods.
        ports: Its local ports.
    """

    node: NodeId
    status: str
    detail: str = ""
    objects: Sequence[ObjectRow] = ()
    pods: Sequence[PodRow] = ()
    ports: Sequence[PortRow] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """A node of `devloop plan`.

    Attributes:
        node: The node.
        action: What would run, or None when nothing would.
        reasons: Why it would run, or why not.
        after: The nodes that run first.
    """

    node: NodeId
    action: str | None
    reasons: Sequence[str] = ()
    after: Sequence[NodeId] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The last decision on a node, for `devloop why`.

    Attributes:
        node: The node.
        action: What was run, or None when it was held or nothing had to be.
        reasons: Why.
        outcome: `succeeded`, `failed`, `cancelled`, `running`, `held` or `up to date`.
        at: When it was decided, in words of the app (`3 minutes ago`), or None.
        seconds: How long the run took, or None.
        summary: What it did.
        problems: What went wrong.
    """

    node: NodeId
    action: str | None
    reasons: Sequence[str]
    outcome: str
    at: str | None = None
    seconds: float | None = None
    summary: str = ""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`source` needs `target`; the reasons say where that was seen."""

    source: NodeId
    target: NodeId
    reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """A setting of `devloop settings`.

    Attributes:
        name: As `--set` takes it, for example `api.replicas`.
        type: The type's name.
        value: The value in force, as text.
        default: The default, as text.
        origin: Where the value comes from: `default`, `--set replicas=3`, `DEVLOOP_SET_REPLICAS`.
        where: The parameter's place.
    """

    name: str
    type: str
    value: str
    default: str
    origin: str
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """Something that devloop needs, as `devloop doctor` found it.

    Attributes:
        name: What it is.
        ok: Whether devloop can work with it.
        found: What there is, or what is wrong.
        hint: How to mend it.
    """

    name: str
    ok: bool
    found: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRow:
    """The cluster of one's own.

    Attributes:
        state: absent, stopped, starting or ready.
        image: The image that it runs.
        server: The address of its API server.
        version: Its Kubernetes version, once it is ready.
        context: Its context, where the kubeconfig has it.
        current: Whether that is the current context.
        lacks: What it waits for while it starts.
    """

    state: str
    image: str | None = None
    server: str | None = None
    version: str | None = None
    context: str | None = None
    current: bool = False
    lacks: str | None = None
