"""Makes the cluster hold exactly a service's objects: server-side apply, replacement where it cannot be, and pruning.

What is up to date costs no request of its own. An object is remembered as created by devloop only when it was not there
before; found objects are changed but never deleted.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal

import anyio

from devloop.adapters.kube.definitions import is_definition, wait_established
from devloop.adapters.kube.discovery import Discovery, Resource, UnknownKindError
from devloop.adapters.kube.drift import drifted
from devloop.adapters.kube.inventory import Inventory, Place
from devloop.adapters.kube.live import Live, LiveIndex
from devloop.adapters.kube.marks import (
    APPLIED,
    CREATED,
    MANAGED_BY,
    PROJECT,
    SERVICE,
    applied_of,
    created,
    marked,
    owner,
    service_of,
)
from devloop.adapters.kube.namespaces import NAMESPACES, Namespaces, wait_for_account
from devloop.adapters.kube.objects import delete, metadata, pauses, wait_gone
from devloop.adapters.kube.refusals import belongs_elsewhere, refused, unknown_kind
from devloop.adapters.kube.session import Answer, Session, refusal
from devloop.adapters.kube.watch import Caches
from devloop.adapters.kube.wire import completed
from devloop.core.manifest import Manifest, waves
from devloop.core.manifest.order import removal_waves
from devloop.errors import ToolError, UnreachableError
from devloop.model import Digest, ObjectKey
from devloop.runtime.ports import Applied

__all__ = ["Applier", "release"]

_MANAGER: Final = "devloop"
_APPLY: Final = {"fieldManager": _MANAGER, "force": "true"}
_KEPT: Final = frozenset({"CustomResourceDefinition", "Namespace", "PersistentVolume", "PersistentVolumeClaim"})
"""Kinds that hold what a user may not get back: never deleted in order to be changed."""
_OUTLIVED: Final = frozenset({"Job", "StatefulSet"})
"""Kinds whose old pods must be gone before the new ones start: a migration does not run twice at once."""
_WEBHOOKS_WITHIN: Final = 60.0
"""Seconds for the pods of webhooks that were applied just now to answer."""
_NO_WEBHOOK: Final = (b"failed calling webhook", b"conversion webhook for")
"""What the API server says, as an internal error, where one did not; other internal errors stay what they are."""

_Outcome = Literal["changed", "replaced", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """An object to apply."""

    manifest: Manifest
    resource: Resource
    digest: Digest

    @property
    def key(self) -> ObjectKey:
        return self.manifest.key

    @property
    def place(self) -> Place:
        return Place(resource=self.resource, namespace=self.key.namespace)

    def document(self, *, made: bool) -> dict[str, Any]:
        """Return what is sent: with the digest, and with the mark of what devloop made."""
        meta = self.manifest.document["metadata"]
        annotations = {**(meta.get("annotations") or {}), APPLIED: self.digest, **({CREATED: "true"} if made else {})}
        return {**completed(self.manifest.document), "metadata": {**meta, "annotations": annotations}}


class Applier:
    """Applies the services of one project.

    Args:
        session: Where to ask.
        project: The project's name.
        namespace: The namespace of objects that name none.
        discovery: Where kinds are served.
        inventory: The record of what was ever applied.
        live: What there is now.
        caches: Told of what applying returned.
        namespaces: Makes the project's namespace.
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
        caches: Caches,
        namespaces: Namespaces,
    ) -> None:
        self._session = session
        self._project = project
        self._namespace = namespace
        self._discovery = discovery
        self._inventory = inventory
        self._live = live
        self._caches = caches
        self._namespaces = namespaces
        self._claims: dict[str, frozenset[ObjectKey]] = {}

    async def apply(self, service: str, manifests: Sequence[Manifest]) -> Applied:
        """Make the cluster hold exactly these objects for the service."""
        settled = await self.settle(manifests)
        self._claims[service] = frozenset(manifest.key for manifest in settled)
        await self._namespaces.ensure()
        places = await self._places(settled)
        index = await self._live.index(places.values())
        outcomes: dict[ObjectKey, _Outcome] = {}
        for wave in waves(settled):
            outcomes |= await self._apply_wave(service, wave, index)
        removed = await self._prune(service, index, places)
        return Applied(
            changed=_with(outcomes, "changed"),
            replaced=_with(outcomes, "replaced"),
            unchanged=_with(outcomes, "unchanged"),
            removed=removed,
        )

    def forget(self, services: Collection[str] | None) -> None:
        """Let these services' objects go (None: all), because they are being removed."""
        for service in tuple(self._claims) if services is None else services:
            self._claims.pop(service, None)

    async def settle(self, manifests: Sequence[Manifest]) -> list[Manifest]:
        """Return the manifests with their namespaces."""
        for manifest in manifests:
            if is_definition(manifest):
                self._discovery.learn(manifest.document)
        kinds = {(m.key.group, m.key.kind): str(m.document["apiVersion"]) for m in manifests}
        outside = [
            (group, kind)
            for (group, kind), version in kinds.items()
            if await self._discovery.cluster_scoped(version, kind)
        ]
        return [manifest.in_namespace(self._namespace, cluster_kinds=outside) for manifest in manifests]

    async def _places(self, settled: Sequence[Manifest]) -> dict[tuple[str, str, str], Place]:
        places = {place.identity: place for place in await self._inventory.places()}
        for manifest in settled:
            try:
                resource = await self._resource(manifest)
            except UnknownKindError:
                continue  # told when its wave comes
            place = Place(resource=resource, namespace=manifest.key.namespace)
            places[place.identity] = place
        return places

    async def _resource(self, manifest: Manifest) -> Resource:
        return await self._discovery.resource(str(manifest.document["apiVersion"]), manifest.key.kind)

    # --- a wave --------------------------------------------------------------------------------------------

    async def _apply_wave(self, service: str, wave: Iterable[Manifest], index: LiveIndex) -> dict[ObjectKey, _Outcome]:
        wanted = [await self._wanted(service, manifest) for manifest in wave]
        outdated = [item for item in wanted if not _is_current(item, index)]
        outcomes: dict[ObjectKey, _Outcome] = {item.key: "unchanged" for item in wanted}
        if not outdated:
            return outcomes
        await self._inventory.add(item.place for item in outdated)
        errors: list[ToolError] = []

        async def put(item: _Wanted) -> None:
            try:
                outcomes[item.key] = await self._put(item, index.get(item.key))
            except ToolError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            for item in outdated:
                tasks.start_soon(put, item, name=f"apply {item.key}")
        if errors:
            raise _together(errors)
        return outcomes

    async def _wanted(self, service: str, manifest: Manifest) -> _Wanted:
        labelled, digest = marked(manifest, self._project, service)
        try:
            return _Wanted(manifest=labelled, resource=await self._resource(manifest), digest=digest)
        except UnknownKindError as error:
            raise unknown_kind(manifest, error.hint) from error

    async def _put(self, item: _Wanted, known: Any) -> _Outcome:
        found = known or await metadata(self._session, item.resource, item.key.namespace, item.key.name)
        if found and "deletionTimestamp" in found:
            await self._wait_gone(item, found["uid"])
            found = None
        if found and owner(found) not in {None, self._project}:
            raise belongs_elsewhere(item.manifest, str(owner(found)))
        answer = await self._accepted(item, made=found is None or created(found))
        if answer.code == 422 and found and await self._is_valid_alone(item):
            await self._replace(item, found)
            return "replaced"
        if not answer.good:
            raise await self._refused(item, answer)
        await self._settled(item)
        same = found and answer.document()["metadata"]["resourceVersion"] == found.get("resourceVersion")
        return "unchanged" if same else "changed"

    async def _accepted(self, item: _Wanted, *, made: bool) -> Answer:
        """Return the answer to applying an object, when the webhooks that judge it answer.

        Those that were applied just now are served by pods that were, too.
        """
        answer = await self._patch(item, made=made)
        with anyio.move_on_after(_WEBHOOKS_WITHIN):
            for seconds in pauses():
                if not _is_unjudged(answer):
                    break
                await anyio.sleep(seconds)
                answer = await self._patch(item, made=made)
        return answer

    async def _patch(self, item: _Wanted, *, made: bool) -> Answer:
        content = json.dumps(item.document(made=made)).encode()
        path = item.resource.path(item.key.namespace, item.key.name)
        answer = await self._session.call(
            "PATCH", path, parameters=_APPLY, content=content, content_type="application/apply-patch+yaml"
        )
        if answer.code == 409:  # another writer was between its read and our write
            answer = await self._session.call(
                "PATCH", path, parameters=_APPLY, content=content, content_type="application/apply-patch+yaml"
            )
        cache = self._caches.get(item.resource, item.key.namespace)
        if answer.good and cache:
            cache.offer(answer.document())
        return answer

    async def _is_valid_alone(self, item: _Wanted) -> bool:
        """Return whether only the change is wrong, not the object: whether it could be made under another name."""
        document = item.document(made=True)
        probe = {**document, "metadata": {**document["metadata"], "name": "devloop-check-" + item.digest[-8:]}}
        answer = await self._session.call(
            "POST",
            item.resource.path(item.key.namespace),
            parameters={"dryRun": "All"},
            content=json.dumps(probe).encode(),
        )
        return answer.good

    async def _replace(self, item: _Wanted, found: Any) -> None:
        if item.key.kind in _KEPT or not created(found):
            why = "holds data" if created(found) else "was there before devloop"
            named = f"`{item.key}` ({item.manifest.where})"
            raise ToolError(
                f"{named} cannot be changed in place, and is not replaced because it {why}",
                hint=f"delete it yourself if that is what you want: kubectl delete {item.key}",
            )
        foreground = item.key.kind in _OUTLIVED
        place = (item.resource, item.key.namespace, item.key.name)
        await delete(self._session, *place, uid=found["uid"], foreground=foreground)
        await self._wait_gone(item, found["uid"])
        answer = await self._patch(item, made=True)
        if not answer.good:
            raise await self._refused(item, answer)
        await self._settled(item)

    async def _wait_gone(self, item: _Wanted, uid: str) -> None:
        await wait_gone(self._session, item.resource, item.key.namespace, item.key.name, uid=uid)
        if cache := self._caches.get(item.resource, item.key.namespace):
            cache.discard(item.key.name, uid)

    async def _settled(self, item: _Wanted) -> None:
        """Wait for what the cluster must do before other objects can build on this one."""
        if is_definition(item.manifest):
            await wait_established(self._session, self._discovery, item.manifest.document)
        elif item.resource == NAMESPACES:
            await wait_for_account(self._session, item.key.name)

    async def _refused(self, item: _Wanted, answer: Answer) -> ToolError:
        if answer.code != 404:
            return refused(item.manifest, answer)
        details = answer.document().get("details") or {}
        if details.get("kind") == "namespaces":
            self._namespaces.doubt()
            hint = f"create it, or add a Namespace `{item.key.namespace}` to the manifests"
            return refused(item.manifest, answer, hint)
        unknown = await self._discovery.unknown(str(item.manifest.document["apiVersion"]), item.key.kind)
        return unknown_kind(item.manifest, unknown.hint)

    # --- pruning -------------------------------------------------------------------------------------------

    async def _prune(
        self, service: str, index: LiveIndex, places: Mapping[tuple[str, str, str], Place]
    ) -> tuple[ObjectKey, ...]:
        claimed = frozenset[ObjectKey]().union(*self._claims.values())
        vanished = [
            key
            for key, found in index.items()
            if service_of(found) == service and key not in claimed and "deletionTimestamp" not in found
        ]
        removed: list[ObjectKey] = []
        before: list[tuple[Resource, ObjectKey]] = []
        for wave in removal_waves(vanished, lambda key: key):
            for resource, key in before:  # what cleans up behind them may go in this wave
                await wait_gone(self._session, resource, key.namespace, key.name, uid=index[key]["uid"])
            located = [(places[key.group, key.kind, key.namespace].resource, key) for key in wave]
            before = [(resource, key) for resource, key in located if created(index[key])]
            for resource, key in located:
                if created(index[key]):
                    await delete(self._session, resource, key.namespace, key.name, uid=index[key]["uid"])
                else:
                    await release(self._session, resource, index[key])
            removed += [key for _, key in before]
        return tuple(removed)


