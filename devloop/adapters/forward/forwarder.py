"""The forwarder: keeps a listening socket for each rule, and tells who is in the way where it cannot.

A port that is taken stays wanted: it is tried again until it is free. No other port is ever taken in its place.
"""

import errno
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

import anyio
from anyio import AsyncContextManagerMixin, to_thread
from anyio.abc import TaskGroup

from devloop.adapters.forward.holder import holder
from devloop.adapters.forward.listeners import PortTakenError, open_listeners
from devloop.adapters.forward.server import PodPorts, RuleServer
from devloop.core.cluster.pods import Pod
from devloop.model import ForwardRule
from devloop.runtime.ports import PortState

__all__ = ["PortForwarder"]

_PATIENCE: Final = 10.0
_RETRY_SECONDS: Final = 1.0


class PortForwarder(AsyncContextManagerMixin):
    """Carries local TCP ports to pods; enter it to use it, leave it to close all ports and connections.

    Args:
        cluster: Opens connections to pods.
        report: Told when a port that was taken could be opened after all. Must not block.
        patience: Seconds that a connection waits while no pod answers; then it is closed.
        retry_seconds: How often a taken port is tried again.
    """

    _tasks: TaskGroup

    def __init__(
        self,
        cluster: PodPorts,
        report: Callable[[PortState], None],
        *,
        patience: float = _PATIENCE,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._report = report
        self._patience = patience
        self._retry_seconds = retry_seconds
        self._servers: dict[_Key, RuleServer] = {}
        self._refused: dict[_Key, ForwardRule] = {}
        self._pods: Sequence[Pod] = ()
        self._held_back: frozenset[str] = frozenset()
        self._lock = anyio.Lock()
        self._retrying = False

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        failure: Exception | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                failure = error
            finally:
                for server in self._servers.values():
                    server.close()
                self._servers.clear()
                self._tasks.cancel_scope.cancel("the forwarder is closed")
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()  # asyncio closes sockets in its next round
        if failure is not None:
            raise failure

    async def serve(self, rules: Sequence[ForwardRule]) -> tuple[PortState, ...]:
        """Listen for exactly these rules; listeners that stay are not touched. Return the state of each rule."""
        async with self._lock:
            wanted: dict[_Key, ForwardRule] = {}
            for rule in rules:
                wanted.setdefault(_key(rule), rule)
            for key in self._servers.keys() - wanted.keys():
                self._servers.pop(key).close()
            self._refused = {key: rule for key, rule in wanted.items() if key in self._refused}
            states = [await self._state(rule, wanted[_key(rule)]) for rule in rules]
        if self._refused and not self._retrying:
            self._retrying = True
            self._tasks.start_soon(self._retry, name="forward: try taken ports again")
        return tuple(states)

    def update(self, pods: Sequence[Pod], held_back: Collection[str] = ()) -> None:
        """Take the pods as they are now: new connections go to ready ones, waiting ones as soon as one is ready.

        Args:
            pods: The pods.
            held_back: The UIDs of those that no connection is led to yet, ready or not.
        """
        self._pods, self._held_back = pods, frozenset(held_back)
        for server in self._servers.values():
            server.update(pods, self._held_back)

    async def _state(self, rule: ForwardRule, holds: ForwardRule) -> PortState:
        if rule is not holds:
            return PortState(rule=rule, error=f"port {rule.local} is asked for by `{holds.service}` as well")
        if server := self._servers.get(_key(rule)):
            server.lead_to(rule, self._pods, self._held_back)
            return PortState(rule=rule)
        return PortState(rule=rule, error=await self._open(rule))

    async def _open(self, rule: ForwardRule) -> str | None:
        """Listen for a rule; return why that is not possible, or None."""
        try:
            await self._listen(rule)
        except PortTakenError:
            self._refused[_key(rule)] = rule
            who = await to_thread.run_sync(holder, rule.local, abandon_on_cancel=True)
            return f"port {rule.local} is taken by {who}"
        except OSError as error:
            self._refused[_key(rule)] = rule
            return _why_not(rule, error)
        return None

    async def _listen(self, rule: ForwardRule) -> None:
        sockets = open_listeners(rule.local, rule.listen)
        server = RuleServer(rule, self._cluster, self._tasks, self._patience)
        self._servers[_key(rule)] = server
        self._refused.pop(_key(rule), None)
        server.update(self._pods, self._held_back)
        await server.listen(sockets)

    async def _retry(self) -> None:
        """Try the ports that were taken, until all of them could be opened."""
        while self._refused:
            await anyio.sleep(self._retry_seconds)
            async with self._lock:
                for rule in tuple(self._refused.values()):
                    try:
                        await self._listen(rule)
                    except OSError:
                        continue
                    self._report(PortState(rule=rule))
        self._retrying = False


_Key = tuple[int, str | None]


def _key(rule: ForwardRule) -> _Key:
    return rule.local, rule.listen


def _why_not(rule: ForwardRule, error: OSError) -> str:
    if error.errno == errno.EACCES:
        return f"port {rule.local} needs administrator rights; choose one from 1024 on"
    return f"port {rule.local} cannot be opened: {error.strerror or error}"
