"""Which kinds, in which namespaces, devloop has ever applied for a project: so that nothing is looked for everywhere.

Kept in one ConfigMap beside the objects and written before the first object of a kind is created: a process that dies
in between leaves nothing that `down` would not find. Entries are only ever added; two devloops may do so at once.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import anyio

from devloop.adapters.kube.discovery import Resource, builtin, split_version
from devloop.adapters.kube.marks import MANAGED_BY, PROJECT
from devloop.adapters.kube.session import Session, refusal

__all__ = ["CONFIG_MAPS", "Inventory", "Place"]

CONFIG_MAPS: Final = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)
_USUAL: Final = (
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "Ingress"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "Namespace"),
)
"""Where to look when somebody removed the ConfigMap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A kind in a namespace (empty for kinds outside namespaces)."""

    resource: Resource
    namespace: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """Return what tells places apart; the version does not."""
        return self.resource.group, self.resource.kind, self.namespace


class Inventory:
    """The record of one project in one namespace.

    Args:
        session: Where to ask.
        project: The project's name.
        namespace: The namespace that the project deploys to.
    """

    def __init__(self, session: Session, project: str, namespace: str) -> None:
        self.name = f"devloop-{project}"
        self._session = session
        self._project = project
        self._namespace = namespace
        self._places: dict[tuple[str, str, str], Place] | None = None
        self._recorded = False
        self._lock = anyio.Lock()

    async def places(self) -> tuple[Place, ...]:
        """Return where objects of the project were put, as far as that is recorded."""
        return tuple((await self._load()).values())

    async def wider(self) -> tuple[Place, ...]:
        """Return where objects of the project may be: without a record, in all the usual places."""
        places = await self.places()
        return places if self._recorded else (*places, *_usual(self._namespace))

    async def namespaces(self) -> frozenset[str]:
        """Return the namespaces in which objects of the project were put."""
        return frozenset(place.namespace for place in await self.places() if place.namespace)

    async def add(self, places: Iterable[Place]) -> None:
        """Record more places, before anything is created there."""
        places = tuple(places)
        known = await self._load()
        if self._recorded and all(place.identity in known for place in places):
            return
        async with self._lock:
            added = {place.identity: place for place in places if not self._recorded or place.identity not in known}
            if added:
                await self._write(added.values())
                known.update(added)
                self._recorded = True

    async def remove(self) -> None:
        """Remove the record."""
        await self._session.call("DELETE", CONFIG_MAPS.path(self._namespace, self.name))
        self.forget()

    def forget(self) -> None:
        """Read the record again when it is needed next."""
        self._places = None
        self._recorded = False

    async def _load(self) -> dict[tuple[str, str, str], Place]:
        if self._places is not None:
            return self._places
        async with self._lock:
            if self._places is None:
                answer = await self._session.call("GET", CONFIG_MAPS.path(self._namespace, self.name))
                if not answer.good and answer.code != 404:
                    raise refusal(f"reading ConfigMap `{self.name}`", answer.code, answer.content)
                self._recorded = answer.good
                found = _read(answer.document()) if answer.good else []
                self._places = {place.identity: place for place in found}
            return self._places

    async def _write(self, places: Iterable[Place]) -> None:
        labels = {MANAGED_BY: "devloop", PROJECT: self._project}
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.name, "labels": labels},
            "data": {_entry(place): json.dumps(_value(place)) for place in places},
        }
        content = json.dumps(document).encode()
        path = CONFIG_MAPS.path(self._namespace)
        for _ in range(3):  # created or removed by another devloop in between
            answer = await self._session.call(
                "PATCH", f"{path}/{self.name}", content=content, content_type="application/merge-patch+json"
            )
            if answer.code == 404:
                answer = await self._session.call("POST", path, content=content)
            if answer.good:
                return
            if answer.code not in {404, 409}:
                break
        raise refusal(f"writing ConfigMap `{self.name}`", answer.code, answer.content)


def _usual(namespace: str) -> list[Place]:
    resources = [resource for kind in _USUAL if (resource := builtin(*kind))]
    return [Place(resource=each, namespace=namespace if each.namespaced else "") for each in resources]


def _read(document: Any) -> list[Place]:
    return [_place(json.loads(value)) for value in (document.get("data") or {}).values()]


def _entry(place: Place) -> str:
    resource = place.resource
    return ".".join(filter(None, (place.namespace or "_", resource.plural, resource.group)))


def _value(place: Place) -> dict[str, Any]:
    resource = place.resource
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "plural": resource.plural,
        "namespaced": resource.namespaced,
        "namespace": place.namespace,
    }


def _place(value: Any) -> Place:
    group, version = split_version(value["apiVersion"])
    resource = Resource(
        group=group, version=version, kind=value["kind"], plural=value["plural"], namespaced=value["namespaced"]
    )
    return Place(resource=resource, namespace=value["namespace"])
