"""How a built image gets to where a cluster takes its images from: decided from facts, told as plans and commands.

The cheapest way that is right: nothing at all where the cluster's nodes run their containers in the engine that builds;
else a registry where one is named or the cluster announces one (only new layers travel); else the product's own loader.
Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from devloop.core.reference import normalise, parse
from devloop.core.yaml_documents import YamlError, parse_documents
from devloop.model import Document, ImageRef

__all__ = [
    "DeliveryPlan",
    "EngineFacts",
    "LoadImages",
    "Loader",
    "NodeFacts",
    "PushImages",
    "RegistryFacts",
    "SharedEngine",
    "announced_registry",
    "choose",
    "load_command",
    "named_registry",
    "node_facts",
    "probe_commands",
    "pulled_from",
    "pushed_to",
    "seen_from_here",
]


# --- facts -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What a node of the cluster says about itself.

    Attributes:
        name: The node's name.
        runtime: Its container runtime, for example `docker://26.1.5`.
        hostname: Its host name, or empty.
        addresses: Its IP addresses.
        provider: What its provider calls it, for example `kind://docker/dev/dev-control-plane`.
        labels: Its labels.
    """

    name: str
    runtime: str = ""
    hostname: str = ""
    addresses: frozenset[str] = frozenset()
    provider: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What the engine that builds says about itself.

    Attributes:
        name: Its host's name (`Name` of `docker info`).
        system: Its operating system, for example `Docker Desktop`.
        addresses: Those of the nodes' addresses that belong to the machine that the engine runs on.
    """

    name: str
    system: str = ""
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryFacts:
    """A registry that the cluster can pull from.

    Attributes:
        host: Where images are pushed from here: host, port and perhaps the beginning of a path.
        runtime_host: What the nodes call it where that differs.
        named: Whether the project names it (or else the cluster announces it).
    """

    host: str
    runtime_host: str | None = None
    named: bool = False


def node_facts(node: Document) -> NodeFacts:
    """Return the facts of a `Node` as the API server gives it."""
    metadata, status = node.get("metadata") or {}, node.get("status") or {}
    addresses: Sequence[Mapping[str, Any]] = status.get("addresses") or ()
    return NodeFacts(
        name=metadata.get("name", ""),
        runtime=(status.get("nodeInfo") or {}).get("containerRuntimeVersion", ""),
        hostname=next((each["address"] for each in addresses if each.get("type") == "Hostname"), ""),
        addresses=frozenset(each["address"] for each in addresses if str(each.get("type", "")).endswith("IP")),
        provider=(node.get("spec") or {}).get("providerID", ""),
        labels=dict(metadata.get("labels") or {}),
    )


def named_registry(host: str) -> RegistryFacts:
    """Return the registry that `project(registry=…)` names."""
    return RegistryFacts(host=host.removeprefix("https://").removeprefix("http://").rstrip("/"), named=True)


def announced_registry(text: str) -> RegistryFacts | None:
    """Return the registry that the cluster announces, or None when the text names none.

    Args:
        text: `data["localRegistryHosting.v1"]` of the ConfigMap `kube-public/local-registry-hosting` (KEP 1755).
    """
    try:
        values = [document.value for document in parse_documents(text)]
    except YamlError:
        return None
    said = values[0] if values and isinstance(values[0], Mapping) else {}
    host, runtime_host = said.get("host"), said.get("hostFromContainerRuntime")
    if not isinstance(host, str) or not host:
        return None
    return RegistryFacts(host=host, runtime_host=runtime_host if isinstance(runtime_host, str) else None)


# --- plans -------------------------------------------------------------------------------------------------------


class Loader(StrEnum):
    """A product's own way of putting images into its nodes."""

    KIND = "kind"
    K3D = "k3d"
    MINIKUBE = "minikube"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedEngine:
    """Nothing is to be done: the cluster's nodes use the engine's images."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadImages:
    """A loader copies images into the nodes.

    Attributes:
        loader: Whose.
        cluster: The cluster's name, as the loader knows it.
        nodes: The names of its nodes, where they are known.
        reason: Why it is done so.
    """

    loader: Loader
    cluster: str
    nodes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PushImages:
    """Images are pushed to a registry.

    Attributes:
        registry: Which; None for the one that each image's own reference names.
        reason: Why it is done so.
    """

    registry: RegistryFacts | None
    reason: str


DeliveryPlan = SharedEngine | LoadImages | PushImages


def choose(
    context: str, nodes: Sequence[NodeFacts], engine: EngineFacts, registry: RegistryFacts | None
) -> DeliveryPlan:
    """Return how images get from the engine to the cluster.

    Args:
        context: The name of the Kubernetes context.
        nodes: The cluster's nodes; empty where they may not be listed.
        engine: The engine that builds.
        registry: The one that the project names, else the one that the cluster announces.
    """
    if reason := _shared(context, nodes, engine):
        return SharedEngine(reason=reason)
    if registry is not None and registry.named:
        return PushImages(registry=registry, reason=f"the project names the registry `{registry.host}`")
    if registry is not None:
        return PushImages(registry=registry, reason=f"the cluster announces the registry `{registry.host}`")
    if found := _loader(context, nodes):
        loader, cluster = found
        names = tuple(node.name for node in nodes)
        return LoadImages(
            loader=loader, cluster=cluster, nodes=names, reason=f"`{context}` is a cluster of {loader.value}"
        )
    return PushImages(registry=None, reason=f"the cluster of `{context}` does not use the engine that builds")


_PRODUCTS: Final = (
    (("docker-desktop", "docker-for-desktop"), "docker desktop"),
    (("orbstack",), "orbstack"),
    (("rancher-desktop",), "rancher desktop"),
    (("colima", "colima-*"), "colima"),
)
"""The contexts of products whose cluster uses the images of their engine, and what these engines' names hold."""


