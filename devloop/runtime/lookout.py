"""Looks out for files that containers change and that rules bring back: one small shell loop in each such container."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import anyio
from anyio import CancelScope, create_task_group
from anyio.abc import TaskGroup

from devloop.core.sync.pulling import look_script
from devloop.errors import ToolError
from devloop.model import ContainerTarget
from devloop.runtime.ports import Cluster, ExecExit, ExecOutput

__all__ = ["Lookout"]

_PAUSE: Final = 5.0
"""Seconds before another attempt where the connection was lost, or the container has no shell."""


class Lookout:
    """Keeps a look at the paths of some containers.

    Args:
        cluster: Where the containers are.
        tell: Told of a container in which something changed and came to rest, and once when the look begins.
    """

    def __init__(self, cluster: Cluster, tell: Callable[[ContainerTarget], None]) -> None:
        self._cluster = cluster
        self._tell = tell
        self._wanted: Mapping[ContainerTarget, tuple[str, ...]] = {}
        self._looks: dict[tuple[ContainerTarget, tuple[str, ...]], CancelScope] = {}
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """Look, until cancelled."""
        async with create_task_group() as self._tasks:
            self.attend(self._wanted)
            await anyio.sleep_forever()

    def attend(self, wanted: Mapping[ContainerTarget, tuple[str, ...]]) -> None:
        """Look at exactly these paths of these containers."""
        self._wanted = wanted
        if self._tasks is None:
            return
        for each in self._looks.keys() - set(wanted.items()):
            self._looks.pop(each).cancel("nobody wants to know")
        for target, paths in wanted.items():
            if (target, paths) not in self._looks:
                scope = self._looks[target, paths] = CancelScope()
                self._tasks.start_soon(self._look, target, paths, scope, name=f"look at {target.pod}")

    async def _look(self, target: ContainerTarget, paths: tuple[str, ...], scope: CancelScope) -> None:
        with scope:
            while True:
                with suppress(ToolError):  # it is gone, which the pods will tell, or only the connection is
                    await self._follow(target, paths)
                await anyio.sleep(_PAUSE)

    async def _follow(self, target: ContainerTarget, paths: tuple[str, ...]) -> None:
        async with self._cluster.exec(target, ("sh", "-c", look_script(), "sh", *paths), stdin=True) as stream:
            while True:
                match await stream.receive():
                    case ExecOutput():
                        self._tell(target)
                    case ExecExit():
                        return
