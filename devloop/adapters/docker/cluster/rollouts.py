"""Whether what was applied is up: the same judgement as for a cluster, on what the engine holds."""

from collections.abc import Awaitable, Callable, Sequence

import anyio

from devloop.adapters.docker.cluster.view import View
from devloop.core.cluster.patience import Patience
from devloop.core.cluster.rollout import Failing, Progressing, Ready, Rollout, rollout
from devloop.core.containers.controllers import Having, workload
from devloop.core.containers.live import live_document
from devloop.core.manifest import Manifest
from devloop.model import Document, ObjectKey
from devloop.runtime.ports import RolloutError

__all__ = ["Rollouts"]


class Rollouts:
    """Sees the rollouts of one project.

    Args:
        view: What runs.
        project: The project.
    """

    def __init__(self, view: View, project: str) -> None:
        self._view = view
        self._project = project

    async def state(self, service: str, manifests: Sequence[Manifest]) -> Rollout:
        """Return the rollout's present state."""
        await self._view.ready()
        live: dict[ObjectKey, Document] = {}
        wanted, revisions = [], {}
        for manifest in manifests:
            made = workload(manifest, self._project, service)
            if made is not None:
                wanted.append(manifest)
                live[made.key] = live_document(made, self.having(made.key))
                revisions[made.key] = made.revision
        pods = [pod for identity, pod in self._view.snapshot() if revisions.get(identity.owner) == identity.revision]
        return rollout(wanted, live, pods, self._view.events(service))

    def having(self, key: ObjectKey) -> list[Having]:
        """Return the pods of an object."""
        return [Having(identity=identity, pod=pod) for identity, pod in self._view.snapshot() if identity.owner == key]

    async def wait(
        self,
        service: str,
        manifests: Sequence[Manifest],
        report: Callable[[Progressing | Failing], None],
        tail: Callable[[Failing], Awaitable[Sequence[str]]],
        *,
        patience: float,
    ) -> None:
        """Return when the rollout is ready; see `ports.Cluster.wait`.

        Args:
            service: The service.
            manifests: What was applied.
            report: Told of each change.
            tail: Returns the last lines of the container that fails.
            patience: Seconds that a failing state may last.
        """
        watch = Patience(patience)
        reported: Rollout = Ready()
        while True:
            count = self._view.signal.count
            state = await self.state(service, manifests)
            if isinstance(state, Ready):
                return
            if state != reported:
                report(state)
                reported = state
            left = watch.left(state, anyio.current_time())
            if left is not None and left <= 0 and isinstance(state, Failing):
                raise RolloutError(state, tail=await tail(state))
            with anyio.move_on_after(left):
                await self._view.signal.beyond(count)