def _shared(context: str, nodes: Sequence[NodeFacts], engine: EngineFacts) -> str | None:
    if nodes and all(_runs_in(node, engine) for node in nodes):
        return f"the cluster runs its containers in the engine `{engine.name}`"
    product = next((mark for contexts, mark in _PRODUCTS if any(fnmatchcase(context, each) for each in contexts)), None)
    if product is None:
        return None
    # Docker Desktop's newer clusters are kind's, with containerd, and still take their images from its engine.
    if product in _spelled(engine.name) or product in _spelled(engine.system):
        return f"`{context}` uses the images of its product's engine"
    return None if nodes else f"`{context}` usually uses the engine's images, and its nodes may not be listed"


def _runs_in(node: NodeFacts, engine: EngineFacts) -> bool:
    if not node.runtime.startswith("docker://"):
        return False
    return engine.name in (node.name, node.hostname) or bool(node.addresses & engine.addresses)


def _spelled(name: str) -> str:
    return name.lower().replace("-", " ")


def _loader(context: str, nodes: Sequence[NodeFacts]) -> tuple[Loader, str] | None:
    """Return the product of the cluster and the cluster's name: as its nodes say, else as the context's name does."""
    for node in nodes:
        if node.provider.startswith("kind://"):
            return Loader.KIND, node.provider.split("/")[-2]
        if profile := node.labels.get("minikube.k8s.io/name"):
            return Loader.MINIKUBE, profile
    for prefix, loader in (("kind-", Loader.KIND), ("k3d-", Loader.K3D)):
        if context.startswith(prefix):
            return loader, context.removeprefix(prefix)
    return (Loader.MINIKUBE, "minikube") if context == "minikube" else None


# --- references and commands ----------------------------------------------------------------------------------------


def pushed_to(registry: RegistryFacts | None, ref: ImageRef) -> ImageRef | None:
    """Return the reference to push an image under, or None where neither the project nor the image names a registry."""
    return _moved(ref, registry.host) if registry is not None else ref if ref.domain else None


def pulled_from(registry: RegistryFacts | None, ref: ImageRef) -> ImageRef | None:
    """Return the reference that manifests must use for an image that was pushed."""
    if registry is None or registry.runtime_host is None:
        return pushed_to(registry, ref)
    return _moved(ref, registry.runtime_host)


def seen_from_here(registry: RegistryFacts | None, ref: ImageRef) -> ImageRef:
    """Return what a reference of `pulled_from` was pushed as: the nodes' name of the registry means nothing here."""
    if registry is None or registry.runtime_host is None:
        return ref
    below = parse(registry.host + ref.repository.removeprefix(registry.runtime_host))
    return replace(below, tag=ref.tag, digest=ref.digest)


def _moved(ref: ImageRef, host: str) -> ImageRef:
    """Return the reference below `host`; one that names another registry keeps that as a part of its path."""
    if ref.repository.startswith(f"{host}/"):
        return ref
    own = f"{ref.domain.replace(':', '-').lower()}/" if ref.domain else ""
    below = parse(f"{host}/{own}{ref.path}")
    return replace(below, tag=ref.tag, digest=ref.digest)


def load_command(plan: LoadImages, ref: ImageRef) -> tuple[str, ...]:
    """Return the command that copies an image of the engine into the cluster's nodes."""
    match plan.loader:
        case Loader.KIND:
            return ("kind", "load", "docker-image", str(ref), "--name", plan.cluster)
        case Loader.K3D:
            return ("k3d", "image", "import", str(ref), "--cluster", plan.cluster)
        case Loader.MINIKUBE:
            return ("minikube", "image", "load", str(ref), "--profile", plan.cluster)


def probe_commands(plan: LoadImages, ref: ImageRef, containers: str = "docker") -> tuple[tuple[str, ...], ...]:
    """Return commands that all end well, and print the image's full name where they print names, if the nodes hold it.

    Args:
        plan: Where to look.
        ref: The image; a name that is never given to another image.
        containers: The program that runs the nodes, which are containers with kind and k3d.
    """
    if plan.loader is Loader.MINIKUBE:
        return (("minikube", "image", "ls", "--profile", plan.cluster),)
    name = str(normalise(ref))
    return tuple((containers, "exec", node, "crictl", "inspecti", "--quiet", name) for node in plan.nodes)
