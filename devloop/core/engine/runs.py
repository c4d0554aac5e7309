"""Runs: pieces of work that the engine starts and cancels, and what comes back from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from devloop.core.sync.pulling import Looked
from devloop.core.sync.rules import FollowUp
from devloop.core.trace import Inputs, Result
from devloop.model import ContainerTarget, Digest, FileChange, NodeId, RelPath

__all__ = [
    "DONE",
    "Cancel",
    "Command",
    "Follow",
    "Make",
    "Remove",
    "Run",
    "RunEnded",
    "RunKey",
    "Start",
    "Sync",
    "Work",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKey:
    """What at most one run at a time may work on.

    Attributes:
        node: The node.
        target: For a sync, the container.
        follow: Whether it is what follows a copy (commands, a restart) rather than the copy.
        lane: For a sync, which of the copies that may go on beside one another: small files overtake large ones.
    """

    node: NodeId
    target: ContainerTarget | None = None
    follow: bool = False
    lane: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Make:
    """Run the node itself: build, deploy, call the task. `results` are those of all nodes that have one."""

    results: Mapping[NodeId, Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """Make a container hold these files.

    Attributes:
        image: Whose files they are: the image, or the sync where containers are chosen by labels.
        target: The container.
        changes: What it does not hold yet.
        built: Whether its image is built anew where it takes no files.
    """

    image: NodeId
    target: ContainerTarget
    changes: tuple[FileChange, ...]
    built: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Do what the rules say, in order, after a copy of `paths`."""

    image: NodeId
    target: ContainerTarget
    follow_ups: tuple[FollowUp, ...]
    paths: frozenset[RelPath] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove what a service that is no longer declared has in the cluster."""


Work = Make | Remove | Sync | Follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Some work, started once.

    Attributes:
        number: Unique in the session; 0 until it is started.
        key: What it works on.
        action: For people: `build`, `deploy`, `remove`, `sync`, `follow-up`, `task` or `check`.
        reasons: Why.
        inputs: The digests that it was planned with.
        work: What is to be done.
        unsure: Files that changed, or may have, while it ran.
    """

    number: int = 0
    key: RunKey
    action: str
    reasons: tuple[str, ...]
    work: Work
    inputs: Inputs = field(default_factory=Inputs)
    unsure: frozenset[RelPath] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start a run."""

    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel a run; nothing is heard of it any more."""

    run: Run
    reason: str


Command = Start | Cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run ended.

    Attributes:
        number: The run.
        result: What it made, when it did well; None when it failed.
        acknowledged: For a sync, what the container holds now by its own word.
        refused: For a sync, why the container can take no files at all.
        lasting: Whether a new container of the same pod template would refuse them, too.
        lost: Whether the container went away meanwhile.
        looked: For what follows a copy, what a look for files to bring back has found.
        at: When it ended, in seconds of the clock that `Observed` has, too.
    """

    number: int
    result: Result | None = None
    acknowledged: tuple[FileChange, ...] = ()
    refused: str | None = None
    lasting: bool = True
    lost: bool = False
    looked: Looked | None = None
    at: float = 0.0


DONE = Result(digest=Digest("done"))
"""The result of a run that makes nothing that others depend on."""
