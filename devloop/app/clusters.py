"""Opening the place where services run: a Kubernetes cluster, or the Docker engine."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from devloop.adapters.docker import Engine
from devloop.app.options import Options
from devloop.app.workspace import Place
from devloop.core.cluster.targets import Target
from devloop.runtime.ports import Cluster

__all__ = ["open_cluster"]


@asynccontextmanager
async def open_cluster(
    options: Options,
    place: Place,
    project: str,
    *,
    engine: Engine | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Cluster]:
    """Open the place until the end.

    Args:
        options: What is asked for.
        place: The place.
        project: The project's name.
        engine: The engine, where one is at hand.
        tell: Told of what in the manifests has no effect there.

    Raises:
        InputError: There is no context that may be used.
    """
    if place.problem is not None:
        raise place.problem
    async with AsyncExitStack() as stack:
        if place.target is Target.DOCKER:
            from devloop.adapters.docker.cluster.target import DockerCluster

            there = engine if engine is not None else await stack.enter_async_context(Engine())
            opened = DockerCluster.open(there, project=project, namespace=place.namespace, tell=tell)
            yield await stack.enter_async_context(opened)
        else:
            from devloop.adapters.kube.cluster import KubeCluster

            logged_in = KubeCluster.open(
                project=project, context=place.context, kubeconfig=options.kubeconfig, namespace=place.namespace
            )
            yield await stack.enter_async_context(logged_in)
