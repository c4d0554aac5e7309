"""The project's containers as they are now: the engine's events tell which of them to look at again."""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

import anyio

from devloop.adapters.docker.cluster.things import Things
from devloop.core.cluster.pods import Pod
from devloop.core.containers.identity import ROLE, SERVICE, Identity, Role
from devloop.core.containers.observed import Known, Seen, Trouble, pod_of, seen_pods
from devloop.errors import ToolError
from devloop.model import Document
from devloop.runtime.signals import Signal

__all__ = ["View"]

_LOG: Final = logging.getLogger(__name__)
_TELLING: Final = (
    "create",
    "start",
    "die",
    "stop",
    "destroy",
    "remove",
    "oom",
    "restart",
    "pause",
    "unpause",
    "rename",
)
_BACK_OFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_PODS: Final = (Role.CONTAINER, Role.SANDBOX)


class _Memory:
    """What is known of a pod beside what the engine holds."""

    def __init__(self) -> None:
        self.ready: set[str] = set()
        self.started: set[str] = set()
        self.troubles: dict[str, Trouble] = {}
        self.ending = False
        self.events: dict[tuple[str, str], dict[str, Any]] = {}

    def frozen(self) -> Known:
        return Known(
            ready=frozenset(self.ready),
            started=frozenset(self.started),
            troubles=dict(self.troubles),
            ending=self.ending,
        )


