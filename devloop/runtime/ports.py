"""The ports: what the runtime asks of the world, as Protocols. Adapters implement them; tests have fakes of them.

Each port has one conformance suite in `tests/adapters/` that its fake and its real adapter both pass. Calls that wait
are cancellable; a cancelled call leaves no process, connection or half-written state behind.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from anyio.abc import ByteStream, ObjectReceiveStream

from devloop.core.cluster.pods import Pod
from devloop.core.cluster.rollout import Failing, Progressing, Rollout
from devloop.core.delivery.pull_secrets import Obstacle
from devloop.core.manifest import Manifest
from devloop.core.settings import Setting
from devloop.core.sync.pulling import Ledger
from devloop.core.trace import Trace
from devloop.declarations import Declaration, ProjectSpec
from devloop.errors import InputError, ToolError
from devloop.model import ContainerTarget, Digest, FileChange, ForwardRule, ImageRef, NodeId, ObjectKey, RelPath

__all__ = [
    "Access",
    "Applied",
    "BuildLog",
    "BuildProgress",
    "BuildRequest",
    "BuildStep",
    "Builder",
    "Cluster",
    "ContainerLostError",
    "ContainerTarget",
    "Delivery",
    "Devfile",
    "Entry",
    "ExecExit",
    "ExecOutput",
    "ExecStream",
    "FileChange",
    "Files",
    "ForwardRule",
    "Forwarder",
    "Hint",
    "ImageConfig",
    "LiveObject",
    "Loaded",
    "LogLine",
    "PathsHint",
    "PortState",
    "RescanHint",
    "RolloutError",
    "Saved",
    "Store",
    "SyncRefusedError",
    "Syncer",
    "Tailer",
    "Watcher",
    "Way",
]


# --- the devfile ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a devfile declares.

    Attributes:
        declarations: In the order of the files.
        project: What `project(…)` was given.
        settings: What `setting(…)` was given, with the values.
        errors: The mistakes found while loading; what could be read is there all the same.
        read: The files of the project that the load read, relative to the root.
    """

    declarations: tuple[Declaration, ...]
    project: ProjectSpec
    settings: tuple[Setting, ...]
    errors: tuple[InputError, ...]
    read: frozenset[str]


class Devfile(Protocol):
    """The project's devfile. Synchronous: the runtime calls it in a worker thread."""

    def load(self) -> Loaded:
        """Import the devfile afresh, with the helper modules beside it."""


# --- files ---------------------------------------------------------------------------------------------------


def every_file(_path: RelPath) -> bool:
    """Return that a file is wanted, whichever it is."""
    return True


class Entry(StrEnum):
    """What a name in a folder stands for."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


class Files(Protocol):
    """The project's files. Synchronous: the runtime calls it in a worker thread.

    All paths are relative to the project's root. A file's digest covers kind, permission bits and content
    (`core.digests`), a symbolic link's its target; directories have none.
    """

    def read(self, path: RelPath) -> str | None:
        """Return the text of a definition file (UTF-8), or None when there is no such file.

        Raises:
            InputError: It is there but cannot be read as text.
        """

    def is_directory(self, path: RelPath) -> bool:
        """Return whether the path is a directory (links followed)."""

    def link_target(self, path: RelPath) -> str | None:
        """Return where a symbolic link leads, as it is written; None for what is none."""

    def entries(self, folder: RelPath) -> Mapping[str, Entry]:
        """Return what stands in a folder, by name; nothing where there is no folder."""

    def head(self, path: RelPath) -> bytes | None:
        """Return the first bytes of a file (links followed), enough to tell an archive; None where there is none."""

    def scan(
        self,
        directory: RelPath,
        keep: Callable[[RelPath], bool],
        wanted: Callable[[RelPath], bool] = every_file,
    ) -> dict[RelPath, Digest]:
        """Return the digest of every wanted file below `directory`, without the sub-directories that are not kept.

        What is not kept is not entered, and what is not wanted is not read.
        """

    def look_again(
        self,
        paths: Collection[RelPath],
        known: Collection[RelPath],
        keep: Callable[[RelPath], bool],
        wanted: Callable[[RelPath], bool] = every_file,
    ) -> dict[RelPath, Digest | None]:
        """Return the present digest of what the paths name; None for what is gone or not wanted.

        A path that is a directory now is walked; of a path that was one, every known file below it is reported gone.
        """

    def save(self) -> None:
        """Keep the stat cache for the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathsHint:
    """These paths may have changed.

    Attributes:
        paths: The paths.
        since: When the first of them may have changed at the earliest, in seconds of `time.monotonic`; 0 if not known.
        over: Whether that is all for now. Of a long burst, parts are hinted before, so that they can be looked at
            meanwhile; what changes again after that is hinted again.
    """

    paths: frozenset[RelPath]
    since: float = field(default=0.0, compare=False)
    over: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RescanHint:
    """Anything may have changed, because events were lost."""

    reason: str


