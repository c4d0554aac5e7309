"""What was applied, kept in the engine: each object is the label of an empty volume.

Volumes are the one thing in an engine that has labels, costs nothing, and needs no image. Their labels cannot be
changed, so an object that changes is written anew.
"""

import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import anyio

from devloop.adapters.docker.cluster.things import Things
from devloop.adapters.docker.cluster.unbroken import unbroken
from devloop.core.containers.identity import PROJECT, SERVICE, Role, labels, thing_name
from devloop.core.manifest import Manifest
from devloop.errors import ToolError
from devloop.model import Digest, Document, ObjectKey

__all__ = ["Record", "Records"]

_BACK_OFF: Final = 1.0
_FAREWELL: Final = 1.0
_MOMENT: Final = 0.3
"""Seconds in which another session that writes an object anew has certainly done so."""
_KEY: Final = "devloop.dev/key"
_OBJECT: Final = "devloop.dev/object"
_APPLIED: Final = "devloop.dev/applied"
_FOUND: Final = "devloop.dev/found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An object as it was applied; `found` means that something of its name was there before."""

    key: ObjectKey
    project: str
    service: str
    applied: Digest
    document: Document
    found: bool = False


class Records:
    """The objects of a project.

    Args:
        things: The engine.
    """

    def __init__(self, things: Things) -> None:
        self._things = things
        self._known: dict[ObjectKey, Record] | None = None
        self._reading = anyio.Lock()

    async def follow(self, changed: Callable[[], None]) -> None:
        """Read anew whenever some session has changed objects, for ever, and tell of it."""
        filters = json.dumps({"type": ["volume"], "event": ["create", "destroy"]})
        prefix = thing_name("object", "")
        while True:
            with suppress(ToolError):
                async with self._things.engine.reading("/events", filters=filters) as pieces:
                    rest = b""
                    async for piece in pieces:
                        *lines, rest = (rest + piece).split(b"\n")
                        if any(json.loads(line)["Actor"]["ID"].startswith(prefix) for line in lines if line):
                            await anyio.sleep(_MOMENT)
                            await self._read_anew()
                            changed()
            await anyio.sleep(_BACK_OFF)

    async def _read_anew(self) -> None:
        async with self._reading:
            if self._known is not None:
                self._known = await self._read()

    async def all(self, *, anew: bool = False) -> Mapping[ObjectKey, Record]:
        """Return the project's objects; `anew` if another session may have changed some."""
        async with self._reading:
            if self._known is None or anew:
                self._known = await self._read()
        return self._known

    @property
    def known(self) -> Mapping[ObjectKey, Record]:
        """The project's objects as far as they were read."""
        return self._known or {}

    async def foreign(self, key: ObjectKey) -> str | None:
        """Return the project that an object belongs to, if it is another one."""
        found = await self._things.volume(_name(key))
        owner = ((found or {}).get("Labels") or {}).get(PROJECT) if found else None
        return owner if owner != self._things.project else None

    async def put(self, manifest: Manifest, service: str, applied: Digest) -> None:
        """Keep an object."""
        key = manifest.key
        marks = labels(self._things.project, Role.OBJECT, service=service, namespace=key.namespace)
        marks[_KEY] = json.dumps([key.group, key.kind, key.namespace, key.name])
        marks[_OBJECT] = json.dumps(manifest.document, separators=(",", ":"))
        marks[_APPLIED] = applied
        async with self._writing() as known:
            before = known.get(key)
            was_there = await self._things.remove_volume(_name(key))
            if before.found if before else was_there:
                marks[_FOUND] = "true"
            await self._things.create_volume(_name(key), marks, {})
            known[key] = _record(marks)

    async def drop(self, keys: Collection[ObjectKey]) -> None:
        """Forget objects; the name of one that was there before devloop stays taken."""
        async with self._writing() as known:
            for key in keys:
                record = known.pop(key, None)
                await self._things.remove_volume(_name(key))
                if record is not None and record.found:
                    await self._things.create_volume(_name(key), {}, {})

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[dict[ObjectKey, Record]]:
        """Let nobody read while an object is written anew: for a moment it is not there."""
        async with self._reading:
            if self._known is None:
                self._known = await self._read()
            async with unbroken(_FAREWELL):  # else one that is cancelled half-way would be forgotten
                yield self._known

    async def _read(self) -> dict[ObjectKey, Record]:
        found = [_record(volume.get("Labels") or {}) for volume in await self._things.volumes(Role.OBJECT)]
        return {record.key: record for record in found}


def _record(marks: Mapping[str, str]) -> Record:
    group, kind, namespace, name = json.loads(marks[_KEY])
    return Record(
        key=ObjectKey(group=group, kind=kind, namespace=namespace, name=name),
        project=marks[PROJECT],
        service=marks.get(SERVICE, ""),
        applied=Digest(marks[_APPLIED]),
        document=json.loads(marks[_OBJECT]),
        found=_FOUND in marks,
    )


def _name(key: ObjectKey) -> str:
    kind = ".".join(part for part in (key.kind.lower(), key.group) if part)
    return thing_name("object", key.namespace or "-", kind, key.name)
