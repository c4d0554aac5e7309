"""How devloop's things are named and marked in an engine: labels say all, names are for people."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from devloop.model import Document, ObjectKey

__all__ = [
    "CONTAINER",
    "HOME",
    "MANAGED_BY",
    "NAMESPACE",
    "POD",
    "PROJECT",
    "ROLE",
    "SERVICE",
    "Identity",
    "Role",
    "container_name",
    "decoded",
    "labels",
    "network_name",
    "short_hash",
    "thing_name",
]

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
PROJECT: Final = "devloop.dev/project"
SERVICE: Final = "devloop.dev/service"
NAMESPACE: Final = "devloop.dev/namespace"
HOME: Final = "devloop.dev/home"
"""The namespace that a project was deployed to as a whole; some of its objects may name others."""
ROLE: Final = "devloop.dev/role"
CONTAINER: Final = "devloop.dev/container"
POD: Final = "devloop.dev/pod"


class Role(StrEnum):
    """What a thing in the engine is for."""

    CLAIM = "claim"
    CONTAINER = "container"
    EMPTY = "empty-directory"
    FILES = "files"
    NETWORK = "network"
    OBJECT = "object"
    SANDBOX = "sandbox"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A pod, as the labels of its containers have it: enough to go on with it in a later session.

    Attributes:
        service: The devloop service.
        owner: The object that it belongs to; for a bare pod, itself.
        revision: The digest of the template that it was made from.
        ordinal: Its number among its owner's pods.
        template: Metadata and spec, with all that its owner put in.
    """

    project: str
    service: str
    namespace: str
    name: str
    uid: str
    owner: ObjectKey
    revision: str
    ordinal: int
    template: Document

    @property
    def spec(self) -> Mapping[str, Any]:
        """Return the pod's spec."""
        spec: Mapping[str, Any] = self.template.get("spec") or {}
        return spec

    def encoded(self) -> str:
        """Return the text for the label."""
        owner = [self.owner.group, self.owner.kind, self.owner.name]
        return json.dumps(
            {
                "name": self.name,
                "uid": self.uid,
                "owner": owner,
                "revision": self.revision,
                "ordinal": self.ordinal,
                "template": self.template,
            },
            separators=(",", ":"),
        )


def decoded(found: Mapping[str, str]) -> Identity:
    """Return the pod that a container's labels tell of."""
    return _decoded(found[POD], found[PROJECT], found[SERVICE], found[NAMESPACE])


@lru_cache(maxsize=1024)
def _decoded(text: str, project: str, service: str, namespace: str) -> Identity:
    said = json.loads(text)
    group, kind, name = said["owner"]
    return Identity(
        project=project,
        service=service,
        namespace=namespace,
        name=said["name"],
        uid=said["uid"],
        owner=ObjectKey(group=group, kind=kind, namespace=namespace, name=name),
        revision=said["revision"],
        ordinal=said["ordinal"],
        template=said["template"],
    )


def labels(project: str, role: Role, *, service: str = "", namespace: str = "") -> dict[str, str]:
    """Return the labels of a thing in the engine."""
    said = {MANAGED_BY: "devloop", PROJECT: project, ROLE: str(role)}
    return {**said, **({SERVICE: service} if service else {}), **({NAMESPACE: namespace} if namespace else {})}


def network_name(project: str, namespace: str) -> str:
    """Return the name of the network that a project's pods of a namespace share."""
    return thing_name(project, namespace)


def container_name(pod: Identity, container: str, attempt: int) -> str:
    """Return a container's name; each run of it has another."""
    return thing_name(pod.project, pod.namespace, pod.name, container, str(attempt))


def thing_name(*parts: str) -> str:
    """Return a name that shows whose the thing is."""
    return "_".join(("devloop", *parts))


def short_hash(value: object) -> str:
    """Return a short digest of a plain value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
