"""What every `Forwarder` does, and what the real one does with connections: local servers stand in for pods."""

import gc
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import anyio
import pytest
from anyio.abc import ByteStream, SocketStream

from devloop.adapters.forward import PortForwarder
from devloop.adapters.forward.holder import holder, listening_inodes
from devloop.core.cluster.pods import Pod
from devloop.model import ForwardRule
from devloop.runtime.ports import ContainerLostError, Forwarder, PortState
from tests.fakes.forwarder import FakeForwarder

pytestmark = pytest.mark.anyio

_LABELS = {"app": "api"}


def a_rule(local: int, *, service: str = "api", app: str = "api", listen: str | None = None) -> ForwardRule:
    return ForwardRule(
        service=service, local=local, selector={"app": app}, namespace="dev", port=80, remote=80, listen=listen
    )


def a_pod(name: str, *, ready: bool = True, deleting: bool = False) -> Pod:
    return Pod(name=name, uid=name, namespace="dev", labels=_LABELS, ready=ready, deleting=deleting)


@pytest.fixture
def port() -> int:
    """A local port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- what every forwarder does -------------------------------------------------------------------------------


class Stage(Protocol):
    """A forwarder, and a way to take its ports away."""

    forwarder: Forwarder
    reports: list[PortState]

    def take(self, port: int) -> None: ...

    def free(self, port: int) -> None: ...


class FakeStage:
    def __init__(self) -> None:
        self.reports: list[PortState] = []
        self.fake = FakeForwarder(self.reports.append)
        self.forwarder: Forwarder = self.fake
        self.take = self.fake.take
        self.free = self.fake.free


@dataclass
class RealStage:
    forwarder: Forwarder
    reports: list[PortState]
    taken: dict[int, socket.socket] = field(default_factory=dict)

    def take(self, port: int) -> None:
        self.taken[port] = socket.create_server(("127.0.0.1", port))

    def free(self, port: int) -> None:
        self.taken.pop(port).close()


@pytest.fixture(params=["fake", "real"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    if request.param == "fake":
        yield FakeStage()
        return
    reports: list[PortState] = []
    async with PortForwarder(Pods(), reports.append, retry_seconds=0.05) as forwarder:
        yield RealStage(forwarder, reports)


async def test_each_rule_has_a_state(stage: Stage, port: int) -> None:
    rule = a_rule(port)

    assert await stage.forwarder.serve([rule]) == (PortState(rule=rule),)


async def test_a_taken_port_is_an_error_that_names_its_holder(stage: Stage, port: int) -> None:
    stage.take(port)
    (state,) = await stage.forwarder.serve([a_rule(port)])
    stage.free(port)

    assert state.error
    assert state.error.startswith(f"port {port} is taken by ")
    assert "(pid " in state.error


async def test_a_port_that_becomes_free_is_opened_and_reported(stage: Stage, port: int) -> None:
    stage.take(port)
    rule = a_rule(port)
    await stage.forwarder.serve([rule])
    assert stage.reports == []

    stage.free(port)
    await until(lambda: stage.reports == [PortState(rule=rule)])


async def test_a_local_port_that_two_rules_ask_for_goes_to_the_first(stage: Stage, port: int) -> None:
    first, second = a_rule(port), a_rule(port, service="web")

    assert await stage.forwarder.serve([first, second]) == (
        PortState(rule=first),
        PortState(rule=second, error=f"port {port} is asked for by `api` as well"),
    )


# --- stand-ins for pods --------------------------------------------------------------------------------------


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await anyio.sleep(0.005)


class Pods:
    """Local servers as pods, reached directly or, where a name is in `hidden`, through `connect`."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.hidden: set[str] = set()
        self.mute: set[str] = set()
        self.attempts: list[str] = []

    def address(self, pod: Pod, port: int) -> tuple[str, int] | None:
        assert port == 80
        if pod.name in self.hidden:
            return None
        self.attempts.append(pod.name)
        return "127.0.0.1", self.ports.get(pod.name, 1)  # nobody listens on port 1

    @asynccontextmanager
    async def connect(self, pod: Pod, port: int) -> AsyncIterator[ByteStream]:
        assert port == 80
        self.attempts.append(f"{pod.name} through the cluster")
        if pod.name in self.mute:
            yield Unanswered()
            return
        try:
            stream = await anyio.connect_tcp("127.0.0.1", self.ports.get(pod.name, 1))
        except OSError as error:
            raise ContainerLostError("nobody answers") from error
        async with stream:
            yield stream


