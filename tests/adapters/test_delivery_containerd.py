"""Images into a real containerd, as the nodes of kind, k3d and k3s have it: what it takes, and what need not travel."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devloop.adapters.delivery import delivery_for
from devloop.core.delivery.plans import Loader, LoadImages
from devloop.core.reference import parse
from devloop.model import Digest
from tests.fakes.builder import FakeBuilder
from tests.outside import output

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

SOCKETS = ("/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock")

# A node is a namespace of the containerd that the engine itself uses.
NODE = """#!/bin/sh
case "$1 $2 $4" in
"exec --interactive ctr") namespace=$PREFIX-$3; shift 5; exec {ctr} --address={socket} --namespace=$namespace "$@";;
esac
exec {docker} "$@"
"""


def containerd() -> str | None:
    return next((path for path in SOCKETS if os.access(path, os.R_OK | os.W_OK)), None)


def ctr(node: str, *words: str) -> str:
    return output("ctr", f"--address={containerd()}", f"--namespace={os.environ['PREFIX']}-{node}", *words)


@pytest.fixture
def nodes(tmp_path: Path, unique_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    program, socket = shutil.which("ctr"), containerd()
    if program is None or socket is None:
        pytest.skip("there is no containerd that this user may use")
    text = NODE.format(ctr=program, socket=socket, docker=shutil.which("docker"))
    (tmp_path / "docker").write_text(text)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PREFIX", unique_name)
    yield ("a", "b")
    for node in ("a", "b"):
        if images := ctr(node, "images", "list", "--quiet").split():
            ctr(node, "images", "remove", "--sync", *images)
        subprocess.run(  # whose content goes with its images, a little later
            [program, f"--address={socket}", "namespaces", "remove", f"{unique_name}-{node}"],
            check=False,
            capture_output=True,
        )


def build(folder: Path, name: str, text: str) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nRUN head -c 4000000 /dev/urandom >/big\nCOPY text /\n")
    (folder / "text").write_text(text)
    output("docker", "build", "--quiet", f"--tag={name}", str(folder), env={"DOCKER_CLI_HINTS": "false"})


async def test_containerd_takes_an_image_and_of_the_next_one_only_the_new_layer(
    tmp_path: Path, nodes: tuple[str, ...], images: str
) -> None:
    told: list[str] = []
    plan = LoadImages(loader=Loader.KIND, cluster="dev", nodes=nodes, reason="a test")
    one, two = parse(f"{images}:dev-1"), parse(f"{images}:dev-2")
    for number, ref in enumerate((one, two)):
        build(tmp_path, str(ref), str(number))
        delivery = delivery_for(plan, FakeBuilder())
        assert not await delivery.has(Digest("sha256:1"), ref)
        await delivery.deliver(Digest("sha256:1"), ref, told.append)
        assert await delivery_for(plan, FakeBuilder()).has(Digest("sha256:1"), ref)
    first, second = sorted(line for line in told if line.startswith("node `a` is sent "))[::-1]
    count = first.split()[-2]
    assert first.endswith(f" ({count} of {count} layers)")
    assert second == f"node `a` is sent 0.0 MB (1 of {count} layers)"
    for node in nodes:
        checked = ctr(node, "images", "check").splitlines()[1:]
        assert all("complete" in line and line.endswith("true") for line in checked)
        assert len(checked) == 2