def _is_unjudged(answer: Answer) -> bool:
    return answer.code == HTTPStatus.INTERNAL_SERVER_ERROR and any(said in answer.content for said in _NO_WEBHOOK)


def _is_current(item: _Wanted, index: LiveIndex) -> bool:
    found = index.get(item.key)
    if found is None or applied_of(found) != item.digest or "deletionTimestamp" in found:
        return False
    return not drifted(item.manifest.document, found, manager=_MANAGER)


def _with(outcomes: dict[ObjectKey, _Outcome], outcome: _Outcome) -> tuple[ObjectKey, ...]:
    return tuple(key for key, each in outcomes.items() if each == outcome)


def _together(errors: Sequence[ToolError]) -> ToolError:
    """Return one error for all of a wave: an unreachable cluster says nothing about the objects."""
    first = next((error for error in errors if isinstance(error, UnreachableError)), errors[0])
    others = [error.message for error in errors if error is not first and not isinstance(first, UnreachableError)]
    first.tail = (*first.tail, *others)
    return first


async def release(session: Session, resource: Resource, found: Any) -> None:
    """Take devloop's marks off an object that is not devloop's to delete."""
    names = {"labels": (MANAGED_BY, PROJECT, SERVICE), "annotations": (APPLIED, CREATED)}
    changes = {"metadata": {field: dict.fromkeys(each) for field, each in names.items()}}
    answer = await session.call(
        "PATCH",
        resource.path(found.get("namespace", ""), found["name"]),
        content=json.dumps(changes).encode(),
        content_type="application/merge-patch+json",
    )
    if not answer.good and answer.code != 404:
        raise refusal(f"releasing `{resource.kind.lower()}/{found['name']}`", answer.code, answer.content)
