"""devloop's helper program, as it is kept in the repository: both processors' results, run as they are."""

import platform
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.outside import ROOT

FOLDER = ROOT / "devloop/adapters/docker/cluster/helper"
PROCESSORS = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@pytest.fixture(params=["x86_64", "aarch64"])
def helper(request: pytest.FixtureRequest) -> list[str]:
    program = str(FOLDER / f"helper-{request.param}")
    if platform.system() != "Linux":
        pytest.skip("the helper runs on Linux")
    if PROCESSORS.get(platform.machine()) == request.param:
        return [program]
    emulator = shutil.which(f"qemu-{request.param}")
    if emulator is None:
        pytest.skip(f"qemu-{request.param} (Debian: the package `qemu-user`) runs the other processor's program")
    return [emulator, program]


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that answers each connection with what it gets, and then ends it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(connection.recv(100))

        threading.Thread(target=serve, daemon=True).start()
        yield int(server.getsockname()[1])


class Relay:
    def __init__(self, helper: list[str], port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(
            [*helper, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def tell(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        return self.process.stdout.readline()

    def ask(self, text: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as connection:
            connection.sendall(text)
            return connection.recv(100)


@pytest.fixture
def relay(helper: list[str]) -> Iterator[Relay]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Relay(helper, port)
    yield made
    made.process.kill()
    made.process.wait()
    for stream in (made.process.stdin, made.process.stdout):
        assert stream is not None
        stream.close()


def test_a_port_leads_to_its_targets_in_turn_past_those_that_do_not_answer(relay: Relay, echo: int) -> None:
    assert relay.tell(f"{relay.port} 127.0.0.1:1 127.0.0.1:{echo}") == "ok\n"
    assert [relay.ask(text) for text in (b"one", b"two")] == [b"one", b"two"]


def test_a_port_that_leads_nowhere_refuses(relay: Relay, echo: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        relay.ask(b"one")
    relay.tell(f"{relay.port} 127.0.0.1:{echo}")
    relay.tell(str(relay.port))
    with pytest.raises(ConnectionRefusedError):
        relay.ask(b"two")


def test_the_helper_ends_when_it_is_told_to(relay: Relay) -> None:
    relay.tell("1")
    relay.process.terminate()
    assert relay.process.wait(15) == 0


def test_a_connection_is_dialled_and_the_end_of_what_is_sent_passed_on(helper: list[str], echo: int) -> None:
    done = subprocess.run([*helper, "dial", "127.0.0.1", str(echo)], input=b"hello", capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"\nhello", 0)


def test_dialling_a_port_that_nobody_has_fails(helper: list[str]) -> None:
    done = subprocess.run([*helper, "dial", "127.0.0.1", "1"], capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"", 1)


def test_the_programs_are_small_and_fit_for_an_image_of_their_own() -> None:
    for name in ("helper-x86_64", "helper-aarch64"):
        content = (FOLDER / name).read_bytes()
        assert content.startswith(b"\x7fELF")
        assert len(content) < 8192
