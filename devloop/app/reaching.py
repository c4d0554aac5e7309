"""The ways to containers' files that a session has, the best first."""

from collections.abc import Sequence

from devloop.adapters.docker import Engine
from devloop.runtime.ports import Access, Cluster

__all__ = ["ways_into"]


def ways_into(cluster: Cluster, engine: Engine, helper: str) -> Sequence[Access]:
    """Return the ways: the container's own shell, through the engine or the cluster; then a shell beside it.

    Args:
        cluster: Where the containers are.
        engine: The engine of this machine, which may run them.
        helper: The image of containers that stand beside others.
    """
    from devloop.adapters.docker.shells import EngineShell, HelperContainer
    from devloop.adapters.kube.cluster import KubeCluster
    from devloop.adapters.sync import ClusterShell

    beside = HelperContainer(engine, helper), *([cluster.beside(helper)] if isinstance(cluster, KubeCluster) else ())
    return (EngineShell(engine), ClusterShell(cluster), *beside)
