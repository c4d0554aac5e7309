"""The WebSocket and the channels on it, byte by byte: what a modern server does that the test cluster cannot."""

from collections import deque

import anyio
import anyio.lowlevel
import httpcore
import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong

from devloop.adapters.kube.connect import PodPortError, TunnelStream
from devloop.adapters.kube.exec import KubeExec
from devloop.adapters.kube.websocket import WebSocket, WebSocketClosedError
from devloop.errors import ToolError
from devloop.model import ContainerTarget
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput

pytestmark = pytest.mark.anyio

TARGET = ContainerTarget(namespace="n", pod="p", uid="u", container="c", id="")
V5 = "v5.channel.k8s.io"


class Server:
    """The server's end of a connection, where the test reads and writes events."""

    def __init__(self) -> None:
        self.sent: deque[bytes | httpcore.NetworkError | httpcore.ReadTimeout] = deque()
        self.got: list[Event] = []
        self._connection = Connection(ConnectionType.SERVER)

    def say(self, *events: Event) -> None:
        self.sent.append(b"".join(self._connection.send(event) for event in events))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's name
        if not self.sent:
            await anyio.sleep_forever()
        match self.sent.popleft():
            case bytes(data):
                return data
            case error:
                raise error

    async def write(self, data: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's name
        await anyio.lowlevel.checkpoint()
        self._connection.receive_data(data)
        self.got += list(self._connection.events())

    @property
    def frames(self) -> list[bytes]:
        return [bytes(event.data) for event in self.got if isinstance(event, BytesMessage)]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def socket(server: Server) -> WebSocket:
    return WebSocket(server, V5)


# --- the WebSocket -------------------------------------------------------------------------------------------


async def test_a_message_in_parts_is_put_together(server: Server, socket: WebSocket) -> None:
    server.say(BytesMessage(data=b"one ", message_finished=False), BytesMessage(data=b"message"))
    assert await socket.receive() == b"one message"


async def test_several_messages_in_one_packet_come_one_by_one(server: Server, socket: WebSocket) -> None:
    server.say(BytesMessage(data=b"1"), BytesMessage(data=b"2"))
    assert [await socket.receive(), await socket.receive()] == [b"1", b"2"]


async def test_a_ping_is_answered(server: Server, socket: WebSocket) -> None:
    server.say(Ping(payload=b"there?"), BytesMessage(data=b"x"))
    await socket.receive()
    assert server.got == [Pong(payload=b"there?")]


async def test_a_silent_server_is_asked_once_and_then_given_up(server: Server, socket: WebSocket) -> None:
    server.sent += [httpcore.ReadTimeout(), httpcore.ReadTimeout()]
    with pytest.raises(WebSocketClosedError):
        await socket.receive()
    assert [type(event) for event in server.got] == [Ping]


async def test_a_server_that_answers_late_is_not_given_up(server: Server, socket: WebSocket) -> None:
    server.sent.append(httpcore.ReadTimeout())
    server.say(Pong(payload=b"devloop"))
    server.sent.append(httpcore.ReadTimeout())
    server.say(BytesMessage(data=b"late"))
    assert await socket.receive() == b"late"


@pytest.mark.parametrize("ending", [b"", httpcore.ReadError()])
async def test_a_broken_connection_is_closed(
    server: Server, socket: WebSocket, ending: bytes | httpcore.ReadError
) -> None:
    server.say(BytesMessage(data=b"last"))
    server.sent.append(ending)
    assert await socket.receive() == b"last"
    for _ in range(2):
        with pytest.raises(WebSocketClosedError):
            await socket.receive()


async def test_good_bye_is_said_once(server: Server, socket: WebSocket) -> None:
    await socket.close()
    await socket.close()
    assert server.got == [CloseConnection(code=1000, reason="")]


async def test_a_cancelled_receive_loses_nothing(server: Server, socket: WebSocket) -> None:
    with anyio.move_on_after(0.01):
        await socket.receive()
    server.say(BytesMessage(data=b"kept"))
    assert await socket.receive() == b"kept"


# --- commands ------------------------------------------------------------------------------------------------


async def test_output_comes_by_channel_and_empty_frames_are_nothing(server: Server, socket: WebSocket) -> None:
    for frame in (b"\x01", b"\x02", b"\x03", b"\x01out", b"\x02err", b'\x03{"status": "Success"}'):
        server.say(BytesMessage(data=frame))
    stream = KubeExec(socket, TARGET)
    assert [await stream.receive() for _ in range(3)] == [
        ExecOutput(data=b"out"),
        ExecOutput(data=b"err", stderr=True),
        ExecExit(code=0),
    ]


async def test_an_exit_code_is_in_the_status(server: Server, socket: WebSocket) -> None:
    causes = b'[{"reason": "Other"}, {"reason": "ExitCode", "message": "42"}]'
    server.say(BytesMessage(data=b'\x03{"status": "Failure", "details": {"causes": ' + causes + b"}}"))
    assert await KubeExec(socket, TARGET).receive() == ExecExit(code=42)


async def test_a_command_that_could_not_be_started_is_told(server: Server, socket: WebSocket) -> None:
    server.say(BytesMessage(data=b'\x03{"status": "Failure", "message": "no such file"}'))
    with pytest.raises(ToolError, match=r"container `c` of pod `p` did not run: no such file"):
        await KubeExec(socket, TARGET).receive()


async def test_an_end_without_a_status_is_a_loss(server: Server, socket: WebSocket) -> None:
    server.say(CloseConnection(code=1000))
    with pytest.raises(ContainerLostError, match="pod `p` is lost"):
        await KubeExec(socket, TARGET).receive()
    with pytest.raises(ContainerLostError):
        await KubeExec(socket, TARGET).send(b"x")


async def test_input_is_cut_into_frames_that_old_servers_take(server: Server, socket: WebSocket) -> None:
    await KubeExec(socket, TARGET).send(bytes(70_000))
    assert [len(frame) for frame in server.frames] == [32 * 1024 + 1, 32 * 1024 + 1, 70_000 - 64 * 1024 + 1]
    assert {frame[0] for frame in server.frames} == {0}


async def test_input_is_closed_where_the_server_can(server: Server, socket: WebSocket) -> None:
    stream = KubeExec(socket, TARGET)
    await stream.close_stdin()
    await stream.resize(80, 24)
    assert server.frames == [b"\xff\x00", b'\x04{"Width": 80, "Height": 24}']


async def test_input_stays_open_where_the_server_cannot(server: Server) -> None:
    stream = KubeExec(WebSocket(server, "v4.channel.k8s.io"), TARGET)
    assert not stream.can_close_stdin
    await stream.close_stdin()
    assert server.frames == []


# --- tunnels -------------------------------------------------------------------------------------------------


async def tunnel(server: Server, socket: WebSocket) -> TunnelStream:
    server.say(BytesMessage(data=b"\x00\x58\x1b"), BytesMessage(data=b"\x01\x58\x1b"))
    stream = TunnelStream(socket, "port 7000 of pod `p`")
    await stream.opened()
    return stream


async def test_a_tunnel_carries_bytes_and_ends(server: Server, socket: WebSocket) -> None:
    stream = await tunnel(server, socket)
    await stream.send(bytes(40_000))
    assert [len(frame) for frame in server.frames] == [32 * 1024 + 1, 40_000 - 32 * 1024 + 1]
    server.say(BytesMessage(data=b"\x00hello"), CloseConnection(code=1000))
    assert [await stream.receive(3), await stream.receive()] == [b"hel", b"lo"]
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    with pytest.raises(anyio.BrokenResourceError):
        await stream.send(b"x")


async def test_a_tunnel_tells_why_it_broke(server: Server, socket: WebSocket) -> None:
    stream = await tunnel(server, socket)
    server.say(BytesMessage(data=b"\x01connection refused\n"))
    with pytest.raises(PodPortError, match="port 7000 of pod `p` does not answer: connection refused"):
        await stream.receive()


async def test_a_tunnel_that_never_opens_is_a_lost_container(server: Server, socket: WebSocket) -> None:
    server.say(CloseConnection(code=1011))
    with pytest.raises(ContainerLostError):
        await TunnelStream(socket, "port 7000 of pod `p`").opened()
