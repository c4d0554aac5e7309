"""A WebSocket without tasks of its own: who receives reads the connection; a cancelled call leaves nothing behind."""

from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import Any, Final

import anyio
import httpcore
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from devloop.adapters.kube.session import Parameters, Session, refusal

__all__ = ["WebSocket", "WebSocketClosedError", "open_websocket"]

_READ_SIZE: Final = 256 * 1024
_QUIET: Final = 20.0
"""Seconds without a byte after which the other side is asked whether it is still there."""


class WebSocketClosedError(Exception):
    """The other side closed the connection, or it broke."""


class WebSocket:
    """One open WebSocket. One task may send while another receives.

    Args:
        stream: The connection's byte stream.
        protocol: What the server chose of the protocols it was offered.
    """

    def __init__(self, stream: Any, protocol: str) -> None:
        self.protocol = protocol
        self._stream = stream
        self._connection = Connection(ConnectionType.CLIENT)
        self._received: deque[bytes] = deque()
        self._partial = bytearray()
        self._closed = False
        self._writing = anyio.Lock()

    async def send(self, data: bytes) -> None:
        """Send one binary message.

        Raises:
            WebSocketClosedError: The connection is gone.
        """
        await self._write(BytesMessage(data=data))

    async def receive(self) -> bytes:
        """Return the next message.

        Raises:
            WebSocketClosedError: There will be no more.
        """
        while not self._received:
            if self._closed:
                raise WebSocketClosedError
            await self._take(await self._read())
        return self._received.popleft()

    async def close(self) -> None:
        """Say good-bye, waiting for nothing but the local buffer."""
        if self._connection.state is ConnectionState.OPEN and not self._closed:
            with anyio.move_on_after(0.5, shield=True):
                try:
                    await self._write(CloseConnection(code=1000))
                except WebSocketClosedError:
                    return

    async def _read(self) -> bytes:
        asked = False
        while True:
            try:
                data: bytes = await self._stream.read(_READ_SIZE, timeout=_QUIET)
            except httpcore.ReadTimeout as error:
                if asked:
                    raise WebSocketClosedError("no answer to a ping") from error
                asked = True
                await self._write(Ping(payload=b"devloop"))
            except (httpcore.NetworkError, anyio.ClosedResourceError) as error:
                self._closed = True
                raise WebSocketClosedError(str(error)) from error
            else:
                return data

    async def _take(self, data: bytes) -> None:
        try:
            self._connection.receive_data(data or None)
            events = list(self._connection.events())
        except RemoteProtocolError as error:
            self._closed = True
            raise WebSocketClosedError(str(error)) from error
        for event in events:
            match event:
                case Message():
                    part = event.data
                    self._partial += part.encode() if isinstance(part, str) else part
                    if event.message_finished:
                        self._received.append(bytes(self._partial))
                        self._partial.clear()
                case Ping():
                    await self._write(event.response())
                case CloseConnection():
                    self._closed = True
                case _:
                    pass  # answers to our own pings

    async def _write(self, event: Any) -> None:
        async with self._writing:
            try:
                await self._stream.write(self._connection.send(event))
            except (
                httpcore.NetworkError,
                httpcore.TimeoutException,
                LocalProtocolError,
                anyio.ClosedResourceError,
            ) as error:
                self._closed = True
                raise WebSocketClosedError(str(error)) from error
            except anyio.get_cancelled_exc_class():
                self._closed = True  # half a frame may be out
                raise


@asynccontextmanager
async def open_websocket(
    session: Session, path: str, *, parameters: Parameters, protocols: Sequence[str]
) -> AsyncIterator[WebSocket]:
    """Open a WebSocket and close it at the end.

    Raises:
        RefusedError: The server answered, but not with a WebSocket.
        UnreachableError: There is no server.
    """
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(token_bytes(16)).decode(),
        "Sec-WebSocket-Protocol": ", ".join(protocols),
    }
    async with session.stream(path, parameters=parameters, headers=headers) as stream:
        if stream.code != 101:
            raise refusal("opening a connection", stream.code, await stream.rest())
        socket = WebSocket(stream.connection, stream.header(b"sec-websocket-protocol"))
        try:
            yield socket
        finally:
            await socket.close()
