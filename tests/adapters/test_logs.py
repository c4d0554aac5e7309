"""What every `Tailer` does, and how the real one reads the logs of a scripted node."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.abc import ObjectReceiveStream

from devloop.adapters.logs import LogTailer
from devloop.core.cluster.pods import Container, ContainerState, Pod, Running, Terminated, Waiting
from devloop.errors import UnreachableError
from devloop.runtime.ports import ContainerLostError, ContainerTarget, LogLine, Tailer
from tests.fakes.tailer import FakeTailer

pytestmark = pytest.mark.anyio

_ENDED = Terminated(exit_code=1)


# --- a node that keeps logs ----------------------------------------------------------------------------------


@dataclass
class Run:
    """One run of a container: its log, and whether it goes on."""

    lines: list[bytes] = field(default_factory=list)
    ended: bool = False


class Node:
    """Keeps the logs of a pod's containers, serves the present and the previous run, and loses connections."""

    def __init__(self) -> None:
        self.runs: dict[str, list[Run]] = {}
        self.opened: list[tuple[str | None, bool]] = []
        self.reachable = True
        self.cut_after: int | None = None
        self._tick = 0
        self._drops = 0
        self._changed = anyio.Event()

    def starts(self, container: str) -> None:
        """Let a container's next run begin; the one before has ended."""
        runs = self.runs.setdefault(container, [])
        for run in runs:
            run.ended = True
        runs.append(Run())
        self._change()

    def prints(self, container: str, *texts: str, later: float = 0.001) -> None:
        """Let the container's run print; each line is `later` seconds after the one before."""
        for text in texts:
            self._tick += int(later * 1000)
            seconds, millis = divmod(self._tick, 1000)
            stamp = f"2026-11-23T08:{seconds // 60:02}:{seconds % 60:02}.{millis:03}000000Z"
            self.runs[container][-1].lines.append(f"{stamp} {text}".encode())
        self._change()

    def ends(self, container: str) -> None:
        self.runs[container][-1].ended = True
        self._change()

    def drops(self) -> None:
        """Lose all open connections."""
        self._drops += 1
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    @asynccontextmanager
    async def logs(
        self, target: ContainerTarget, *, follow: bool = True, since: str | None = None, previous: bool = False
    ) -> AsyncIterator[ObjectReceiveStream[bytes]]:
        self.opened.append((since, previous))
        if not self.reachable:
            raise UnreachableError("the cluster does not answer")
        runs = self.runs.get(target.container, [])
        if len(runs) < (2 if previous else 1):
            raise ContainerLostError("there is no such log")
        yield _Stream(self, runs[-2 if previous else -1], since, follow=follow, left=self.cut_after)

    async def next_line(self, stream: "_Stream") -> bytes:
        while True:
            if stream.drops != self._drops or stream.left == 0:
                raise UnreachableError("the connection is lost")
            while stream.position < len(stream.run.lines):
                line = stream.run.lines[stream.position]
                stream.position += 1
                if stream.since is None or line.decode() >= stream.since.removesuffix("Z"):
                    stream.left = None if stream.left is None else stream.left - 1
                    return line
            if stream.run.ended or not stream.follow:
                raise anyio.EndOfStream
            await self._changed.wait()


class _Stream(ObjectReceiveStream[bytes]):
    def __init__(self, node: Node, run: Run, since: str | None, *, follow: bool, left: int | None) -> None:
        self.node = node
        self.run = run
        self.since = since
        self.follow = follow
        self.left = left
        self.position = 0
        self.drops = node._drops

    async def receive(self) -> bytes:
        return await self.node.next_line(self)

    async def aclose(self) -> None:
        pass


def a_pod(
    *containers: Container, name: str = "api-1", state: ContainerState | None = None, deleting: bool = False
) -> Pod:
    chosen = containers or (Container(name="api", state=state or Running()),)
    return Pod(
        name=name,
        uid=name,
        namespace="dev",
        labels={"devloop.dev/service": "api"},
        deleting=deleting,
        containers=chosen,
    )


def restarted(restarts: int, state: ContainerState | None = None) -> Pod:
    return a_pod(Container(name="api", state=state or Running(), last=_ENDED, restarts=restarts))


