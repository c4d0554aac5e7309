"""The board of pods: what changed between two snapshots, told as events, and what the engine needs of them."""

from collections.abc import Callable, Mapping, Sequence

from devloop.core.cluster.pods import Container, Pod, Terminated, Waiting
from devloop.events import Event, PodChanged
from devloop.model import ContainerTarget, Kind, NodeId

__all__ = ["PodBoard", "running_containers", "status_of"]

_GONE = "Gone"


class PodBoard:
    """Remembers the pods that were seen last.

    Args:
        emit: Tells an event.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._told: dict[str, PodChanged] = {}
        self.pods: tuple[Pod, ...] = ()

    def take(self, pods: Sequence[Pod]) -> None:
        """Tell what changed."""
        self.pods = tuple(pods)
        present = {pod.uid: _event(pod) for pod in pods}
        for uid, event in present.items():
            if self._told.get(uid) != event:
                self._emit(event)
        for uid, event in self._told.items():
            if uid not in present:
                self._emit(PodChanged(node=event.node, pod=event.pod, status=_GONE, ready=False))
        self._told = present

    @property
    def ready(self) -> frozenset[NodeId]:
        """The services that have pods all of which are ready."""
        by_service: dict[str, list[bool]] = {}
        for pod in self.pods:
            if not pod.deleting and pod.service:
                by_service.setdefault(pod.service, []).append(pod.ready)
        return frozenset(NodeId(Kind.SERVICE, service) for service, ready in by_service.items() if all(ready))


def running_containers(pods: Sequence[Pod]) -> Mapping[ContainerTarget, str]:
    """Return the containers that run, with the image reference of each."""
    return {
        _target(pod, container): container.image
        for pod in pods
        if not pod.deleting
        for container in pod.containers
        if container.running and not container.init
    }


def status_of(pod: Pod) -> str:
    """Return a pod's status in one word, as `kubectl get pods` prints it."""
    if pod.deleting:
        return "Terminating"
    for container in pod.containers:
        match container.state:
            case Waiting(reason=reason) if reason and reason != "PodInitializing":
                return f"Init:{reason}" if container.init else reason
            case Terminated(exit_code=code, reason=reason) if code != 0:
                return f"Init:{reason or 'Error'}" if container.init else reason or "Error"
            case _:
                continue
    return pod.phase or "Pending"


def _event(pod: Pod) -> PodChanged:
    return PodChanged(
        node=NodeId(Kind.SERVICE, pod.service) if pod.service else None,
        pod=pod.name,
        status=status_of(pod),
        ready=pod.ready,
        restarts=sum(container.restarts for container in pod.containers),
    )


def _target(pod: Pod, container: Container) -> ContainerTarget:
    return ContainerTarget(
        namespace=pod.namespace, pod=pod.name, uid=pod.uid, container=container.name, id=container.container_id
    )
