"""The connection to one container, opened ahead and opened again whenever it was cut."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from devloop.adapters.sync.session import Session
from devloop.core.sync.script import NO_ROOT, loop_script
from devloop.errors import ToolError, UnreachableError
from devloop.model import ContainerTarget
from devloop.runtime.ports import Access, ContainerLostError, ExecExit, ExecStream, SyncRefusedError

__all__ = ["Channel", "ClusterShell", "Executor"]

_NEEDED: Final = ("dd", "mv", "rm", "mkdir", "chmod")
_NO_SUCH_PROGRAM: Final = (126, 127)
_ATTEMPTS: Final = 7
"""Failed attempts in a row (5 s) after which a container counts as gone, should nobody have said so before."""
_STABLE: Final = 5.0
"""Seconds after which a session that nobody used was a good one all the same."""
_FIRST_DELAY: Final = 0.05
_LAST_DELAY: Final = 2.0


class Executor(Protocol):
    """What the syncer needs of a cluster (`runtime.ports.Cluster` has it)."""

    def exec(
        self, target: ContainerTarget, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> AbstractAsyncContextManager[ExecStream]:
        """Run a command in a container."""


class ClusterShell:
    """The way to a container's files that every cluster has: its own shell.

    Args:
        cluster: Where the container is.
    """

    name = "the cluster"
    root = ""

    def __init__(self, cluster: Executor) -> None:
        self._cluster = cluster

    async def leads_to(self, target: ContainerTarget) -> bool:  # noqa: ARG002 - every container may have a shell
        """Return True."""
        await checkpoint()
        return True

    @asynccontextmanager
    async def shell(self, target: ContainerTarget, script: str) -> AsyncIterator[ExecStream]:
        """Run a script with `sh` in the container."""
        async with self._cluster.exec(target, ("sh", "-c", script), stdin=True) as stream:
            yield stream


class _NoShellError(SyncRefusedError):
    """The container has no shell of its own."""


class _NoWay:
    """How a connection ended that was not even tried: this way does not lead to the container."""


class Channel:
    """Keeps a session with a container for as long as `run` runs.

    Args:
        ways: How the container's files can be reached, the best first.
        target: The container.
        tell: Told when files do not go through the container's own shell: by which way, and why.
    """

    def __init__(
        self, ways: Sequence[Access], target: ContainerTarget, tell: Callable[[Access, str], None] | None = None
    ) -> None:
        self._ways = list(ways)
        self._target = target
        self._tell = tell
        self._scope = CancelScope()
        self._state: Session | SyncRefusedError | ContainerLostError | None = None
        self._refused: list[SyncRefusedError] = []
        self._changed = anyio.Event()
        self._wanted = anyio.Event()
        self._ended = False

    @property
    def way(self) -> Access:
        """The way that is tried or taken now."""
        return self._ways[0]

    @property
    def lacks_shell(self) -> bool:
        """Whether it has turned out that the container has no shell of its own."""
        return any(isinstance(each, _NoShellError) for each in self._refused)

    async def session(self) -> Session:
        """Return a live session, as soon as there is one.

        Raises:
            SyncRefusedError: The container can never take files.
            ContainerLostError: It is gone.
        """
        if isinstance(self._state, ContainerLostError) and not self._ended:
            self._become(None)
            self._wanted.set()
        while True:
            match self._state:
                case Session() as session:
                    return session
                case SyncRefusedError() as error:
                    raise SyncRefusedError(error.message, tail=error.tail, hint=error.hint, lasting=error.lasting)
                case ContainerLostError() as error:
                    raise ContainerLostError(error.message)
                case None:
                    await self._changed.wait()

    def close(self) -> None:
        """End the session; whoever waits for it hears that the container is gone."""
        self._ended = True
        self._become(ContainerLostError(f"container `{self._name}` is gone"))
        self._scope.cancel("the container is gone")

    def go_round(self, way: Access, refusal: SyncRefusedError) -> bool:
        """Try other ways, since the container did not take files by this one; return whether there are any.

        Where it turns out that none of them leads there, `session` raises the first refusal.
        """
        if self.way is not way:
            return True  # somebody else has found out, too
        session = self._state
        self._refused.append(refusal)
        self._ways = [other for other in self._ways[1:] if other.root] or self._ways[:1]
        if self.way is way:
            self._become(self._final())
            return False
        self._become(None)
        if isinstance(session, Session):
            session.abort()
        return True

    async def run(self) -> None:
        """Keep a session until closed, or until it is clear that the container takes none."""
        failures = 0
        with self._scope:
            while not isinstance(self._state, SyncRefusedError):
                way = self.way
                began = anyio.current_time()
                session, ending = await self._connected(way)
                if isinstance(ending, _NoWay):
                    if not self._drop(way):
                        failures += 1
                        self._become(self._final())
                        await self._pause(failures)
                    continue
                if session is not None:
                    self._become(None)
                if session is not None and (session.was_useful or anyio.current_time() - began > _STABLE):
                    failures = 0
                elif refusal := self._refusal(way, ending):
                    self.go_round(way, refusal)
                else:
                    failures += not isinstance(ending, UnreachableError)
                    if failures >= _ATTEMPTS:
                        said = ending.message if isinstance(ending, ToolError) else "its shell ended at once"
                        self._become(ContainerLostError(f"container `{self._name}` cannot be reached: {said}"))
                await self._pause(failures)

    @property
    def _name(self) -> str:
        return self._target.container

    def _become(self, state: Session | SyncRefusedError | ContainerLostError | None) -> None:
        if not self._ended or isinstance(state, ContainerLostError):
            self._state = state
            self._changed.set()
            self._changed = anyio.Event()

    def _drop(self, way: Access) -> bool:
        """Forget a way that does not lead to this container at all, if there is another."""
        others = [other for other in self._ways if other is not way]
        self._ways = others or self._ways
        return bool(others)

    def _final(self) -> SyncRefusedError | ContainerLostError:
        """Return why no way is left: what the first one said, and the others besides."""
        if not self._refused:
            return ContainerLostError(f"container `{self._name}` is not to be found")
        first, *others = self._refused
        hints = [each.hint for each in (first, *others) if each.hint]
        tail = (*first.tail, *(each.message for each in others))
        return SyncRefusedError(first.message, tail=tail, hint=hints[-1] if hints else None, lasting=first.lasting)

    async def _connected(self, way: Access) -> tuple[Session | None, ExecExit | ToolError | _NoWay | None]:
        """Serve one connection; return its session, if it came to one, and how it ended."""
        token = secrets.token_hex(6)
        live: list[Session] = []
        lacking: list[str] = []

        def greeted() -> None:
            lacking.extend(tool for tool in _NEEDED if tool in session.missing)
            if lacking:
                session.abort()
                return
            live.append(session)
            self._become(session)
            if self._refused and self._tell is not None:
                self._tell(way, self._refused[0].message)

        try:
            if not await way.leads_to(self._target):
                return None, _NoWay()
            async with way.shell(self._target, loop_script(token, way.root)) as stream:
                session = Session(stream, token, self._name, way.root)
                ending: ExecExit | ToolError | None = await session.serve(greeted)
        except ToolError as error:
            ending = error
        if lacking:
            ending = SyncRefusedError(f"container `{self._name}` has no {_listed(lacking)}")
        return (live[0] if live else None), ending

    def _refusal(self, way: Access, ending: ExecExit | ToolError | None) -> SyncRefusedError | None:
        match ending:
            case None:  # we ended it ourselves
                return None
            case SyncRefusedError():
                return ending
            case ExecExit(code=code) if code == NO_ROOT:
                return SyncRefusedError(f"{way.name} does not see the files of container `{self._name}`")
            case ExecExit(code=code):
                return _NoShellError(self._no_shell) if code in _NO_SUCH_PROGRAM else None
            case ContainerLostError() | UnreachableError():
                return None
            case _:
                return _NoShellError(self._no_shell, tail=(ending.message,))

    @property
    def _no_shell(self) -> str:
        return f"container `{self._name}` has no shell (`sh`)"

    async def _pause(self, failures: int) -> None:
        self._wanted = anyio.Event()
        if failures:
            with anyio.move_on_after(min(_LAST_DELAY, _FIRST_DELAY * 2.0**failures)):
                await self._wanted.wait()
        else:
            await checkpoint()


def _listed(tools: Sequence[str]) -> str:
    return ", ".join(f"`{tool}`" for tool in tools)
