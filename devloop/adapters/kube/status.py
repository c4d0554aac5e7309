"""A line about each object that devloop deployed, as `kubectl get` would say it."""

from collections.abc import Iterable

import anyio

from devloop.adapters.kube.inventory import Place
from devloop.adapters.kube.marks import service_of
from devloop.adapters.kube.session import Session, refusal
from devloop.core.manifest.pod_templates import pick
from devloop.errors import ToolError
from devloop.model import Document
from devloop.runtime.ports import LiveObject

__all__ = ["live_objects"]


async def live_objects(session: Session, places: Iterable[Place], selector: str) -> tuple[LiveObject, ...]:
    """Return all objects of the project's services in these places.

    Raises:
        ToolError: The cluster refused to list some.
    """
    found: list[LiveObject] = []
    errors: list[ToolError] = []

    async def read(place: Place) -> None:
        path = place.resource.path(place.namespace)
        try:
            answer = await session.call("GET", path, parameters={"labelSelector": selector})
            if not answer.good and answer.code != 404:
                raise refusal(f"reading {place.resource.plural}", answer.code, answer.content)
        except ToolError as error:
            errors.append(error)
            return
        for item in answer.document().get("items") or ():
            meta = item["metadata"]
            if (service := service_of(meta)) and not meta.get("ownerReferences"):
                document = {"kind": place.resource.kind, **item}
                key = place.resource.key(meta)
                found.append(LiveObject(key=key, service=service, status=_status(document)))

    async with anyio.create_task_group() as tasks:
        for place in places:
            tasks.start_soon(read, place)
    if errors:
        raise errors[0]
    return tuple(sorted(found, key=lambda each: (each.service, each.key)))


def _status(document: Document) -> str:
    if pick(document, ("metadata", "deletionTimestamp")):
        return "being removed"
    match document["kind"]:
        case "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController":
            return f"{_number(document, 'readyReplicas')}/{pick(document, ('spec', 'replicas'), 1)} ready"
        case "DaemonSet":
            return f"{_number(document, 'numberReady')}/{_number(document, 'desiredNumberScheduled')} ready"
        case "Job":
            return f"{_number(document, 'succeeded')}/{pick(document, ('spec', 'completions'), 1)} done"
        case "Service":
            return str(pick(document, ("spec", "clusterIP"), ""))
        case _:
            return str(pick(document, ("status", "phase"), "")) or _ready_condition(document)


def _number(document: Document, name: str) -> int:
    return int(pick(document, ("status", name), 0))


def _ready_condition(document: Document) -> str:
    for condition in pick(document, ("status", "conditions"), ()):
        if condition.get("type") in {"Ready", "Available", "Established"}:
            return str(condition["type"]).lower() if condition.get("status") == "True" else "not ready"
    return ""
