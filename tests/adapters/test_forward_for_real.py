"""The forwarder on a real cluster: pods deleted and rolled out, processes that listen on their loopback alone."""

import socket
from collections.abc import AsyncIterator
from urllib.request import urlopen

import anyio
import anyio.to_thread
import pytest

from devloop.adapters.forward import PortForwarder
from devloop.adapters.kube.cluster import KubeCluster
from devloop.core.cluster.forwarding import rules
from devloop.core.manifest import parse
from devloop.core.manifest.workloads import facts
from tests.outside import Cluster as Namespace

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

SERVER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: server
          image: busybox
          imagePullPolicy: IfNotPresent
          ports: [{containerPort: 8000, name: http}]
          command: [sh, -c, 'mkdir /www; echo VERSION of $(hostname) > /www/index.html; httpd -f -p HOST8000 -h /www']
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ports: [{port: 80, targetPort: http}]
"""


class Stage:
    """A server in the cluster that is forwarded to a local port."""

    def __init__(self, kube: KubeCluster, forwarder: PortForwarder, port: int) -> None:
        self.kube = kube
        self.forwarder = forwarder
        self.port = port

    async def deploy(self, version: str, *, host: str = "") -> None:
        manifests = parse(SERVER.replace("VERSION", version).replace("HOST", host), path="server.yaml")
        found = rules("server", {self.port: 80}, facts(manifests, namespace=self.kube.namespace))
        (state,) = await self.forwarder.serve(found)
        assert state.error is None
        await self.kube.apply("server", manifests)

    async def ask(self) -> str:
        return await anyio.to_thread.run_sync(self._ask)

    def _ask(self) -> str:
        with urlopen(f"http://127.0.0.1:{self.port}/", timeout=40) as answer:
            return str(answer.read().decode().strip())


@pytest.fixture
async def stage(cluster: Namespace) -> AsyncIterator[Stage]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    async with (
        KubeCluster.open(
            project="shop", context=cluster.context, kubeconfig=cluster.kubeconfig, namespace=cluster.namespace
        ) as kube,
        PortForwarder(kube, lambda _: None, patience=40) as forwarder,
        anyio.create_task_group() as tasks,
    ):

        async def follow() -> None:
            async with kube.pods() as snapshots:
                async for pods in snapshots:
                    forwarder.update(pods)

        tasks.start_soon(follow)
        yield Stage(kube, forwarder, port)
        tasks.cancel_scope.cancel()


async def test_a_request_made_before_the_first_pod_is_ready_is_answered(stage: Stage) -> None:
    await stage.deploy("one")

    assert (await stage.ask()).startswith("one of server-")


async def test_requests_while_a_pod_is_replaced_are_all_answered(stage: Stage, cluster: Namespace) -> None:
    await stage.deploy("one")
    first = await stage.ask()
    await anyio.to_thread.run_sync(cluster.kubectl, "delete", "pod", "--selector=app=server", "--wait=false")

    with anyio.fail_after(60):
        while (answer := await stage.ask()) == first:
            pass
    assert answer.startswith("one of server-")


async def test_requests_during_a_rollout_are_all_answered_and_then_by_the_new_version(stage: Stage) -> None:
    await stage.deploy("one")
    await stage.ask()
    await stage.deploy("two")

    with anyio.fail_after(60):
        while not (answer := await stage.ask()).startswith("two of"):
            assert answer.startswith("one of")
    assert [(await stage.ask())[:3] for _ in range(10)] == ["two"] * 10


async def test_a_process_that_listens_on_its_loopback_alone_is_reached(stage: Stage) -> None:
    await stage.deploy("one", host="127.0.0.1:")

    assert (await stage.ask()).startswith("one of server-")