class Unanswered(ByteStream):
    """A tunnel that opens, and says only later that nobody answers at its end."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.sleep(0.02)
        raise ContainerLostError("nobody answers")

    async def send(self, item: bytes) -> None:
        pass

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


Handler = Callable[[SocketStream], Awaitable[None]]


def greeter(name: str) -> Handler:
    """Return a server that echoes each message after its own name."""

    async def greet(stream: SocketStream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(f"{name}: ".encode() + data)

    return greet


class Ground:
    """A forwarder with one rule, and pods that come and go."""

    def __init__(self, forwarder: PortForwarder, pods: Pods, port: int, tasks: anyio.abc.TaskGroup) -> None:
        self.forwarder = forwarder
        self.pods = pods
        self.port = port
        self._tasks = tasks

    async def start(self, name: str, handler: Handler | None = None) -> None:
        """Let a pod's process listen."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.pods.ports[name] = listener.extra(anyio.abc.SocketAttribute.local_port)

        async def serve() -> None:
            async with listener:
                await listener.serve(handler or greeter(name))

        self._tasks.start_soon(serve)

    def has(self, *pods: Pod) -> None:
        self.forwarder.update(pods)

    async def ask(self, text: str = "hello") -> str:
        async with await self.open() as stream:
            return await exchange(stream, text)

    async def open(self) -> SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.port)


async def exchange(stream: ByteStream, text: str) -> str:
    await stream.send(text.encode())
    return (await stream.receive()).decode()


async def ends(stream: ByteStream) -> bool:
    try:
        return not await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return True


@pytest.fixture
async def ground(port: int) -> AsyncIterator[Ground]:
    pods = Pods()
    async with anyio.create_task_group() as tasks, PortForwarder(pods, lambda _: None, patience=15) as forwarder:
        await forwarder.serve([a_rule(port)])
        yield Ground(forwarder, pods, port, tasks)
        tasks.cancel_scope.cancel()
    gc.collect()


@pytest.fixture(params=["directly", "through the cluster"])
async def pod(request: pytest.FixtureRequest, ground: Ground) -> Pod:
    """The only ready pod, not started yet."""
    if request.param == "through the cluster":
        ground.pods.hidden.add("a")
    pod = a_pod("a")
    ground.has(pod)
    return pod


# --- bytes ---------------------------------------------------------------------------------------------------


async def test_bytes_go_both_ways_for_as_long_as_both_want(ground: Ground, pod: Pod) -> None:
    await ground.start("a")
    async with await ground.open() as stream:
        assert [await exchange(stream, str(number)) for number in range(3)] == ["a: 0", "a: 1", "a: 2"]


async def test_an_answer_after_the_client_has_ended_its_side_arrives(ground: Ground, pod: Pod) -> None:
    async def count(stream: SocketStream) -> None:
        async with stream:
            total = sum([len(data) async for data in stream])
            await stream.send(f"{total} bytes".encode())

    await ground.start("a", count)
    async with await ground.open() as stream:
        await stream.send(b"x" * 1_000_000)
        await stream.send_eof()
        assert await stream.receive() == b"1000000 bytes"
        assert await ends(stream)


async def test_the_client_can_go_on_after_the_pod_has_ended_its_side(ground: Ground, pod: Pod) -> None:
    heard = []

    async def listen(stream: SocketStream) -> None:
        async with stream:
            await stream.send_eof()
            heard.extend([data async for data in stream])

    await ground.start("a", listen)
    async with await ground.open() as stream:
        assert await ends(stream)
        await stream.send(b"still here")
    await until(lambda: heard == [b"still here"])


async def test_a_client_that_reads_slowly_slows_the_pod_down(ground: Ground, pod: Pod) -> None:
    sent = 0
    size = 64 * 1024

    async def pour(stream: SocketStream) -> None:
        nonlocal sent
        async with stream:
            for _ in range(1600):
                await stream.send(b"x" * size)
                sent += 1

    await ground.start("a", pour)
    async with await ground.open() as stream:
        before = -1
        while before != sent or not sent:  # until nothing more fits into the buffers on the way
            before = sent
            await anyio.sleep(0.2)
        assert 0 < sent < 800
        received = 0
        while received < 1600 * size:
            received += len(await stream.receive())