class Told:
    """What a tailer has told."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self._changed = anyio.Event()

    def take(self, line: LogLine) -> None:
        self.lines.append(line)
        self._changed.set()
        self._changed = anyio.Event()

    def texts(self, container: str = "api") -> list[str]:
        return [line.text for line in self.lines if line.container == container]

    async def until(self, *texts: str, container: str = "api") -> None:
        """Wait for as many lines, and compare; then see that no more come."""
        with anyio.move_on_after(10):
            while len(self.texts(container)) < len(texts):
                await self._changed.wait()
        await anyio.wait_all_tasks_blocked()
        assert self.texts(container) == list(texts)


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def node() -> Node:
    node = Node()
    node.starts("api")
    return node


@pytest.fixture
async def tailer(node: Node, told: Told) -> AsyncIterator[LogTailer]:
    async with LogTailer(node, told.take) as tailer:
        yield tailer


# --- what every tailer does ----------------------------------------------------------------------------------


@dataclass
class Stage:
    """A tailer, and a way to let a container print a line."""

    tailer: Tailer
    prints: Callable[[str, str], None]


@pytest.fixture(params=["fake", "real"])
async def stage(request: pytest.FixtureRequest, told: Told, node: Node) -> AsyncIterator[Stage]:
    if request.param == "fake":
        fake = FakeTailer(told.take)
        yield Stage(fake, lambda container, text: fake.prints("api-1", container, text))
        return
    async with LogTailer(node, told.take) as real:
        yield Stage(real, node.prints)


async def test_a_line_says_who_printed_it(stage: Stage, told: Told) -> None:
    stage.tailer.update([a_pod()])
    stage.prints("api", "hello")
    await told.until("hello")

    (line,) = told.lines
    assert (line.service, line.pod, line.container, line.previous) == ("api", "api-1", "api", False)
    assert line.time.endswith("Z")


async def test_the_lines_of_a_container_come_in_order(stage: Stage, told: Told) -> None:
    stage.tailer.update([a_pod()])
    for number in range(5):
        stage.prints("api", str(number))

    await told.until("0", "1", "2", "3", "4")


# --- which containers ----------------------------------------------------------------------------------------


async def test_what_was_printed_before_we_looked_is_told(tailer: LogTailer, node: Node, told: Told) -> None:
    node.prints("api", "first", "second")
    tailer.update([a_pod()])

    await told.until("first", "second")


async def test_init_and_ephemeral_containers_are_followed(tailer: LogTailer, node: Node, told: Told) -> None:
    for name in ("setup", "debugger"):
        node.starts(name)
        node.prints(name, f"{name} here")
    pod = a_pod(Container(name="setup", init=True, state=Terminated(exit_code=0)))
    tailer.update(
        [Pod(name=pod.name, containers=pod.containers, ephemeral=(Container(name="debugger", state=Running()),))]
    )

    await told.until("setup here", container="setup")
    await told.until("debugger here", container="debugger")


async def test_a_container_that_has_not_started_is_waited_for(tailer: LogTailer, node: Node, told: Told) -> None:
    tailer.update([a_pod(state=Waiting(reason="ContainerCreating"))])
    await anyio.wait_all_tasks_blocked()
    assert node.opened == []

    node.prints("api", "hello")
    tailer.update([a_pod()])
    await told.until("hello")


async def test_a_pod_that_ends_is_followed_to_its_last_line(tailer: LogTailer, node: Node, told: Told) -> None:
    tailer.update([a_pod()])
    node.prints("api", "hello")
    await told.until("hello")
    tailer.update([a_pod(deleting=True)])
    node.prints("api", "shutting down")
    tailer.update([])
    node.prints("api", "bye")
    node.ends("api")

    await told.until("hello", "shutting down", "bye")
    assert not tailer._followers


async def test_a_pod_whose_container_never_ran_and_is_gone_needs_nothing(tailer: LogTailer) -> None:
    tailer.update([a_pod(state=Waiting())])
    tailer.update([])

    assert not tailer._followers


async def test_only_new_lines_of_what_ran_before_are_told_and_all_of_what_starts_later(node: Node, told: Told) -> None:
    node.prints("api", "yesterday")
    node.prints("api", "today", later=10)
    async with LogTailer(node, told.take, since="2026-11-23T08:00:05Z") as tailer:
        tailer.update([a_pod()])
        await told.until("today")
        node._tick = 0  # another node's clock may be behind
        node.starts("worker")
        node.prints("worker", "hello")
        tailer.update([a_pod(), a_pod(Container(name="worker", state=Running()), name="worker-1")])
        await told.until("hello", container="worker")


# --- restarts ------------------------------------------------------------------------------------------------


async def test_the_rest_of_a_crashed_run_comes_before_the_new_run(tailer: LogTailer, node: Node, told: Told) -> None:
    tailer.update([a_pod()])
    node.prints("api", "one")
    await told.until("one")
    node.drops()
    node.prints("api", "two", "fatal")
    node.starts("api")
    node.prints("api", "one again")
    tailer.update([restarted(1)])

    await told.until("one", "two", "fatal", "one again")


async def test_a_restart_that_the_log_shows_before_the_pod_does_keeps_the_order(
    tailer: LogTailer, node: Node, told: Told
) -> None:
    tailer.update([a_pod()])
    node.prints("api", "one")
    await told.until("one")
    node.cut_after = 1
    node.drops()
    await anyio.wait_all_tasks_blocked()
    node.prints("api", "fatal")
    node.starts("api")
    node.prints("api", "new")
    node.cut_after = None
    await told.until("one", "fatal")
    tailer.update([restarted(1)])

    await told.until("one", "fatal", "new")


async def test_every_run_of_a_crash_loop_is_told(tailer: LogTailer, node: Node, told: Told) -> None:
    tailer.update([a_pod()])
    node.prints("api", "run 0")
    for number in range(1, 4):
        node.ends("api")
        tailer.update([restarted(number - 1, Waiting(reason="CrashLoopBackOff"))])
        await told.until(*[f"run {run}" for run in range(number)])
        node.starts("api")
        node.prints("api", f"run {number}")
        tailer.update([restarted(number)])
        await told.until(*[f"run {run}" for run in range(number + 1)])


async def test_a_run_that_was_never_seen_running_is_told_as_previous(tailer: LogTailer, node: Node, told: Told) -> None:
    node.prints("api", "crashed")
    node.starts("api")
    node.prints("api", "runs")
    tailer.update([restarted(1)])

    await told.until("crashed", "runs")
    assert [line.previous for line in told.lines] == [True, False]


async def test_a_run_that_was_read_in_place_of_the_one_before_is_not_told_twice(
    tailer: LogTailer, node: Node, told: Told
) -> None:
    node.starts("api")
    node.prints("api", *[f"new {number}" for number in range(6)], later=1)
    tailer.update([a_pod()])  # the pod's status is late: it is the second run already
    await told.until(*[f"new {number}" for number in range(6)])
    tailer.update([restarted(1)])
    node.drops()
    node.prints("api", "more")

    await told.until(*[f"new {number}" for number in range(6)], "more")


# --- connections ---------------------------------------------------------------------------------------------


async def test_a_lost_connection_loses_and_doubles_nothing(tailer: LogTailer, node: Node, told: Told) -> None:
    expected = []
    tailer.update([a_pod()])
    for number in range(30):
        node.cut_after = number % 4 + 12  # more than the ten lines of two seconds
        node.drops()
        expected += [f"line {number % 3}"] * 2
        node.prints("api", *expected[-2:], later=0.2)
        await anyio.wait_all_tasks_blocked()
    node.cut_after = None

    await told.until(*expected)


async def test_an_unreachable_cluster_is_asked_again_until_it_answers(
    tailer: LogTailer, node: Node, told: Told
) -> None:
    node.reachable = False
    tailer.update([a_pod()])
    node.prints("api", "hello")
    while len(node.opened) < 3:  # noqa: ASYNC110 - time passes between the attempts
        await anyio.sleep(0.01)
    assert len(node.opened) < 6
    node.reachable = True

    await told.until("hello")


async def test_a_run_that_ended_while_the_connection_was_lost_is_read_to_its_end(
    tailer: LogTailer, node: Node, told: Told
) -> None:
    tailer.update([a_pod()])
    node.prints("api", "one")
    await told.until("one")
    node.reachable = False
    node.drops()
    node.prints("api", "two", "three")
    node.ends("api")
    tailer.update([a_pod(state=_ENDED)])
    node.reachable = True

    await told.until("one", "two", "three")


async def test_a_log_that_cannot_be_read_is_told_of_once(node: Node, told: Told) -> None:
    node.runs.clear()
    async with LogTailer(node, told.take) as tailer:
        tailer.update([a_pod()])
        await told.until("devloop cannot read this log: there is no such log")


async def test_a_log_that_is_denied_for_a_moment_is_read_all_the_same(
    tailer: LogTailer, node: Node, told: Told
) -> None:
    node.prints("api", "crashed")
    node.ends("api")
    kept = dict(node.runs)
    node.runs.clear()
    tailer.update([a_pod(state=_ENDED)])
    await anyio.wait_all_tasks_blocked()
    assert node.opened
    node.runs.update(kept)

    await told.until("crashed")


async def test_a_log_whose_beginning_the_node_has_cut_off_goes_on(
    tailer: LogTailer, node: Node, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devloop.adapters.logs._TOLD_SECONDS", 0.05)
    tailer.update([a_pod()])
    node.prints("api", "one", "two")
    await told.until("one", "two")
    node.runs["api"][-1].lines.clear()
    node.prints("api", "three")
    node.drops()

    await told.until("one", "two", "three")


async def test_a_quiet_container_costs_no_requests(tailer: LogTailer, node: Node, told: Told) -> None:
    tailer.update([a_pod()])
    node.prints("api", "hello")
    await told.until("hello")
    for _ in range(5):
        tailer.update([a_pod()])

    assert len(node.opened) == 1
