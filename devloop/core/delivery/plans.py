"""How a built image gets to where a cluster takes its images from: decided from facts, told as plans.

The cheapest way that is right: nothing at all where the cluster's nodes run their containers in the engine that builds;
else a registry where one is named or the cluster announces one (only new layers travel); else straight into the nodes
(`core.delivery.loading` has the commands). Pure.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from devloop.core.cluster.contexts import OWN_CONTEXT, OWN_NODE
from devloop.core.reference import parse
from devloop.core.yaml.documents import YamlError, parse_documents
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
    "named_registry",
    "node_facts",
    "platforms_of",
    "pulled_from",
    "pushed_by_builders",
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
        images: The names of the images that it reports; kubelets report the 50 largest only.
    """

    name: str
    runtime: str = ""
    hostname: str = ""
    addresses: frozenset[str] = frozenset()
    provider: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    images: frozenset[str] = frozenset()


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
        images=frozenset(name for image in status.get("images") or () for name in image.get("names") or ()),
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
    """A product whose nodes can be given images."""

    DEVLOOP = "devloop"
    KIND = "kind"
    K3D = "k3d"
    MINIKUBE = "minikube"
    K3S = "k3s"
    MICROK8S = "microk8s"
    RANCHER_DESKTOP = "rancher desktop"
    COLIMA = "colima"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedEngine:
    """Nothing is to be done: the cluster's nodes use the engine's images."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadImages:
    """Images are copied into the nodes.

    Attributes:
        loader: Whose nodes they are.
        cluster: The cluster's name, as the product knows it.
        nodes: The names of its nodes, where they are known.
        reason: Why it is done so.
        reported: The images that every node reports to hold.
        runtime: What runs the containers of all nodes, for example `containerd`; empty where they differ.
    """

    loader: Loader
    cluster: str
    nodes: tuple[str, ...]
    reason: str
    reported: frozenset[str] = frozenset()
    runtime: str = ""


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


def pushed_by_builders(plan: DeliveryPlan, ref: ImageRef) -> tuple[ImageRef, ImageRef] | None:
    """Return where a builder of its own pushes images, and what the nodes call that; None where it must not.

    A registry that the cluster announces is on the developer's machine, where no other builder reaches it.
    """
    if not isinstance(plan, PushImages) or (plan.registry is not None and not plan.registry.named):
        return None
    there, called = pushed_to(plan.registry, ref), pulled_from(plan.registry, ref)
    return None if there is None or called is None else (there, called)


def platforms_of(nodes: Sequence[NodeFacts]) -> tuple[str, ...]:
    """Return the platforms of nodes, as builders name them, in a fixed order."""
    found = {
        f"{system}/{machine}"
        for node in nodes
        if (system := node.labels.get("kubernetes.io/os")) and (machine := node.labels.get("kubernetes.io/arch"))
    }
    return tuple(sorted(found))


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
    if found := _loader(context, nodes, engine):
        loader, cluster = found
        return LoadImages(
            loader=loader,
            cluster=cluster,
            nodes=tuple(node.name for node in nodes),
            reason=f"`{context}` is a cluster of {loader.value}",
            reported=frozenset.intersection(*(node.images for node in nodes)) if nodes else frozenset(),
            runtime=_runtime(nodes),
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


def _runtime(nodes: Sequence[NodeFacts]) -> str:
    found = {node.runtime.partition("://")[0] for node in nodes}
    return found.pop() if len(found) == 1 else ""


_K3D_NODE: Final = re.compile(r"k3d-(?P<cluster>.+)-(?:server|agent)-\d+")


def _loader(context: str, nodes: Sequence[NodeFacts], engine: EngineFacts) -> tuple[Loader, str] | None:
    """Return the product of the cluster and the cluster's name: as its nodes say, else as the context's name does."""
    for node in nodes:
        if node.provider.startswith("kind://"):
            return Loader.KIND, node.provider.split("/")[-2]
        if profile := node.labels.get("minikube.k8s.io/name"):
            return Loader.MINIKUBE, profile
        if found := _K3D_NODE.fullmatch(node.name):
            return Loader.K3D, found["cluster"]
    for prefix, loader in (("kind-", Loader.KIND), ("k3d-", Loader.K3D)):
        if context.startswith(prefix):
            return loader, context.removeprefix(prefix)
    if context == "minikube":
        return Loader.MINIKUBE, "minikube"
    if context == OWN_CONTEXT and {node.name for node in nodes} <= {OWN_NODE}:
        return Loader.DEVLOOP, OWN_NODE
    return _containerd(context, nodes) or _on_this_machine(nodes, engine)


def _containerd(context: str, nodes: Sequence[NodeFacts]) -> tuple[Loader, str] | None:
    """Return the product in whose machine containerd runs the nodes."""
    if not all(node.runtime.startswith("containerd://") for node in nodes):
        return None
    if context == "rancher-desktop":
        return Loader.RANCHER_DESKTOP, context
    if context == "colima" or context.startswith("colima-"):
        return Loader.COLIMA, context.removeprefix("colima").removeprefix("-") or "default"
    if context == "microk8s" or any(node.labels.get("microk8s.io/cluster") == "true" for node in nodes):
        return Loader.MICROK8S, "microk8s"
    return None


def _on_this_machine(nodes: Sequence[NodeFacts], engine: EngineFacts) -> tuple[Loader, str] | None:
    """Return k3s where its only node is the machine that the engine runs on; elsewhere nobody can hand it images."""
    if len(nodes) != 1 or not nodes[0].provider.startswith("k3s://") or not nodes[0].runtime.startswith("containerd:"):
        return None
    return (Loader.K3S, nodes[0].name) if nodes[0].addresses & engine.addresses else None


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
