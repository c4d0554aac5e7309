"""Takes away what devloop created, and nothing else: found objects are let go, what others use stays."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import anyio

from devloop.adapters.kube.apply import release
from devloop.adapters.kube.discovery import PODS, Discovery, Resource, builtin
from devloop.adapters.kube.inventory import Inventory
from devloop.adapters.kube.live import Live
from devloop.adapters.kube.marks import created, owner, service_of
from devloop.adapters.kube.namespaces import NAMESPACES
from devloop.adapters.kube.objects import delete, metadata, pauses, wait_gone
from devloop.adapters.kube.session import Session
from devloop.core.manifest.order import removal_waves
from devloop.errors import ToolError
from devloop.model import ObjectKey

__all__ = ["Remover"]

_DEFINITION: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_HOLDS_OTHERS: Final = frozenset({("", "Namespace"), _DEFINITION})
_PODS_ENDING_WITHIN: Final = 5.0
_PODS_GONE_WITHIN: Final = 35.0
_LOOKED_AT: Final = (
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
)
"""What is looked for in a namespace before it is deleted."""

_Found = tuple[Resource, Mapping[str, Any]]


class Remover:
    """Removes the objects of one project.

    Args:
        session: Where to ask.
        project: The project's name.
        namespace: The project's namespace.
        discovery: Where kinds are served.
        inventory: The record of what was ever applied.
        live: What there is now.
    """

    def __init__(
        self,
        session: Session,
        project: str,
        namespace: str,
        *,
        discovery: Discovery,
        inventory: Inventory,
        live: Live,
    ) -> None:
        self._session = session
        self._project = project
        self._namespace = namespace
        self._discovery = discovery
        self._inventory = inventory
        self._live = live

    async def remove(self, services: Collection[str] | None) -> tuple[ObjectKey, ...]:
        """Remove what devloop created for these services (None: the whole project) and wait until it is gone."""
        self._inventory.forget()
        found = await self._found(services)
        ours = [(resource, meta) for resource, meta in found if created(meta)]
        await _each(release, [(self._session, resource, meta) for resource, meta in found if not created(meta)])
        plain = [each for each in ours if _kind(each) not in _HOLDS_OTHERS]
        removed = await self._remove(plain)
        kept = {service_of(meta) for _, meta in found if not created(meta)}  # their pods may live on
        gone = {service_of(meta) for _, meta in plain} - kept
        await self._wait_for_pods({meta["namespace"] for _, meta in plain if "namespace" in meta}, gone)
        if services is None:
            ours += await self._own_namespace(ours)
        for resource, meta in ours:
            if (resource.group, resource.kind) == _DEFINITION and await self._is_unused(meta):
                removed += await self._remove([(resource, meta)])
        spaces = [
            each for each in ours if _kind(each) == ("", "Namespace") and await self._is_empty(each[1]["name"], plain)
        ]
        # A namespace that is empty when it is deleted goes at once; one with pods takes a multiple of their grace.
        await self._wait_for_pods({meta["name"] for _, meta in spaces}, gone, to_the_end=True)
        if services is None and not any(meta["name"] == self._namespace for _, meta in spaces):
            await self._inventory.remove()
        removed += await self._remove(spaces)
        self._inventory.forget()
        return tuple(sorted(removed))

    async def _found(self, services: Collection[str] | None) -> list[_Found]:
        places = {place.identity: place for place in await self._inventory.wider()}
        index = await self._live.index(places.values())
        return [
            (places[key.group, key.kind, key.namespace].resource, meta)
            for key, meta in index.items()
            if (service_of(meta) in services if services is not None else service_of(meta))
        ]

    async def _own_namespace(self, known: Iterable[_Found]) -> list[_Found]:
        meta = await metadata(self._session, NAMESPACES, "", self._namespace)
        if meta is None or not created(meta) or owner(meta) != self._project:
            return []
        return [] if any(each["uid"] == meta["uid"] for _, each in known) else [(NAMESPACES, meta)]

    async def _remove(self, found: Iterable[_Found]) -> list[ObjectKey]:
        """Remove objects, each wave when the one before is gone: controllers must live to clean up behind theirs."""

        async def remove(resource: Resource, meta: Mapping[str, Any]) -> None:
            place = (resource, meta.get("namespace", ""), meta["name"])
            await delete(self._session, *place, uid=meta["uid"])
            await wait_gone(self._session, *place, uid=meta["uid"])

        removed: list[ObjectKey] = []
        for wave in removal_waves(found, lambda each: each[0].key(each[1])):
            await _each(remove, wave)
            removed += [resource.key(meta) for resource, meta in wave]
        return removed

    async def _wait_for_pods(
        self, namespaces: Iterable[str], services: Collection[str], *, to_the_end: bool = False
    ) -> None:
        """Return when the services' pods are on their way out, or have gone it to the end."""
        with anyio.move_on_after(_PODS_GONE_WITHIN if to_the_end else _PODS_ENDING_WITHIN):
            for namespace in namespaces:
                for seconds in pauses():
                    pods = await self._objects(PODS, namespace)
                    left = [meta for meta in pods if owner(meta) == self._project and service_of(meta) in services]
                    if not any(to_the_end or "deletionTimestamp" not in meta for meta in left):
                        break
                    await anyio.sleep(seconds)

    async def _is_unused(self, definition: Mapping[str, Any]) -> bool:
        """Return whether no custom resource is left but our own, which are gone by now."""
        path = f"/apis/{_DEFINITION[0]}/v1/customresourcedefinitions/{definition['name']}"
        answer = await self._session.call("GET", path)
        defined = self._discovery.learn(answer.document())
        return not defined or not await self._objects(defined[0], "")

    async def _is_empty(self, namespace: str, ours: Iterable[_Found]) -> bool:
        """Return whether a namespace holds nothing that somebody else put there."""
        claims = [
            re.compile(rf".+-{re.escape(meta['name'])}-\d+")
            for resource, meta in ours
            if resource.kind == "StatefulSet" and meta.get("namespace") == namespace
        ]
        for version, kind in _LOOKED_AT:
            resource = builtin(version, kind)
            for meta in await self._objects(resource, namespace) if resource else ():
                ephemeral = "deletionTimestamp" in meta or meta.get("ownerReferences") or owner(meta) == self._project
                of_a_claim = kind == "PersistentVolumeClaim" and any(name.fullmatch(meta["name"]) for name in claims)
                if not ephemeral and not of_a_claim and not _comes_with_it(kind, meta):
                    return False
        return True

    async def _objects(self, resource: Resource, namespace: str) -> list[Mapping[str, Any]]:
        answer = await self._session.call("GET", resource.path(namespace))
        return [item["metadata"] for item in answer.document().get("items") or ()]


def _kind(found: _Found) -> tuple[str, str]:
    return found[0].group, found[0].kind


def _comes_with_it(kind: str, meta: Mapping[str, Any]) -> bool:
    """Return whether Kubernetes itself puts this object into every namespace."""
    if kind == "Secret":
        return "kubernetes.io/service-account.name" in (meta.get("annotations") or {})
    return kind == "ConfigMap" and meta["name"] == "kube-root-ca.crt"


async def _each(function: Any, calls: Iterable[tuple[Any, ...]]) -> None:
    """Call the function with each of these arguments, all at once; raise the first error when all are through."""
    errors: list[ToolError] = []

    async def call(arguments: tuple[Any, ...]) -> None:
        try:
            await function(*arguments)
        except ToolError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for arguments in calls:
            tasks.start_soon(call, arguments)
    if errors:
        raise errors[0]
