"""Makes the engine hold exactly a service's objects: what is new is kept, what is the same stays, the rest ends."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from devloop.adapters.docker.cluster.controller import Controller
from devloop.adapters.docker.cluster.records import Record, Records
from devloop.adapters.docker.cluster.relays import Relays
from devloop.adapters.docker.cluster.storage import Storage
from devloop.adapters.docker.cluster.view import View
from devloop.core.containers.identity import MANAGED_BY, PROJECT, SERVICE
from devloop.core.containers.shape import misshapen
from devloop.core.containers.support import not_carried
from devloop.core.manifest import Manifest, digest, waves, with_labels
from devloop.core.manifest.pod_templates import pick
from devloop.errors import InputErrors, ToolError
from devloop.model import Digest, ObjectKey
from devloop.runtime.ports import Applied

__all__ = ["Applier"]

_FIXED: Final = {
    "DaemonSet": (("spec", "selector"),),
    "Deployment": (("spec", "selector"),),
    "Job": (("spec", "template"), ("spec", "completions"), ("spec", "completionMode"), ("spec", "selector")),
    "Pod": (("spec",),),
    "ReplicaSet": (("spec", "selector"),),
    "StatefulSet": (("spec", "selector"), ("spec", "serviceName"), ("spec", "volumeClaimTemplates")),
}
"""What cannot be changed in place, as in a cluster."""
_READ_BY_PODS: Final = frozenset({"ConfigMap", "Secret"})


class Applier:
    """Applies the services of one project.

    Args:
        project: The project.
        namespace: The namespace of objects that name none.
        records: What was applied.
        view: What runs.
        storage: Volumes.
        controller: Makes it so.
        relays: Services.
        tell: Told once of each thing that has no effect here.
    """

    def __init__(
        self,
        project: str,
        namespace: str,
        *,
        records: Records,
        view: View,
        storage: Storage,
        controller: Controller,
        relays: Relays,
        tell: Callable[[str], None],
    ) -> None:
        self._project = project
        self._namespace = namespace
        self._records = records
        self._view = view
        self._storage = storage
        self._controller = controller
        self._relays = relays
        self._tell = tell
        self._said: set[str] = set()

    def settle(self, manifests: Sequence[Manifest]) -> list[Manifest]:
        """Return the manifests with their namespaces."""
        return [manifest.in_namespace(self._namespace) for manifest in manifests]

    async def apply(self, service: str, manifests: Sequence[Manifest]) -> Applied:
        """Make the engine hold exactly these objects for the service."""
        await self._view.ready()
        settled = self.settle(manifests)
        _check_shapes(settled)
        self._say_what_is_lost(settled)
        records = dict(await self._records.all(anew=True))
        changed, replaced, unchanged = [], [], []
        for manifest in (each for wave in waves(settled) for each in wave):
            labelled, applied = self._marked(manifest, service)
            before = records.get(manifest.key)
            if before is None and (owner := await self._records.foreign(manifest.key)):
                raise _belongs_elsewhere(manifest, owner)
            if before is not None and before.applied == applied:
                unchanged.append(manifest.key)
                continue
            if before is not None and _must_be_replaced(before, labelled):
                await self._end_pods_of(manifest.key)
                replaced.append(manifest.key)
            else:
                changed.append(manifest.key)
            await self._records.put(labelled, service, applied)
        claimed = {manifest.key for manifest in settled}
        removed = [key for key, record in records.items() if record.service == service and key not in claimed]
        await self._remove(removed)
        await self._update_files([*changed, *replaced])
        self._controller.take(service)
        if changed or replaced:
            self._controller.hurry()
        return Applied(
            changed=tuple(changed), replaced=tuple(replaced), unchanged=tuple(unchanged), removed=tuple(removed)
        )

    async def remove(self, services: Collection[str] | None, *, claims: bool) -> tuple[ObjectKey, ...]:
        """Remove all of these services (None: the whole project); claims with their data only if that is asked for."""
        await self._view.ready()
        records = await self._records.all()
        gone = [key for key, record in records.items() if services is None or record.service in services]
        made = [key for key in gone if not records[key].found]
        self._controller.leave(
            {*(record.service for record in records.values()), *self._view.services()} if services is None else services
        )
        await self._controller.end_all(services)
        await self._remove(gone)
        await self._storage.remove(claims=claims, services=services)
        return tuple(sorted(made))

    async def _remove(self, keys: Sequence[ObjectKey]) -> None:
        for key in keys:
            await self._end_pods_of(key)
        async with self._relays.at_rest():  # else one could be started again before its Service is forgotten
            for key in keys:
                if key.kind == "Service" and not key.group:
                    await self._relays.remove(key.namespace, key.name)
            await self._records.drop(keys)

    async def _end_pods_of(self, key: ObjectKey) -> None:
        await self._controller.end_pods([identity for identity, _ in self._view.snapshot() if identity.owner == key])

    async def _update_files(self, changed: Sequence[ObjectKey]) -> None:
        read = [key for key in changed if key.kind in _READ_BY_PODS and not key.group]
        pods = [identity for identity, pod in self._view.snapshot() if not pod.deleting]
        if read and pods:
            around, _ = await self._controller.surroundings(pods[0], "")
            await self._storage.update(read, pods, around)

    def _marked(self, manifest: Manifest, service: str) -> tuple[Manifest, Digest]:
        marks = {MANAGED_BY: "devloop", PROJECT: self._project, SERVICE: service}
        labelled = with_labels(manifest, marks, {})
        return labelled, digest(labelled.document)

    def _say_what_is_lost(self, manifests: Sequence[Manifest]) -> None:
        for each in not_carried(manifests):
            if each.message not in self._said:
                self._said.add(each.message)
                self._tell(each.message)


def _check_shapes(manifests: Sequence[Manifest]) -> None:
    mistakes = [error for manifest in manifests if (error := misshapen(manifest)) is not None]
    if mistakes:
        raise InputErrors(mistakes)


def _must_be_replaced(before: Record, manifest: Manifest) -> bool:
    return any(
        pick(before.document, pointer) != pick(manifest.document, pointer)
        for pointer in _FIXED.get(manifest.key.kind, ())
    )


def _belongs_elsewhere(manifest: Manifest, project: str) -> ToolError:
    return ToolError(
        f"`{manifest.key}` ({manifest.where}) belongs to another devloop project, `{project}`",
        hint="give one of them another name or namespace, or run `devloop down` in that project",
    )
