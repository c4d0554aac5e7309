"""What is asked of the engine while a project is read: from servers that a test runs, and from the real engine."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from devloop.adapters.docker.bases import EngineImages
from devloop.adapters.docker.endpoint import Endpoint

NODE = {
    "Id": "sha256:1",
    "Config": {
        "Env": ["PATH=/bin", "A=b=c"],
        "OnBuild": ["COPY . /app"],
        "WorkingDir": "/app",
        "User": "node",
        "Entrypoint": None,
        "Cmd": ["node"],
        "Shell": ["/bin/bash", "-c"],
    },
}


@contextmanager
def engine(path: Path, answers: Mapping[str, object]) -> Iterator[tuple[EngineImages, list[str]]]:
    """An engine that knows some paths; text is answered as it is."""
    asked: list[str] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        asked.append(connection.recv(1000).split()[1].decode())
                        connection.sendall(_answer(answers.get(asked[-1])))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield EngineImages(Endpoint(host=f"unix://{path}", origin="a test"), {}), asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer(answer: object) -> bytes:
    if isinstance(answer, str):
        return answer.encode()
    status = "404 Not Found" if answer is None else "200 OK"
    return f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{json.dumps(answer or {})}".encode()


def test_an_image_hands_on_what_its_configuration_says(tmp_path: Path) -> None:
    with engine(tmp_path / "socket", {"/images/registry:5000/node:20/json": NODE}) as (images, _):
        base = images.base("registry:5000/node:20")
    assert base is not None
    assert (base.environment, base.complete) == ({"PATH": "/bin", "A": "b=c"}, True)
    assert (base.triggers, base.workdir, base.user) == (("COPY . /app",), "/app", "node")
    assert (base.entrypoint, base.command, base.shell) == ((), ("node",), ("/bin/bash", "-c"))


def test_nothing_is_known_of_an_image_that_the_engine_lacks_and_others_are_asked_for(tmp_path: Path) -> None:
    with engine(tmp_path / "socket", {"/images/b/json": NODE}) as (images, asked):
        assert images.base("a") is None
        assert images.base("b") is not None
    assert asked == ["/images/a/json", "/images/b/json"]


@pytest.mark.parametrize("answer", ["", "HTTP/1.0 200 OK\r\n\r\n{", "HTTP/1.0 x\r\n\r\n{}", "HTTP/1.0 200\r\n\r\n[]"])
def test_an_answer_that_makes_no_sense_is_none(tmp_path: Path, answer: str) -> None:
    with engine(tmp_path / "socket", {"/images/a/json": answer}) as (images, _):
        assert images.base("a") is None


def test_an_engine_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    with engine(tmp_path / "socket", {"/images/a/json": ""}) as (images, asked):
        assert [images.base("a"), images.base("b")] == [None, None]
    assert asked == ["/images/a/json"]


def test_an_engine_that_is_not_there_or_only_behind_ssh_is_not_asked() -> None:
    for host in ("unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "ssh://nobody@nowhere"):
        images = EngineImages(Endpoint(host=host, origin="a test"), {})
        assert images.base("a") is None
        assert images.platform.startswith("linux/")


def test_the_platform_is_the_engines_unless_the_environment_chooses_one(tmp_path: Path) -> None:
    with engine(tmp_path / "socket", {"/version": {"Os": "linux", "Arch": "s390x"}}) as (images, asked):
        assert [images.platform, images.platform] == ["linux/s390x"] * 2
    assert asked == ["/version"]
    assert EngineImages(None, {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}).platform == "linux/arm64"


@pytest.mark.docker
def test_the_real_engine_tells_what_an_image_hands_on() -> None:
    name = f"devloop-base-of-{os.getpid()}"
    text = b"FROM scratch\nENV A=1\nWORKDIR /w\nONBUILD COPY a /b\n"
    subprocess.run(["docker", "buildx", "build", "--quiet", f"--tag={name}", "-"], input=text, check=True, timeout=60)
    try:
        images = EngineImages()
        base = images.base(name)
        assert base is not None
        assert (base.environment.get("A"), base.workdir, base.triggers) == ("1", "/w", ("COPY a /b",))
        assert images.base(f"{name}:no-such-tag") is None
        assert images.platform.count("/") == 1
    finally:
        subprocess.run(["docker", "image", "rm", "--force", name], check=False, capture_output=True, timeout=60)
