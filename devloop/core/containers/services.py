"""Services as names in a network: one relay a Service, that leads its ports to the pods that are ready.

A headless Service, and one with other ports than TCP, has no relay: its names are the pods' own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.cluster.pods import Pod
from devloop.core.containers.identity import Identity, Role, labels, network_name, short_hash, thing_name
from devloop.core.containers.observed import main_containers
from devloop.core.containers.probes import port_number
from devloop.core.manifest.pod_templates import pick
from devloop.model import Document

__all__ = ["WANTED", "Relay", "aliases", "lines", "names", "relay"]

WANTED: Final = "devloop.dev/wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A Service's relay as it should be.

    Attributes:
        name: The container's name.
        namespace: The Service's namespace.
        body: The request that creates the container.
        digest: What changes whenever it must be made anew; the label `WANTED` has it.
    """

    name: str
    namespace: str
    body: Document
    digest: str


def relay(document: Document, project: str, service: str, namespace: str, image: str) -> Relay | None:
    """Return a Service's relay, or None where its names are those of the pods.

    Args:
        document: The Service.
        project: The project.
        service: The devloop service.
        namespace: The Service's namespace.
        image: The helper image.
    """
    ports = _tcp_ports(document)
    if not ports or not _selector(document) or not _relayed(document):
        return None
    name = str(pick(document, ("metadata", "name")))
    network = network_name(project, namespace)
    wanted: dict[str, Any] = {
        "Image": image,
        "Cmd": [str(port["port"]) for port in ports],
        "Hostname": name[:63],
        "OpenStdin": True,
        "HostConfig": {"NetworkMode": network, "LogConfig": {"Type": "none"}},
        "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": list(names(name, namespace))}}},
    }
    digest = short_hash(wanted)
    marks = {**labels(project, Role.SERVICE, service=service, namespace=namespace), WANTED: digest}
    container = thing_name(project, namespace, "service", name)
    return Relay(name=container, namespace=namespace, body={**wanted, "Labels": marks}, digest=digest)


def lines(document: Document, namespace: str, pods: Iterable[tuple[Identity, Pod]]) -> tuple[str, ...]:
    """Return what a Service's relay must be told: each port, and where it leads.

    Args:
        document: The Service.
        namespace: Its namespace.
        pods: The project's pods.
    """
    selector, unready_too = _selector(document), bool(pick(document, ("spec", "publishNotReadyAddresses")))
    chosen = [
        (identity, pod)
        for identity, pod in pods
        if pod.namespace == namespace
        and not pod.deleting
        and selector.items() <= pod.labels.items()
        and (pod.ready or (unready_too and pod.phase == "Running"))
    ]
    told = []
    for port in _tcp_ports(document):
        targets = [
            f" {identity.name}:{number}"
            for identity, _ in chosen
            if (number := _target(port, identity)) is not None and not identity.spec.get("hostNetwork")
        ]
        told.append(f"{port['port']}{''.join(sorted(targets))}")
    return tuple(told)


def aliases(identity: Identity, services: Iterable[tuple[str, Document]]) -> tuple[str, ...]:
    """Return the names of a pod in its network beside its own.

    Args:
        identity: The pod.
        services: The project's Services with their namespaces.
    """
    found: list[str] = []
    if subdomain := identity.spec.get("subdomain"):
        host = str(identity.spec.get("hostname") or identity.name)
        found += names(f"{host}.{subdomain}", identity.namespace)
    own = pick(identity.template, ("metadata", "labels"), {})
    for namespace, document in services:
        selector = _selector(document)
        if namespace == identity.namespace and selector and selector.items() <= own.items() and not _relayed(document):
            found += names(str(pick(document, ("metadata", "name"))), namespace)
    return tuple(dict.fromkeys(found))


def names(name: str, namespace: str) -> tuple[str, ...]:
    """Return the names by which a Service is found."""
    return (name, *(f"{name}.{namespace}{rest}" for rest in ("", ".svc", ".svc.cluster.local")))


def _relayed(document: Document) -> bool:
    headless = pick(document, ("spec", "clusterIP")) == "None"
    ports: Sequence[Mapping[str, Any]] = pick(document, ("spec", "ports"), [])
    return not headless and all(port.get("protocol", "TCP") == "TCP" for port in ports)


def _selector(document: Document) -> Mapping[str, str]:
    selector: Mapping[str, str] = pick(document, ("spec", "selector"), {})
    return selector


def _tcp_ports(document: Document) -> list[Mapping[str, Any]]:
    return [
        port
        for port in pick(document, ("spec", "ports"), [])
        if port.get("protocol", "TCP") == "TCP" and isinstance(port.get("port"), int)
    ]


def _target(port: Mapping[str, Any], identity: Identity) -> int | None:
    target = port.get("targetPort") or port["port"]
    for container in main_containers(identity):
        if (number := port_number(target, container)) is not None:
            return int(number)
    return None
