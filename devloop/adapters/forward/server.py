"""One forward: accepts connections, finds each a pod that answers, and ends those whose pod is gone."""

import asyncio
import math
import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final, Protocol

import anyio
from anyio.abc import ByteStream, TaskGroup

from devloop.adapters.forward.gates import Gate
from devloop.adapters.forward.relay import End, SocketEnd, StreamEnd, join, part
from devloop.core.cluster.forwarding import Target, targets
from devloop.core.cluster.pods import Pod
from devloop.errors import ToolError
from devloop.model import ForwardRule

__all__ = ["PodPorts", "RuleServer"]

_BACKLOG: Final = 1024
_CONNECT_SECONDS: Final = 2
_OPEN_SECONDS: Final = 5
_SILENCE_IS_CONSENT: Final = 0.15
_SWEEP_SECONDS: Final = 0.1
_IDLE_SECONDS: Final = 0.2


class PodPorts(Protocol):
    """The part of `Cluster` that a forward needs."""

    def address(self, pod: Pod, port: int) -> tuple[str, int] | None:
        """Return where the pod's port is reached directly, or None."""

    def connect(self, pod: Pod, port: int) -> AbstractAsyncContextManager[ByteStream]:
        """Open a connection through the cluster."""


class _Connection:
    """A client, and the pod that it is led to.

    Attributes:
        client: The client's end.
        pod: The pod's end, once there is one.
        uid: The pod that is tried or was reached.
        waiting: The scope of the search for a pod; it limits how long that may take.
        attempt: The scope of the attempt to connect that is made now.
    """

    __slots__ = ("attempt", "client", "pod", "uid", "waiting")

    def __init__(self, client: SocketEnd) -> None:
        self.client = client
        self.pod: End | None = None
        self.uid: str | None = None
        self.waiting = anyio.CancelScope()
        self.attempt: anyio.CancelScope | None = None

    def abort(self) -> None:
        """End it now."""
        self.waiting.cancel("the forward ends it")
        self.client.abort()
        if self.pod is not None:
            self.pod.abort()

    def close_if_idle(self, now: float) -> None:
        """End it if the pod spoke last, and not just now: as kept-open HTTP connections are between two requests."""
        pod = self.pod
        if pod is not None and pod.touched >= self.client.touched and now - pod.touched > _IDLE_SECONDS:
            pod.close()
            self.client.close()


