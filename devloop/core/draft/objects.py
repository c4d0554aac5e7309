"""Kubernetes manifests for what has none yet, readable enough to be kept: plain values in, YAML text out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core.yaml.documents import dump

__all__ = ["Included", "Port", "Workload", "claim", "config_map", "objects_text", "secret"]

_CLAIM_SIZE: Final = "1Gi"


@dataclass(frozen=True, slots=True)
class Port:
    """A port that containers listen on."""

    number: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Included:
    """The text of a file that the manifest's template includes, so that it follows the file.

    Attributes:
        path: The file, relative to the project's root.
        ends: Whether its last line ends with a line feed.
    """

    path: str
    ends: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Something that runs, and the Service before it.

    Attributes:
        name: The name of its objects.
        image: The image's reference.
        kind: `Deployment`, `DaemonSet` or `Job`.
        ports: What it listens on.
        replicas: How many, for a Deployment.
        recreate: Whether the old pod has to go before the new one comes, since both would mount the same volume.
        container: Further fields of the container, in order.
        pod: Further fields of the pod's spec, in order.
        annotations: The pod's.
        reached: Whether other pods reach it by its name.
    """

    name: str
    image: str
    kind: str = "Deployment"
    ports: Sequence[Port] = ()
    replicas: int = 1
    recreate: bool = False
    container: Mapping[str, Any] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    reached: bool = True


def objects_text(workload: Workload, others: Iterable[Mapping[str, Any]] = (), *, about: str) -> str:
    """Return the manifests of a workload with what it mounts, as one file.

    Args:
        workload: What runs.
        others: Further objects, which come first.
        about: What the comment at the top says.
    """
    documents = [*others, _controller(workload)]
    if workload.reached and workload.kind != "Job":
        documents.append(_service(workload))
    return f"# {about}\n" + "---\n".join(_text(each) for each in documents)


def _text(document: Mapping[str, Any]) -> str:
    """Return a document as YAML, with its includes as the template wants them."""
    return "".join(_part(key, value) for key, value in document.items())


def _part(key: str, value: Any) -> str:
    if not isinstance(value, Mapping) or not any(isinstance(each, Included) for each in value.values()):
        return dump({key: value})
    inner = "".join(_included(name, each) for name, each in value.items())
    return f"{key}:\n{inner}"


def _included(name: str, value: "str | Included") -> str:
    if isinstance(value, str):
        return "".join(f"  {line}\n" for line in dump({name: value}).splitlines())
    begin = dump({name: "|"}).partition(": ")[0]
    text = f'{{% filter indent(4, true) %}}{{% include "/{value.path}" %}}{{% endfilter %}}'
    return f"  {begin}: {'|' if value.ends else '|-'}\n{text}\n\n"  # the template drops the first line feed


def _controller(workload: Workload) -> dict[str, Any]:
    labels = {"app": workload.name}
    metadata: dict[str, Any] = {"labels": labels}
    if workload.annotations:
        metadata["annotations"] = dict(workload.annotations)
    container: dict[str, Any] = {"name": workload.name, "image": workload.image, **workload.container}
    if workload.ports:
        ports = [{"containerPort": each.number, **_protocol(each)} for each in workload.ports]
        container = _inserted(container, "ports", ports, after=("name", "image", "imagePullPolicy", "command", "args"))
    pod: dict[str, Any] = {**workload.pod, "containers": [container]}
    if "volumes" in pod:
        pod["volumes"] = pod.pop("volumes")  # they read best behind the container
    template = {"metadata": metadata, "spec": pod}
    if workload.kind == "Job":
        pod.setdefault("restartPolicy", "OnFailure")
        spec: dict[str, Any] = {"template": template}
    else:
        spec = {"selector": {"matchLabels": labels}, "template": template}
        if workload.kind == "Deployment":
            strategy = {"strategy": {"type": "Recreate"}} if workload.recreate else {}
            spec = {"replicas": workload.replicas, **strategy, **spec}
    version = "batch/v1" if workload.kind == "Job" else "apps/v1"
    return {"apiVersion": version, "kind": workload.kind, "metadata": {"name": workload.name}, "spec": spec}


def _inserted(mapping: Mapping[str, Any], key: str, value: Any, *, after: Sequence[str]) -> dict[str, Any]:
    head = {name: each for name, each in mapping.items() if name in after}
    tail = {name: each for name, each in mapping.items() if name not in after}
    return {**head, key: value, **tail}


def _service(workload: Workload) -> dict[str, Any]:
    spec: dict[str, Any] = {"selector": {"app": workload.name}}
    if workload.ports:
        spec["ports"] = [_service_port(each, alone=len(workload.ports) == 1) for each in workload.ports]
    else:
        spec = {"clusterIP": "None", **spec}  # a name for its pods, whatever their ports
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": workload.name}, "spec": spec}


def _service_port(port: Port, *, alone: bool) -> dict[str, Any]:
    name = {} if alone else {"name": f"{port.protocol.lower()}-{port.number}"}
    return {**name, "port": port.number, **_protocol(port)}


def _protocol(port: Port) -> dict[str, str]:
    return {} if port.protocol == "TCP" else {"protocol": port.protocol}


def config_map(name: str, data: Mapping[str, "str | Included"]) -> dict[str, Any]:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


def secret(name: str, data: Mapping[str, "str | Included"]) -> dict[str, Any]:
    """Return a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}


def claim(name: str, size: str = _CLAIM_SIZE) -> dict[str, Any]:
    """Return a claim of storage that one node mounts."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }
