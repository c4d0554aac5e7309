"""What a service's manifests say about its running form: workloads, containers, ports, and what its Services reach.

Read from manifests only; what really runs is in `core.cluster.pods`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devloop.core.manifest.objects import Manifest
from devloop.core.manifest.pod_templates import pick, template_pointer
from devloop.model import ObjectKey

__all__ = [
    "ContainerFacts",
    "ContainerPort",
    "DeclaredPort",
    "KubeServiceFacts",
    "Reach",
    "ServiceFacts",
    "ServicePort",
    "WorkloadFacts",
    "facts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPort:
    """A port that a container declares."""

    number: int
    name: str | None = None
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """A container of a pod template.

    Attributes:
        name: The container's name.
        image: The image's text as the manifest has it.
        ports: The ports that it declares.
        init: Whether it runs before the others.
        sidecar: Whether it is an init container that keeps running.
        probes: Which of `readiness`, `liveness`, `startup` it has.
        command: The manifest's `command`, or None.
        args: The manifest's `args`, or None.
    """

    name: str
    image: str
    ports: tuple[ContainerPort, ...] = ()
    init: bool = False
    sidecar: bool = False
    probes: frozenset[str] = frozenset()
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFacts:
    """An object that has pods.

    Attributes:
        key: The object.
        replicas: How many pods it wants, None where the kind does not say (DaemonSet, Job).
        pod_labels: The labels of its pods.
        selector: The labels by which it finds its pods; empty where the cluster makes them up (Job).
        containers: Init containers first, in the manifest's order.
        restart_policy: As Kubernetes has it, its default filled in.
    """

    key: ObjectKey
    replicas: int | None
    pod_labels: Mapping[str, str]
    selector: Mapping[str, str]
    containers: tuple[ContainerFacts, ...]
    restart_policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A container that a Service's port leads to; `number` is the container's port."""

    workload: ObjectKey
    container: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """A port of a Kubernetes Service.

    Attributes:
        number: The Service's port.
        name: Its name, or None.
        target: The container's port, by number or name.
        protocol: `TCP`, `UDP` or `SCTP`.
        reaches: The containers that it leads to, among the workloads of the same manifests.
    """

    number: int
    name: str | None
    target: int | str
    protocol: str
    reaches: tuple[Reach, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeServiceFacts:
    """A Kubernetes Service.

    Attributes:
        key: The object.
        selector: The labels of the pods that it leads to; empty where it has none of its own.
        ports: Its ports.
        workloads: The workloads whose pods it selects.
        headless: Whether it has no address of its own.
    """

    key: ObjectKey
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    workloads: tuple[ObjectKey, ...]
    headless: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredPort:
    """A port that can be forwarded because a Service declares it."""

    number: int
    name: str | None
    service: ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What the manifests of one devloop service declare.

    Attributes:
        workloads: The built-in workloads, in order.
        services: The Kubernetes Services, in order.
        host: The DNS name of the first Service as pods of the project's namespace use it, or None.
        ports: The TCP ports of all its Services.
    """

    workloads: tuple[WorkloadFacts, ...]
    services: tuple[KubeServiceFacts, ...]
    host: str | None
    ports: tuple[DeclaredPort, ...]


def facts(manifests: Iterable[Manifest], *, namespace: str = "") -> ServiceFacts:
    """Return the workloads, Services and ports that the manifests declare.

    Args:
        manifests: The manifests of one devloop service.
        namespace: The project's namespace; objects that name none are in it.
    """
    settled = [manifest.in_namespace(namespace) for manifest in manifests]
    workloads = tuple(workload for manifest in settled if (workload := _workload(manifest)) is not None)
    services = tuple(_service(manifest, workloads) for manifest in settled if _is_service(manifest))
    ports = tuple(
        DeclaredPort(number=port.number, name=port.name, service=service.key)
        for service in services
        for port in service.ports
        if port.protocol == "TCP"
    )
    host = _host(services[0].key, namespace) if services else None
    return ServiceFacts(workloads=workloads, services=services, host=host, ports=ports)


def _host(key: ObjectKey, namespace: str) -> str:
    return key.name if key.namespace == namespace else f"{key.name}.{key.namespace}"


# --- workloads ---------------------------------------------------------------------------------------------

_UNSCALED = {"DaemonSet", "Job", "CronJob"}


def _workload(manifest: Manifest) -> WorkloadFacts | None:
    document = manifest.document
    pointer = template_pointer(document)
    if pointer is None:
        return None
    kind = manifest.key.kind
    pod_labels = _texts(pick(document, (*pointer, "metadata", "labels")))
    spec = pick(document, (*pointer, "spec"), {})
    default_policy = "Always"
    return WorkloadFacts(
        key=manifest.key,
        replicas=None if kind in _UNSCALED else _replicas(document, kind),
        pod_labels=pod_labels,
        selector=_selector(document, kind, pod_labels),
        containers=tuple(_containers(spec)),
        restart_policy=str(pick(spec, ("restartPolicy",), default_policy)),
    )


def _replicas(document: Any, kind: str) -> int:
    number = 1 if kind == "Pod" else pick(document, ("spec", "replicas"), 1)
    return number if isinstance(number, int) else 1


def _selector(document: Any, kind: str, pod_labels: Mapping[str, str]) -> Mapping[str, str]:
    if kind == "Pod":
        return pod_labels
    if kind == "ReplicationController":
        return _texts(pick(document, ("spec", "selector"))) or pod_labels
    return _texts(pick(document, ("spec", "selector", "matchLabels")))


def _containers(spec: Any) -> Iterator[ContainerFacts]:
    for field, init in (("initContainers", True), ("containers", False)):
        for container in _mappings(pick(spec, (field,))):
            yield ContainerFacts(
                name=str(container.get("name", "")),
                image=str(container.get("image") or ""),
                ports=tuple(_container_ports(container)),
                init=init,
                sidecar=init and container.get("restartPolicy") == "Always",
                probes=frozenset(
                    probe for probe in ("readiness", "liveness", "startup") if container.get(f"{probe}Probe")
                ),
                command=_words(container.get("command")),
                args=_words(container.get("args")),
            )


def _container_ports(container: Mapping[str, Any]) -> Iterator[ContainerPort]:
    for port in _mappings(container.get("ports")):
        if (number := _number(port.get("containerPort"))) is not None:
            yield ContainerPort(number=number, name=_name(port), protocol=str(port.get("protocol") or "TCP"))


# --- Services ----------------------------------------------------------------------------------------------


def _is_service(manifest: Manifest) -> bool:
    return (manifest.key.group, manifest.key.kind) == ("", "Service")


def _service(manifest: Manifest, workloads: Sequence[WorkloadFacts]) -> KubeServiceFacts:
    spec = pick(manifest.document, ("spec",), {})
    selector = _texts(pick(spec, ("selector",)))
    selected = [
        workload
        for workload in workloads
        if selector
        and workload.key.namespace == manifest.key.namespace
        and selector.items() <= workload.pod_labels.items()
    ]
    return KubeServiceFacts(
        key=manifest.key,
        selector=selector,
        ports=tuple(_service_ports(spec, selected)),
        workloads=tuple(workload.key for workload in selected),
        headless=pick(spec, ("clusterIP",)) == "None",
    )


def _service_ports(spec: Any, selected: Sequence[WorkloadFacts]) -> Iterator[ServicePort]:
    for port in _mappings(pick(spec, ("ports",))):
        if (number := _number(port.get("port"))) is None:
            continue
        target = port.get("targetPort") or number
        protocol = str(port.get("protocol") or "TCP")
        yield ServicePort(
            number=number,
            name=_name(port),
            target=target if isinstance(target, int) else str(target),
            protocol=protocol,
            reaches=tuple(_reached(target, protocol, selected)),
        )


def _reached(target: Any, protocol: str, selected: Sequence[WorkloadFacts]) -> Iterator[Reach]:
    """Yield the containers behind a target port.

    A container need not declare its port: a numeric target that nobody declares leads to the pod's only container.
    """
    for workload in selected:
        running = [container for container in workload.containers if not container.init or container.sidecar]
        declared = [
            Reach(workload=workload.key, container=container.name, number=port.number)
            for container in running
            for port in container.ports
            if target in (port.number, port.name) and port.protocol == protocol
        ]
        if not declared and isinstance(target, int) and len(running) == 1:
            declared = [Reach(workload=workload.key, container=running[0].name, number=target)]
        yield from declared


# --- reading what the user wrote, whatever it is ------------------------------------------------------------


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if isinstance(item, str)}


def _words(value: Any) -> tuple[str, ...] | None:
    return tuple(str(word) for word in value) if isinstance(value, list) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _name(port: Mapping[str, Any]) -> str | None:
    name = port.get("name")
    return name if isinstance(name, str) else None
