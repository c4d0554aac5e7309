"""Pods as the cluster reports them, as values. Tolerant: a pod that has just been made has no status at all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core.manifest.pod_templates import pick
from devloop.model import Document

__all__ = [
    "SERVICE",
    "Condition",
    "Container",
    "ContainerState",
    "Owner",
    "Pod",
    "Running",
    "Terminated",
    "Waiting",
    "conditions_of",
    "owner_of",
    "read",
]

_PROJECT: Final = "devloop.dev/project"
SERVICE: Final = "devloop.dev/service"
"""The label that says which service of the devfile a pod belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The container does not run; the reason is empty where the cluster has not said anything yet."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The container runs since `started_at` (RFC 3339, empty where unknown)."""

    started_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    """The container's process ended."""

    exit_code: int
    reason: str = ""
    message: str = ""
    started_at: str = ""
    finished_at: str = ""


ContainerState = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a pod.

    Attributes:
        name: Its name in the pod.
        init: Whether it runs before the others.
        sidecar: Whether it is an init container that keeps running.
        image: The image as the pod's specification names it.
        image_id: What the node really runs, as the runtime names it; empty until it runs.
        container_id: The container's ID with the runtime's scheme (`docker://…`); empty until it exists.
        state: What it does now.
        last: How it ended the last time, or None.
        ready: Whether it counts as ready.
        started: Whether its start-up probe, if any, has passed.
        restarts: How often it was started again.
        ports: Its named TCP ports, name to number.
    """

    name: str
    init: bool = False
    sidecar: bool = False
    image: str = ""
    image_id: str = ""
    container_id: str = ""
    state: ContainerState = field(default_factory=Waiting)
    last: Terminated | None = None
    ready: bool = False
    started: bool = False
    restarts: int = 0
    ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Return whether its process runs now."""
        return isinstance(self.state, Running)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One of the conditions of an object; `status` is None where the cluster says `Unknown`."""

    type: str
    status: bool | None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The object that made another."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod.

    Attributes:
        service: The devloop service that it belongs to, by its label, or None.
        project: The devloop project, by its label, or None.
        phase: `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
        reason: Why the pod as a whole failed, for example `Evicted`.
        ready: Whether it is ready to serve.
        deleting: Whether it is being removed.
        containers: Init containers first, in the specification's order.
        ephemeral: Containers that were added to the running pod, by `kubectl debug`.
        owner: What made it, or None for a bare pod.
    """

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    created_at: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    ready: bool = False
    deleting: bool = False
    ip: str | None = None
    host_ip: str | None = None
    node: str | None = None
    restart_policy: str = "Always"
    containers: tuple[Container, ...] = ()
    ephemeral: tuple[Container, ...] = ()
    conditions: tuple[Condition, ...] = ()
    owner: Owner | None = None

    @property
    def service(self) -> str | None:
        """Return the devloop service that the pod belongs to, or None."""
        return self.labels.get(SERVICE)

    @property
    def project(self) -> str | None:
        """Return the devloop project that the pod belongs to, or None."""
        return self.labels.get(_PROJECT)

    def container(self, name: str) -> Container | None:
        """Return the container with this name, or None."""
        return next((container for container in self.containers if container.name == name), None)


def read(raw: Document) -> Pod:
    """Return the pod that the API server's document describes."""
    metadata, spec, status = (pick(raw, (part,), {}) for part in ("metadata", "spec", "status"))
    conditions = tuple(conditions_of(raw))
    return Pod(
        name=_text(metadata, "name"),
        namespace=_text(metadata, "namespace"),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        created_at=_text(metadata, "creationTimestamp"),
        labels=pick(metadata, ("labels",), {}),
        annotations=pick(metadata, ("annotations",), {}),
        phase=_text(status, "phase") or "Pending",
        reason=_text(status, "reason"),
        message=_text(status, "message"),
        ready=any(condition.type == "Ready" and condition.status for condition in conditions),
        deleting=bool(metadata.get("deletionTimestamp")),
        ip=_text(status, "podIP") or None,
        host_ip=_text(status, "hostIP") or None,
        node=_text(spec, "nodeName") or None,
        restart_policy=_text(spec, "restartPolicy") or "Always",
        containers=(
            *_containers(spec, status, "initContainers", "initContainerStatuses"),
            *_containers(spec, status, "containers", "containerStatuses"),
        ),
        ephemeral=tuple(_containers(spec, status, "ephemeralContainers", "ephemeralContainerStatuses")),
        conditions=conditions,
        owner=owner_of(raw),
    )


def conditions_of(raw: Document) -> Iterator[Condition]:
    """Yield the conditions in any object's status."""
    for condition in pick(raw, ("status", "conditions"), []):
        yield Condition(
            type=_text(condition, "type"),
            status={"True": True, "False": False}.get(_text(condition, "status")),
            reason=_text(condition, "reason"),
            message=_text(condition, "message"),
        )


def owner_of(raw: Document) -> Owner | None:
    """Return the controller that made an object, or its first owner, or None."""
    owners = pick(raw, ("metadata", "ownerReferences"), [])
    chosen = next((owner for owner in owners if owner.get("controller")), owners[0] if owners else None)
    return chosen and Owner(kind=_text(chosen, "kind"), name=_text(chosen, "name"), uid=_text(chosen, "uid"))


def _containers(spec: Document, status: Document, field_name: str, status_name: str) -> Iterator[Container]:
    statuses = {_text(item, "name"): item for item in pick(status, (status_name,), [])}
    init = field_name == "initContainers"
    for container in pick(spec, (field_name,), []):
        name = _text(container, "name")
        known = statuses.get(name, {})
        yield Container(
            name=name,
            init=init,
            sidecar=init and container.get("restartPolicy") == "Always",
            image=_text(container, "image"),
            image_id=_text(known, "imageID"),
            container_id=_text(known, "containerID"),
            state=_state(pick(known, ("state",), {})),
            last=_terminated(pick(known, ("lastState", "terminated"))),
            ready=bool(known.get("ready")),
            started=bool(known.get("started")),
            restarts=known.get("restartCount") or 0,
            ports={
                port["name"]: port["containerPort"]
                for port in pick(container, ("ports",), [])
                if port.get("name") and port.get("protocol", "TCP") == "TCP"
            },
        )


def _state(raw: Document) -> ContainerState:
    if ended := _terminated(raw.get("terminated")):
        return ended
    if (running := raw.get("running")) is not None:
        return Running(started_at=_text(running, "startedAt"))
    waiting = pick(raw, ("waiting",), {})
    return Waiting(reason=_text(waiting, "reason"), message=_text(waiting, "message"))


def _terminated(raw: Any) -> Terminated | None:
    if raw is None:
        return None
    return Terminated(
        exit_code=raw.get("exitCode") or 0,
        reason=_text(raw, "reason"),
        message=_text(raw, "message"),
        started_at=_text(raw, "startedAt"),
        finished_at=_text(raw, "finishedAt"),
    )


def _text(raw: Document, key: str) -> str:
    return str(raw.get(key) or "")
