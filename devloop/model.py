"""The nouns that every part of devloop shares: names of nodes, what a node says about itself, image references.

Plain frozen values without behaviour beyond their text form. Nothing here reads a file, a clock or the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NewType

__all__ = [
    "CheckSpec",
    "ContainerTarget",
    "CopyRule",
    "Digest",
    "Document",
    "FileChange",
    "ForwardRule",
    "HelmSource",
    "IgnoreRule",
    "ImagePath",
    "ImageRef",
    "ImageSpec",
    "Kind",
    "KustomizeSource",
    "NodeId",
    "ObjectKey",
    "PullRule",
    "RelPath",
    "RestartRule",
    "Rule",
    "RunRule",
    "ServiceSpec",
    "Spec",
    "SyncSpec",
    "TaskSpec",
]

Digest = NewType("Digest", str)
"""A content digest as `algorithm:hex`."""

RelPath = NewType("RelPath", str)
"""A file's path relative to the project's root, POSIX form, cleaned; `..` leads outside the project."""


class Kind(StrEnum):
    """What a node is."""

    IMAGE = "image"
    SERVICE = "service"
    SYNC = "sync"
    TASK = "task"
    CHECK = "check"


@dataclass(frozen=True, slots=True, order=True)
class NodeId:
    """The identity of a node; its text form is `kind:name`."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """An image reference as the distribution grammar has it; `core.reference.parse` makes one from text.

    Attributes:
        domain: The registry's host and port as written, or None where the reference names none.
        path: The repository's path as written (`library/` is not added).
        tag: The tag, or None.
        digest: The digest, or None.
    """

    domain: str | None = None
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def repository(self) -> str:
        """Return domain and path, without tag and digest."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class ObjectKey:
    """The identity of a Kubernetes object: group rather than version, since an object is served under several versions.

    Attributes:
        group: The API group, empty for the core group.
        kind: The kind, for example `Deployment`.
        namespace: The namespace, or empty for objects that have none.
        name: The object's name.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


# --- what a node says about itself -------------------------------------------------------------------------


NODES: Final = "nodes"
"""Among an image's platforms: those of the cluster's nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What `@image` was given.

    Attributes:
        context: The build context's directory, relative to the devfile's folder (or the Dockerfile's path).
        dockerfile: The Dockerfile relative to the devfile's folder; None for `<context>/Dockerfile`.
        target: The stage to build; None for the last.
        ref: The repository to name the image by; None for the node's name.
        args: Build arguments; those that the function returns come on top.
        contexts: Further named build contexts, name to directory or `docker-image://…`.
        secrets: As `docker buildx build --secret` takes them, for example `id=npm,src=.npmrc`.
        ssh: As `docker buildx build --ssh` takes them, for example `default`.
        platforms: For example `linux/amd64`; `nodes` for those of the cluster's nodes; empty for the builder's own.
        cache_from: As `docker buildx build --cache-from` takes them.
        cache_to: As `docker buildx build --cache-to` takes them.
        builder: The buildx builder; None for the project's, else for the current one.
        inputs: For a custom builder, patterns of the files it reads; None for a Dockerfile build.
    """

    context: str = "."
    dockerfile: str | None = None
    target: str | None = None
    ref: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    ssh: Sequence[str] = ()
    platforms: Sequence[str] = ()
    cache_from: Sequence[str] = ()
    cache_to: Sequence[str] = ()
    builder: str | None = None
    inputs: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePath:
    """Where objects of a kind name an image, as the user declares it; `core.manifest.image_places` reads it.

    Attributes:
        kind: The kind, with its API group if need be (`example.org/Runner`), or `*`.
        path: The path to the reference, or a mapping of the paths to its parts (`registry`, `repository`, `tag`,
            `digest`); not yet checked.
        required: Whether it is a mistake when it leads to nothing.
    """

    kind: str
    path: object
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KustomizeSource:
    """Manifests that kustomize renders; `devloop.kustomize` makes it.

    Attributes:
        folder: The folder with the kustomization, relative to the devfile's folder.
        arguments: Further arguments for kustomize.
    """

    folder: str
    arguments: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmSource:
    """Manifests that Helm renders; `devloop.helm` makes it. Paths are relative to the devfile's folder.

    Attributes:
        chart: The chart's folder or archive, or its name in a repository.
        values: Values files; later ones win.
        release: The release's name; None for the node's.
        files: Values taken from files: the value's name to the file.
        crds: Whether the chart's resource definitions are deployed with it.
        hooks: Whether its install and upgrade hooks are deployed like other objects.
        kube_version: The version of Kubernetes that the chart is told of; None for Helm's own.
        api_versions: API versions that the chart is told of, besides Helm's own.
        repository: The address of the repository that has the chart.
        version: The chart's version in its repository.
    """

    chart: str
    values: Sequence[str] = ()
    release: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    crds: bool = True
    hooks: bool = True
    kube_version: str | None = None
    api_versions: Sequence[str] = ()
    repository: str | None = None
    version: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the chart comes from a repository."""
        return self.repository is not None or "://" in self.chart


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """What `@service` was given.

    Attributes:
        manifests: Manifest files, relative to the devfile's folder (`.j2` files are templates), and what tools render.
        ports: Local port to the Service's (or container's) port, by number or name.
        images: Further places where its manifests name images.
    """

    manifests: Sequence[str | KustomizeSource | HelmSource]
    ports: Mapping[int, int | str] | None = None
    images: Sequence[ImagePath] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSpec:
    """What `@sync` was given: a file or directory on the host and where it lands in the container.

    Attributes:
        source: Relative to the devfile's folder; None for all that the image's final stage copies.
        destination: Absolute in the container; None where the Dockerfile's COPY says it.
        selector: Labels of the pods whose containers are fed, whoever deployed them.
        container: The container's name, where no image says which.
    """

    source: str | None = None
    destination: str | None = None
    selector: str | None = None
    container: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What `@task` was given: patterns of the files whose change runs it in the loop."""

    inputs: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """What `@check` was given: for now nothing but its arguments."""


Spec = ImageSpec | ServiceSpec | SyncSpec | TaskSpec | CheckSpec


# --- what runs in containers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class ContainerTarget:
    """One run of one container: a restarted container has another `id`."""

    namespace: str
    pod: str
    uid: str
    container: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file on the host and where it belongs in a container; digest None means that it was deleted."""

    source: RelPath
    digest: Digest | None
    destinations: tuple[str, ...]


# --- what is listened on ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRule:
    """A local port and the pods it leads to; `core.forwarding.rules` makes them.

    Attributes:
        service: The service node's name.
        local: The local TCP port.
        selector: The labels of the pods; empty matches none.
        namespace: The pods' namespace, or empty for the target's own.
        port: The port in the pod, by number or by a container port's name.
        remote: What the user wrote (or the Service declares), for messages.
        listen: The IP address to listen on; None for loopback, 127.0.0.1 and ::1.
    """

    service: str
    local: int
    selector: Mapping[str, str]
    namespace: str
    port: int | str
    remote: int | str
    listen: str | None = None


# --- rules that a sync yields ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRule:
    """Copy `source` (file, directory or pattern on the host) to `destination` in the container."""

    source: str
    destination: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRule:
    """Run `command` by a shell in the container after a file that matches one of `on` was copied."""

    command: str
    on: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRule:
    """Restart the container's process after a file that matches one of `on` was copied; empty for any file."""

    on: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRule:
    """A change of these files neither syncs nor rebuilds."""

    patterns: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRule:
    """Bring `source` (absolute in the container) back to `destination` on the host."""

    source: str
    destination: str


Rule = CopyRule | RunRule | RestartRule | IgnoreRule | PullRule

Document = Mapping[str, Any]
"""A Kubernetes object as parsed from YAML or JSON; by convention never changed in place."""
