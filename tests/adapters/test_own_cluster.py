"""`devloop cluster` on the real engine, with a stand-in for k3s: the public image cannot be pulled everywhere.

The stand-in (`k3s_stand_in/`) writes the files that k3s writes, serves what devloop asks of the API over TLS with
client certificates, and has a `ctr` that keeps the images it is given. Kubernetes itself is not in it.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
import yaml

from devloop.adapters.docker import DockerBuilder
from devloop.adapters.kube.cluster import KubeCluster
from devloop.adapters.kube.config import read_contexts
from devloop.app.delivering import LateDelivery
from devloop.app.own_cluster import IMAGE, OwnCluster
from devloop.core.cluster.contexts import OWN_CONTEXT, OWN_NODE, choose
from devloop.core.delivery.plans import Loader, LoadImages
from devloop.core.reference import parse
from devloop.errors import InputError, ToolError
from tests.outside import ROOT, output

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

STAND_IN = ROOT / "tests/adapters/k3s_stand_in"
OLD = """\
current-context: work
clusters: []
contexts:
- name: work  # mine
  context: {cluster: work, user: me}
users:
- name: me
  user: {token: "0"}
"""
Image = Callable[[str], str]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    made: list[str] = []

    def build(mode: str = "good") -> str:
        name = f"devloop-test-k3s-{os.getpid()}:{mode}"
        output("docker", "build", "--quiet", f"--build-arg=MODE={mode}", f"--tag={name}", str(STAND_IN), timeout=150)
        made.append(name)
        return name

    yield build
    for name in made:
        output("docker", "image", "rm", "--force", name)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    (tmp_path / "config").write_text(OLD)
    return tmp_path / "config"


@pytest.fixture
def own(unique_name: str, kubeconfig: Path) -> Iterator[OwnCluster]:
    yield OwnCluster(str(kubeconfig), unique_name)
    remove(unique_name)


def remove(name: str) -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", name], check=False, capture_output=True)
    subprocess.run(["docker", "volume", "rm", f"{name}-data", f"{name}-node"], check=False, capture_output=True)


def exists(name: str) -> bool:
    return subprocess.run(["docker", "inspect", name], check=False, capture_output=True).returncode == 0


def written(path: Path) -> str:
    return path.read_text()


def write(path: Path, text: str) -> None:
    path.write_text(text)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def file_in(name: str, path: str) -> str:
    return output("docker", "exec", name, "cat", path)


async def test_start_waits_for_the_node_and_makes_its_context_the_current_one(
    own: OwnCluster, image: Image, kubeconfig: Path, unique_name: str
) -> None:
    told: list[str] = []
    row = await own.start(image("good"), 60, told.append)
    assert (row.state, row.version, row.context, row.current) == ("ready", "v1.31.5+k3s1", "devloop", True)
    assert any("the node is not ready: cni plugin not initialized" in line for line in told)
    assert f"the current context is `devloop` now, in {kubeconfig}" in told
    assert "# mine" in written(kubeconfig)
    assert mode(kubeconfig) == 0o600
    said = file_in(unique_name, "/var/lib/rancher/k3s/arguments")
    assert said.split()[:3] == ["server", f"--node-name={unique_name}", "--tls-san=127.0.0.1"]
    made = json.loads(output("docker", "inspect", unique_name))[0]["HostConfig"]
    assert [each["HostIp"] for each in made["PortBindings"]["6443/tcp"]] == ["127.0.0.1"]
    assert made["RestartPolicy"]["Name"] == "unless-stopped"
    chosen = choose(read_contexts(kubeconfig))
    async with KubeCluster.open(project="test", context=chosen) as cluster:
        assert await cluster.version() == "v1.31.5+k3s1"


async def test_start_is_idempotent_and_stop_leaves_nothing(
    own: OwnCluster, image: Image, kubeconfig: Path, unique_name: str
) -> None:
    first = await own.start(image("good"), 60, ignore)
    before = written(kubeconfig)
    assert await own.start(None, 60, ignore) == first
    assert written(kubeconfig) == before
    told: list[str] = []
    await own.stop(keep_data=False, tell=told.append)
    assert told[-1] == "the current context is `work`"
    assert written(kubeconfig) == OLD
    assert not any(exists(each) for each in (unique_name, f"{unique_name}-data", f"{unique_name}-node"))
    assert (await own.status()).state == "absent"
    await own.stop(keep_data=False, tell=told.append)
    assert told[-1] == "there is no cluster"


async def test_a_stopped_container_is_started_again_and_with_another_port_if_its_own_is_taken(
    own: OwnCluster, image: Image, unique_name: str
) -> None:
    first = await own.start(image("good"), 60, ignore)
    output("docker", "stop", "--time=0", unique_name)
    assert (await own.status()).state == "stopped"
    assert (await own.start(None, 60, ignore)).server == first.server
    output("docker", "stop", "--time=0", unique_name)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int((first.server or "").rpartition(":")[2])))
        other.listen()
        again = await own.start(None, 60, ignore)
    assert (again.state, again.server != first.server) == ("ready", True)


async def test_what_the_cluster_holds_is_kept_for_another_image(
    own: OwnCluster, image: Image, kubeconfig: Path, unique_name: str
) -> None:
    await own.start(image("good"), 60, ignore)
    authority = yaml.safe_load(written(kubeconfig))["clusters"][0]["cluster"]["certificate-authority-data"]
    other = image("other")
    with pytest.raises(InputError, match=f"the cluster runs `.*`, not `{other}`") as caught:
        await own.start(other, 60, ignore)
    assert "--keep-data" in (caught.value.hint or "")
    await own.stop(keep_data=True, tell=ignore)
    assert not exists(unique_name)
    assert (await own.start(other, 60, ignore)).image == other  # its node has kept its identity, or it would be refused
    assert authority in written(kubeconfig)


async def test_a_container_that_ends_is_an_error_with_its_last_lines(
    own: OwnCluster, image: Image, kubeconfig: Path
) -> None:
    with pytest.raises(ToolError, match="the cluster's container ended with exit code 1") as caught:
        await own.start(image("dying"), 60, ignore)
    assert any("failed to find memory cgroup" in line for line in caught.value.tail)
    assert written(kubeconfig) == OLD


async def test_a_node_that_does_not_become_ready_in_time_is_an_error_that_says_why(
    own: OwnCluster, image: Image, kubeconfig: Path
) -> None:
    lacks = ""
    with anyio.fail_after(90):
        while "the node is" not in lacks:  # a busy machine takes its time until there is a node at all
            with pytest.raises(ToolError) as caught:
                await own.start(image("unready"), 1, ignore)
            lacks = str(caught.value)
    assert lacks == "the cluster is not ready after 1 s: the node is not ready: cni plugin not initialized"
    assert any("Starting k3s" in line for line in caught.value.tail)
    assert written(kubeconfig) == OLD
    assert (await own.status()).state == "starting"


async def test_an_image_that_cannot_be_had_is_an_error_and_leaves_nothing(own: OwnCluster, unique_name: str) -> None:
    with pytest.raises(ToolError, match="docker failed"):
        await own.start("localhost:1/nothing:1", 60, ignore)
    assert not exists(unique_name)


async def test_a_context_of_another_cluster_is_not_written_over(
    own: OwnCluster, kubeconfig: Path, unique_name: str
) -> None:
    write(kubeconfig, "clusters: [{name: devloop, cluster: {server: 'https://prod.example.com'}}]\n")
    with pytest.raises(InputError, match=r"there is a cluster `devloop` already, at https://prod.example.com"):
        await own.start("localhost:1/nothing:1", 60, ignore)
    await own.stop(keep_data=False, tell=ignore)
    assert "prod.example.com" in written(kubeconfig)


async def test_an_engine_on_another_machine_is_refused(own: OwnCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://build.example.com")
    with pytest.raises(InputError, match="on another machine"):
        await own.start(None, 60, ignore)


async def test_the_help_names_the_image_that_is_used() -> None:
    assert IMAGE in " ".join(output(sys.executable, "-m", "devloop", "cluster", "start", "--help").split())


async def test_from_the_command_line_to_an_image_in_the_node_and_back(
    image: Image, images: str, kubeconfig: Path, tmp_path: Path
) -> None:
    if exists(OWN_NODE) or exists(f"{OWN_NODE}-data"):
        pytest.skip("there is a cluster of devloop's own already, which is not the tests' to remove")
    try:
        started = devloop(kubeconfig, "start", "--image", image("good"), "--output", "json")
        assert started.returncode == 0, started.stderr
        assert json.loads(started.stdout)["state"] == "ready"
        assert "the current context is `devloop` now" in started.stderr
        status = devloop(kubeconfig, "status")
        assert (status.returncode, status.stdout.split(":")[0]) == (0, "ready")
        await deliver_twice(kubeconfig, images, tmp_path)
    finally:
        stopped = devloop(kubeconfig, "stop")
    assert (stopped.returncode, written(kubeconfig)) == (0, OLD)
    assert devloop(kubeconfig, "status").returncode == 1
    absent = devloop(kubeconfig, "status", "--output", "json")
    assert json.loads(absent.stdout)["state"] == "absent"


async def deliver_twice(kubeconfig: Path, images: str, folder: Path) -> None:
    chosen = choose(read_contexts(kubeconfig))
    assert chosen.name == OWN_CONTEXT
    write(folder / "Dockerfile", "FROM busybox\nCOPY text /\n")
    refs = [parse(f"{images}:dev-{number}") for number in range(2)]
    async with DockerBuilder() as builder, KubeCluster.open(project="test", context=chosen) as cluster:
        for number, ref in enumerate(refs):
            write(folder / "text", str(number))
            output("docker", "build", "--quiet", f"--tag={ref}", str(folder))
            there = await builder.resolve(str(ref))
            assert there is not None
            for _session in range(2):
                delivery = LateDelivery(cluster, builder, chosen, None)
                assert await delivery.plan() == LoadImages(
                    loader=Loader.DEVLOOP,
                    cluster=OWN_NODE,
                    nodes=(OWN_NODE,),
                    reason="`devloop` is a cluster of devloop",
                    runtime="containerd",
                )
                await delivery.deliver(there, ref, ignore)
    calls = file_in(OWN_NODE, "/var/lib/rancher/k3s/store/calls").splitlines()
    layers = len(json.loads(output("docker", "inspect", str(refs[0])))[0]["RootFS"]["Layers"])
    assert calls == [f"import docker.io/library/{refs[0]} {layers}", f"import docker.io/library/{refs[1]} 1"]


def devloop(kubeconfig: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devloop", "cluster", *words],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ignore(_: str) -> None:
    pass
