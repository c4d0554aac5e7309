"""What a session knows, and the news that change it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from devloop.core.engine.runs import Follow, Run, RunEnded, RunKey
from devloop.core.graph import Graph
from devloop.core.plan import Mode
from devloop.core.sync.pulling import Ledger
from devloop.core.sync.rules import Placement
from devloop.core.sync.selectors import PodFacts
from devloop.core.trace import UNSURE, Inputs, Trace
from devloop.model import ContainerTarget, Digest, NodeId, RelPath

__all__ = ["Input", "Observed", "PodsSeen", "Requested", "Retried", "State", "Stirred"]


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
        pods: What is known of their pods, by UID.
    """

    containers: Mapping[ContainerTarget, str]
    ready: frozenset[NodeId]
    pods: Mapping[str, PodFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A person asks for these nodes to run again."""

    nodes: frozenset[NodeId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """It is time to try again what was lost with a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stirred:
    """Files that may be brought back have changed in a container."""

    target: ContainerTarget


Input = Observed | PodsSeen | Requested | Retried | Stirred | RunEnded


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
        pods: What is known of the containers' pods, by UID.
        seen: Whether it has been told what runs in the cluster.
        held: What a container has acknowledged beyond its image, as `catch_up.holding` says it; `UNSURE` for what is
            on its way.
        refused: Images whose containers take no files, with the reason.
        passing: Of those whose next containers may take files again, the last such reason.
        paused: Containers that nothing is sent to before files or pods were looked at again: a copy failed, or what was
            sent is not what was wanted.
        lost: Containers to which a connection was cut in the middle of something; it is tried again after a while.
        served: Containers that at some time held all that they should, or need nothing; connections may lead to them.
        broken: Where a copy or what follows it failed, with the files.
        unsettled: Nodes whose last run began to change something outside and has not done well.
        asked: Nodes that a person wants to run in this session, changed or not.
        made: When each node's last run ended.
        ledger: What is remembered of files that containers hand back.
        stirred: Containers in which such files have changed.
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
    pods: Mapping[str, PodFacts] = field(default_factory=dict)
    seen: bool = False
    held: Mapping[ContainerTarget, Mapping[RelPath, Digest]] = field(default_factory=dict)
    refused: Mapping[NodeId, str] = field(default_factory=dict)
    passing: Mapping[NodeId, str] = field(default_factory=dict)
    paused: frozenset[ContainerTarget] = frozenset()
    lost: frozenset[ContainerTarget] = frozenset()
    served: frozenset[ContainerTarget] = frozenset()
    broken: Mapping[RunKey, frozenset[RelPath]] = field(default_factory=dict)
    unsettled: frozenset[NodeId] = frozenset()
    asked: frozenset[NodeId] = frozenset()
    made: Mapping[NodeId, float] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    stirred: frozenset[ContainerTarget] = frozenset()
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

    def placement(self, image: NodeId) -> Placement | None:
        """Return where an image's files go in its containers; None for an image that has no sync rules."""
        return None if self.observed is None else self.observed.graph.placements.get(image)