async def test_what_is_sent_while_no_pod_answers_is_not_lost(ground: Ground, pod: Pod) -> None:
    ground.has()
    await ground.start("a")
    async with await ground.open() as stream:
        await stream.send(b"early")
        await anyio.sleep(0.05)
        ground.has(pod)
        assert await stream.receive() == b"a: early"


# --- pods that come and go -----------------------------------------------------------------------------------


async def test_a_connection_waits_for_a_ready_pod(ground: Ground) -> None:
    await ground.start("a")
    ground.has(a_pod("a", ready=False))
    async with anyio.create_task_group() as tasks:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await ground.ask())

        tasks.start_soon(ask)
        await anyio.sleep(0.05)
        assert answers == []
        ground.has(a_pod("a"))
    assert answers == ["a: hello"]


async def test_a_connection_that_waited_in_vain_is_closed(port: int) -> None:
    async with PortForwarder(Pods(), lambda _: None, patience=0.05) as forwarder:
        await forwarder.serve([a_rule(port)])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()


async def test_a_pod_that_does_not_answer_is_passed_over(ground: Ground) -> None:
    await ground.start("b")
    ground.has(a_pod("a"), a_pod("b"))

    assert {await ground.ask() for _ in range(10)} == {"b: hello"}


async def test_a_process_that_starts_late_gets_the_connection_as_soon_as_it_listens(ground: Ground, pod: Pod) -> None:
    async with anyio.create_task_group() as tasks:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await ground.ask())

        for _ in range(20):
            tasks.start_soon(ask)
        await anyio.sleep(0.5)
        await until(lambda: len(ground.pods.attempts) >= 2)
        assert len(ground.pods.attempts) < 60  # of 20 connections in half a second
        await ground.start("a")
    assert answers == ["a: hello"] * 20


async def test_a_tunnel_that_turns_out_to_lead_nowhere_loses_nothing(ground: Ground) -> None:
    ground.pods.hidden.add("a")
    ground.pods.mute.add("a")
    await ground.start("b")
    ground.has(a_pod("a"))
    async with await ground.open() as stream:
        await stream.send(b"hello")
        await until(lambda: len(ground.pods.attempts) > 1)
        ground.has(a_pod("a"), a_pod("b"))
        assert await stream.receive() == b"b: hello"


async def test_connections_are_shared_among_the_pods(ground: Ground) -> None:
    await ground.start("a")
    await ground.start("b")
    ground.has(a_pod("a"), a_pod("b"))

    assert sorted([await ground.ask() for _ in range(10)]) == ["a: hello"] * 5 + ["b: hello"] * 5


async def test_connections_to_a_vanished_pod_end(ground: Ground, pod: Pod) -> None:
    await ground.start("a")
    async with await ground.open() as stream:
        await exchange(stream, "hello")
        ground.has()
        assert await ends(stream)


async def test_an_idle_connection_to_a_pod_that_is_being_deleted_ends(ground: Ground, pod: Pod) -> None:
    await ground.start("a")
    async with await ground.open() as stream:
        await exchange(stream, "hello")
        ground.has(replace(pod, deleting=True))
        assert await ends(stream)


