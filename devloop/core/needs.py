"""Which objects need which: a pod its ConfigMaps, Secrets, claims and account, a custom resource its definition.

Within a service the order of application sees to it (`core.manifest.order`); between services it makes edges of the
graph. They order deploys, nothing more, so one that would close a circle is left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from devloop.core.graph import Edge, Node, ServiceDetail
from devloop.core.manifest.objects import Manifest
from devloop.core.manifest.pod_templates import pick, template_pointer
from devloop.core.yaml.places import Pointer
from devloop.model import NodeId, ObjectKey

__all__ = ["Need", "needs", "with_object_edges"]

_DEFINITIONS: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_RBAC: Final = "rbac.authorization.k8s.io"


class Need(NamedTuple):
    """An object that another needs, and where that one says so; no namespace means its own."""

    group: str
    kind: str
    name: str
    at: Pointer
    clustered: bool = False

    @property
    def reason(self) -> str:
        """What an edge says of it."""
        is_definition = (self.group, self.kind) == _DEFINITIONS
        return f"kind {self.name}" if is_definition else f"{self.kind.lower()}/{self.name}"


def with_object_edges(nodes: Iterable[Node], namespace: str) -> tuple[Node, ...]:
    """Return the nodes with edges between services whose objects need one another.

    Args:
        nodes: All nodes.
        namespace: The namespace of objects that name none.
    """
    nodes = tuple(nodes)
    owners = _owners(nodes, namespace)
    reach = {node.id: set(node.needs) for node in nodes}
    found = []
    for node in nodes:
        edges = dict.fromkeys(node.edges)
        for manifest in node.detail.manifests if isinstance(node.detail, ServiceDetail) else ():
            for owner, need in _elsewhere(manifest, node.id, owners, namespace):
                if owner in reach[node.id] or _leads(owner, node.id, reach):
                    continue
                reach[node.id].add(owner)
                edges[Edge(to=owner, reason=need.reason, where=manifest.where_of(need.at))] = None
        found.append(replace(node, edges=tuple(edges)))
    return tuple(found)


def needs(manifest: Manifest) -> Iterator[Need]:
    """Yield what the object needs by name; what it marks as optional does not count."""
    document, key = manifest.document, manifest.key
    metadata = document["metadata"]
    if metadata.get("namespace"):
        yield Need("", "Namespace", str(metadata["namespace"]), ("metadata", "namespace"), clustered=True)
    template = template_pointer(document)
    if template is not None:
        yield from _of_pod(pick(document, (*template, "spec"), {}), (*template, "spec"))
    match key.group, key.kind:
        case "", "PersistentVolumeClaim":
            yield from _of_claim(document, ())
        case "apps", "StatefulSet":
            at: Pointer = ("spec", "volumeClaimTemplates")
            for position, claim in _items(pick(document, at)):
                yield from _of_claim(claim, (*at, position))
        case "", "Secret" if name := pick(document, _ACCOUNT_OF_TOKEN):
            yield Need("", "ServiceAccount", str(name), _ACCOUNT_OF_TOKEN)
        case str(), "RoleBinding" | "ClusterRoleBinding" if key.group == _RBAC:
            role = pick(document, ("roleRef", "kind"), "")
            if name := pick(document, ("roleRef", "name")):
                yield Need(_RBAC, str(role), str(name), ("roleRef", "name"), clustered=role == "ClusterRole")
        case "networking.k8s.io", "Ingress" if name := pick(document, ("spec", "ingressClassName")):
            yield Need("networking.k8s.io", "IngressClass", str(name), ("spec", "ingressClassName"), clustered=True)


_ACCOUNT_OF_TOKEN: Final = ("metadata", "annotations", "kubernetes.io/service-account.name")


def _of_claim(claim: Any, at: Pointer) -> Iterator[Need]:
    if name := pick(claim, ("spec", "storageClassName")):
        yield Need("storage.k8s.io", "StorageClass", str(name), (*at, "spec", "storageClassName"), clustered=True)
    if name := pick(claim, ("spec", "volumeName")):
        yield Need("", "PersistentVolume", str(name), (*at, "spec", "volumeName"), clustered=True)


def _of_pod(spec: Any, at: Pointer) -> Iterator[Need]:
    for group, kind, key in (
        ("", "ServiceAccount", "serviceAccountName"),
        ("scheduling.k8s.io", "PriorityClass", "priorityClassName"),
        ("node.k8s.io", "RuntimeClass", "runtimeClassName"),
    ):
        if name := pick(spec, (key,)):
            yield Need(group, kind, str(name), (*at, key), clustered=kind != "ServiceAccount")
    for pointer, kind, key in _REFERENCES:
        for found in _expand(spec, (), pointer):
            reference = pick(spec, found, {})
            if (name := pick(reference, (key,))) and pick(reference, ("optional",)) is not True:
                yield Need("", kind, str(name), (*at, *found, key))


def _references() -> Iterator[tuple[tuple[str, ...], str, str]]:
    for containers in ("initContainers", "containers"):
        yield (containers, "*", "env", "*", "valueFrom", "configMapKeyRef"), "ConfigMap", "name"
        yield (containers, "*", "env", "*", "valueFrom", "secretKeyRef"), "Secret", "name"
        yield (containers, "*", "envFrom", "*", "configMapRef"), "ConfigMap", "name"
        yield (containers, "*", "envFrom", "*", "secretRef"), "Secret", "name"
    yield ("volumes", "*", "configMap"), "ConfigMap", "name"
    yield ("volumes", "*", "secret"), "Secret", "secretName"
    yield ("volumes", "*", "persistentVolumeClaim"), "PersistentVolumeClaim", "claimName"
    yield ("volumes", "*", "projected", "sources", "*", "configMap"), "ConfigMap", "name"
    yield ("volumes", "*", "projected", "sources", "*", "secret"), "Secret", "name"
    yield ("imagePullSecrets", "*"), "Secret", "name"


_REFERENCES: Final = tuple(_references())


def _expand(value: Any, pointer: Pointer, steps: tuple[str, ...]) -> Iterator[Pointer]:
    if not steps:
        yield pointer
    elif steps[0] == "*":
        for position, item in _items(value):
            yield from _expand(item, (*pointer, position), steps[1:])
    elif isinstance(value, dict) and steps[0] in value:
        yield from _expand(value[steps[0]], (*pointer, steps[0]), steps[1:])


def _items(value: Any) -> Iterator[tuple[int, Any]]:
    if isinstance(value, list):
        yield from enumerate(value)


# --- between services --------------------------------------------------------------------------------------

_Owners = Mapping[ObjectKey | tuple[str, str], NodeId]
"""Whose each object is, and each kind that a definition defines."""


def _owners(nodes: Iterable[Node], namespace: str) -> _Owners:
    owners: dict[ObjectKey | tuple[str, str], NodeId] = {}
    for node in nodes:
        for manifest in node.detail.manifests if isinstance(node.detail, ServiceDetail) else ():
            owners.setdefault(manifest.in_namespace(namespace).key, node.id)
            if (manifest.key.group, manifest.key.kind) == _DEFINITIONS:
                spec = pick(manifest.document, ("spec",), {})
                owners.setdefault((str(pick(spec, ("group",))), str(pick(spec, ("names", "kind")))), node.id)
    return owners


def _elsewhere(manifest: Manifest, own: NodeId, owners: _Owners, namespace: str) -> Iterator[tuple[NodeId, Need]]:
    """Yield the other services that have what an object needs."""
    key = manifest.in_namespace(namespace).key
    definition = owners.get((key.group, key.kind))
    if definition not in (None, own):
        assert definition is not None
        yield definition, Need(*_DEFINITIONS, name=key.kind, at=("kind",), clustered=True)
    for need in needs(manifest):
        within = "" if need.clustered else key.namespace
        owner = owners.get(ObjectKey(group=need.group, kind=need.kind, namespace=within, name=need.name))
        if owner not in (None, own):
            assert owner is not None
            yield owner, need


def _leads(start: NodeId, end: NodeId, reach: Mapping[NodeId, set[NodeId]]) -> bool:
    """Return whether `start` needs `end`, directly or not."""
    seen, stack = {start}, [start]
    while stack:
        node = stack.pop()
        if node == end:
            return True
        fresh = reach.get(node, set()) - seen
        seen |= fresh
        stack += fresh
    return False
