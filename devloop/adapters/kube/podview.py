"""The project's pods as values, parsed once a change, in all namespaces that it deploys to."""

from collections.abc import Iterable
from typing import Final

from devloop.adapters.kube.discovery import PODS
from devloop.adapters.kube.watch import Cache, Caches
from devloop.core.cluster.pods import Pod, read
from devloop.model import Document
from devloop.runtime.signals import Latest, Signal

__all__ = ["PodView"]

_KIND: Final = (PODS.group, PODS.kind)


class PodView:
    """Follows the pod caches.

    Args:
        caches: The caches of the cluster.
    """

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._pods: dict[tuple[str, str], Pod] = {}
        self._signal = Signal()
        caches.listeners.append(self._take)

    def need(self, namespaces: Iterable[str]) -> None:
        """Follow the pods of these namespaces too."""
        for namespace in namespaces:
            self._caches.need(PODS, namespace)

    def subscribe(self) -> Latest[tuple[Pod, ...]]:
        """Return a stream of snapshots; the first comes when every namespace has been read."""
        return Latest(self._signal, self.snapshot)

    async def snapshot(self) -> tuple[Pod, ...]:
        """Return all pods as they are known now, by namespace and name."""
        for cache in self._caches.of(*_KIND):
            await cache.ready()
        return tuple(self._pods[key] for key in sorted(self._pods))

    def find(self, namespace: str, name: str) -> Pod | None:
        """Return a pod, if it is known."""
        return self._pods.get((namespace, name))

    def of(self, service: str) -> list[Pod]:
        """Return the pods of a service as they are known now."""
        return [pod for pod in self._pods.values() if pod.service == service]

    def _take(self, cache: Cache, document: Document | None) -> None:
        if (cache.resource.group, cache.resource.kind) != _KIND:
            return
        if document is None:
            self._replace(cache)
        else:
            key = (cache.namespace, document["metadata"]["name"])
            current = cache.objects.get(key[1])
            if current is None:
                self._pods.pop(key, None)
            else:
                self._pods[key] = read(current)
        self._signal.fire()

    def _replace(self, cache: Cache) -> None:
        for key in [key for key in self._pods if key[0] == cache.namespace]:
            del self._pods[key]
        self._pods.update({(cache.namespace, name): read(document) for name, document in cache.objects.items()})
