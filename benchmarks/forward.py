"""Requests a second through a forward, and how long it is dead when its pod is deleted or rolled out.

    python benchmarks/forward.py [SECONDS]

Needs a cluster (KUBECONFIG) and the image `python:3.11-slim-bookworm`. The same load goes to the pod itself, to its
Service, through a forward, and through a forward that has to go by the API server. Dead is the longest time without an
answer, seen by a client that asks again and again, each time on a new connection; the Service is what the cluster
itself needs.
"""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread
from anyio.abc import ByteStream

from benchmarks.http_load import Figures, ask
from devloop.adapters.forward import PortForwarder
from devloop.adapters.kube.cluster import KubeCluster
from devloop.core.cluster.pods import Pod
from devloop.core.manifest import parse
from devloop.model import ForwardRule
from tests.outside import current_context, kubeconfig, output

SPACE = f"devloop-benchmark-forward-{os.getpid()}"
DIRECT, TUNNEL = 28080, 28081
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      containers:
        - name: server
          image: python:3.11-slim-bookworm
          imagePullPolicy: IfNotPresent
          ports: [{containerPort: 8000, name: http}]
          command:
            - python
            - -c
            - |
              import asyncio, signal, sys
              class Server(asyncio.Protocol):
                  def connection_made(self, transport):
                      self.transport = transport
                  def data_received(self, data):
                      keep = b"keep-alive" in data
                      kept = b"keep-alive" if keep else b"close"
                      self.transport.write(
                          b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\nConnection: " + kept + b"\\r\\n\\r\\nhello\\n")
                      if not keep:
                          self.transport.close()
              async def main():
                  loop = asyncio.get_running_loop()
                  loop.add_signal_handler(signal.SIGTERM, sys.exit)
                  server = await loop.create_server(Server, "0.0.0.0", 8000, backlog=1024)
                  await server.serve_forever()
              asyncio.run(main())
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ports: [{port: 80, targetPort: http}]
"""


@dataclass
class Tunnelled:
    """A cluster whose pods are reached through the API server only."""

    cluster: KubeCluster

    def address(self, _pod: Pod, _port: int, /) -> None:
        return None

    def connect(self, pod: Pod, port: int) -> AbstractAsyncContextManager[ByteStream]:
        return self.cluster.connect(replace(pod, ip=None), port)


class Prober:
    """Asks one address again and again, in a thread."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.answers: list[float] = []
        self.failures = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.answers.append(time.monotonic())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                ask(self.host, self.port)
                self.answers.append(time.monotonic())
            except OSError:
                self.failures += 1
            time.sleep(0.005)

    def told(self) -> str:
        gaps = [after - before for before, after in itertools.pairwise(self.answers)]
        return f"{max(gaps):5.2f} s dead, {self.failures} failed"


async def figures(title: str, host: str, port: int, seconds: float) -> None:
    fresh = await anyio.to_thread.run_sync(run_load, host, port, seconds, "0")
    kept = await anyio.to_thread.run_sync(run_load, host, port, seconds, "1")
    print(f"{title:32} {fresh} on new connections, {kept} on kept ones", flush=True)


def run_load(host: str, port: int, seconds: float, keep: str) -> Figures:
    command = [sys.executable, "-m", "benchmarks.http_load", host, str(port), str(seconds), keep]
    return Figures.read(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def dead_time(title: str, disturb: Callable[[], object], addresses: dict[str, tuple[str, int]]) -> None:
    probers = {name: Prober(host, port) for name, (host, port) in addresses.items()}
    for prober in probers.values():
        await anyio.to_thread.run_sync(prober.start)
    await anyio.sleep(0.5)
    await anyio.to_thread.run_sync(disturb)
    await anyio.sleep(6)
    for name, prober in probers.items():
        await anyio.to_thread.run_sync(prober.stop)
        print(f"{title + ': ' + name:32} {prober.told()}", flush=True)


def kubectl(*arguments: str) -> str:
    return output("kubectl", f"--namespace={SPACE}", *arguments)


async def follow(cluster: KubeCluster, *forwarders: PortForwarder) -> None:
    async with cluster.pods() as snapshots:
        async for pods in snapshots:
            for forwarder in forwarders:
                forwarder.update(pods)


async def main(seconds: float) -> None:
    output("kubectl", "create", "namespace", SPACE)
    try:
        await measured(seconds)
    finally:
        kubectl("delete", "namespace", SPACE, "--wait=false")


async def measured(seconds: float) -> None:
    manifests = parse(MANIFEST, path="server.yaml")
    rule = ForwardRule(
        service="server", local=DIRECT, selector={"app": "server"}, namespace=SPACE, port="http", remote=80
    )
    tunnel = ForwardRule(
        service="server", local=TUNNEL, selector={"app": "server"}, namespace=SPACE, port="http", remote=80
    )
    async with (
        KubeCluster.open(project=SPACE, context=current_context(), kubeconfig=kubeconfig(), namespace=SPACE) as cluster,
        PortForwarder(cluster, lambda _: None) as direct,
        PortForwarder(Tunnelled(cluster), lambda _: None) as tunnelled,
        anyio.create_task_group() as tasks,
    ):
        await direct.serve([rule])
        await tunnelled.serve([tunnel])
        await cluster.apply("server", manifests)
        await cluster.wait("server", manifests, lambda _: None, patience=30)
        tasks.start_soon(follow, cluster, direct, tunnelled)
        service = kubectl("get", "service", "server", "--output=jsonpath={.spec.clusterIP}")
        pod = kubectl("get", "pods", "--output=jsonpath={.items[0].status.podIP}")
        await anyio.to_thread.run_sync(ask, "127.0.0.1", DIRECT)
        # In this order: those who ask a pod or a Service themselves leave so many ports in TIME_WAIT towards it that
        # the next connect() to the same address takes a millisecond.
        await figures("forward by the API server", "127.0.0.1", TUNNEL, seconds)
        await figures("forward", "127.0.0.1", DIRECT, seconds)
        await figures("its Service", service, 80, seconds)
        await figures("the pod itself", pod, 8000, seconds)
        addresses = {"Service": (service, 80), "forward": ("127.0.0.1", DIRECT)}
        for _ in range(3):
            await dead_time(
                "pod deleted", lambda: kubectl("delete", "pod", "--selector=app=server", "--wait=false"), addresses
            )
        for _ in range(3):
            await dead_time("rolled out", lambda: kubectl("rollout", "restart", "deployment/server"), addresses)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
