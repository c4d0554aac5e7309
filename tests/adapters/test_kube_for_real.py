"""What only a real cluster shows: dying pods, crashes, big streams, tunnels, an API server that goes away."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
import yaml
from anyio import to_thread
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskStatus

from devloop.adapters.kube.cluster import KubeCluster
from devloop.adapters.kube.connect import PodPortError, TunnelStream
from devloop.adapters.kube.exec import KubeExec
from devloop.core.cluster.pods import Pod
from devloop.core.cluster.rollout import Failing, FailureReason, Progressing
from devloop.core.manifest import Manifest, parse
from devloop.errors import ToolError, UnreachableError
from devloop.model import ContainerTarget, ObjectKey
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput, ExecStream, RolloutError
from tests.fakes.cluster import target
from tests.outside import Cluster as Namespace

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: app}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {{name: app, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, '{script}']}}
"""


LOOPBACK = "head -c 300000 /dev/zero >/tmp/big; httpd -p 127.0.0.1:7001 -h /tmp"


def pod_manifest(script: str) -> list[Manifest]:
    return list(parse(POD.format(script=script), path="k8s/app.yaml"))


@pytest.fixture
async def kube(cluster: Namespace) -> AsyncIterator[KubeCluster]:
    async with KubeCluster.open(
        project="shop", context=cluster.context, kubeconfig=cluster.kubeconfig, namespace=cluster.namespace
    ) as kube:
        yield kube


async def running(kube: KubeCluster, script: str) -> Pod:
    manifests = pod_manifest(script)
    await kube.apply("app", manifests)
    await kube.wait("app", manifests, lambda _: None, patience=20)
    async with kube.pods() as snapshots:
        (pod,) = await snapshots.receive()
    return pod


async def listening(kube: KubeCluster, pod: Pod, *ports: int) -> None:
    """Return when web servers in the pod answer."""
    script = " && ".join(
        f"until wget -q -O /dev/null http://127.0.0.1:{port}/big; do sleep 0.1; done" for port in ports
    )
    async with kube.exec(target(pod), ["sh", "-c", script]) as stream:
        while isinstance(output := await stream.receive(), ExecOutput):
            pass
    assert output == ExecExit(code=0)


async def until_lost(stream: ExecStream) -> None:
    while True:
        await stream.receive()  # an exit code of the killed process may come first


# --- commands ------------------------------------------------------------------------------------------------


