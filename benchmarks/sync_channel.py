"""The connection that files go through: one file, 200, 5,000, one of 50 MB, and small files while the large one goes.

    python benchmarks/sync_channel.py [SENDS] [IMAGE …]

Needs a cluster (KUBECONFIG) and the images (busybox and python:3.11-slim-bookworm). Prints one line a measurement, from
the call until the container has acknowledged. `benchmarks/watch.py` measures what comes before it.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import anyio

from devloop.adapters.files import DiskFiles
from devloop.adapters.kube.cluster import KubeCluster
from devloop.adapters.sync import ExecSyncer
from devloop.model import ContainerTarget, FileChange, RelPath
from tests.outside import Cluster, current_context, eventually, kubeconfig

SPACE = f"devloop-benchmark-sync-{os.getpid()}"
IMAGES = ("busybox:latest", "python:3.11-slim-bookworm")
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def everything(_: RelPath) -> bool:
    return True


def tell(title: str, seconds: Sequence[float], size: int = 0) -> None:
    ordered = sorted(seconds)
    shown = "  ".join(
        f"{name} {ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000:8.2f}"
        for name, part in SHARES.items()
    )
    rate = f"  {size / ordered[len(ordered) // 2] / 1e6:6.1f} MB/s" if size else ""
    print(f"{title:44} {shown} ms{rate}", flush=True)


def start(space: Cluster, name: str, image: str) -> ContainerTarget:
    container = {"name": "web", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "10000"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    space.kubectl("apply", "--filename=-", stdin=json.dumps(pod))
    space.kubectl("wait", "--for=condition=Ready", f"pod/{name}")
    found = space.get("pod", name)
    return ContainerTarget(
        namespace=space.namespace,
        pod=name,
        uid=found["metadata"]["uid"],
        container="web",
        id=found["status"]["containerStatuses"][0]["containerID"],
    )


class Bench:
    def __init__(self, syncer: ExecSyncer, target: ContainerTarget, root: Path, files: DiskFiles, image: str) -> None:
        self.syncer, self.target, self.root, self.files, self.image = syncer, target, root, files, image

    def change(self, name: str) -> FileChange:
        digest = self.files.look_again([RelPath(name)], (), everything)[RelPath(name)]
        return FileChange(source=RelPath(name), digest=digest, destinations=(f"/app/{name}",))

    async def send(self, changes: Sequence[FileChange]) -> float:
        begin = time.perf_counter()
        acknowledged = await self.syncer.send(self.target, changes)
        took = time.perf_counter() - begin
        if set(acknowledged) != set(changes):
            raise SystemExit("not everything was acknowledged")
        return took

    async def one(self, title: str, times: int, size: int) -> None:
        took = []
        for number in range(times):
            (self.root / f"one-{size}").write_bytes(f"{number:08}".encode() * (size // 8))
            took.append(await self.send([self.change(f"one-{size}")]))
            await anyio.sleep(0.01)
        tell(f"{self.image}: {title}", took, size if size > 100_000 else 0)

    async def many(self, count: int, times: int) -> None:
        took = []
        for turn in range(times):
            for number in range(count):
                place = self.root / f"many-{count}/d{number // 50}/f{number}.py"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(f"turn {turn}\n" * 100)
            found = self.files.scan(RelPath(f"many-{count}"), everything)
            changes = [
                FileChange(source=path, digest=digest, destinations=(f"/app/{path}",)) for path, digest in found.items()
            ]
            took.append(await self.send(changes))
        tell(f"{self.image}: {count} files", took)

    async def both(self) -> None:
        (self.root / "large").write_bytes(os.urandom(50_000_000))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.send, [self.change("large")])
            await anyio.sleep(0.05)
            took = [await self.send([self.change("one-1024")]) for _ in range(10)]
        tell(f"{self.image}: 1 kB while 50 MB go", took)


async def main(sends: int, images: Sequence[str], space: Cluster) -> None:
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with TemporaryDirectory(dir=Path(gettempdir()).resolve()) as folder:
        async with KubeCluster.open(project="benchmark", context=space.context, namespace=space.namespace) as cluster:
            for number, image in enumerate(images):
                root = Path(folder) / f"project-{number}"
                root.mkdir()
                target = start(space, f"web-{number}", image)
                async with ExecSyncer(cluster, root) as syncer:
                    begin = time.perf_counter()
                    bench = Bench(syncer, target, root, DiskFiles(root, Path(folder) / f"state-{number}"), image)
                    (root / "first").write_text("x")
                    await bench.send([bench.change("first")])
                    tell(f"{image}: open the connection, first file", [time.perf_counter() - begin])
                    await bench.one("1 kB", sends, 1024)
                    await bench.one("1 MB", max(5, sends // 20), 1_000_000)
                    await bench.one("50 MB", 3, 50_000_000)
                    await bench.many(200, 10)
                    await bench.many(5000, 3)
                    await bench.both()


if __name__ == "__main__":
    place = Cluster(kubeconfig=kubeconfig(), context=current_context(), namespace=SPACE)
    place.kubectl("create", "namespace", SPACE)
    try:
        eventually(lambda: place.kubectl("get", "serviceaccount", "default"))
        anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 300, sys.argv[2:] or IMAGES, place)
    finally:
        place.kubectl("delete", "namespace", SPACE, "--wait=false")
