"""Files into running containers: one kept-open connection to a shell in each, and what is done after a copy."""

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from anyio import AsyncContextManagerMixin, create_task_group

from devloop.adapters.sync.channel import Channel, Executor
from devloop.adapters.sync.session import SessionLostError
from devloop.adapters.sync.transfer import transfer
from devloop.core.container_scripts import NOT_RESTARTED, NOT_SUPERVISED, Lines, restart_script, run_script
from devloop.errors import ToolError
from devloop.model import ContainerTarget, FileChange
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["ExecSyncer"]

_NOT_THERE: Final = 44
_FETCH: Final = f'[ -e "$1/$2" ] || exit {_NOT_THERE}; tar -cf - -C "$1" -- "$2"'

_FRUITLESS: Final = 3
"""Connections lost in a row, with nothing acknowledged, after which a container counts as gone."""


class ExecSyncer(AsyncContextManagerMixin):
    """Copies files into containers that have a shell.

    Entered as a context manager; leaving it closes all connections.

    Args:
        cluster: Where the containers are.
        root: The project's root.
    """

    def __init__(self, cluster: Executor, root: Path) -> None:
        self._cluster = cluster
        self._root = root.resolve()
        self._channels: dict[ContainerTarget, Channel] = {}
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        failure: Exception | None = None
        async with create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                failure = error
            finally:
                self.attend(())
                self._tasks = None
        if failure is not None:
            raise failure

    def attend(self, targets: Collection[ContainerTarget]) -> None:
        """Keep a connection to each of these containers, and close those to others."""
        for target in self._channels.keys() - set(targets):
            self._channels.pop(target).close()
        for target in targets:
            self._channel(target)

    async def send(self, target: ContainerTarget, changes: Sequence[FileChange]) -> tuple[FileChange, ...]:
        """Make the container hold these files; return what it acknowledged, with the digests that were really sent.

        A file that vanished on the host meanwhile is left out of the result. A cut connection is opened again, and what
        was not acknowledged is sent again.

        Raises:
            SyncRefusedError: The container can never take it.
            ContainerLostError: It is gone; a newer container will come.
        """
        acknowledged: dict[str, FileChange] = {}
        channel = self._channel(target)
        fruitless = 0
        while fruitless < _FRUITLESS:
            before = len(acknowledged)
            session = await channel.session()
            rest = [change for change in changes if change.source not in acknowledged]
            try:
                await transfer(session, self._root, rest, lambda change: acknowledged.update({change.source: change}))
            except SessionLostError:
                fruitless = 0 if len(acknowledged) > before else fruitless + 1
            else:
                return tuple(acknowledged.values())
        raise ContainerLostError(f"the connection to container `{target.container}` breaks again and again")

    async def run(self, target: ContainerTarget, command: str, report: Callable[[str], None]) -> int:
        """Run a shell command in the container, tell each line of its output, and return its exit code.

        Cancelling ends the command, too.

        Raises:
            ContainerLostError: The container or the connection is gone.
        """
        return await self._execute(target, (run_script(), "sh", command), report)

    async def fetch(self, target: ContainerTarget, path: str) -> bytes | None:
        """Return a file or folder of the container as a tar archive of it, or None when it is not there.

        Raises:
            ContainerLostError: The container or the connection is gone.
            ToolError: It cannot be read.
        """
        folder, _, name = path.rstrip("/").rpartition("/")
        said: list[str] = []
        errors = Lines(said.append)
        archive = bytearray()
        command = ("sh", "-c", _FETCH, "sh", folder or "/", name)
        async with self._cluster.exec(target, command) as stream:
            while True:
                match await stream.receive():
                    case ExecOutput(data=data, stderr=True):
                        errors.feed(data)
                    case ExecOutput(data=data):
                        archive += data
                    case ExecExit(code=0):
                        return bytes(archive)
                    case ExecExit(code=code):
                        errors.end()
                        if code == _NOT_THERE:
                            return None
                        where = f"container `{target.container}` of pod `{target.pod}`"
                        raise ToolError(f"`{path}` of {where} cannot be read", exit_code=code, tail=said[-5:])

    async def restart(self, target: ContainerTarget) -> None:
        """Restart the container's process (deployed under devloop's supervisor) without a new container.

        Raises:
            ToolError: It does not run under the supervisor, or did not end and start again in time.
            ContainerLostError: The container or the connection is gone.
        """
        said: list[str] = []
        code = await self._execute(target, (restart_script(),), said.append)
        where = f"container `{target.container}` of pod `{target.pod}`"
        match code:
            case 0:
                return
            case _ if code == NOT_SUPERVISED:
                message = f"{where} does not run under devloop's supervisor, so its process cannot be restarted"
            case _ if code == NOT_RESTARTED:
                message = f"the process of {where} did not start again within 15 s"
            case _:
                message = f"the process of {where} could not be restarted"
        raise ToolError(message, exit_code=code, tail=said[-5:])

    async def _execute(self, target: ContainerTarget, script: Sequence[str], report: Callable[[str], None]) -> int:
        out, err = Lines(report), Lines(report)
        async with self._cluster.exec(target, ("sh", "-c", *script), stdin=True) as stream:
            while True:
                match await stream.receive():
                    case ExecOutput(data=data, stderr=stderr):
                        (err if stderr else out).feed(data)
                    case ExecExit(code=code):
                        out.end()
                        err.end()
                        return code

    def _channel(self, target: ContainerTarget) -> Channel:
        if target not in self._channels:
            if self._tasks is None:
                raise RuntimeError("the syncer is not entered")
            channel = self._channels[target] = Channel(self._cluster, target)
            self._tasks.start_soon(channel.run, name=f"sync {target.pod}/{target.container}")
        return self._channels[target]