async def test_carries_megabytes_through_a_command_in_both_directions(kube: KubeCluster) -> None:
    pod = await running(kube, "sleep 600")
    sent, got = os.urandom(5_000_000), bytearray()
    async with (
        kube.exec(target(pod), ["head", "-c", "5000000"], stdin=True) as stream,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(stream.send, sent)
        while isinstance(output := await stream.receive(), ExecOutput):
            got += output.data
    assert output == ExecExit(code=0)
    assert bytes(got) == sent


async def test_a_terminal_has_the_size_that_it_is_told(kube: KubeCluster) -> None:
    pod = await running(kube, "sleep 600")
    printed = b""
    async with kube.exec(target(pod), ["sh"], stdin=True, tty=True) as stream:
        await stream.resize(123, 45)
        await stream.send(b"while ! stty size | grep 45; do sleep 0.1; done; exit 7\n")
        while isinstance(output := await stream.receive(), ExecOutput):
            printed += output.data
    assert output == ExecExit(code=7)
    assert b"45 123" in printed


async def test_forty_commands_run_at_once(kube: KubeCluster) -> None:
    pod = await running(kube, "sleep 600")
    printed: list[bytes] = []

    async def run(number: int) -> None:
        async with kube.exec(target(pod), ["echo", str(number)]) as stream:
            output = await stream.receive()
            assert isinstance(output, ExecOutput)
            printed.append(output.data)

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(run, number)
    assert sorted(map(int, printed)) == list(range(40))


async def test_a_killed_pod_ends_its_commands_logs_and_tunnels(kube: KubeCluster, cluster: Namespace) -> None:
    pod = await running(kube, f"echo one; {LOOPBACK}; sleep 600")
    await listening(kube, pod, 7001)
    ended: list[str] = []

    async def command(*, task_status: TaskStatus[None]) -> None:
        async with kube.exec(target(pod), ["sleep", "600"]) as stream:
            task_status.started()
            with pytest.raises(ContainerLostError):
                await until_lost(stream)
        ended.append("command")

    async def log(*, task_status: TaskStatus[None]) -> None:
        async with kube.logs(target(pod)) as lines:
            assert (await lines.receive()).partition(b" ")[2] == b"one"
            task_status.started()
            assert [line async for line in lines] == []
        ended.append("log")

    async def tunnel(*, task_status: TaskStatus[None]) -> None:
        async with kube.connect(pod, 7001) as stream:
            task_status.started()
            with pytest.raises((anyio.EndOfStream, PodPortError)):
                await stream.receive()
        ended.append("tunnel")

    async with anyio.create_task_group() as tasks:
        for each in (command, log, tunnel):
            await tasks.start(each)
        await anyio.to_thread.run_sync(lambda: cluster.kubectl("delete", "pod", pod.name, "--wait=false"))
    assert sorted(ended) == ["command", "log", "tunnel"]
    with pytest.raises(ContainerLostError):
        async with kube.connect(pod, 7001) as stream:
            await stream.receive()


# --- logs ----------------------------------------------------------------------------------------------------


async def test_a_log_at_thousands_of_lines_a_second_is_whole(kube: KubeCluster) -> None:
    pod = await running(kube, "for i in $(seq 5000); do echo line $i; done; echo end; sleep 600")
    texts = []
    async with kube.logs(target(pod)) as lines:
        async for line in lines:
            stamp, _, text = line.partition(b" ")
            assert stamp.endswith(b"Z")
            texts.append(text.decode())
            if texts[-1] == "end":
                break
    assert texts == [f"line {number}" for number in range(1, 5001)] + ["end"]


async def test_lines_end_at_newlines_only(kube: KubeCluster) -> None:
    pod = await running(kube, 'printf "a\\\\rb\\\\302\\\\205c\\\\014d\\\\ne"; sleep 600')
    async with kube.logs(target(pod)) as lines:
        assert (await lines.receive()).partition(b" ")[2] == b"a\rb\xc2\x85c\x0cd"


async def test_a_container_that_has_not_started_has_no_log_yet(kube: KubeCluster) -> None:
    (manifest,) = pod_manifest("sleep 600")
    text = POD.format(script="sleep 600").replace("busybox", "nosuch.invalid/image:1")
    await kube.apply("app", list(parse(text, path="k8s/app.yaml")))
    nobody = ContainerTarget(namespace=kube.namespace, pod=manifest.key.name, uid="", container="app", id="")
    refusals: list[str] = []
    with anyio.fail_after(60):
        while not refusals:  # for a moment nobody knows of the pod, and its log is there, but empty
            try:
                async with kube.logs(nobody) as log:
                    assert [line async for line in log] == []
            except ContainerLostError as error:
                refusals.append(str(error))
    assert "has no log" in refusals[0]


async def test_the_log_of_a_crashed_run_is_there_afterwards(kube: KubeCluster) -> None:
    manifests = pod_manifest("echo dying words; exit 3")
    await kube.apply("app", manifests)
    said: list[bytes] = []
    async with kube.pods() as snapshots:
        async for pods in snapshots:
            if pods and pods[0].containers[0].restarts:
                said = await previous_words(kube, pods[0])
            if said:
                break
    assert said == [b"dying words"]


async def previous_words(kube: KubeCluster, pod: Pod) -> list[bytes]:
    try:
        async with kube.logs(target(pod), follow=False, previous=True) as lines:
            return [line.partition(b" ")[2] async for line in lines]
    except ContainerLostError:
        return []  # the node knows less than the API server for a moment


# --- connections ---------------------------------------------------------------------------------------------


async def fetch(stream: ByteStream, path: str) -> bytes:
    await stream.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    got = b""
    while True:
        try:
            got += await stream.receive()
        except anyio.EndOfStream:
            return got.partition(b"\r\n\r\n")[2]


async def test_a_port_of_the_pods_loopback_is_reached_through_the_api_server(kube: KubeCluster) -> None:
    pod = await running(kube, f"{LOOPBACK}; httpd -p 7000 -h /tmp; sleep 600")
    await listening(kube, pod, 7000, 7001)
    assert kube.address(pod, 7000) == (pod.ip, 7000)
    async with kube.connect(pod, 7000) as direct:
        assert isinstance(direct, SocketStream)
        assert await fetch(direct, "/big") == bytes(300_000)
    async with kube.connect(pod, 7001) as tunnel:
        assert isinstance(tunnel, TunnelStream)
        assert await fetch(tunnel, "/big") == bytes(300_000)


async def test_a_port_where_nothing_listens_is_told(kube: KubeCluster) -> None:
    pod = await running(kube, "sleep 600")
    with anyio.fail_after(60), pytest.raises(ContainerLostError, match="port 7009 of pod `app` does not answer"):
        async with kube.connect(pod, 7009) as stream:
            await stream.receive()


# --- rollouts ------------------------------------------------------------------------------------------------


async def test_a_crashing_container_fails_the_rollout_with_its_last_words(
    kube: KubeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devloop.adapters.kube.rollouts._TAIL_SECONDS", 30.0)
    manifests = pod_manifest("for i in 1 2 3; do echo line $i; done; exit 7")
    reports: list[Progressing | Failing] = []
    await kube.apply("app", manifests)
    with pytest.raises(RolloutError) as error:
        await kube.wait("app", manifests, reports.append, patience=1)
    assert error.value.failing.reason is FailureReason.CRASH
    assert error.value.failing.exit_code == 7
    assert error.value.tail[-3:] == ("line 1", "line 2", "line 3")
    assert any(isinstance(report, Failing) for report in reports)


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {tier: front}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: busybox, env: [{name: A, value: "1"}], ports: [{containerPort: 80}]}]}
"""


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (("patch", "deployment/web", "-p", '{"spec": {"replicas": 1}}'), "{.spec.replicas}"),
        (("set", "image", "deployment/web", "app=nothing"), "{.spec.template.spec.containers[0].image}"),
        (("set", "env", "deployment/web", "A=2"), "{.spec.template.spec.containers[0].env[0].value}"),
        (("label", "--overwrite", "deployment/web", "tier=back"), "{.metadata.labels.tier}"),
    ],
)
async def test_what_somebody_else_changed_is_put_right(
    kube: KubeCluster, cluster: Namespace, edit: tuple[str, ...], field: str
) -> None:
    manifests = list(parse(DEPLOYMENT, path="k8s/web.yaml"))

    def value() -> str:
        return cluster.kubectl("get", "deployment/web", "-o", f"jsonpath={field}")

    await kube.apply("web", manifests)
    before = value()
    await to_thread.run_sync(cluster.kubectl, *edit)
    assert value() != before
    assert [key.name for key in await changed_at_last(kube, manifests)] == ["web"]
    assert value() == before
    assert (await kube.apply("web", manifests)).changed == ()


async def changed_at_last(kube: KubeCluster, manifests: list[Manifest]) -> tuple[ObjectKey, ...]:
    """Return what an apply changes once the news of what it puts right are there."""
    with anyio.fail_after(60):
        while True:
            if changed := (await kube.apply("web", manifests)).changed:
                return changed
            await anyio.sleep(0.05)


async def test_what_somebody_else_added_stays(kube: KubeCluster, cluster: Namespace) -> None:
    manifests = list(parse(DEPLOYMENT, path="k8s/web.yaml"))
    await kube.apply("web", manifests)
    await to_thread.run_sync(cluster.kubectl, "annotate", "deployment/web", "by=hand")
    await to_thread.run_sync(cluster.kubectl, "set", "env", "deployment/web", "B=2")
    assert (await kube.apply("web", manifests)).changed == ()
    assert "by" in cluster.kubectl("get", "deployment/web", "-o", "jsonpath={.metadata.annotations}")
    assert "B" in cluster.kubectl("get", "deployment/web", "-o", "jsonpath={.spec.template.spec.containers[0].env}")


async def test_a_refusal_says_where_the_mistake_stands(kube: KubeCluster) -> None:
    text = POD.format(script="true").replace("name: app, image", "name: App_, image")
    with pytest.raises(ToolError, match=r"k8s/app.yaml:8:.*containers\[0\].name: Invalid value"):
        await kube.apply("app", list(parse(text, path="k8s/app.yaml")))
    text = POD.format(script="true").replace("image: busybox", "imag: busybox")
    at_once = anyio.fail_after(30)  # though it is an internal error, as where a webhook does not answer yet
    with at_once, pytest.raises(ToolError, match=r"k8s/app.yaml:8:.*imag: field not declared"):
        await kube.apply("app", list(parse(text, path="k8s/app.yaml")))


# --- an API server that goes away ----------------------------------------------------------------------------


class Link:
    """A TCP connection to the API server that can be cut and mended, without touching the server."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self.whole = True
        self._open: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        self.whole = False
        for scope in self._open:
            scope.cancel()

    async def carry(self, client: SocketStream) -> None:
        async with client:
            if not self.whole:
                return
            with anyio.CancelScope() as scope:
                self._open.add(scope)
                async with await anyio.connect_tcp(*self._to) as server, anyio.create_task_group() as tasks:
                    tasks.start_soon(_pump, client, server)
                    await _pump(server, client)
                    tasks.cancel_scope.cancel()
            self._open.discard(scope)


