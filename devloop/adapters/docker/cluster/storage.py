"""The volumes of pods: made and filled before the first container starts, removed when they are of no more use."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import anyio

from devloop.adapters.docker.cluster.things import Things
from devloop.core.containers.environment import ConfigurationError, Surroundings
from devloop.core.containers.identity import SERVICE, Identity, Role, labels
from devloop.core.containers.volumes import Volume, concerns, files, volumes
from devloop.model import ObjectKey

__all__ = ["Storage"]

_SOURCE: Final = "devloop.dev/source"
_UID: Final = "devloop.dev/uid"


class Storage:
    """Makes the volumes of one project's pods.

    Args:
        things: The engine.
    """

    def __init__(self, things: Things) -> None:
        self._things = things
        self._locks: dict[str, anyio.Lock] = {}

    async def provide(self, pod: Identity, around: Surroundings) -> None:
        """Make the volumes that the pod needs and that are not there yet.

        Raises:
            ConfigurationError: One is made of what is not there.
            ToolError: The engine refused.
        """
        for volume in volumes(pod):
            if volume.role is not None:
                await self._provide(pod, volume, around)

    async def _provide(self, pod: Identity, volume: Volume, around: Surroundings) -> None:
        name = volume.engine_name
        content = files(pod, volume.source, around) if volume.role is Role.FILES else ()
        async with self._locks.setdefault(name, anyio.Lock()):
            folders = () if volume.role is Role.FILES else tuple(_folders(pod, volume.name))
            if await self._things.volume(name) is None:
                assert volume.role is not None
                marks = labels(pod.project, volume.role, service=pod.service, namespace=pod.namespace)
                marks[_SOURCE] = json.dumps([volume.source, volume.group])
                if volume.own:
                    marks[_UID] = pod.uid
                await self._things.create_volume(name, marks, dict(volume.options))
            elif not folders:
                return
            if not volume.options:
                await self._things.fill(name, content, group=volume.group, folders=folders)

    async def update(self, changed: Iterable[ObjectKey], pods: Iterable[Identity], around: Surroundings) -> None:
        """Bring the files of changed ConfigMaps and Secrets to the pods that have them mounted."""
        keys = tuple(changed)
        if not keys:
            return
        done: set[str] = set()
        for pod in pods:
            for volume in volumes(pod):
                if volume.role is Role.FILES and volume.engine_name not in done and _concerned(pod, volume, keys):
                    done.add(volume.engine_name)
                    with suppress(ConfigurationError):  # what is missing now is told when a pod needs it
                        content = files(pod, volume.source, around)
                        if await self._things.volume(volume.engine_name) is not None:
                            await self._things.fill(volume.engine_name, content, group=volume.group)
        await self._remove_stale(keys, done)

    async def _remove_stale(self, keys: Iterable[ObjectKey], current: set[str]) -> None:
        """Remove what is made of changed objects and no pod has: the next pod gets it anew."""
        for found in await self._things.volumes(Role.FILES):
            source = json.loads(found["Labels"].get(_SOURCE, "[{}]"))[0]
            if found["Name"] not in current and any(concerns(source, key.kind, key.name) for key in keys):
                await self._things.remove_volume(found["Name"])

    async def clear(self, pod: Identity) -> None:
        """Remove the volumes that end with a pod."""
        for volume in volumes(pod):
            if volume.own:
                await self._things.remove_volume(volume.engine_name)

    async def claims(self, services: Iterable[str] | None = None) -> list[str]:
        """Return the claims whose data there is."""
        wanted = None if services is None else set(services)
        found = await self._things.volumes(Role.CLAIM)
        return sorted(
            str(each["Name"]).rpartition("_claim_")[2] for each in found if wanted is None or _service(each) in wanted
        )

    async def remove(self, *, claims: bool, services: Iterable[str] | None = None) -> None:
        """Remove volumes that no container has: files and empty directories, and claims if their data may go."""
        wanted = None if services is None else set(services)
        for role in (Role.FILES, Role.EMPTY, *((Role.CLAIM,) if claims else ())):
            for found in await self._things.volumes(role):
                if wanted is None or _service(found) in wanted:
                    await self._things.remove_volume(found["Name"])


def _service(found: Mapping[str, Any]) -> str:
    return str((found.get("Labels") or {}).get(SERVICE, ""))


def _concerned(pod: Identity, volume: Volume, keys: Iterable[ObjectKey]) -> bool:
    return any(key.namespace == pod.namespace and concerns(volume.source, key.kind, key.name) for key in keys)


def _folders(pod: Identity, volume: str) -> Iterator[str]:
    """Yield the folders of a volume that containers mount by themselves: they must be there before."""
    for part in ("initContainers", "containers"):
        for container in pod.spec.get(part) or ():
            for mount in container.get("volumeMounts") or ():
                if mount.get("name") == volume and mount.get("subPath"):
                    yield str(mount["subPath"]).strip("/")
