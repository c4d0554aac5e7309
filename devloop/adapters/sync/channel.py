"""The connection to one container, opened ahead and opened again whenever it was cut."""

import secrets
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from devloop.adapters.sync.session import Session
from devloop.core.sync_script import loop_script
from devloop.errors import ToolError, UnreachableError
from devloop.model import ContainerTarget
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecStream, SyncRefusedError

__all__ = ["Channel", "Executor"]

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


class Channel:
    """Keeps a session with a container for as long as `run` runs.

    Args:
        cluster: Where the container is.
        target: The container.
    """

    def __init__(self, cluster: Executor, target: ContainerTarget) -> None:
        self._cluster = cluster
        self._target = target
        self._scope = CancelScope()
        self._state: Session | SyncRefusedError | ContainerLostError | None = None
        self._changed = anyio.Event()
        self._wanted = anyio.Event()
        self._ended = False

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
                    raise SyncRefusedError(error.message, tail=error.tail, hint=error.hint)
                case ContainerLostError() as error:
                    raise ContainerLostError(error.message)
                case None:
                    await self._changed.wait()

    def close(self) -> None:
        """End the session; whoever waits for it hears that the container is gone."""
        self._ended = True
        self._become(ContainerLostError(f"container `{self._name}` is gone"))
        self._scope.cancel("the container is gone")

    async def run(self) -> None:
        """Keep a session until closed, or until it is clear that the container takes none."""
        failures = 0
        with self._scope:
            while not isinstance(self._state, SyncRefusedError):
                began = anyio.current_time()
                session, ending = await self._connected()
                if session is not None:
                    self._become(None)
                if session is not None and (session.was_useful or anyio.current_time() - began > _STABLE):
                    failures = 0
                elif refusal := self._refusal(ending):
                    self._become(refusal)
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

    async def _connected(self) -> tuple[Session | None, ExecExit | ToolError | None]:
        """Serve one connection; return its session, if it came to one, and how it ended."""
        token = secrets.token_hex(6)
        live: list[Session] = []

        def greeted() -> None:
            if lacking := [tool for tool in _NEEDED if tool in session.missing]:
                self._become(SyncRefusedError(f"container `{self._name}` has no {_listed(lacking)}"))
                session.abort()
            else:
                live.append(session)
                self._become(session)

        try:
            async with self._cluster.exec(self._target, ("sh", "-c", loop_script(token)), stdin=True) as stream:
                session = Session(stream, token, self._name)
                ending = await session.serve(greeted)
        except ToolError as error:
            ending = error
        return (live[0] if live else None), ending

    def _refusal(self, ending: ExecExit | ToolError | None) -> SyncRefusedError | None:
        message = f"container `{self._name}` has no shell (`sh`)"
        match ending:
            case None:  # we ended it ourselves
                return self._state if isinstance(self._state, SyncRefusedError) else None
            case ExecExit(code=code):
                return SyncRefusedError(message) if code in _NO_SUCH_PROGRAM else None
            case ContainerLostError() | UnreachableError():
                return None
            case _:
                return SyncRefusedError(message, tail=(ending.message,))

    async def _pause(self, failures: int) -> None:
        self._wanted = anyio.Event()
        if failures:
            with anyio.move_on_after(min(_LAST_DELAY, _FIRST_DELAY * 2.0**failures)):
                await self._wanted.wait()
        else:
            await checkpoint()


def _listed(tools: Sequence[str]) -> str:
    return ", ".join(f"`{tool}`" for tool in tools)
