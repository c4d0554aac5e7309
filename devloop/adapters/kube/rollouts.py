"""Waits for rollouts: watches what they consist of and asks `core.cluster.rollout` again after each change of that."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from devloop.adapters.kube.discovery import PODS, Resource, builtin
from devloop.adapters.kube.logs import open_log
from devloop.adapters.kube.marks import service_of
from devloop.adapters.kube.podview import PodView
from devloop.adapters.kube.session import Session
from devloop.adapters.kube.watch import Cache, Caches
from devloop.core.cluster.patience import Patience
from devloop.core.cluster.pods import Running
from devloop.core.cluster.rollout import Failing, Progressing, Ready, Rollout, rollout
from devloop.core.manifest import Manifest
from devloop.errors import ToolError
from devloop.model import ContainerTarget, Document, ObjectKey
from devloop.runtime.ports import RolloutError
from devloop.runtime.signals import Signal

__all__ = ["Rollouts", "watched"]

_REPLICA_SETS: Final = Resource(group="apps", version="v1", kind="ReplicaSet", plural="replicasets", namespaced=True)
_EVENTS: Final = Resource(group="", version="v1", kind="Event", plural="events", namespaced=True)
_WATCHED: Final = frozenset(
    {
        ("", "Pod"),
        ("", "ReplicationController"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "Job"),
    }
)
_TAIL_LINES: Final = 15
_TAIL_SECONDS: Final = 2.0


def watched(manifest: Manifest) -> bool:
    """Return whether a rollout of this object is a matter of time: whether it has pods."""
    return (manifest.key.group, manifest.key.kind) in _WATCHED


@dataclass(frozen=True, slots=True)
class _Parts:
    """The caches that one rollout is seen through."""

    workloads: tuple[Cache, ...]
    pods: tuple[Cache, ...]

    async def ready(self) -> None:
        for cache in (*self.workloads, *self.pods):
            await cache.ready()


class Rollouts:
    """Sees the rollouts of one cluster.

    Args:
        session: For the last lines of a crashed container's log.
        caches: The caches of the cluster.
        pods: The pods.
    """

    def __init__(self, session: Session, caches: Caches, pods: PodView) -> None:
        self._session = session
        self._caches = caches
        self._pods = pods
        self._signals: dict[str, Signal] = {}
        caches.listeners.append(self._take)  # after the pods' own, so that they are known when a rollout wakes up

    def prepare(self, manifests: Sequence[Manifest]) -> None:
        """Start watching what a rollout of these manifests consists of."""
        self._parts(manifests)

    async def state(self, service: str, manifests: Sequence[Manifest]) -> Rollout:
        """Return the rollout's present state."""
        workloads = [manifest for manifest in manifests if watched(manifest)]
        parts = self._parts(workloads)
        await parts.ready()
        return self._state(service, workloads, parts)

    async def wait(
        self,
        service: str,
        manifests: Sequence[Manifest],
        report: Callable[[Progressing | Failing], None],
        patience: float,
    ) -> None:
        """Return when the rollout is ready; see `ports.Cluster.wait`."""
        signal = self._signals.setdefault(service, Signal())
        workloads = [manifest for manifest in manifests if watched(manifest)]
        parts = self._parts(workloads)
        await parts.ready()
        watch = Patience(patience)
        reported: Rollout = Ready()
        while True:
            seen = signal.count
            state = self._state(service, workloads, parts)
            if isinstance(state, Ready):
                return
            if state != reported:
                report(state)
                reported = state
                self._see_events(workloads)
            left = watch.left(state, anyio.current_time())
            if left is not None and left <= 0 and isinstance(state, Failing):
                raise RolloutError(state, tail=await self._tail(state))
            with anyio.move_on_after(left):
                await signal.beyond(seen)

    def _state(self, service: str, workloads: Sequence[Manifest], parts: _Parts) -> Rollout:
        live: dict[ObjectKey, Document] = {
            cache.resource.key(document["metadata"]): document
            for cache in parts.workloads
            for document in cache.objects.values()
            if service_of(document["metadata"]) == service
        }
        pods = self._pods.of(service)
        named = {*(pod.name for pod in pods), *(key.name for key in live)}
        events = [
            event
            for cache in self._caches.of("", "Event")
            for event in cache.objects.values()
            if _about(event).get("name") in named
        ]
        return rollout(workloads, live, pods, events)

    def _parts(self, manifests: Sequence[Manifest]) -> _Parts:
        workloads, pods = {}, {}
        for manifest in manifests:
            if not watched(manifest):
                continue
            namespace = manifest.key.namespace
            pods[namespace] = self._caches.need(PODS, namespace)
            resource = builtin(str(manifest.document["apiVersion"]), manifest.key.kind)
            wanted = [resource] if resource else []
            wanted += [_REPLICA_SETS] if manifest.key.kind == "Deployment" else []
            workloads.update({(each.plural, namespace): self._caches.need(each, namespace) for each in wanted})
        return _Parts(tuple(workloads.values()), tuple(pods.values()))

    def _see_events(self, workloads: Sequence[Manifest]) -> None:
        """Watch events too: from when something is not ready, since nothing else needs them."""
        for namespace in {manifest.key.namespace for manifest in workloads}:
            self._caches.need(_EVENTS, namespace, parameters={})

    def _take(self, cache: Cache, document: Document | None) -> None:
        if document is None:
            touched = list(self._signals)
        elif cache.resource == _EVENTS:
            pod = self._pods.find(cache.namespace, str(_about(document).get("name")))
            touched = [pod.service] if pod and pod.service else list(self._signals)
        else:
            touched = [service_of(document["metadata"])]
        for service in touched:
            if signal := self._signals.get(service):
                signal.fire()

    async def _tail(self, failing: Failing) -> tuple[str, ...]:
        """Return the last lines of the failing container's log: of the run before where a new one is under way."""
        pod = next((pod for pod in await self._pods.snapshot() if pod.name == failing.pod), None)
        container = pod.container(failing.container or "") if pod else None
        if pod is None or container is None:
            return ()
        target = ContainerTarget(
            namespace=pod.namespace, pod=pod.name, uid=pod.uid, container=container.name, id=container.container_id
        )
        restarted = container.last is not None and isinstance(container.state, Running)
        for previous in (True, False) if restarted else (False, True):
            if lines := await self._last_lines(target, previous=previous):
                return lines
        return ()

    async def _last_lines(self, target: ContainerTarget, *, previous: bool) -> tuple[str, ...]:
        lines: list[str] = []
        try:
            with anyio.move_on_after(_TAIL_SECONDS):
                opening = open_log(self._session, target, follow=False, since=None, previous=previous, tail=_TAIL_LINES)
                async with opening as log:
                    async for line in log:
                        text = line.partition(b" ")[2].decode(errors="replace")
                        lines.append(text)
        except ToolError:
            return ()  # the failure itself is the message; its log is an extra
        return tuple(lines)


def _about(event: Document) -> Mapping[str, str]:
    about: Mapping[str, str] = event.get("involvedObject") or event.get("regarding") or {}
    return about
