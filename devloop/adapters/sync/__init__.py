"""Files into running containers: one kept-open connection to a shell in each, and what is done after a copy."""

import functools
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from anyio import AsyncContextManagerMixin, create_task_group

from devloop.adapters.sync.channel import Channel, ClusterShell, Executor
from devloop.adapters.sync.session import NotPermittedError, Session, SessionLostError
from devloop.adapters.sync.transfer import transfer
from devloop.core.sync.container_scripts import NOT_RESTARTED, NOT_SUPERVISED, Lines, restart_script, run_script
from devloop.core.sync.supervisor import TOOLS
from devloop.errors import ToolError
from devloop.model import ContainerTarget, FileChange
from devloop.runtime.ports import Access, ContainerLostError, ExecExit, ExecOutput

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["ClusterShell", "ExecSyncer"]

_NOT_THERE: Final = 44
_FETCH: Final = f'[ -e "$1/$2" ] || exit {_NOT_THERE}; tar -cf - -C "$1" -- "$2"'

_FRUITLESS: Final = 7
"""Connections lost in a row, with nothing acknowledged, after which a container counts as gone."""


def _keep_silent(_note: str) -> None:
    return


class ExecSyncer(AsyncContextManagerMixin):
    """Copies files into containers by a shell in each, or beside it.

    Entered as a context manager; leaving it closes all connections.

    Args:
        cluster: Where the containers are.
        root: The project's root.
        ways: How containers' files can be reached, the best first; None for the cluster's own way alone.
        note: Told, once for all containers of a name, by what unusual way files go and why.
    """

    def __init__(
        self,
        cluster: Executor,
        root: Path,
        ways: Sequence[Access] | None = None,
        note: Callable[[str], None] = _keep_silent,
    ) -> None:
        self._cluster = cluster
        self._root = root.resolve()
        self._ways = (ClusterShell(cluster),) if ways is None else tuple(ways)
        self._note = note
        self._noted: set[str] = set()
        self._channels: dict[ContainerTarget, Channel] = {}
        self._asides: dict[ContainerTarget, tuple[Access, Channel]] = {}
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
            self._close_aside(target)
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
            session, way = await channel.session(), channel.way
            rest = [change for change in changes if change.source not in acknowledged]
            try:
                await transfer(
                    session,
                    functools.partial(self._aside, target, way),
                    self._root,
                    rest,
                    lambda change: acknowledged.update({change.source: change}),
                )
            except SessionLostError:
                fruitless = 0 if len(acknowledged) > before else fruitless + 1
            except NotPermittedError as error:
                if not channel.go_round(way, error):
                    raise
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
        command = self._in_shell(target, _FETCH, "sh", folder or "/", name)
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
        async with self._cluster.exec(target, self._in_shell(target, *script), stdin=True) as stream:
            while True:
                match await stream.receive():
                    case ExecOutput(data=data, stderr=stderr):
                        (err if stderr else out).feed(data)
                    case ExecExit(code=code):
                        out.end()
                        err.end()
                        return code

    def _in_shell(self, target: ContainerTarget, script: str, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs a script: by the container's own shell, or by the one that its pod mounts."""
        if self._channel(target).lacks_shell:
            return (f"{TOOLS}/sh", "-c", f"PATH=$PATH:{TOOLS}; export PATH\n{script}", *arguments)
        return ("sh", "-c", script, *arguments)

    def _channel(self, target: ContainerTarget) -> Channel:
        if target not in self._channels:
            self._channels[target] = self._opened(target, self._ways)
        return self._channels[target]

    async def _aside(self, target: ContainerTarget, way: Access) -> Session:
        """Return a second session with a container, by the same way as the first."""
        known = self._asides.get(target)
        if known is None or known[0] is not way:
            self._close_aside(target)
            known = self._asides[target] = way, self._opened(target, [way])
        return await known[1].session()

    def _close_aside(self, target: ContainerTarget) -> None:
        if known := self._asides.pop(target, None):
            known[1].close()

    def _opened(self, target: ContainerTarget, ways: Sequence[Access]) -> Channel:
        if self._tasks is None:
            raise RuntimeError("the syncer is not entered")
        channel = Channel(ways, target, functools.partial(self._tell, target))
        self._tasks.start_soon(channel.run, name=f"sync {target.pod}/{target.container}")
        return channel

    def _tell(self, target: ContainerTarget, way: Access, reason: str) -> None:
        note = f"files go into container `{target.container}` through {way.name}: {reason}"
        if note not in self._noted:
            self._noted.add(note)
            self._note(note)
