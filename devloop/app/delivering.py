"""The delivery of a session: how images reach the cluster is found out when the first one has to."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import anyio

from devloop.adapters.delivery import delivery_for
from devloop.adapters.docker import DockerBuilder
from devloop.app.workspace import Place
from devloop.core.cluster.contexts import Context
from devloop.core.cluster.targets import Target
from devloop.core.delivery.plans import (
    DeliveryPlan,
    LoadImages,
    NodeFacts,
    PushImages,
    RegistryFacts,
    SharedEngine,
    announced_registry,
    choose,
    named_registry,
    node_facts,
    platforms_of,
    seen_from_here,
)
from devloop.core.delivery.pull_secrets import Obstacle, missing_secret, pull_needs
from devloop.core.manifest import Manifest
from devloop.core.reference import parse
from devloop.model import Digest, Document, ImageRef
from devloop.runtime.ports import Cluster, Delivery, Way

__all__ = ["LateDelivery", "delivery_to"]


@runtime_checkable
class _Nodes(Protocol):
    """What the choice needs to know of a cluster."""

    @property
    def namespace(self) -> str:
        """The namespace of objects that name none."""

    async def pull_secrets(self, namespace: str, account: str) -> tuple[str, ...]:
        """Return the names of the pull secrets that a service account gives its pods."""

    async def has_secret(self, namespace: str, name: str) -> bool:
        """Return whether there is such a secret; true where this user may not look."""

    async def nodes(self) -> tuple[Document, ...]:
        """Return the cluster's nodes; nothing where they may not be listed."""

    async def local_registry(self) -> str | None:
        """Return what the cluster says about its local registry, or None."""


def delivery_to(cluster: Cluster, builder: DockerBuilder, place: Place, registry: str | None) -> Delivery:
    """Return how images reach a place; for a cluster that is found out when the first one has to."""
    if place.target is Target.DOCKER:
        plan = SharedEngine(reason="services run on the engine that builds their images")
        return delivery_for(plan, builder, dict(builder.engine.endpoint.environment))
    assert isinstance(cluster, _Nodes)
    return LateDelivery(cluster, builder, place.context, registry)


class LateDelivery:
    """Implements `Delivery` by the way that suits the cluster and the engine.

    Args:
        cluster: The cluster.
        builder: Whose engine holds the images.
        context: The context.
        registry: What `project(registry=…)` names, or None.
    """

    def __init__(self, cluster: _Nodes, builder: DockerBuilder, context: Context | None, registry: str | None) -> None:
        self._cluster = cluster
        self._builder = builder
        self._context = context
        self._registry = registry
        self._lock = anyio.Lock()
        self._chosen: Delivery | None = None
        self._way: DeliveryPlan | None = None
        self._platforms: tuple[str, ...] = ()

    async def way(self, repository: ImageRef) -> Way:
        """Return how images of a repository reach the cluster, and for what platforms they are."""
        found = await (await self._delivery()).way(repository)
        return replace(found, platforms=self._platforms)

    async def obstacles(self, manifests: Sequence[Manifest], images: Collection[str]) -> tuple[Obstacle, ...]:
        """Return the pull secrets that pods with these images name, or their accounts do, and that are not there."""
        if not isinstance(self._way, PushImages):
            return ()
        found = []
        for need in pull_needs(manifests, images):
            namespace = need.namespace or self._cluster.namespace
            for secret in need.secrets or await self._cluster.pull_secrets(namespace, need.account):
                if not await self._cluster.has_secret(namespace, secret):
                    host = next(parse(image).domain for image in images) or "the registry"
                    found.append(missing_secret(need, secret, namespace, host))
        return tuple(found)

    async def deliver(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> ImageRef:
        """Make the image available to every node; return the reference that manifests must use.

        Nodes may have joined since the last time: where images go into nodes, these are looked at again.
        """
        delivery = await self._delivery()
        if isinstance(self._way, LoadImages):
            delivery = await self._for_these_nodes(self._way)
        return await delivery.deliver(image, ref, report)

    async def has(self, image: Digest, ref: ImageRef) -> bool:
        """Return whether the cluster already can get the image."""
        found = await (await self._delivery()).has(image, ref)
        if found and isinstance(self._way, PushImages):
            self._builder.remember(image, seen_from_here(self._way.registry, ref))
        return found

    async def _delivery(self) -> Delivery:
        async with self._lock:
            return self._chosen or await self._choose()

    async def _for_these_nodes(self, before: LoadImages) -> Delivery:
        nodes = await self._nodes()
        async with self._lock:
            if self._chosen is None or (nodes and {node.name for node in nodes} != {*before.nodes}):
                return await self._choose(nodes)
            return self._chosen

    async def plan(self) -> DeliveryPlan:
        """Return how images reach the cluster, and why so.

        Raises:
            UnreachableError: The engine or the cluster does not answer.
        """
        return await self._plan(await self._nodes())

    async def _plan(self, nodes: Sequence[NodeFacts]) -> DeliveryPlan:
        return choose(
            self._context.name if self._context else "",
            nodes,
            await self._builder.facts(nodes),
            await self._registry_facts(),
        )

    async def _nodes(self) -> tuple[NodeFacts, ...]:
        return tuple(node_facts(each) for each in await self._cluster.nodes())

    async def _choose(self, nodes: Sequence[NodeFacts] | None = None) -> Delivery:
        nodes = await self._nodes() if nodes is None else nodes
        self._platforms = platforms_of(nodes)
        self._way = await self._plan(nodes)
        environment = dict(self._builder.engine.endpoint.environment)
        self._chosen = delivery_for(self._way, self._builder, environment)
        return self._chosen

    async def _registry_facts(self) -> RegistryFacts | None:
        if self._registry is not None:
            return named_registry(self._registry)
        said = await self._cluster.local_registry()
        return announced_registry(said) if said else None
