"""TCP connections to pods: straight to the pod where this machine is its node, else through the API server."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio
from anyio.abc import ByteStream

from devloop.adapters.kube.discovery import PODS
from devloop.adapters.kube.session import RefusedError, Session
from devloop.adapters.kube.websocket import WebSocket, WebSocketClosedError, open_websocket
from devloop.core.cluster.pods import Pod
from devloop.runtime.ports import ContainerLostError

__all__ = ["Nodes", "PodPortError", "TunnelStream", "connect"]

_PROTOCOL: Final = "v4.channel.k8s.io"
_DIRECT_SECONDS: Final = 1.0
_FRAME: Final = 32 * 1024


class PodPortError(ContainerLostError, anyio.BrokenResourceError):
    """An open connection broke because nothing answers on the pod's port."""


class Nodes:
    """Knows which nodes are this machine, and whose pods were reached directly before."""

    def __init__(self) -> None:
        self._local: dict[str, bool] = {}
        self.reached: set[str | None] = set()

    def is_here(self, address: str) -> bool:
        """Return whether a node's address is one of this machine's: whether a socket may take it as its own."""
        if address not in self._local:
            self._local[address] = _can_bind(address)
        return self._local[address]


def _can_bind(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


class TunnelStream(ByteStream):
    """A TCP connection to a pod's port, carried by a WebSocket.

    The protocol cannot close one direction: the pod sees the end of our data only when the whole stream is closed.

    Args:
        socket: The open WebSocket.
        described: The pod and port, for messages.
    """

    def __init__(self, socket: WebSocket, described: str) -> None:
        self._socket = socket
        self._described = described
        self._rest = b""
        self._ended = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes that the pod sent.

        Raises:
            EndOfStream: The pod closed the connection.
            PodPortError: The pod does not answer on that port, or no longer.
        """
        while not self._rest:
            if self._ended:
                raise anyio.EndOfStream
            await self._read()
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    async def opened(self) -> None:
        """Wait until the server has announced both channels: from then on data and errors are told apart."""
        for _ in range(2):
            try:
                await self._socket.receive()  # channel and port number
            except WebSocketClosedError as error:
                raise ContainerLostError(f"{self._described} does not answer") from error

    async def _read(self) -> None:
        try:
            frame = await self._socket.receive()
        except WebSocketClosedError:
            self._ended = True
            return
        if frame[:1] == b"\x00":
            self._rest = frame[1:]
        elif len(frame) > 1:
            self._ended = True
            reason = frame[1:].decode(errors="replace").strip()
            raise PodPortError(f"{self._described} does not answer: {reason}")

    async def send(self, item: bytes) -> None:
        """Send bytes to the pod.

        Raises:
            BrokenResourceError: The connection is gone.
        """
        view = memoryview(item)
        for start in range(0, len(view), _FRAME):
            try:
                await self._socket.send(b"".join((b"\x00", view[start : start + _FRAME])))
            except WebSocketClosedError as error:
                raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Do nothing: see the class."""

    async def aclose(self) -> None:
        """Close both directions."""
        self._ended = True
        await self._socket.close()


@asynccontextmanager
async def connect(
    session: Session, nodes: Nodes, pod: Pod, port: int, address: tuple[str, int] | None
) -> AsyncIterator[ByteStream]:
    """Open a TCP connection to a port of a pod.

    Args:
        session: The way through the API server.
        nodes: What is known of the pods' nodes.
        pod: The pod.
        port: The port.
        address: Where this machine reaches it directly, or None.

    Raises:
        ContainerLostError: The pod does not answer on that port.
    """
    described = f"port {port} of pod `{pod.name}`"
    if address:
        try:
            direct = await _straight(address)
        except TimeoutError as error:
            if pod.host_ip in nodes.reached:
                raise ContainerLostError(f"{described} does not answer") from error
            direct = None
        if direct is not None:
            nodes.reached.add(pod.host_ip)
            async with direct:
                yield direct
            return
    # Also after a refusal: what listens on the pod's loopback alone is reached through the API server only.
    path = PODS.path(pod.namespace, pod.name) + "/portforward"
    async with AsyncExitStack() as stack:
        opening = open_websocket(session, path, parameters={"ports": str(port)}, protocols=(_PROTOCOL,))
        try:
            websocket = await stack.enter_async_context(opening)
        except RefusedError as error:
            if not error.concerns_object:
                raise
            raise ContainerLostError(f"{described} does not answer: {error.reason}") from error
        stream = TunnelStream(websocket, described)
        await stream.opened()
        yield stream


async def _straight(address: tuple[str, int]) -> ByteStream | None:
    """Return a connection, or None when it is refused."""
    with anyio.fail_after(_DIRECT_SECONDS):
        try:
            return await anyio.connect_tcp(*address)
        except OSError:
            return None
