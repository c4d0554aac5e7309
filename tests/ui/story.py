"""A session as it might happen, told in events: the material of the front-ends' tests.

`python -m tests.ui.story [live|plain|json] [speed]` plays it on the terminal.
"""

import dataclasses
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator

import anyio

from devloop.errors import Where
from devloop.events import (
    Event,
    FilesChanged,
    Held,
    Noted,
    Planned,
    PodChanged,
    PodOutput,
    PortClosed,
    PortOpened,
    Problem,
    ProjectLoaded,
    ProjectRejected,
    RunCancelled,
    RunFailed,
    RunOutput,
    RunProgressed,
    RunStarted,
    RunSucceeded,
    Settled,
    Skipped,
    Stopped,
)
from devloop.model import Kind, NodeId
from devloop.ui.front import choose_front

BASE = NodeId(Kind.IMAGE, "base")
API_IMAGE = NodeId(Kind.IMAGE, "api")
WORKER_IMAGE = NodeId(Kind.IMAGE, "worker")
STORE = NodeId(Kind.SERVICE, "store")
API = NodeId(Kind.SERVICE, "api")
WORKER = NodeId(Kind.SERVICE, "worker")
CODE = NodeId(Kind.SYNC, "api-code")
SMOKE = NodeId(Kind.CHECK, "smoke")
NODES = (BASE, API_IMAGE, WORKER_IMAGE, STORE, API, WORKER, CODE, SMOKE)
START = 1_700_000_000.0

PIP = Problem(
    message="step `[3/4] RUN pip install -r requirements.txt` failed with exit code 1",
    where=Where(path="worker/Dockerfile", line=7, text="RUN pip install -r requirements.txt"),
    chain=(Where(path="devfile.py", line=9, text="worker_image(base_image)"),),
    tail=(
        "ERROR: Could not find a version that satisfies the requirement fastapi==9.9 (from versions: 0.1.0, 0.1.2)",
        "ERROR: No matching distribution found for fastapi==9.9",
    ),
    hint="mend the line in `worker/requirements.txt`; the build starts again by itself",
)
MISSPELT = Problem(
    message="service `api` asks for `api_imgae`, which nothing defines",
    where=Where(path="devfile.py", line=25, text="def api(api_imgae: Image, postgres: Service)"),
    hint="did you mean `api_image` (image, devfile.py:4)?",
)
TAKEN = Problem(
    message="local port 6379 is taken by `redis-server` (pid 812)",
    where=Where(path="devfile.py", line=18, text="ports={6379: 6379}"),
    hint="stop it, or choose another local port for `store`",
)


def number(events: Iterable[tuple[float, Event]]) -> Iterator[Event]:
    """Give events their number and time, as the bus does."""
    for seq, (at, event) in enumerate(events, 1):
        yield dataclasses.replace(event, seq=seq, at=START + at)


def opening() -> Iterator[tuple[float, Event]]:
    """The first pass, in which one build fails."""
    yield 0.1, ProjectLoaded(project="shop", target="docker-desktop/default", nodes=NODES, seconds=0.1)
    for node in (BASE, API_IMAGE, WORKER_IMAGE):
        yield 0.1, Planned(node=node, action="build", reasons=("never built",))
    yield 0.1, Planned(node=STORE, action="deploy", reasons=("never deployed",))
    yield 0.1, RunStarted(node=BASE, run=1, action="build", reasons=("never built",))
    yield 0.1, RunStarted(node=STORE, run=2, action="deploy", reasons=("never deployed",))
    yield 0.1, Held(node=API_IMAGE, reason="waits for image `base`")
    yield 0.1, Held(node=WORKER_IMAGE, reason="waits for image `base`")
    yield 0.1, Held(node=API, reason="waits for image `api`")
    yield 0.1, Held(node=WORKER, reason="waits for image `worker`")
    yield 0.1, Held(node=SMOKE, reason="waits for service `api`")
    yield 0.3, RunProgressed(node=BASE, run=1, message="FROM python:3.11-slim-bookworm", step=1, steps=2)
    yield 0.5, PodChanged(node=STORE, pod="store-0", status="ContainerCreating", ready=False)
    yield 0.5, RunProgressed(node=STORE, run=2, message="0 of 1 pods ready: ContainerCreating")
    yield 1.2, PodChanged(node=STORE, pod="store-0", status="Running", ready=True)
    yield 1.2, PortClosed(node=STORE, local=6379, problem=TAKEN)
    yield 1.2, RunSucceeded(node=STORE, run=2, action="deploy", seconds=1.1, summary="2 objects, 1 pod ready")
    yield 1.3, PodOutput(node=STORE, pod="store-0", container="store", line="Ready to accept connections", time="t")
    yield 1.4, RunProgressed(node=BASE, run=1, message="RUN pip install fastapi uvicorn", step=2, steps=2)
    yield 1.6, RunOutput(node=BASE, run=1, line="Collecting fastapi")
    yield 1.8, RunOutput(node=BASE, run=1, line="  Downloading fastapi-0.121.0-py3-none-any.whl (109 kB)")
    yield 2.4, RunOutput(node=BASE, run=1, line="Successfully installed fastapi-0.121.0 uvicorn-0.38.0")
    yield 3.1, RunSucceeded(node=BASE, run=1, action="build", seconds=3.0, summary="base:dev-3f2a9c81d0e4")
    yield 3.1, RunStarted(node=API_IMAGE, run=3, action="build", reasons=("never built",))
    yield 3.1, RunStarted(node=WORKER_IMAGE, run=4, action="build", reasons=("never built",))
    yield 3.3, RunProgressed(node=API_IMAGE, run=3, message="COPY src /app/src", step=3, steps=4)
    yield 3.4, RunProgressed(node=WORKER_IMAGE, run=4, message="RUN pip install -r requirements.txt", step=3, steps=4)
    yield 4.0, RunSucceeded(node=API_IMAGE, run=3, action="build", seconds=0.9, summary="api:dev-91aa02bd7f10")
    yield 4.0, RunStarted(node=API, run=5, action="deploy", reasons=("image `api` is new",))
    yield 4.2, RunFailed(node=WORKER_IMAGE, run=4, action="build", seconds=1.1, problems=(PIP,))
    yield 4.2, Held(node=WORKER, reason="waits for image `worker`, which failed")
    yield 4.5, PodChanged(node=API, pod="api-7d9f8c-x7k2p", status="Running", ready=False)
    yield (
        4.9,
        PodOutput(
            node=API,
            pod="api-7d9f8c-x7k2p",
            container="api",
            line="\x1b[32mINFO\x1b[0m: Started server process",
            time="t",
        ),
    )
    yield (
        5.2,
        PodOutput(
            node=API,
            pod="api-7d9f8c-x7k2p",
            container="api",
            line="\x1b[32mINFO\x1b[0m: Startup complete",
            time="t",
        ),
    )
    yield 5.4, PodChanged(node=API, pod="api-7d9f8c-x7k2p", status="Running", ready=True)
    yield 5.4, PortOpened(node=API, local=8000, remote="80", url="http://localhost:8000")
    yield 5.4, RunSucceeded(node=API, run=5, action="deploy", seconds=1.4, summary="3 objects, 1 pod ready")
    yield 5.4, RunStarted(node=SMOKE, run=6, action="check", reasons=("service `api` is new",))
    yield 5.7, RunSucceeded(node=SMOKE, run=6, action="check", seconds=0.25, summary="")
    yield 5.7, Settled(ok=False, failed=(WORKER_IMAGE, WORKER), seconds=5.7)


