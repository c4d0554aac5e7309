"""What follows the pods: the logs, the ports, and the connections that files go through."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from devloop.core.cluster.pods import Pod, Running
from devloop.core.engine.feeds import all_feeds
from devloop.core.engine.state import PodsSeen, State
from devloop.core.sync.selectors import PodFacts
from devloop.errors import UnreachableError
from devloop.model import ContainerTarget
from devloop.runtime.outages import outlast
from devloop.runtime.pods import PodBoard, running_containers
from devloop.runtime.ports import Cluster, Forwarder, Syncer, Tailer

__all__ = ["Following"]


class Following:
    """Takes the pods as the cluster tells them, and has others follow them as the engine decides.

    Args:
        board: Tells what changed about the project's own pods.
        syncer: Copies files into containers, or None.
        tailer: Follows logs, or None.
        forwarder: Carries local ports, or None.
        everybody: Whether nothing is told before the namespace's other pods are known, too.
    """

    def __init__(
        self,
        board: PodBoard,
        syncer: Syncer | None,
        tailer: Tailer | None,
        forwarder: Forwarder | None,
        *,
        everybody: bool = False,
    ) -> None:
        self._board = board
        self._syncer = syncer
        self._tailer = tailer
        self._forwarder = forwarder
        self._others: tuple[Pod, ...] = ()
        self._awaited = {"own", "others"} if everybody else {"own"}
        self._led: tuple[Sequence[Pod], frozenset[str]] = ((), frozenset())
        self._attended: frozenset[ContainerTarget] = frozenset()

    async def run(self, cluster: Cluster, tell: Callable[[PodsSeen], None]) -> None:
        """Tell of the project's own pods, until cancelled."""
        async with AsyncExitStack() as stack:
            snapshots = await outlast(lambda: stack.enter_async_context(cluster.pods()), _ignore)
            async for pods in snapshots:
                self._board.take(pods)
                if self._tailer is not None:
                    self._tailer.update(pods)
                self._tell("own", tell)

    async def run_others(self, cluster: Cluster, tell: Callable[[PodsSeen], None]) -> None:
        """Tell of the namespace's other pods, too, until cancelled: files may be copied into what others deployed."""
        async with AsyncExitStack() as stack:
            snapshots = await outlast(lambda: stack.enter_async_context(cluster.all_pods()), _ignore)
            async for pods in snapshots:
                own = {pod.uid for pod in self._board.pods}
                self._others = tuple(pod for pod in pods if pod.uid not in own)
                self._tell("others", tell)

    def follow(self, state: State, held_back: frozenset[ContainerTarget]) -> None:
        """Have connections led to pods that are as they should be, and keep those that files go through."""
        led = self._board.pods, frozenset(target.uid for target in held_back)
        if self._forwarder is not None and led != self._led:
            self._led = led
            self._forwarder.update(*led)
        attended = frozenset(feed.target for feed in all_feeds(state))
        if self._syncer is not None and attended != self._attended:
            self._attended = attended
            self._syncer.attend(attended)

    def _tell(self, whose: str, tell: Callable[[PodsSeen], None]) -> None:
        self._awaited.discard(whose)
        if not self._awaited:
            tell(self._seen())

    def _seen(self) -> PodsSeen:
        own = self._board.pods
        others = [pod for pod in self._others if pod.uid not in {each.uid for each in own}]
        facts = {pod.uid: _facts(pod, own=True) for pod in own} | {pod.uid: _facts(pod, own=False) for pod in others}
        return PodsSeen(containers=running_containers([*own, *others]), ready=self._board.ready, pods=facts)


def _ignore(_: UnreachableError) -> None:
    """Whoever deploys tells of an outage."""


def _facts(pod: Pod, *, own: bool) -> PodFacts:
    names = tuple(container.name for container in pod.containers if not container.init)
    started = {
        container.name: _seconds(container.state.started_at)
        for container in pod.containers
        if isinstance(container.state, Running)
    }
    return PodFacts(labels=pod.labels, containers=names, own=own, started=started)


def _seconds(stamp: str) -> float:
    """Return an RFC 3339 time as seconds since the epoch, 0 where there is none."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0