async def _pump(source: SocketStream, sink: SocketStream) -> None:
    try:
        async for data in source:
            await sink.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass


@pytest.fixture
async def linked(cluster: Namespace, tmp_path: Path) -> AsyncIterator[tuple[KubeCluster, Link]]:
    config: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    link = Link(server.hostname or "", server.port or 443)
    async with _listening(link) as port:
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        own = tmp_path / "kubeconfig"
        own.write_text(yaml.safe_dump(config))
        async with KubeCluster.open(
            project="shop", context=cluster.context, kubeconfig=own, namespace=cluster.namespace
        ) as kube:
            yield kube, link


@asynccontextmanager
async def _listening(link: Link) -> AsyncIterator[int]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, link.carry)
        yield int(listener.extra(SocketAttribute.local_port))
        tasks.cancel_scope.cancel()


async def test_an_outage_is_outlived_without_another_save(linked: tuple[KubeCluster, Link], cluster: Namespace) -> None:
    kube, link = linked
    pod = await running(kube, "sleep 600")
    async with kube.pods() as snapshots, kube.exec(target(pod), ["cat"], stdin=True) as stream:
        await snapshots.receive()
        link.cut()
        with anyio.fail_after(60), pytest.raises(ContainerLostError):
            await stream.receive()
        with anyio.fail_after(60), pytest.raises(UnreachableError):
            await kube.apply("app", pod_manifest("sleep 601"))
        await anyio.to_thread.run_sync(lambda: cluster.kubectl("delete", "pod", "app", "--force", "--grace-period=0"))
        link.whole = True
        with anyio.fail_after(60):
            while await snapshots.receive():
                pass
        assert isinstance(stream, KubeExec)
    again = await running(kube, "sleep 602")
    assert again.uid != pod.uid