def mending() -> Iterator[tuple[float, Event]]:
    """The edits after it."""
    yield 9.0, FilesChanged(paths=("worker/requirements.txt",), count=1)
    yield 9.0, RunStarted(node=WORKER_IMAGE, run=7, action="build", reasons=("worker/requirements.txt changed",))
    yield 9.5, RunProgressed(node=WORKER_IMAGE, run=7, message="RUN pip install -r requirements.txt", step=3, steps=4)
    yield 10.0, FilesChanged(paths=("worker/main.py",), count=1)
    yield 10.0, RunCancelled(node=WORKER_IMAGE, run=7, action="build", seconds=1.0, reason="worker/main.py changed")
    yield 10.0, RunStarted(node=WORKER_IMAGE, run=8, action="build", reasons=("worker/main.py changed",))
    yield 11.4, RunSucceeded(node=WORKER_IMAGE, run=8, action="build", seconds=1.4, summary="worker:dev-0c77d1e6a2b3")
    yield 11.4, RunStarted(node=WORKER, run=9, action="deploy", reasons=("image `worker` is new",))
    yield 12.0, PodChanged(node=WORKER, pod="worker-5b6d-2xv9c", status="Running", ready=True)
    yield 12.1, RunSucceeded(node=WORKER, run=9, action="deploy", seconds=0.7, summary="1 object, 1 pod ready")
    yield 12.1, PodOutput(node=WORKER, pod="worker-5b6d-2xv9c", container="worker", line="waiting for jobs", time="t")
    yield 12.1, Settled(ok=True, failed=(), seconds=3.1)
    yield 14.0, FilesChanged(paths=("api/src/main.py",), count=1)
    yield 14.0, RunStarted(node=CODE, run=10, action="sync", reasons=("api/src/main.py changed",))
    yield 14.012, RunSucceeded(node=CODE, run=10, action="sync", seconds=0.012, summary="1 file to 1 container")
    yield 14.012, Settled(ok=True, failed=(), seconds=0.014)
    yield 15.0, ProjectRejected(problems=(MISSPELT,))
    yield 17.0, ProjectLoaded(project="shop", target="docker-desktop/default", nodes=NODES, seconds=0.05)
    yield 17.0, Skipped(node=BASE, reason="no input changed")
    yield (
        17.1,
        Noted(message="no sync covers `api/Dockerfile`: image `api` is rebuilt", hint="this is slower"),
    )
    yield 18.0, PodChanged(node=WORKER, pod="worker-5b6d-2xv9c", status="CrashLoopBackOff", ready=False, restarts=3)
    yield 18.0, Settled(ok=True, failed=(), seconds=0.1)


def ending() -> Iterator[tuple[float, Event]]:
    """Ctrl-C."""
    yield 21.0, Stopped(reason="interrupted; what was deployed stays, `devloop down` removes it", exit_code=130)


def story() -> tuple[Event, ...]:
    """The whole session."""
    return tuple(number([*opening(), *mending(), *ending()]))


async def told(events: Iterable[Event]) -> AsyncIterator[Event]:
    """Give the events one after the other, without waiting."""
    for event in events:
        yield event


async def _played(speed: float) -> AsyncIterator[Event]:
    begin = time.time()
    for event in story():
        at = begin + (event.at - START) / speed
        await anyio.sleep(max(0, at - time.time()))
        yield dataclasses.replace(event, at=at)


if __name__ == "__main__":
    front = choose_front(
        sys.argv[1] if len(sys.argv) > 1 else "auto", stderr_is_terminal=sys.stderr.isatty(), env=os.environ
    )
    anyio.run(front.run, _played(float(sys.argv[2]) if len(sys.argv) > 2 else 1.0))
