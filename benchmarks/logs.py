"""Lines lost, doubled or out of order: containers print while another service is rolled out and connections are lost.

    python benchmarks/logs.py [SECONDS] [CONTAINERS]

Needs a cluster (KUBECONFIG) and the image `busybox`. Each container prints 500 lines a second. Prints one line a round:
quiet neighbours; a neighbour that is rolled out every three seconds; all connections to the API server cut every second
besides.
"""

import itertools
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import anyio.to_thread

from devloop.adapters.kube.cluster import KubeCluster
from devloop.adapters.logs import LogTailer
from devloop.core.manifest import Manifest, parse
from devloop.runtime.ports import LogLine
from tests.outside import current_context, kubeconfig, output
from tests.proxy import CuttingProxy

SPACE = f"devloop-benchmark-logs-{os.getpid()}"
RATE = 500
PRINTER = """
apiVersion: v1
kind: Pod
metadata: {{name: printer-{number}}}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
    - name: printer
      image: busybox
      imagePullPolicy: IfNotPresent
      command:
        - sh
        - -c
        - |
          i=0
          while [ $i -lt {lines} ]; do
            j=0
            while [ $j -lt 50 ]; do echo "line $i, and it is as long as usual"; i=$((i+1)); j=$((j+1)); done
            sleep 0.1
          done
          sleep 3
"""
NEIGHBOUR = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: neighbour}
spec:
  selector: {matchLabels: {app: neighbour}}
  template:
    metadata: {labels: {app: neighbour}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: app
          image: busybox
          imagePullPolicy: IfNotPresent
          command: [sh, -c, 'echo up; trap "echo down; exit" TERM; while :; do sleep 0.1; done']
"""


class Tally:
    """The lines that arrived."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.neighbours: set[str] = set()

    def take(self, line: LogLine) -> None:
        if line.pod.startswith("printer"):
            self.numbers[line.pod].append(int(line.text.split()[1].rstrip(",")))
        else:
            self.neighbours.add(line.pod)

    def complete(self, containers: int, count: int) -> bool:
        return len(self.numbers) == containers and all(numbers[-1] == count - 1 for numbers in self.numbers.values())

    def report(self, containers: int, count: int) -> str:
        lost = containers * count - sum(len(set(numbers)) for numbers in self.numbers.values())
        doubled = sum(len(numbers) - len(set(numbers)) for numbers in self.numbers.values())
        misplaced = sum(b < a for numbers in self.numbers.values() for a, b in itertools.pairwise(numbers))
        return f"{lost} lost, {doubled} doubled, {misplaced} out of order; {len(self.neighbours)} other pods"


def printers(containers: int, count: int) -> list[Manifest]:
    return [
        manifest
        for number in range(containers)
        for manifest in parse(PRINTER.format(number=number, lines=count), path="printers.yaml")
    ]


async def follow(cluster: KubeCluster, tailer: LogTailer) -> None:
    async with cluster.pods() as snapshots:
        async for pods in snapshots:
            tailer.update(pods)


async def roll_out() -> None:
    while True:
        await anyio.sleep(3)
        await anyio.to_thread.run_sync(
            output, "kubectl", f"--namespace={SPACE}", "rollout", "restart", "deployment/neighbour"
        )


async def cut(proxy: CuttingProxy) -> None:
    while True:
        await anyio.sleep(1)
        await proxy.cut()


async def one_round(title: str, seconds: int, containers: int, *, rollouts: bool = False, cuts: bool = False) -> None:
    count, tally = RATE * seconds, Tally()
    with TemporaryDirectory() as folder:
        async with (
            CuttingProxy.before(kubeconfig(), Path(folder)) as proxy,
            KubeCluster.open(
                project=SPACE, context=current_context(), kubeconfig=proxy.kubeconfig, namespace=SPACE
            ) as cluster,
            LogTailer(cluster, tally.take) as tailer,
            anyio.create_task_group() as tasks,
        ):
            await cluster.remove(["neighbour", "printers"])
            tasks.start_soon(follow, cluster, tailer)
            await cluster.apply("neighbour", parse(NEIGHBOUR, path="neighbour.yaml"))
            await cluster.apply("printers", printers(containers, count))
            cpu, begun = time.process_time(), time.monotonic()
            if rollouts:
                tasks.start_soon(roll_out)
            if cuts:
                tasks.start_soon(cut, proxy)
            with anyio.move_on_after(seconds * 3 + 30):
                while not tally.complete(containers, count):  # noqa: ASYNC110 - a benchmark may poll
                    await anyio.sleep(0.2)
            took = time.monotonic() - begun
            busy = (time.process_time() - cpu) / took
            tasks.cancel_scope.cancel()
    told = tally.report(containers, count)
    print(f"{title:32} {count * containers} lines in {took:.1f} s: {told}; {busy:.0%} of a CPU", flush=True)


async def main(seconds: int, containers: int) -> None:
    subprocess.run(["kubectl", "create", "namespace", SPACE], check=True, capture_output=True)  # noqa: ASYNC221
    try:
        await one_round("quiet", seconds, containers)
        await one_round("neighbour rolled out", seconds, containers, rollouts=True)
        await one_round("neighbour rolled out, cuts", seconds, containers, rollouts=True, cuts=True)
    finally:
        subprocess.run(["kubectl", "delete", "namespace", SPACE, "--wait=false"], check=True)  # noqa: ASYNC221


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 15, int(sys.argv[2]) if len(sys.argv) > 2 else 4)
