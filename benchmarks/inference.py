"""Inference: parse and plan of 1,000 nodes, hashing of 100,000 files, inputs of a context with an ignored node_modules.

    python -m benchmarks.inference [--runs 5] [--nodes 1000] [--files 100000] [--drop-caches]

Needs neither engine nor cluster. Each sample of a start is a process of its own, so that nothing is remembered from the
one before. With `--drop-caches` (root only) cold files are read from the disk and not from memory. The floor of hashing
is what one thread takes to read and hash the same files and nothing else.
"""

import argparse
import hashlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import anyio
from anyio.abc import ObjectReceiveStream

from benchmarks.outside import LINE, show
from benchmarks.start import DEVLOOP
from devloop.adapters.files import DiskFiles
from devloop.app.options import Options
from devloop.app.workspace import Workspace
from devloop.core.engine import decide, situation
from devloop.core.engine.state import Observed, PodsSeen, State
from devloop.core.plan import Due, assume, plan
from devloop.model import ContainerTarget, NodeId, RelPath
from devloop.runtime.observe import Observation, Observer
from devloop.runtime.ports import Hint, PathsHint

T = TypeVar("T")
Hints = ObjectReceiveStream[Hint]
MANIFEST = "g9/service.yaml.j2"

_GROUP = 4
_FILES_OF_AN_IMAGE = 6
_SIZES = (0, 200, 1_000, 2_500, 4_000, 8_000, 20_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--drop-caches", action="store_true")
    options = parser.parse_args()
    print(LINE.format(name="", median="median", p95="p95", goal="goal", note=""))
    with tempfile.TemporaryDirectory(prefix="devloop-inference-") as place:
        folder = Path(place)
        os.environ["DEVLOOP_STATE_DIR"] = str(folder / "state")
        nodes(folder / "nodes", options.nodes, options.runs)
        hashing(folder / "tree", options.files, options.runs, drop_caches=options.drop_caches)
        half = options.files // 2
        context(folder / "ignored", half // 25, half - half // 25, options.runs, goal="100 ms")
        context(folder / "whole", half, half, options.runs)


# --- parse and plan --------------------------------------------------------------------------------------------------


def nodes(folder: Path, count: int, runs: int) -> None:
    """Show how long a project of many nodes takes to be read, planned, and planned again after an edit."""
    write_nodes(folder, count)
    samples = [apart(_read_and_plan, folder) for _ in range(runs)]
    goals = {
        "devfile, Dockerfiles, manifests → graph": "1 s",
        "plan": "0.5 s",
        "plan, all up to date": "0.5 s",
        "news of all pods → decided": "10 ms",
        "an edit (synced) → looked at": "10 ms",
        "an edit (synced) → decided": "10 ms",
        "an edit (built) → looked at": "10 ms",
        "an edit (built) → decided": "10 ms",
    }
    for name in samples[0]:
        show(f"{count} nodes: {name}", [each[name] * 1000 for each in samples], goal=goals.get(name, ""), unit="ms")
    whole = [taken(lambda: subprocess.run([DEVLOOP, "plan"], cwd=folder, check=True, capture_output=True)) * 1000]
    show(f"{count} nodes: `devloop plan` from outside", whole, unit="ms")


def _read_and_plan(folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    workspace = Workspace(Options(devfile=folder / "devfile.py"))
    with timed(found, "devfile, Dockerfiles, manifests → graph"):
        workspace.discover("default")()
    with timed(found, "the same again in one session"):
        workspace.discover("default")()
    with timed(found, "all of it, files too"):
        observation = workspace.observer("default").look_now()
    state = State(observed=_observed(observation))
    with timed(found, "plan"):
        steps = plan(situation(state))
    built = situation(state)
    while any(isinstance(step, Due) for step in steps.values()):
        built = assume(built, steps)
        steps = plan(built)
    traces = {node: replace(each, result=replace(each.result, ref=node.name)) for node, each in built.traces.items()}
    state = replace(state, traces=traces, verified=built.verified)
    with timed(found, "plan, all up to date"):
        plan(situation(state))
    containers = {_container(node): node.name for node in observation.graph.placements}
    with timed(found, "news of all pods → decided"):
        decision = decide(state, PodsSeen(containers=containers, ready=frozenset()))
    assert not decision.commands
    anyio.run(_edit, workspace, decision.state, found)
    return found


async def _edit(workspace: Workspace, state: State, found: dict[str, float]) -> None:
    """Time what the loop does after an edit: looking at the file, and deciding what follows."""
    send, receive = anyio.create_memory_object_stream[Observation](10)
    told = Told()
    renderings = workspace.renderings("default")
    observer = Observer(workspace.discover("default"), workspace.files, told, renderings, workspace.narrow)
    async with send, receive, anyio.create_task_group() as tasks:
        tasks.start_soon(observer.run, send.send_nowait)
        await receive.receive()
        edits = (("synced", "g7/app/src/module0.py"), ("built", "g8/app/requirements.txt"), ("manifest", MANIFEST))
        for what, path in edits:
            place = workspace.root / path
            place.write_text(place.read_text().replace("hello", "hello, hello") + "# edited\n")
            with timed(found, f"an edit ({what}) → looked at"):
                await told.of(path)
                now = await receive.receive()
            with timed(found, f"an edit ({what}) → decided"):
                decision = decide(state, _observed(now))
            state = decision.state
        tasks.cancel_scope.cancel()


class Told:
    """A watcher that is told which files changed."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Hint](10)

    @asynccontextmanager
    async def watch(self, _roots: Sequence[RelPath], _keep: Callable[[RelPath], bool]) -> AsyncIterator[Hints]:
        yield self._receive

    async def of(self, path: str) -> None:
        """Tell that a file changed."""
        await self._send.send(PathsHint(paths=frozenset({RelPath(path)})))


def _container(image: NodeId) -> ContainerTarget:
    return ContainerTarget(namespace="default", pod=image.name, uid="", container="app", id=image.name)


def _observed(observation: Observation) -> Observed:
    return Observed(graph=observation.graph, files=observation.files, touched=observation.touched)


def write_nodes(folder: Path, count: int) -> None:
    """Write a project of groups of four nodes: a base, an image on it, its service, its sync."""
    lines = ["from devloop import Image, image, service, sync", ""]
    for number in range(count // _GROUP):
        group = folder / f"g{number}"
        source = group / "app/src"
        source.mkdir(parents=True)
        (group / "base").mkdir()
        for each in range(_FILES_OF_AN_IMAGE):
            (source / f"module{each}.py").write_text(f"value = {number * 100 + each}\n")
            (group / "base" / f"lib{each}.py").write_text(f"value = {number * 100 + each}\n")
        (group / "app/requirements.txt").write_text(f"flask=={number}\n")
        (group / "app/Dockerfile").write_text(_DOCKERFILE.replace("NUMBER", str(number)))
        (group / "app/.dockerignore").write_text("**/__pycache__\n*.md\n!README.md\nnode_modules\n")
        (group / "base/Dockerfile").write_text("FROM python:3.11-slim\nWORKDIR /lib\nCOPY *.py ./\n")
        (group / "service.yaml.j2").write_text(_MANIFEST.replace("NUMBER", str(number)))
        lines += [
            f'@image("g{number}/base", name="g{number}-base")',
            f"def g{number}_base_image(): ...",
            f'@image("g{number}/app", name="g{number}-app")',
            f"def g{number}_app_image(): ...",
            f'@service("g{number}/service.yaml.j2", ports={{}})',
            f"def g{number}(g{number}_app_image: Image, replicas: int = 1): ...",
            f'@sync("g{number}/app/src", "/app/src")',
            f"def g{number}_code(g{number}_app_image: Image): ...",
            "",
        ]
    (folder / "devfile.py").write_text("\n".join(lines))


_DOCKERFILE = """\
ARG VERSION=1
FROM gNUMBER-base AS build
WORKDIR /src
COPY requirements.txt .
RUN pip install --target /deps -r requirements.txt
FROM gNUMBER-base
ARG VERSION
ENV VERSION=${VERSION:-0} PORT=80
WORKDIR /app
COPY --from=build /deps /deps
COPY src/ src/
CMD ["python", "-m", "src"]
"""

_MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: gNUMBER, labels: {app: gNUMBER}}
spec:
  replicas: {{ replicas }}
  selector: {matchLabels: {app: gNUMBER}}
  template:
    metadata: {labels: {app: gNUMBER}}
    spec:
      containers:
        - name: app
          image: {{ gNUMBER_app_image }}
          env:
            - {name: PORT, value: "80"}
            - {name: GREETING, value: "hello from NUMBER"}
          ports: [{name: http, containerPort: 80}]
          readinessProbe: {httpGet: {path: /healthz, port: http}}
---
apiVersion: v1
kind: Service
metadata: {name: gNUMBER}
spec:
  selector: {app: gNUMBER}
  ports: [{port: 80, targetPort: http}]
"""


# --- hashing ---------------------------------------------------------------------------------------------------------


def hashing(folder: Path, count: int, runs: int, *, drop_caches: bool) -> None:
    """Show how long a tree takes to be hashed: with nothing known, with all known, and after one edit."""
    megabytes = write_tree(folder, count) / 1_000_000
    # What was just written is not trusted for two seconds; a second start comes later than that.
    time.sleep(2.5)
    floor, cold, warm = [], [], []
    for _ in range(runs):
        if drop_caches:
            forget_pages()
        floor.append(apart(_read_and_hash, folder))
        if drop_caches:
            forget_pages()
        state = folder.parent / f"stat-{time.time_ns()}"
        cold.append(apart(_scan, folder, state))
        warm.append(apart(_scan, folder, state))
    note = f"{megabytes:.0f} MB" + ("" if drop_caches else ", in memory")
    show(f"{count} files: read and hashed by one thread (floor)", floor, note=note)
    for name in cold[0]:
        show(f"{count} files, cold: {name}", [each[name] for each in cold], note=note)
    for name in warm[0]:
        show(f"{count} files, warm: {name}", [each[name] for each in warm], goal="1 s" if name == "all" else "")
    size = (state / "files.cache").stat().st_size / 1_000_000 if (state / "files.cache").exists() else 0.0
    show(f"{count} files: stat cache on disk (MB)", [size], unit="")


def _read_and_hash(folder: Path) -> float:
    def all_of(place: str) -> Iterator[str]:
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from all_of(entry.path)
                else:
                    yield entry.path

    def run() -> None:
        for path in all_of(str(folder)):
            hashlib.sha256(Path(path).read_bytes()).digest()

    return taken(run)


def _scan(folder: Path, state: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    files = DiskFiles(folder, state)
    with timed(found, "all"):
        with timed(found, "digests"):
            files.scan(RelPath("."), lambda _: True)
        with timed(found, "cache saved"):
            files.save()
    return found


def write_tree(folder: Path, count: int) -> int:
    """Write files of the sizes that sources have, twenty to a folder; return how many bytes that is."""
    chance = random.Random(7)
    total = 0
    for number in range(count):
        place = folder / f"pkg{number // 400:03d}" / f"mod{number // 20 % 20:02d}"
        if number % 20 == 0:
            place.mkdir(parents=True)
        data = chance.randbytes(chance.choice(_SIZES))
        (place / f"file{number % 20:02d}.py").write_bytes(data)
        total += len(data)
    return total


def forget_pages() -> None:
    """Let the system forget the content of all files."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


# --- a context with an ignored folder --------------------------------------------------------------------------------


def context(folder: Path, inputs: int, ignored: int, runs: int, *, goal: str = "") -> None:
    """Show how long the inputs of a context take to be listed, with an ignored node_modules beside them."""
    write_context(folder, inputs, ignored)
    time.sleep(2.5)
    apart(_list_inputs, folder)
    samples = [apart(_list_inputs, folder) * 1000 for _ in range(runs)]
    show(f"{inputs} inputs listed beside {ignored} ignored files", samples, goal=goal, unit="ms")


def _list_inputs(folder: Path) -> float:
    observer = Workspace(Options(devfile=folder / "devfile.py")).observer("default")
    found: dict[str, float] = {}
    with timed(found, "all"):
        observation = observer.look_now()
    ((_, files),) = observation.files.items()
    assert files
    assert not any("node_modules" in path for path in files)
    return found["all"]


def write_context(folder: Path, inputs: int, ignored: int) -> None:
    """Write a project of one image."""
    for below, number in {"web/src": inputs, "web/node_modules": ignored}.items():
        for each in range(number):
            place = folder / below / f"package{each // 20:04d}"
            if each % 20 == 0:
                place.mkdir(parents=True)
            (place / f"index{each % 20:02d}.js").write_text(f"export default {each};\n")
    (folder / "web/Dockerfile").write_text("FROM node:22\nWORKDIR /app\nCOPY . .\n")
    (folder / "web/.dockerignore").write_text("**/*.md\nnode_modules\n!README.md\n!src/**/keep.md\n")
    (folder / "devfile.py").write_text('from devloop import image\n\n@image("web")\ndef web_image(): ...\n')


# --- measuring -------------------------------------------------------------------------------------------------------


def apart(function: Callable[..., T], *args: object) -> T:
    """Return what the function returns in a new process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


@contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Note how many seconds the block takes."""
    started = time.perf_counter()
    yield
    into[name] = time.perf_counter() - started


def taken(function: Callable[[], object]) -> float:
    """Return how many seconds the function takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