async def test_a_request_that_a_pod_still_works_on_while_it_is_deleted_is_answered(ground: Ground, pod: Pod) -> None:
    begun = anyio.Event()

    async def work(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            begun.set()
            await anyio.sleep(0.6)
            await stream.send(b"done")

    await ground.start("a", work)
    async with await ground.open() as stream:
        await stream.send(b"work")
        await begun.wait()
        ground.has(replace(pod, deleting=True))
        assert await stream.receive() == b"done"


async def test_a_hundred_connections_at_once_are_all_served(ground: Ground, pod: Pod) -> None:
    await ground.start("a")
    answers = []

    async def ask() -> None:
        answers.append(await ground.ask())

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    assert answers == ["a: hello"] * 100


async def test_a_client_that_gives_up_waiting_is_forgotten(ground: Ground) -> None:
    stream = await ground.open()
    (server,) = ground.forwarder._servers.values()
    await until(lambda: bool(server._connections))
    stream._raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()
    await until(lambda: not server._connections)


# --- listening -----------------------------------------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_both_loopback_addresses_are_listened_on_and_no_other(ground: Ground) -> None:
    await ground.start("a")
    ground.has(a_pod("a"))
    for host in ("127.0.0.1", *(["::1"] if has_ipv6() else [])):
        async with await anyio.connect_tcp(host, ground.port) as stream:
            assert await exchange(stream, "hello") == "a: hello"
    with pytest.raises(OSError, match="connect"):
        await anyio.connect_tcp("127.0.0.2", ground.port)


async def test_a_rule_can_ask_for_another_address(ground: Ground, port: int) -> None:
    await ground.start("a")
    ground.has(a_pod("a"))
    await ground.forwarder.serve([a_rule(port, listen="127.0.0.2")])

    async with await anyio.connect_tcp("127.0.0.2", port) as stream:
        assert await exchange(stream, "hello") == "a: hello"


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
async def test_a_port_that_is_taken_on_one_loopback_address_is_opened_on_none(port: int) -> None:
    async with PortForwarder(Pods(), lambda _: None) as forwarder:
        with socket.create_server(("::1", port), family=socket.AF_INET6):
            (state,) = await forwarder.serve([a_rule(port)])
            assert state.error
            with pytest.raises(OSError, match="connect"):
                await anyio.connect_tcp("127.0.0.1", port)


async def test_a_listener_that_stays_keeps_its_connections(ground: Ground) -> None:
    await ground.start("a")
    ground.has(a_pod("a"))
    async with await ground.open() as stream:
        await exchange(stream, "hello")
        await ground.forwarder.serve([replace(a_rule(ground.port), remote="http")])
        assert await exchange(stream, "again") == "a: again"


async def test_a_rule_that_goes_closes_its_port_and_its_connections(ground: Ground) -> None:
    await ground.start("a")
    ground.has(a_pod("a"))
    async with await ground.open() as stream:
        await exchange(stream, "hello")
        await ground.forwarder.serve([])
        assert await ends(stream)
    with pytest.raises(OSError, match="connect"):
        await ground.open()


async def test_a_port_can_pass_from_one_service_to_another(ground: Ground) -> None:
    await ground.start("a")
    await ground.start("w")
    web = Pod(name="w", uid="w", namespace="dev", labels={"app": "web"}, ready=True)
    ground.has(a_pod("a"), web)
    async with await ground.open() as stream:
        await exchange(stream, "hello")
        assert await ground.forwarder.serve([a_rule(ground.port, service="web", app="web")])
        assert await ends(stream)
    assert await ground.ask() == "w: hello"


async def test_a_forwarder_that_is_left_leaves_nothing_open(port: int) -> None:
    async with PortForwarder(Pods(), lambda _: None) as forwarder:
        await forwarder.serve([a_rule(port)])
        stream = await anyio.connect_tcp("127.0.0.1", port)
    async with stream:
        assert await ends(stream)
    with socket.create_server(("127.0.0.1", port)):
        pass


# --- who holds a port ----------------------------------------------------------------------------------------

_TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000
"""


def test_of_a_socket_table_the_listening_sockets_of_the_port_count() -> None:
    assert listening_inodes(_TABLE, 8080) == {"4711"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_holder_of_a_port_is_named_with_its_pid(port: int) -> None:
    script = f"import socket, sys; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout
        assert program.stdin
        program.stdout.readline()
        named = holder(port)
        program.stdin.close()

    assert re.fullmatch(rf"`python[\d.]*` \(pid {program.pid}\)", named)


def test_a_port_that_nobody_visible_holds_is_held_by_another_program(port: int) -> None:
    assert holder(port) == "another program"


def test_elsewhere_lsof_is_asked(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lsof = tmp_path / "lsof"
    lsof.write_text("#!/bin/sh\nprintf 'p321\\ncnginx\\nf6\\n'\n")
    lsof.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(sys, "platform", "darwin")

    assert holder(port) == "`nginx` (pid 321)"