class View:
    """Follows the containers of a project.

    Attributes:
        signal: Fires after each change.

    Args:
        things: The engine.
    """

    def __init__(self, things: Things) -> None:
        self.signal = Signal()
        self.raw: dict[str, Document] = {}
        self._things = things
        self._planned: dict[str, Identity] = {}
        self._memories: dict[str, _Memory] = {}
        self._filled = anyio.Event()
        self._gone: set[str] = set()
        self._cache: tuple[int, dict[str, Seen]] = (-1, {})
        self._snapshot: tuple[int, tuple[tuple[Identity, Pod], ...]] = (-1, ())

    # --- reading ---

    async def ready(self) -> None:
        """Return once the containers have been read."""
        await self._filled.wait()

    def pods(self) -> Mapping[str, Seen]:
        """Return the pods by UID, those too that have no container yet."""
        count, found = self._cache
        if count != self.signal.count:
            found = {seen.identity.uid: seen for seen in seen_pods(self.raw.values())}
            for uid in found.keys() & self._planned.keys():
                self._planned.pop(uid)
            found.update({uid: Seen(identity=identity, runs={}) for uid, identity in self._planned.items()})
            for uid in self._memories.keys() - found.keys():
                del self._memories[uid]
            self._cache = (self.signal.count, found)
        return found

    def find(self, uid: str) -> Seen | None:
        """Return a pod, or None."""
        return self.pods().get(uid)

    def known(self, uid: str) -> Known:
        """Return what is known of a pod beside its containers."""
        memory = self._memories.get(uid)
        return memory.frozen() if memory else Known()

    def snapshot(self) -> tuple[tuple[Identity, Pod], ...]:
        """Return the pods as the cluster port tells of them."""
        if self._snapshot[0] != self.signal.count:
            pods = sorted(self.pods().items(), key=lambda item: (item[1].identity.name, item[0]))
            found = tuple((seen.identity, pod_of(seen, self.known(uid))) for uid, seen in pods)
            self._snapshot = (self.signal.count, found)
        return self._snapshot[1]

    def relays(self) -> dict[str, Document]:
        """Return the relays of Services, by the names of their containers."""
        return {
            str(raw["Name"]).lstrip("/"): raw
            for raw in self.raw.values()
            if raw["Config"]["Labels"].get(ROLE) == Role.SERVICE
        }

    def events(self, service: str) -> list[Document]:
        """Return what would be Kubernetes's events about a service's pods."""
        return [
            event
            for uid, seen in self.pods().items()
            if seen.identity.service == service and uid in self._memories
            for event in self._memories[uid].events.values()
        ]

    def services(self) -> set[str]:
        """Return the services that have containers."""
        return {raw["Config"]["Labels"].get(SERVICE, "") for raw in self.raw.values()}

    # --- what sessions find out ---

    def plan(self, identity: Identity) -> None:
        """Take up a pod that is about to be made."""
        self._planned[identity.uid] = identity
        self.signal.fire()

    def forget(self, uid: str) -> None:
        """Let a planned pod go."""
        if self._planned.pop(uid, None) is not None:
            self.signal.fire()

    def end(self, uid: str) -> None:
        """Mark a pod as being removed."""
        memory = self._memory(uid)
        if not memory.ending:
            memory.ending = True
            self.signal.fire()

    def tell(self, uid: str, run: str, *, ready: bool | None = None, started: bool | None = None) -> None:
        """Take what a probe of a run says."""
        memory = self._memory(uid)
        changed = False
        for known, said in ((memory.ready, ready), (memory.started, started)):
            if said is not None and said != (run in known):
                (known.add if said else known.discard)(run)
                changed = True
        if changed:
            self.signal.fire()

    def trouble(self, uid: str, container: str, trouble: Trouble | None) -> None:
        """Take why a container does not run; None when that is over."""
        memory = self._memory(uid)
        if memory.troubles.get(container) != trouble:
            if trouble is None:
                del memory.troubles[container]
            else:
                memory.troubles[container] = trouble
            self.signal.fire()

    def event(self, uid: str, container: str, reason: str, message: str) -> None:
        """Take what Kubernetes would tell as an event; the same again only counts."""
        memory = self._memory(uid)
        seen = self.find(uid)
        kind = (container, message.partition(":")[0])
        known = memory.events.get(kind)
        about = {
            "kind": "Pod",
            "name": seen.identity.name if seen else "",
            "uid": uid,
            "fieldPath": f"spec.containers{{{container}}}",
        }
        count = known["count"] + 1 if known else 1
        memory.events[kind] = {"involvedObject": about, "reason": reason, "message": message, "count": count}
        self.signal.fire()

    def _memory(self, uid: str) -> _Memory:
        return self._memories.setdefault(uid, _Memory())

    # --- following the engine ---

    async def look(self, container: str) -> None:
        """Look at a container now."""
        found = await self._things.inspect(container)
        if found is None:
            self.drop(container)
        elif self._ours(found) and container not in self._gone:  # it may have gone while this answer came
            self.raw[found["Id"]] = found
            self.signal.fire()

    def drop(self, container: str) -> None:
        """Forget a container that is known to be gone; its ID never comes again."""
        self._gone.add(container)
        if self.raw.pop(container, None) is not None:
            self.signal.fire()

    async def run(self) -> None:
        """Keep the view current, for ever; what is known stays while the engine does not answer."""
        failures = 0
        while True:
            try:
                filters = json.dumps({"type": ["container"], "label": list(self._things.marks)})
                async with self._things.engine.reading("/events", filters=filters) as pieces:
                    await self._fill()
                    failures = 0
                    rest = b""
                    async for piece in pieces:
                        *lines, rest = (rest + piece).split(b"\n")
                        for line in filter(None, lines):
                            await self._take(json.loads(line))
            except* ToolError as group:
                _LOG.debug("following the engine: %r", group.exceptions)
            await anyio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
            failures += 1

    async def _fill(self) -> None:
        found: dict[str, Document] = {}

        async def inspect(container: str) -> None:
            raw = await self._things.inspect(container)
            if raw is not None and self._ours(raw) and container not in self._gone:
                found[container] = raw

        listed = await self._things.containers()
        async with anyio.create_task_group() as tasks:
            for each in listed:
                tasks.start_soon(inspect, each["Id"])
        self.raw = found
        self._filled.set()
        self.signal.fire()

    async def _take(self, event: Document) -> None:
        if event.get("Action") in _TELLING:
            await self.look(str(event["Actor"]["ID"]))

    def _ours(self, raw: Document) -> bool:
        return raw["Config"]["Labels"].get(ROLE) in {*_PODS, Role.SERVICE}