Hint = PathsHint | RescanHint


class Watcher(Protocol):
    """Tells which files may have changed."""

    def watch(
        self, roots: Sequence[RelPath], keep: Callable[[RelPath], bool]
    ) -> AbstractAsyncContextManager[ObjectReceiveStream[Hint]]:
        """Watch the directories and what is below them; nothing that changes after entering is missed.

        A burst of changes comes as one hint, of a long one with parts of it before. `keep` is asked about directories:
        what it says no to is not reported.

        Raises:
            ToolError: The system's watch limit is reached; the hint says how to raise it.
        """


# --- images --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One `docker buildx build`; paths are absolute.

    Attributes:
        name: The image node's name, for messages.
        contexts: Named contexts, name to `docker-image://…` or a directory.
        labels: Labels put on the image.
        no_cache: Whether to build from nothing.
        pull: Whether to ask the registry for newer base images.
        builder: The buildx builder; None for the current one.
        push: The repository that the builder pushes the image to by its digest, instead of loading it.
    """

    name: str
    context: str
    dockerfile: str
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    ssh: Sequence[str] = ()
    platforms: Sequence[str] = ()
    cache_from: Sequence[str] = ()
    cache_to: Sequence[str] = ()
    no_cache: bool = False
    pull: bool = False
    builder: str | None = None
    push: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """A step of a build began or ended.

    Attributes:
        name: As BuildKit names it, for example `[2/4] COPY src /app/src`.
        index: The step's number in order of first appearance, from 1.
        done: Whether it ended.
        cached: Whether it came from the cache.
        seconds: How long it took, once done.
        error: Why it failed, or None.
    """

    name: str
    index: int
    done: bool = False
    cached: bool = False
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLog:
    """One line that a step printed."""

    step: str
    line: str


BuildProgress = BuildStep | BuildLog


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about its process."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""


class Builder(Protocol):
    """Builds images and knows those that the engine holds."""

    async def build(self, request: BuildRequest, report: Callable[[BuildProgress], None]) -> Digest:
        """Build and load the image; return its ID. Cancelling ends all of the build's processes first.

        An image that the builder pushes itself is not loaded; what is returned is then its digest in the registry.

        Raises:
            ToolError: The build failed; `tail` ends with the failing step's output.
            InputError: There is no such builder.
            UnreachableError: There is no engine.
        """

    async def is_apart(self, builder: str) -> bool:
        """Return whether the builder is another than the engine's own.

        Raises:
            InputError: There is no such builder.
        """

    async def publish(self, image: Digest, ref: ImageRef) -> None:
        """Name an image in its registry that a builder pushed there.

        Raises:
            ToolError: The registry refuses it.
        """

    async def tag(self, image: Digest, ref: ImageRef) -> None:
        """Name an image that the engine holds."""

    async def resolve(self, ref: str) -> Digest | None:
        """Return the ID of the image with this name or ID, or None when the engine has none."""

    async def configuration(self, image: Digest) -> ImageConfig:
        """Return what the image runs when nothing else is said."""

    async def has_shell(self, image: Digest) -> bool:
        """Return whether the image has `/bin/sh`."""

    async def prune(self, repository: str, keep: Collection[Digest]) -> int:
        """Remove devloop's own tags (`dev-…`) of a repository but those of the images to keep; return how many.

        An image that a container uses stays.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the images of a repository reach the cluster.

    Attributes:
        pushed: Where a builder of its own pushes them; None where they must come by the engine.
        pulled: What the nodes call them where they pull them from a registry; None where they get them without one.
        platforms: Those of the cluster's nodes; empty where they are not known.
    """

    pushed: ImageRef | None = None
    pulled: ImageRef | None = None
    platforms: tuple[str, ...] = ()


class Delivery(Protocol):
    """Brings a built image to where the cluster takes its images from."""

    async def way(self, repository: ImageRef) -> Way:
        """Return how images of a repository reach the cluster."""

    async def obstacles(self, manifests: Sequence[Manifest], images: Collection[str]) -> tuple[Obstacle, ...]:
        """Return what may keep nodes from pulling these images for what was applied."""

    async def deliver(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> ImageRef:
        """Make the image available to every node; return the reference that manifests must use.

        Raises:
            ToolError: The push or load failed.
        """

    async def has(self, image: Digest, ref: ImageRef) -> bool:
        """Return whether the cluster already can get the image under a reference that `deliver` returned."""


# --- the cluster ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply did."""

    changed: tuple[ObjectKey, ...] = ()
    replaced: tuple[ObjectKey, ...] = ()
    unchanged: tuple[ObjectKey, ...] = ()
    removed: tuple[ObjectKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveObject:
    """An object in the cluster that devloop deployed."""

    key: ObjectKey
    service: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOutput:
    """Bytes that a command in a container printed."""

    data: bytes
    stderr: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecExit:
    """The command in the container ended."""

    code: int


class ExecStream(Protocol):
    """A command running in a container, with its streams."""

    async def send(self, data: bytes) -> None:
        """Write to the command's standard input.

        Raises:
            ContainerLostError: The connection is gone.
        """

    async def receive(self) -> ExecOutput | ExecExit:
        """Return the next output, and the exit code as the last.

        Raises:
            ContainerLostError: The connection ended without an exit code.
        """

    async def resize(self, columns: int, rows: int) -> None:
        """Tell a terminal's new size."""


class RolloutError(ToolError):
    """A rollout fails: `failing` says which pod and why, with the last log lines in `tail`."""

    def __init__(self, failing: Failing, *, tail: Sequence[str] = ()) -> None:
        super().__init__(failing.message, tail=tail)
        self.failing = failing


class ContainerLostError(ToolError):
    """The container, or the connection to it, is gone."""


class SyncRefusedError(ToolError):
    """This container cannot take files (no shell, read-only file system, no permission): the reason for a rebuild.

    Attributes:
        lasting: Whether a new container of the same pod template would refuse them, too.
    """

    def __init__(
        self, message: str, *, tail: Sequence[str] = (), hint: str | None = None, lasting: bool = True
    ) -> None:
        super().__init__(message, tail=tail, hint=hint)
        self.lasting = lasting


class Cluster(Protocol):
    """Where services run: a Kubernetes namespace, or the Docker engine alone.

    Only objects that carry devloop's labels for this project are ever changed or removed.
    """

    context: str
    namespace: str

    async def apply(self, service: str, manifests: Sequence[Manifest]) -> Applied:
        """Make the cluster hold exactly these objects for the service.

        Objects whose live `devloop.dev/applied` annotation equals the manifest's digest are left alone; what cannot be
        changed in place is replaced; objects of the service that are no longer named are removed.

        Raises:
            ToolError: The cluster refused an object; the message names it.
            UnreachableError: The API server did not answer.
        """

    async def wait(
        self,
        service: str,
        manifests: Sequence[Manifest],
        report: Callable[[Progressing | Failing], None],
        *,
        patience: float,
    ) -> None:
        """Return when the service's workloads are rolled out and ready.

        Args:
            service: The service's name.
            manifests: What was applied.
            report: Told of each change of the state.
            patience: Seconds that a failing state may last before it is raised; it may mend itself.

        Raises:
            RolloutError: It failed for longer than `patience`.
        """

    async def state(self, service: str, manifests: Sequence[Manifest]) -> Rollout:
        """Return the rollout's present state, without waiting."""

    async def remove(self, services: Collection[str] | None = None) -> tuple[ObjectKey, ...]:
        """Remove all that devloop created for these services (None: the whole project) and wait until it is gone."""

    async def objects(self) -> tuple[LiveObject, ...]:
        """Return what devloop has deployed for the project."""

    def pods(self) -> AbstractAsyncContextManager[ObjectReceiveStream[tuple[Pod, ...]]]:
        """Subscribe to the project's pods: all at once, and again after each change. Survives lost connections."""

    def all_pods(self) -> AbstractAsyncContextManager[ObjectReceiveStream[tuple[Pod, ...]]]:
        """Subscribe to the pods of the namespace, whoever deployed them; as `pods` does."""

    def exec(
        self, target: ContainerTarget, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> AbstractAsyncContextManager[ExecStream]:
        """Run a command in a container.

        Raises:
            ContainerLostError: There is no such container (any more).
        """

    def logs(
        self, target: ContainerTarget, *, follow: bool = True, since: str | None = None, previous: bool = False
    ) -> AbstractAsyncContextManager[ObjectReceiveStream[bytes]]:
        r"""Stream a container's log lines as `RFC3339Nano-timestamp SPACE text`, split at `\n` only, from the first on.

        Args:
            target: The container; `id` is not looked at: the API gives the current run's log, or the last one's.
            follow: Go on until the container ends.
            since: An RFC 3339 timestamp to start from (that second included).
            previous: The log of the run before.

        The stream ends when the log does; `receive` raises UnreachableError when the connection is lost before that,
        and `core.cluster.log_cursor` knows how to go on. A last line without `\n` is given at the log's end, never one
        that a lost connection cut off.

        Raises:
            ContainerLostError: There is no such container or run, or it has not started yet.
            UnreachableError: The API server did not answer.
        """

    def connect(self, pod: Pod, port: int) -> AbstractAsyncContextManager[ByteStream]:
        """Open a TCP connection to a port of a pod, the fastest way there is.

        Raises:
            ContainerLostError: The pod does not answer on that port.
        """

    def address(self, pod: Pod, port: int) -> tuple[str, int] | None:
        """Return host and port by which this machine reaches a pod's port directly, or None when only `connect` does.

        The host is an IP address that certainly is the pod's (or leads to it), never a guess.
        """


# --- on top of the cluster -----------------------------------------------------------------------------------


class Access(Protocol):
    """A way to a container's files: runs a shell that sees them.

    Attributes:
        name: What it is, for people.
        root: What the container's root directory is called for the shell: empty where it runs in the container itself.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def root(self) -> str: ...  # noqa: D102

    async def leads_to(self, target: ContainerTarget) -> bool:
        """Return whether it can be tried for this container."""

    def shell(self, target: ContainerTarget, script: str) -> AbstractAsyncContextManager[ExecStream]:
        """Run a script with `sh`; it ends when its standard input does.

        Raises:
            SyncRefusedError: There can be no such shell.
            ContainerLostError: The container is gone.
            UnreachableError: Nobody answered.
        """


class Syncer(Protocol):
    """Copies files into running containers over one kept-open connection per container."""

    def attend(self, targets: Collection[ContainerTarget]) -> None:
        """Keep a connection to each of these containers, and close those to others."""

    async def send(self, target: ContainerTarget, changes: Sequence[FileChange]) -> tuple[FileChange, ...]:
        """Make the container hold these files; return what it acknowledged, with the digests that were really sent.

        A file that vanished on the host meanwhile is left out of the result.

        Raises:
            SyncRefusedError: The container can never take it.
            ContainerLostError: It is gone; a newer container will come.
        """

    async def run(self, target: ContainerTarget, command: str, report: Callable[[str], None]) -> int:
        """Run a shell command in the container, tell each line of its output, and return its exit code."""

    async def fetch(self, target: ContainerTarget, path: str) -> bytes | None:
        """Return a file or folder of the container as a tar archive of it, or None when it is not there.

        Raises:
            ContainerLostError: The container or the connection is gone.
            ToolError: It cannot be read.
        """

    async def restart(self, target: ContainerTarget) -> None:
        """Restart the container's process (deployed under devloop's supervisor) without a new container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a container's output."""

    service: str
    pod: str
    container: str
    time: str
    text: str
    previous: bool = False


class Tailer(Protocol):
    """Follows the logs of all containers of the pods it is told of."""

    def update(self, pods: Sequence[Pod]) -> None:
        """Follow these pods' containers from their first line on, each line once and in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortState:
    """A forward's listener opened, or could not be opened (`error` says who holds the port)."""

    rule: ForwardRule
    error: str | None = None


class Forwarder(Protocol):
    """Carries local TCP ports to pods; a forward belongs to the service, not to the pod."""

    async def serve(self, rules: Sequence[ForwardRule]) -> tuple[PortState, ...]:
        """Listen for exactly these rules; listeners that stay are not touched. Return the state of each rule."""

    def update(self, pods: Sequence[Pod], held_back: Collection[str] = ()) -> None:
        """Take the pods as they are now: new connections go to ready ones, waiting ones as soon as one is ready.

        Args:
            pods: The pods.
            held_back: The UIDs of those that no connection is led to yet, ready or not.
        """


# --- what outlives a session -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a session leaves for the next.

    Attributes:
        traces: The last good run of each node.
        held: What containers have acknowledged beyond their image.
        ledger: What is remembered of files that containers hand back.
        decisions: The last decision on each node, in the form that `runtime.journal` gives it.
    """

    traces: Mapping[NodeId, Trace] = field(default_factory=dict)
    held: Mapping[ContainerTarget, Mapping[RelPath, Digest]] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    decisions: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


class Store(Protocol):
    """Keeps what outlives a session, outside of the project's tree. Synchronous: called in a worker thread."""

    def load(self) -> Saved:
        """Return what was saved; nothing where it is missing, unreadable or of another version."""

    def save(self, saved: Saved) -> None:
        """Keep it; a reader sees the old state or the new, never half of one."""