class RuleServer:
    """Serves one local port.

    Args:
        rule: Where connections lead.
        cluster: Opens connections to pods.
        tasks: Runs what waits.
        patience: Seconds that a connection waits for a pod that answers.
    """

    def __init__(self, rule: ForwardRule, cluster: PodPorts, tasks: TaskGroup, patience: float) -> None:
        self._rule = rule
        self._cluster = cluster
        self._tasks = tasks
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []
        self._connections: dict[SocketEnd, _Connection] = {}
        self._tiers: Sequence[Sequence[Target]] = ()
        self._gates: dict[tuple[str, int], Gate] = {}
        self._turn = 0
        self._changed = anyio.Event()
        self._leaving: frozenset[str] = frozenset()
        self._sweeping = False

    # --- what the forwarder asks ---

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections on these sockets, which are this server's from now on."""
        for one in sockets:
            self._servers.append(await self._loop.create_server(self._accepted, sock=one, backlog=_BACKLOG))

    def lead_to(self, rule: ForwardRule, pods: Sequence[Pod], held_back: frozenset[str]) -> None:
        """Take a changed rule for the same local port; connections end if it leads elsewhere."""
        before, self._rule = self._rule, rule
        if (rule.selector, rule.namespace, rule.port) != (before.selector, before.namespace, before.port):
            for connection in tuple(self._connections.values()):
                connection.abort()
            self.update(pods, held_back)

    def update(self, pods: Sequence[Pod], held_back: frozenset[str]) -> None:
        """Take the pods as they are now, and which of them nobody is led to yet."""
        self._tiers = targets(self._rule, (pod for pod in pods if pod.uid not in held_back))
        keys = {(target.pod.uid, target.port) for tier in self._tiers for target in tier}
        eligible = {uid for uid, _ in keys}
        present = {pod.uid for pod in pods}
        self._gates = {key: gate for key, gate in self._gates.items() if key in keys}
        self._leaving = frozenset(pod.uid for pod in pods if pod.deleting)
        for connection in tuple(self._connections.values()):
            if connection.uid is None:
                continue
            if connection.pod is None:
                if connection.uid not in eligible and connection.attempt is not None:
                    connection.attempt.cancel("the pod is no longer ready")
            elif connection.uid not in present:
                connection.abort()
        self._sweep_if_needed()
        self._wake()

    def close(self) -> None:
        """Stop listening and end all connections."""
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections.values()):
            connection.abort()

    # --- connections ---

    def _accepted(self) -> SocketEnd:
        return SocketEnd(self._loop.time, self._opened, self._closed)

    def _opened(self, client: SocketEnd) -> None:
        connection = _Connection(client)
        self._connections[client] = connection
        self._tasks.start_soon(self._serve, connection, name=f"forward {self._rule.local}: connection")

    def _closed(self, client: SocketEnd) -> None:
        self._connections.pop(client).waiting.cancel("the client is gone")

    async def _serve(self, connection: _Connection) -> None:
        """Lead a connection to a pod that answers; wait for one, but not for ever."""
        end = self._loop.time() + self._patience
        with connection.waiting as waiting:
            waiting.deadline = end
            while True:
                target, gate = await self._admitted()
                connection.uid = target.pod.uid
                try:
                    if await self._lead(connection, target, gate):
                        return
                    waiting.deadline = end
                    gate.failed()
                finally:
                    gate.left()
        connection.client.close()

    async def _lead(self, connection: _Connection, target: Target, gate: Gate) -> bool:
        """Return whether the pod answered; the connection is its from then on."""
        address = self._cluster.address(target.pod, target.port)
        if address is not None:
            if await self._directly(connection, address):
                gate.worked()
                return True
            if not gate.detour_is_due or not self._is_current(target):
                return False
        if not await self._through_cluster(connection, target, gate):
            return False
        gate.detour_works = True
        return True

    async def _admitted(self) -> tuple[Target, Gate]:
        """Return the best target that may be tried now, as soon as there is one."""
        while True:
            self._turn += 1
            for tier in self._tiers:
                for position in range(len(tier)):
                    target = tier[(self._turn + position) % len(tier)]
                    gate = self._gate(target)
                    if gate.enter():
                        return target, gate
            await self._changed.wait()

    def _is_current(self, target: Target) -> bool:
        return (target.pod.uid, target.port) in self._gates

    def _gate(self, target: Target) -> Gate:
        key = (target.pod.uid, target.port)
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(self._loop, self._wake)
        return gate

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # --- ways to a pod ---

    async def _directly(self, connection: _Connection, address: tuple[str, int]) -> bool:
        """Connect to the pod's own address; return whether it answered."""
        with anyio.move_on_after(_CONNECT_SECONDS) as connection.attempt:
            try:
                _, end = await self._loop.create_connection(self._pod_end, *address)
            except OSError:
                return False
            connection.pod = end
            join(connection.client, end)
            return True
        return False

    def _pod_end(self) -> SocketEnd:
        return SocketEnd(self._loop.time, _ignore, _ignore)

    async def _through_cluster(self, connection: _Connection, target: Target, gate: Gate) -> bool:
        """Let the cluster carry the connection, to its end; return whether the pod answered."""
        with anyio.CancelScope() as connection.attempt:
            opening = self._cluster.connect(target.pod, target.port)
            try:
                async with AsyncExitStack() as stack:
                    with anyio.fail_after(_OPEN_SECONDS):
                        stream = await stack.enter_async_context(opening)
                    return await self._carry(connection, stream, gate)
            except (ToolError, TimeoutError):
                return False
        return False

    async def _carry(self, connection: _Connection, stream: ByteStream, gate: Gate) -> bool:
        # An open stream does not mean that the pod has answered: not to hear the contrary for a moment does.
        consent = self._loop.call_later(_SILENCE_IS_CONSENT, gate.worked)
        connection.waiting.deadline = math.inf
        end = connection.pod = StreamEnd(stream, self._loop.time)
        join(connection.client, end)
        try:
            unsent = await end.carry()
        finally:
            consent.cancel()
        if unsent is None:
            gate.worked()
            return True
        connection.pod = None
        part(connection.client, unsent)
        return False

    # --- pods that end ---

    def _sweep_if_needed(self) -> None:
        if not self._sweeping and self._on_leaving():
            self._sweeping = True
            self._tasks.start_soon(self._sweep, name=f"forward {self._rule.local}: leave pods that end")

    def _on_leaving(self) -> list[_Connection]:
        return [connection for connection in self._connections.values() if connection.uid in self._leaving]

    async def _sweep(self) -> None:
        """End idle connections to pods that are being deleted; a server that ignores SIGTERM would keep them."""
        while connections := self._on_leaving():
            now = self._loop.time()
            for connection in connections:
                connection.close_if_idle(now)
            await anyio.sleep(_SWEEP_SECONDS)
        self._sweeping = False


def _ignore(_: SocketEnd) -> None:
    """Nothing hangs on the pod's end alone: its loss reaches the client's end."""
