"""The log tailer on a real cluster: crashes, deletions, strange output, lost connections."""

import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from devloop.adapters.kube.cluster import KubeCluster
from devloop.adapters.logs import LogTailer
from devloop.core.manifest import parse
from devloop.runtime.ports import LogLine
from tests.outside import Cluster as Namespace
from tests.proxy import CuttingProxy

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.cluster,
    # What a connection that was cut leaves to the garbage collector is not what is tested here.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

POD = """
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  terminationGracePeriodSeconds: 10
  restartPolicy: RESTART
  volumes: [{name: memory, emptyDir: {}}]
  initContainers:
    - {name: setup, image: busybox, imagePullPolicy: IfNotPresent, command: [echo, setting up]}
  containers:
    - name: app
      image: busybox
      imagePullPolicy: IfNotPresent
      volumeMounts: [{name: memory, mountPath: /memory}]
      command:
        - sh
        - -c
        - |
"""


class Stage:
    """A pod in the cluster, and what the tailer tells of it."""

    def __init__(self, kube: KubeCluster, proxy: CuttingProxy) -> None:
        self.kube = kube
        self.proxy = proxy
        self.lines: list[LogLine] = []
        self._changed = anyio.Event()

    def take(self, line: LogLine) -> None:
        self.lines.append(line)
        self._changed.set()
        self._changed = anyio.Event()

    async def run(self, script: str, restart: str = "Never") -> None:
        indented = "".join(f"          {line}\n" for line in script.splitlines())
        await self.kube.apply("app", parse(POD.replace("RESTART", restart) + indented, path="app.yaml"))

    def texts(self, container: str = "app") -> list[str]:
        return [line.text for line in self.lines if line.container == container]

    async def until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        with anyio.fail_after(150):
            while not condition(self.texts()):
                await self._changed.wait()
        return self.texts()


@pytest.fixture
async def stage(cluster: Namespace, tmp_path: Path) -> AsyncIterator[Stage]:
    async with (
        CuttingProxy.before(cluster.kubeconfig, tmp_path) as proxy,
        KubeCluster.open(
            project="shop", context=cluster.context, kubeconfig=proxy.kubeconfig, namespace=cluster.namespace
        ) as kube,
    ):
        stage = Stage(kube, proxy)
        async with LogTailer(kube, stage.take) as tailer, anyio.create_task_group() as tasks:

            async def follow() -> None:
                async with kube.pods() as snapshots:
                    async for pods in snapshots:
                        tailer.update(pods)

            tasks.start_soon(follow)
            yield stage
            tasks.cancel_scope.cancel()
    gc.collect()


async def test_every_run_of_a_crashing_container_is_told_once_and_in_order(stage: Stage) -> None:
    # The node looks at its containers once a second: of shorter runs it may forget one before it tells of it.
    await stage.run(
        """\
n=$(cat /memory/n || echo 0)
echo $((n+1)) > /memory/n
i=0; while [ $i -lt 300 ]; do echo "run $n line $i"; i=$((i+1)); done
printf 'fatal %s' $n; sleep 1.5; exit 1""",
        restart="Always",
    )
    texts = await stage.until(lambda texts: "fatal 2" in texts)

    runs = [text for text in texts if not text.startswith("cat:")]
    assert runs == [text for n in range(3) for text in [*(f"run {n} line {i}" for i in range(300)), f"fatal {n}"]]
    assert stage.texts("setup") == ["setting up"]


async def test_a_deleted_pod_is_followed_to_its_last_line(stage: Stage, cluster: Namespace) -> None:
    await stage.run(
        """\
bye() { i=0; while [ $i -lt 500 ]; do echo "closing $i"; i=$((i+1)); done; echo bye; exit; }
trap bye TERM; echo up; while :; do sleep 0.1; done"""
    )
    await stage.until(lambda texts: texts == ["up"])
    await anyio.to_thread.run_sync(cluster.kubectl, "delete", "pod", "app", "--wait=false")

    texts = await stage.until(lambda texts: "bye" in texts)
    assert texts == ["up", *(f"closing {i}" for i in range(500)), "bye"]


async def test_strange_output_arrives_whole(stage: Stage) -> None:
    await stage.run(
        r"""
head -c 1000000 /dev/zero | tr '\0' x; echo
printf 'windows\r\n10%%\r20%%\n\033[31mred\033[0m\n\n'
printf 'no text \377\n'
printf 'no line end'"""
    )
    texts = await stage.until(lambda texts: "no line end" in texts)

    assert texts == [
        "x" * 1_000_000,
        "windows",
        "10%\r20%",
        "\x1b[31mred\x1b[0m",
        "",
        "no text \ufffd",
        "no line end",
    ]


async def test_lost_connections_lose_and_double_nothing(stage: Stage) -> None:
    await stage.run(
        """\
i=0
while [ $i -lt 1500 ]; do
  j=0; while [ $j -lt 20 ]; do echo "line $((i%7))"; i=$((i+1)); j=$((j+1)); done; sleep 0.05
done; echo end; sleep 60"""
    )
    async with anyio.create_task_group() as tasks:

        async def cut() -> None:
            for _ in range(12):  # for longer than it prints, but not for ever: a busy machine connects slowly
                await anyio.sleep(0.7)
                await stage.proxy.cut()

        tasks.start_soon(cut)
        texts = await stage.until(lambda texts: "end" in texts)
        tasks.cancel_scope.cancel()
    assert texts == [*(f"line {i % 7}" for i in range(1500)), "end"]
