"""What every `Syncer` does, shown on real containers and the fake; then what only a real container can do wrong."""

import dataclasses
import functools
import io
import json
import random
import string
import subprocess
import tarfile
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio
import anyio.from_thread
import pytest

from devloop.adapters.docker import Engine
from devloop.adapters.docker.shells import EngineShell, HelperContainer
from devloop.adapters.files import DiskFiles
from devloop.adapters.kube.cluster import KubeCluster
from devloop.adapters.kube.config import read_contexts
from devloop.adapters.kube.ephemeral import EphemeralContainers
from devloop.adapters.kube.login import Credentials, log_in
from devloop.adapters.sync import ClusterShell, ExecSyncer
from devloop.adapters.sync.reading import LargeFile
from devloop.core.cluster.contexts import choose
from devloop.core.sync.protocol import Frame, release
from devloop.core.sync.supervisor import SCRIPT
from devloop.errors import ToolError
from devloop.model import ContainerTarget, Digest, FileChange, RelPath
from devloop.runtime.ports import Access, ContainerLostError, Syncer, SyncRefusedError
from tests.adapters.docker_exec import DockerExec
from tests.adapters.early_ephemeral import EarlySession
from tests.fakes.files import FakeFiles, Stored
from tests.fakes.syncer import FakeSyncer
from tests.outside import Cluster, current_context, eventually, kubeconfig, output

pytestmark = pytest.mark.anyio

DASH, BUSYBOX, NO_SHELL = "python:3.11-slim-bookworm", "busybox:latest", "pause:local"


def everything(_: RelPath) -> bool:
    return True


class Project(Protocol):
    """The host's side."""

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None: ...

    def link(self, path: str, target: str) -> None: ...

    def delete(self, path: str) -> None: ...

    def digest(self, path: str) -> Digest | None: ...


class DiskProject:
    def __init__(self, root: Path, state: Path) -> None:
        self.root = root
        self._files = DiskFiles(root, state)

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        place.chmod(mode)

    def link(self, path: str, target: str) -> None:
        (self.root / path).symlink_to(target)

    def delete(self, path: str) -> None:
        (self.root / path).unlink()

    def digest(self, path: str) -> Digest | None:
        return self._files.look_again([RelPath(path)], (), everything).get(RelPath(path))


class FakeProject(FakeFiles):
    def digest(self, path: str) -> Digest | None:
        stored = self.stored.get(RelPath(path))
        return stored.digest if stored else None


Held = tuple[str, str]
"""Permissions and content, or `link` and target."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    project: Project
    syncer: Syncer
    target: ContainerTarget
    held: Callable[[str], Held | None]

    def change(self, path: str, *destinations: str) -> FileChange:
        return FileChange(
            source=RelPath(path), digest=self.project.digest(path), destinations=destinations or (f"/app/{path}",)
        )

    async def send(self, *paths: str) -> tuple[FileChange, ...]:
        with anyio.fail_after(60):
            return await self.syncer.send(self.target, [self.change(path) for path in paths])

    async def sent(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        self.project.write(path, text, mode)
        change = self.change(path)
        assert await self.send(path) == (change,)


def fake_held(syncer: FakeSyncer, target: ContainerTarget, place: str) -> Held | None:
    match syncer.container(target).held.get(place):
        case None:
            return None
        case Stored(target=None, data=data, mode=mode):
            return f"{mode:o}", data.decode()
        case Stored(target=str() as link):
            return "link", link
    return None


_LOOK = (
    'if [ -L "$1" ]; then echo link; readlink "$1"; elif [ -f "$1" ]; then stat -c %a "$1"; cat "$1"; else echo no; fi'
)


def real_held(container: str, place: str) -> Held | None:
    return _parsed(output("docker", "exec", container, "sh", "-c", _LOOK, "sh", place))


def _parsed(answer: str) -> Held | None:
    kind, _, rest = answer.partition("\n")
    if kind == "no":
        return None
    return kind, rest.removesuffix("\n") if kind == "link" else rest


def start(image: str, *arguments: str, command: Sequence[str] = ("sleep", "1000")) -> ContainerTarget:
    container = output("docker", "run", "--detach", *arguments, image, *command).strip()
    return ContainerTarget(namespace="", pod="pod", uid="uid", container="web", id=container)


def by_engine(target: ContainerTarget) -> ContainerTarget:
    """Return the container as a cluster names one that this engine runs."""
    return dataclasses.replace(target, id=f"docker://{target.id}")


@pytest.fixture(scope="module")
def containers() -> Iterator[Callable[[str], ContainerTarget]]:
    started: list[ContainerTarget] = []

    @functools.cache
    def container(image: str) -> ContainerTarget:
        started.append(start(image))
        return started[-1]

    yield container
    for target in started:
        output("docker", "rm", "--force", target.id)


@pytest.fixture
def run() -> Iterator[Callable[..., ContainerTarget]]:
    """Start containers that end with the test."""
    started = []

    def container(*arguments: str, image: str = BUSYBOX, command: Sequence[str] = ("sleep", "1000")) -> ContainerTarget:
        started.append(start(image, *arguments, command=command))
        return started[-1]

    yield container
    for target in started:
        output("docker", "rm", "--force", target.id)


@pytest.fixture
def project(tmp_path: Path) -> DiskProject:
    root = tmp_path / "project"
    root.mkdir()
    return DiskProject(root, tmp_path / "state")


@asynccontextmanager
async def real(project: DiskProject, target: ContainerTarget, executor: DockerExec | None = None) -> AsyncIterator[Rig]:
    async with ExecSyncer(executor or DockerExec(), project.root) as syncer:
        yield Rig(project=project, syncer=syncer, target=target, held=functools.partial(real_held, target.id))


@pytest.fixture(scope="module")
def space() -> Iterator[Cluster]:
    """A namespace of the real cluster for all tests here."""
    space = Cluster(
        kubeconfig=kubeconfig(), context=current_context(), namespace=f"devloop-test-{uuid.uuid4().hex[:8]}"
    )
    space.kubectl("create", "namespace", space.namespace)
    eventually(lambda: space.kubectl("get", "serviceaccount", "default"))
    yield space
    space.kubectl("delete", "namespace", space.namespace, "--wait=false")


def start_pod(space: Cluster, name: str, image: str, command: Sequence[str] = ("sleep", "10000")) -> ContainerTarget:
    container = {"name": "web", "image": image, "imagePullPolicy": "IfNotPresent", "command": command}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    space.kubectl("apply", "--filename=-", stdin=json.dumps(pod))
    space.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s", timeout=100)
    return target_of(space, name)


def target_of(space: Cluster, name: str) -> ContainerTarget:
    found = space.get("pod", name)
    return ContainerTarget(
        namespace=space.namespace,
        pod=name,
        uid=found["metadata"]["uid"],
        container="web",
        id=found["status"]["containerStatuses"][0].get("containerID", ""),
    )


@pytest.fixture(scope="module")
def shared_pod(space: Cluster) -> ContainerTarget:
    return start_pod(space, "shared", BUSYBOX)


@pytest.fixture(scope="module")
def bare_pod(space: Cluster) -> ContainerTarget:
    return start_pod(space, "bare", NO_SHELL, ())


@asynccontextmanager
async def in_cluster(project: DiskProject, space: Cluster, target: ContainerTarget) -> AsyncIterator[Rig]:
    def held(place: str) -> Held | None:
        return _parsed(space.kubectl("exec", target.pod, "--", "sh", "-c", _LOOK, "sh", place))

    async with (
        KubeCluster.open(
            project="sync", kubeconfig=space.kubeconfig, context=space.context, namespace=space.namespace
        ) as cluster,
        ExecSyncer(cluster, project.root) as syncer,
    ):
        yield Rig(project=project, syncer=syncer, target=target, held=held)


def look_beside(space: Cluster, pod: str, *command: str) -> str:
    """Return what a command says in the ephemeral container of a pod; nothing where none runs."""
    added = space.get("pod", pod)["status"].get("ephemeralContainerStatuses", [])
    running = [each["name"] for each in added if "running" in each["state"]]
    return space.kubectl("exec", pod, "-c", running[0], "--", *command) if running else ""


@asynccontextmanager
async def beside(project: DiskProject, space: Cluster, target: ContainerTarget) -> AsyncIterator[Rig]:
    """Reach a container by an ephemeral one, when its own shell has turned out not to be there."""

    def held(place: str) -> Held | None:
        return _parsed(look_beside(space, target.pod, "sh", "-c", _LOOK, "sh", f"/proc/1/root{place}"))

    context = choose(read_contexts(space.kubeconfig), named=space.context)

    async def credentials() -> Credentials:
        return await log_in(context, space.kubeconfig)

    async with (
        KubeCluster.open(
            project="sync", kubeconfig=space.kubeconfig, context=context, namespace=space.namespace
        ) as cluster,
        EarlySession(await credentials(), credentials) as session,
    ):
        way = EphemeralContainers(session, functools.partial(cluster.exec, stdin=True), BUSYBOX)
        if not await way.leads_to(target):
            pytest.skip("the cluster has no ephemeral containers")
        async with ExecSyncer(cluster, project.root, [ClusterShell(cluster), way]) as syncer:
            yield Rig(project=project, syncer=syncer, target=target, held=held)


@asynccontextmanager
async def by_ways(
    project: DiskProject, target: ContainerTarget, *ways: type[EngineShell] | type[HelperContainer]
) -> AsyncIterator[Rig]:
    """Reach a container as a cluster's on this engine; nothing else leads there."""
    async with Engine() as engine:
        made = [EngineShell(engine) if way is EngineShell else HelperContainer(engine, BUSYBOX) for way in ways]
        async with ExecSyncer(DockerExec(), project.root, made) as syncer:
            held = functools.partial(copied_out, target.id)
            yield Rig(project=project, syncer=syncer, target=by_engine(target), held=held)


def copied_out(container: str, place: str) -> Held | None:
    """Return what a container without a shell holds."""
    done = subprocess.run(["docker", "cp", f"{container}:{place}", "-"], capture_output=True, check=False)
    if done.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        (member,) = archive.getmembers()[:1]
        if member.issym():
            return "link", member.linkname
        file = archive.extractfile(member)
        return (f"{member.mode:o}", file.read().decode()) if file else None


_REAL = [
    pytest.param(DASH, marks=pytest.mark.docker),
    pytest.param(BUSYBOX, marks=pytest.mark.docker),
    pytest.param("engine", marks=pytest.mark.docker),
    pytest.param("helper", marks=pytest.mark.docker),
    pytest.param("cluster", marks=pytest.mark.cluster),
    pytest.param("ephemeral", marks=pytest.mark.cluster),
]


@pytest.fixture(params=["fake", *_REAL])
async def rig(
    request: pytest.FixtureRequest,
    project: DiskProject,
    containers: Callable[[str], ContainerTarget],
    run: Callable[..., ContainerTarget],
) -> AsyncIterator[Rig]:
    if request.param == "fake":
        files = FakeProject()
        syncer = FakeSyncer(files)
        target = ContainerTarget(namespace="", pod="pod", uid="uid", container="web", id="1")
        yield Rig(project=files, syncer=syncer, target=target, held=functools.partial(fake_held, syncer, target))
        return
    if request.param == "cluster":
        space: Cluster = request.getfixturevalue("space")
        target = request.getfixturevalue("shared_pod")
        space.kubectl("exec", target.pod, "--", "rm", "-rf", "/app", "/other")
        async with in_cluster(project, space, target) as real_rig:
            yield real_rig
        return
    if request.param == "ephemeral":
        space = request.getfixturevalue("space")
        target = request.getfixturevalue("bare_pod")
        look_beside(space, target.pod, "rm", "-rf", "/proc/1/root/app", "/proc/1/root/other")
        async with beside(project, space, target) as real_rig:
            yield real_rig
        return
    if request.param == "helper":
        async with by_ways(project, run(image=NO_SHELL, command=()), EngineShell, HelperContainer) as real_rig:
            yield real_rig
        return
    target = containers(DASH if request.param == "engine" else request.param)
    output("docker", "exec", target.id, "rm", "-rf", "/app", "/other")
    if request.param == "engine":
        async with by_ways(project, target, EngineShell) as real_rig:
            yield real_rig
        return
    async with real(project, target) as real_rig:
        yield real_rig


# --- every implementation ------------------------------------------------------------------------------------


async def test_a_file_arrives_with_its_content_and_mode(rig: Rig) -> None:
    await rig.sent("src/deep/a.py", "hello\n")
    assert rig.held("/app/src/deep/a.py") == ("644", "hello\n")
    await rig.sent("src/deep/a.py", "run me", 0o755)
    assert rig.held("/app/src/deep/a.py") == ("755", "run me")


async def test_an_empty_file_arrives(rig: Rig) -> None:
    await rig.sent("__init__.py", "")
    assert rig.held("/app/__init__.py") == ("644", "")


async def test_many_files_arrive_together(rig: Rig) -> None:
    paths = [f"d{number % 7}/f{number}" for number in range(40)]
    for path in paths:
        rig.project.write(path, f"content of {path}", 0o600 if path.endswith("3") else 0o644)
    changes = {rig.change(path) for path in paths}
    assert set(await rig.send(*paths)) == changes
    assert rig.held("/app/d3/f3") == ("600", "content of d3/f3")
    assert rig.held("/app/d4/f39") == ("644", "content of d4/f39")


async def test_many_files_are_replaced_together(rig: Rig) -> None:
    paths = [f"flat/f{number}" for number in range(50)]
    for turn in ("one", "two", "three"):
        for path in paths:
            rig.project.write(path, f"{turn} {path}")
        assert set(await rig.send(*paths)) == {rig.change(path) for path in paths}
        assert rig.held("/app/flat/f0") == ("644", f"{turn} flat/f0")
        assert rig.held("/app/flat/f49") == ("644", f"{turn} flat/f49")


async def test_one_source_may_have_several_destinations(rig: Rig) -> None:
    rig.project.write("a", "1")
    rig.project.write("b", "2")
    one = rig.change("a", "/app/a", "/other/place/b")
    assert await rig.syncer.send(rig.target, [one]) == (one,)
    assert rig.held("/app/a") == rig.held("/other/place/b") == ("644", "1")
    two = rig.change("b", "/app/a", "/other/place/b")
    assert set(await rig.syncer.send(rig.target, [one, replaced(two, "/app/c", "/other/c")])) == {
        one,
        replaced(two, "/app/c", "/other/c"),
    }
    assert rig.held("/other/c") == ("644", "2")


def replaced(change: FileChange, *destinations: str) -> FileChange:
    return FileChange(source=change.source, digest=change.digest, destinations=destinations)


async def test_a_deleted_file_is_deleted(rig: Rig) -> None:
    await rig.sent("a", "1")
    rig.project.delete("a")
    gone = FileChange(source=RelPath("a"), digest=None, destinations=("/app/a",))
    assert await rig.syncer.send(rig.target, [gone]) == (gone,)
    assert rig.held("/app/a") is None
    assert await rig.syncer.send(rig.target, [gone]) == (gone,), "deleting what is not there is fine"


async def test_a_link_arrives_as_a_link(rig: Rig) -> None:
    rig.project.write("a", "1")
    rig.project.link("soft", "a")
    rig.project.link("dangling", "../no where/'at all'")
    assert len(await rig.send("soft")) == 1
    assert len(await rig.send("a", "soft", "dangling")) == 3
    assert rig.held("/app/soft") == ("link", "a")
    assert rig.held("/app/dangling") == ("link", "../no where/'at all'")


async def test_a_link_becomes_a_file_and_back(rig: Rig) -> None:
    rig.project.write("a", "1")
    rig.project.link("b", "a")
    await rig.send("a", "b")
    rig.project.delete("b")
    await rig.sent("b", "2")
    assert rig.held("/app/a") == ("644", "1")
    assert rig.held("/app/b") == ("644", "2")
    rig.project.delete("b")
    rig.project.link("b", "a")
    await rig.send("b")
    assert rig.held("/app/b") == ("link", "a")


async def test_a_file_becomes_a_directory_and_back(rig: Rig) -> None:
    await rig.sent("lib", "file")
    rig.project.delete("lib")
    rig.project.write("lib/deep/x", "1")
    rig.project.write("lib/y", "2")
    assert len(await rig.send("lib/deep/x", "lib", "lib/y")) == 3
    assert rig.held("/app/lib/deep/x") == ("644", "1")
    for path in ("lib/deep/x", "lib/y"):
        rig.project.delete(path)
    if isinstance(rig.project, DiskProject):
        (rig.project.root / "lib/deep").rmdir()
        (rig.project.root / "lib").rmdir()
    rig.project.write("lib", "file again")
    assert len(await rig.send("lib", "lib/deep/x", "lib/y")) == 3
    assert rig.held("/app/lib") == ("644", "file again")


async def test_a_file_that_vanished_is_left_out(rig: Rig) -> None:
    rig.project.write("a", "1")
    rig.project.write("b", "1")
    changes = [rig.change("a"), rig.change("b")]
    rig.project.delete("a")
    assert await rig.syncer.send(rig.target, changes) == (changes[1],)
    assert rig.held("/app/a") is None


async def test_the_digest_of_what_was_really_sent_comes_back(rig: Rig) -> None:
    rig.project.write("a", "1")
    planned = rig.change("a")
    rig.project.write("a", "2")
    (sent,) = await rig.syncer.send(rig.target, [planned])
    assert sent == rig.change("a")
    assert sent != planned
    assert rig.held("/app/a") == ("644", "2")


async def test_sending_nothing_is_nothing(rig: Rig) -> None:
    assert await rig.syncer.send(rig.target, []) == ()


NAMES = [
    "with space/and 'quotes' \"both\"",
    "new\nline/in\nname",
    "-leading/-dash",
    "--/--",
    "ünï/cödé ÁÂÃ Łódź 漢字",
    "shell/$HOME `ls` $(ls) * ? [a] ; & | > < # ~ ! {a,b}",
    "back\\slash/a\\nb",
    "tab\tand trailing ",
    ".hidden/.file",
    "long/" + "n" * 200 + "/" + "m" * 230,
    "deep/" * 60 + "f",
]


async def test_names_of_every_kind_arrive_and_go(rig: Rig) -> None:
    for name in NAMES:
        rig.project.write(name, f"alone {name}")
        assert len(await rig.send(name)) == 1
    assert [name for name in NAMES if rig.held(f"/app/{name}") != ("644", f"alone {name}")] == []
    for name in NAMES:
        rig.project.write(name, f"together {name}")
    assert len(await rig.send(*NAMES)) == len(NAMES)
    for name in NAMES:
        assert rig.held(f"/app/{name}") == ("644", f"together {name}")
        rig.project.delete(name)
    assert len(await rig.send(*NAMES)) == len(NAMES)
    assert [name for name in NAMES if rig.held(f"/app/{name}")] == []


async def test_a_large_file_arrives_whole(rig: Rig) -> None:
    text = "".join(random.Random(1).choices(string.ascii_letters, k=1_700_000))
    rig.project.write("big", text, 0o640)
    rig.project.write("small", "s")
    changes = [
        replaced(rig.change("big"), "/app/big", "/other/copy of big"),
        rig.change("small"),
    ]
    assert set(await rig.syncer.send(rig.target, changes)) == set(changes)
    assert rig.held("/app/big") == ("640", text)
    assert rig.held("/other/copy of big") == ("640", text)


async def test_the_last_of_two_sends_wins(rig: Rig) -> None:
    for number in range(5):
        await rig.sent("a", f"{number}" * (number * 300_000 + 1))
    assert rig.held("/app/a") == ("644", "4" * 1_200_001)


async def test_sends_at_the_same_time_do_not_disturb_one_another(rig: Rig) -> None:
    for number in range(20):
        rig.project.write(f"f{number}", f"{number}" * (600_000 if number % 7 == 0 else 10))
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(rig.send, f"f{number}")
    assert rig.held("/app/f7") == ("644", "7" * 600_000)
    assert rig.held("/app/f19") == ("644", "19" * 10)


async def test_a_send_can_be_cancelled_and_repeated(rig: Rig) -> None:
    rig.project.write("big", "x" * 3_000_000)
    with anyio.move_on_after(0.05):
        await rig.send("big")
    await rig.sent("big", "small now")
    assert rig.held("/app/big") == ("644", "small now")


# --- commands ------------------------------------------------------------------------------------------------

real_images = pytest.mark.parametrize("image", [DASH, BUSYBOX])
docker = pytest.mark.docker


@docker
@real_images
async def test_a_command_runs_and_its_lines_and_exit_code_come_back(
    project: DiskProject, containers: Callable[[str], ContainerTarget], image: str
) -> None:
    lines: list[str] = []
    async with real(project, containers(image)) as rig:
        code = await rig.syncer.run(
            rig.target, "echo one; printf 'two\\r\\nünï'; sleep 0.1; echo three >&2; exit 7", lines.append
        )
    assert code == 7
    assert sorted(lines) == ["one", "three", "two", "ünï"]


@docker
@real_images
async def test_a_cancelled_command_is_ended_with_all_it_started(
    project: DiskProject, containers: Callable[[str], ContainerTarget], image: str
) -> None:
    target = containers(image)
    started = anyio.Event()

    def running() -> bool:
        return "sleep 4321" in output("docker", "top", target.id, "-o", "pid,args")

    async with real(project, target) as rig, anyio.create_task_group() as tasks:
        tasks.start_soon(
            rig.syncer.run, rig.target, "echo started; sh -c 'sleep 4321; echo x'; echo y", lambda _: started.set()
        )
        with anyio.fail_after(60):
            await started.wait()
        await anyio.to_thread.run_sync(eventually, running)
        tasks.cancel_scope.cancel()
    eventually(lambda: not running(), within=30)


@docker
@real_images
async def test_a_supervised_process_is_restarted_in_its_container(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str
) -> None:
    target = run("--entrypoint=/bin/sh", image=image, command=["-c", SCRIPT, "devloop-supervisor", "sleep", "1234"])

    def pid() -> str:
        listed = [line.split() for line in output("docker", "top", target.id, "-o", "pid,args").splitlines()]
        (found,) = [words[0] for words in listed if words[1:] == ["sleep", "1234"]] or [""]
        return found

    before = eventually(pid)
    async with real(project, target) as rig:
        with anyio.fail_after(60):
            await rig.syncer.restart(rig.target)
    assert pid() != before


@docker
@real_images
async def test_a_process_that_is_not_supervised_cannot_be_restarted(
    project: DiskProject, containers: Callable[[str], ContainerTarget], image: str
) -> None:
    async with real(project, containers(image)) as rig:
        with pytest.raises(ToolError, match="`web` of pod `pod` does not run under devloop's supervisor"):
            await rig.syncer.restart(rig.target)


# --- what is in the way --------------------------------------------------------------------------------------


async def _refused(project: DiskProject, target: ContainerTarget, *places: str) -> str:
    project.write("a", "x" * 300)
    project.write("b", "x" * 300)
    async with real(project, target) as rig:
        changes = [rig.change("ab"[number], place) for number, place in enumerate(places)]
        with pytest.raises(SyncRefusedError) as caught, anyio.fail_after(60):
            await rig.syncer.send(target, changes)
    return caught.value.message


@docker
@real_images
@pytest.mark.parametrize("places", [("/etc/app/a",), ("/tmp/ok", "/etc/app/b")])
async def test_a_read_only_file_system_is_named(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str, places: tuple[str, ...]
) -> None:
    target = run("--read-only", "--tmpfs=/tmp", image=image)
    assert await _refused(project, target, *places) == ("the file system at `/etc/app` of container `web` is read-only")


@docker
@real_images
@pytest.mark.parametrize("places", [("/etc/a",), ("/tmp/ok", "/etc/b")])
async def test_a_missing_permission_is_named_with_user_and_place(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str, places: tuple[str, ...]
) -> None:
    target = run("--user=65534", image=image)
    message = await _refused(project, target, *places)
    user = "nobody" if image == DASH else "65534"
    assert message == f"user `{user}` of container `web` may not write to `/etc`"


@docker
@real_images
async def test_a_full_disk_is_named(project: DiskProject, run: Callable[..., ContainerTarget], image: str) -> None:
    target = run("--tmpfs=/full:size=1m", image=image)
    project.write("big", "x" * 3_000_000)
    project.write("small", "x" * 400_000)
    async with real(project, target) as rig:
        with pytest.raises(SyncRefusedError, match="there is no space left at `/full` of container `web`"):
            await rig.syncer.send(target, [rig.change("big", "/full/big")])
        change = rig.change("small", "/full/small")
        assert await rig.syncer.send(target, [change]) == (change,), "what was half written is gone"
    assert output("docker", "exec", target.id, "ls", "-A", "/full") == "small\n"


@docker
@real_images
async def test_a_directory_where_a_file_should_be_is_named_and_kept(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str
) -> None:
    target = run(image=image)
    assert await _refused(project, target, "/etc") == (
        "`/etc` is a directory in container `web`, where a file should be"
    )
    assert output("docker", "exec", target.id, "ls", "/etc/passwd")


@docker
@real_images
async def test_a_file_where_a_directory_should_be_is_named(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str
) -> None:
    assert await _refused(project, run(image=image), "/etc/passwd/a") == (
        "`/etc/passwd` leads through a file in container `web`, where a directory should be"
    )


@docker
async def test_a_container_without_a_shell_is_refused_at_once(
    project: DiskProject, run: Callable[..., ContainerTarget]
) -> None:
    target = run("--volume=/bin", command=["sleep", "1000"])
    output("docker", "exec", target.id, "rm", "/bin/sh")
    assert await _refused(project, target, "/a") == "container `web` has no shell (`sh`)"


@docker
async def test_a_container_without_a_needed_tool_is_refused_by_its_name(
    project: DiskProject, run: Callable[..., ContainerTarget]
) -> None:
    target = run(image=DASH)
    output("docker", "exec", target.id, "rm", "/bin/dd")
    assert await _refused(project, target, "/a") == "container `web` has no `dd`"


@docker
async def test_without_tar_files_go_one_by_one(project: DiskProject, run: Callable[..., ContainerTarget]) -> None:
    target = run(image=DASH)
    output("docker", "exec", target.id, "rm", "/bin/tar")
    async with real(project, target) as rig:
        for name in ("a", "d/b", "d/c"):
            project.write(name, name)
        assert len(await rig.send("a", "d/b", "d/c")) == 3
        assert rig.held("/app/d/c") == ("644", "d/c")


@docker
@real_images
async def test_a_file_that_is_mounted_by_itself_is_named(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str, tmp_path: Path
) -> None:
    (tmp_path / "settings").write_text("x")
    target = run(f"--volume={tmp_path / 'settings'}:/conf/settings", image=image)
    for places in (("/conf/settings",), ("/conf/other", "/conf/settings")):
        assert await _refused(project, target, *places) == (
            "`/conf/settings` of container `web` is a volume's file, which cannot be replaced from inside"
        )


@docker
@real_images
async def test_what_is_in_the_way_of_one_of_many_is_named(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str
) -> None:
    target = run(image=image)
    output("docker", "exec", target.id, "mkdir", "-p", "/b/c/in-use/kept")
    output("docker", "exec", target.id, "touch", "/b/c/in-use/kept/file")
    assert await _refused(project, target, "/a/a", "/b/c/in-use") == (
        "`/b/c/in-use` is a directory in container `web`, where a file should be"
    )


@docker
@real_images
async def test_a_program_is_replaced_while_it_runs(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str
) -> None:
    target = run(image=image)
    name, *arguments = ("busybox", "sleep") if image == BUSYBOX else ("sleep",)
    output("docker", "exec", target.id, "sh", "-c", f"mkdir /app; cp /bin/{name} /app/{name}")
    output("docker", "exec", "--detach", target.id, f"/app/{name}", *arguments, "1000")
    async with real(project, target) as rig:
        await rig.sent(name, "#!/bin/sh\necho new\n", 0o755)
    assert output("docker", "exec", target.id, f"/app/{name}") == "new\n"


@docker
@real_images
async def test_a_volume_at_the_destination_takes_files(
    project: DiskProject, run: Callable[..., ContainerTarget], image: str
) -> None:
    async with real(project, run("--volume=/app", "--read-only", image=image)) as rig:
        for name in ("a", "d/b", "d/c"):
            project.write(name, name)
        assert len(await rig.send("a", "d/b", "d/c")) == 3
        assert rig.held("/app/d/c") == ("644", "d/c")


# --- beside the container ------------------------------------------------------------------------------------


def helpers(target: ContainerTarget) -> str:
    own = target.id.removeprefix("docker://")
    return output("docker", "ps", "--quiet", "--all", f"--filter=label=devloop.dev/helper-of={own}")


@docker
async def test_a_helper_follows_links_as_the_container_would(
    project: DiskProject, run: Callable[..., ContainerTarget]
) -> None:
    target = run()
    script = "mkdir -p /srv/real /app; ln -s /srv/real /app/abs; ln -s ../srv /app/rel"
    output("docker", "exec", target.id, "sh", "-c", script)
    for name in ("a", "b", "c"):
        project.write(name, name)
    async with by_ways(project, target, HelperContainer) as rig:
        changes = [rig.change("a", "/app/abs/a"), rig.change("b", "/app/rel/real/new/b"), rig.change("c", "/c")]
        assert set(await rig.syncer.send(rig.target, changes)) == set(changes)
        alone = rig.change("a", "/app/abs/alone")
        assert await rig.syncer.send(rig.target, [alone]) == (alone,)
    assert real_held(target.id, "/srv/real/a") == real_held(target.id, "/srv/real/alone") == ("644", "a")
    assert real_held(target.id, "/srv/real/new/b") == ("644", "b")
    assert real_held(target.id, "/c") == ("644", "c")


@docker
async def test_what_a_helper_writes_belongs_to_whom_it_belonged(
    project: DiskProject, run: Callable[..., ContainerTarget]
) -> None:
    target = run()
    output("docker", "exec", target.id, "sh", "-c", "mkdir /app /app/own; touch /app/a; chown 33:44 /app/a /app/own")
    for name in ("a", "b", "own/c", "own/new/deep/d"):
        project.write(name, name)
    async with by_ways(project, target, HelperContainer) as rig:
        assert len(await rig.send("a", "b", "own/c", "own/new/deep/d")) == 4
        for name in ("b", "own/new/deep/e", "own/alone/f"):
            await rig.sent(name, name)
    script = "cd /app && stat -c '%u:%g %n' a b own/c own/new own/new/deep/d own/new/deep/e own/alone own/alone/f"
    listed = dict(line.split()[::-1] for line in output("docker", "exec", target.id, "sh", "-c", script).splitlines())
    assert listed.pop("b") == "0:0"
    assert set(listed.values()) == {"33:44"}


@docker
async def test_where_the_containers_user_may_not_write_a_helper_does_and_says_so_once(
    project: DiskProject, run: Callable[..., ContainerTarget]
) -> None:
    target = by_engine(run("--user=65534"))
    notes: list[str] = []
    async with Engine() as engine:
        ways: list[Access] = [EngineShell(engine), HelperContainer(engine, BUSYBOX)]
        async with ExecSyncer(DockerExec(), project.root, ways, notes.append) as syncer:
            for text in ("1", "2"):
                project.write("a", text)
                project.write("big", text * 1_000_000)
                changes = [
                    FileChange(source=RelPath(name), digest=project.digest(name), destinations=(f"/etc/{name}",))
                    for name in ("a", "big")
                ]
                with anyio.fail_after(60):
                    assert set(await syncer.send(target, changes)) == set(changes)
    assert copied_out(target.id.removeprefix("docker://"), "/etc/a") == ("644", "2")
    reason = "user `65534` of container `web` may not write to `/etc`"
    assert notes == [f"files go into container `web` through a helper container (`{BUSYBOX}`): {reason}"]


@docker
async def test_a_helper_ends_with_its_connection(project: DiskProject, run: Callable[..., ContainerTarget]) -> None:
    target = run(image=NO_SHELL, command=())
    async with by_ways(project, target, EngineShell, HelperContainer) as rig:
        await rig.sent("a", "1")
        assert helpers(target)
    eventually(lambda: not helpers(target), within=30)


@docker
async def test_a_helper_ends_with_its_container(project: DiskProject, run: Callable[..., ContainerTarget]) -> None:
    target = run(image=NO_SHELL, command=())
    async with by_ways(project, target, HelperContainer) as rig:
        await rig.sent("a", "1")
        output("docker", "kill", target.id)
        project.write("a", "2")
        with pytest.raises(ContainerLostError), anyio.fail_after(60):
            await rig.syncer.send(rig.target, [rig.change("a")])
        await anyio.to_thread.run_sync(functools.partial(eventually, lambda: not helpers(target), within=30))


@pytest.mark.cluster
async def test_an_ephemeral_container_ends_with_the_run_it_is_for_and_the_next_gets_another(
    project: DiskProject, space: Cluster
) -> None:
    before = start_pod(space, "again", NO_SHELL, ())
    async with beside(project, space, before) as rig:
        await rig.sent("a", "1")
        assert rig.held("/app/a") == ("644", "1")
        look_beside(space, "again", "kill", "1")

        def started_again() -> ContainerTarget:
            now = target_of(space, "again")
            assert now.id not in {"", before.id}
            return now

        after = await anyio.to_thread.run_sync(eventually, started_again)
        project.write("a", "2")
        with pytest.raises(ContainerLostError), anyio.fail_after(60):
            await rig.syncer.send(before, [rig.change("a")])
        with anyio.fail_after(60):
            assert await rig.syncer.send(after, [rig.change("a")]) == (rig.change("a"),)
        assert rig.held("/app/a") == ("644", "2")


@docker
async def test_without_an_image_for_helpers_the_reason_and_a_way_out_are_told(
    project: DiskProject, run: Callable[..., ContainerTarget]
) -> None:
    target = by_engine(run(image=NO_SHELL, command=()))
    project.write("a", "1")
    async with Engine() as engine:
        ways: list[Access] = [EngineShell(engine), HelperContainer(engine, "127.0.0.1:1/no/such-image")]
        async with ExecSyncer(DockerExec(), project.root, ways) as syncer:
            change = FileChange(source=RelPath("a"), digest=project.digest("a"), destinations=("/a",))
            with pytest.raises(SyncRefusedError) as caught, anyio.fail_after(60):
                await syncer.send(target, [change])
    assert caught.value.message == "container `web` has no shell (`sh`)"
    assert "no helper container: " in caught.value.tail[-1]
    assert "project(helper=" in str(caught.value.hint)


@docker
async def test_processes_shared_with_another_container_are_no_way_in(
    project: DiskProject, run: Callable[..., ContainerTarget]
) -> None:
    first = run()
    target = run(f"--pid=container:{first.id}", image=NO_SHELL, command=())
    project.write("a", "1")
    async with by_ways(project, target, HelperContainer) as rig:
        with pytest.raises(SyncRefusedError, match="cannot tell the processes"), anyio.fail_after(60):
            await rig.send("a")


# --- connections ---------------------------------------------------------------------------------------------


@docker
async def test_a_connection_is_opened_ahead_and_closed_with_its_container(
    project: DiskProject, containers: Callable[[str], ContainerTarget]
) -> None:
    executor = DockerExec()
    async with real(project, containers(BUSYBOX), executor) as rig:
        rig.syncer.attend([rig.target])
        await anyio.to_thread.run_sync(eventually, lambda: executor.processes)
        await rig.sent("a", "1")
        await rig.sent("a", "2")
        rig.syncer.attend([rig.target])
        assert executor.opened == 1, "one connection serves all"
        rig.syncer.attend([])
        await anyio.to_thread.run_sync(eventually, lambda: not executor.processes)


@docker
async def test_a_connection_that_was_cut_is_opened_again(
    project: DiskProject, containers: Callable[[str], ContainerTarget]
) -> None:
    executor = DockerExec()
    async with real(project, containers(BUSYBOX), executor) as rig:
        await rig.sent("a", "1")
        executor.cut()
        await rig.sent("a", "2")
        assert rig.held("/app/a") == ("644", "2")


@docker
async def test_what_was_under_way_when_the_connection_was_cut_is_sent_again(
    project: DiskProject, containers: Callable[[str], ContainerTarget]
) -> None:
    executor = DockerExec()
    target = containers(DASH)
    output("docker", "exec", target.id, "rm", "-rf", "/app")
    for number in range(1500):
        project.write(f"d{number % 10}/f{number}", f"{number}" * 100)
    project.write("big", "x" * 5_000_000)
    async with real(project, target, executor) as rig:
        changes = [rig.change(f"d{number % 10}/f{number}") for number in range(1500)] + [rig.change("big")]
        done: list[FileChange] = []

        async def send() -> None:
            done.extend(await rig.syncer.send(target, changes))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            for _ in range(3):
                await anyio.sleep(0.1)
                executor.cut()
        assert set(done) == set(changes)
        assert rig.held("/app/big") == ("644", "x" * 5_000_000)

    def left_over() -> str:
        return output("docker", "exec", target.id, "find", "/app", "-name", ".devloop*")

    eventually(lambda: not left_over(), within=30)
    assert output("docker", "exec", target.id, "sh", "-c", "find /app -type f | wc -l").strip() == "1501"


@docker
@pytest.mark.parametrize("image", [DASH, BUSYBOX])
@pytest.mark.parametrize("way", ["shell", "helper"])
async def test_what_many_files_replace_is_held_until_the_transfer_is_over(
    project: DiskProject,
    containers: Callable[[str], ContainerTarget],
    monkeypatch: pytest.MonkeyPatch,
    image: str,
    way: str,
) -> None:
    target = containers(image)
    output("docker", "exec", target.id, "rm", "-rf", "/app")
    kept: list[str] = []

    def kept_by_then(held: Sequence[str], *, last: bool) -> Frame:
        kept.extend(output("docker", "exec", target.id, "sh", "-c", "cat /app/*/.devloop-*-old/*").split())
        return release(held, last=last)

    def left_over() -> str:
        return output("docker", "exec", target.id, "find", "/app", "-name", ".devloop*")

    monkeypatch.setattr("devloop.adapters.sync.session.release", kept_by_then)
    paths = [f"d{number % 2}/f{number}" for number in range(100)]
    async with real(project, target) if way == "shell" else by_ways(project, target, HelperContainer) as rig:
        for turn in ("one", "two", "three"):
            for path in paths:
                project.write(path, f"{turn}{path}\n")
            await rig.send(*paths)
            await anyio.to_thread.run_sync(eventually, lambda: not left_over())
            assert rig.held("/app/d1/f99") == ("644", f"{turn}d1/f99\n")
        assert sorted(kept) == sorted(f"{turn}{path}" for turn in ("one", "two") for path in paths)
        for path in paths:
            project.write(path, f"four{path}\n")
        await rig.send(*paths)
    eventually(lambda: not left_over())  # also when the connection ends at once
    assert output("docker", "exec", target.id, "sh", "-c", "cat /app/*/* | sort -u | wc -l").strip() == "100"


@docker
async def test_a_container_that_is_gone_is_lost(project: DiskProject, run: Callable[..., ContainerTarget]) -> None:
    target = run()
    async with real(project, target) as rig:
        await rig.sent("a", "1")
        output("docker", "kill", target.id)
        project.write("a", "2")
        with pytest.raises(ContainerLostError), anyio.fail_after(60):
            await rig.syncer.send(target, [rig.change("a")])


@docker
async def test_whoever_waits_hears_when_a_container_is_no_longer_attended(
    project: DiskProject, containers: Callable[[str], ContainerTarget]
) -> None:
    nowhere = ContainerTarget(namespace="", pod="pod", uid="uid", container="web", id="no-such-container")
    project.write("a", "1")
    async with real(project, containers(BUSYBOX)) as rig, anyio.create_task_group() as tasks:
        failed = anyio.Event()

        async def send() -> None:
            with pytest.raises(ContainerLostError):
                await rig.syncer.send(nowhere, [rig.change("a")])
            failed.set()

        tasks.start_soon(send)
        await anyio.sleep(0.05)
        rig.syncer.attend([])
        with anyio.fail_after(60):
            await failed.wait()


@docker
async def test_a_refusal_does_not_end_the_work_of_others(
    project: DiskProject, containers: Callable[[str], ContainerTarget]
) -> None:
    async with real(project, containers(BUSYBOX)) as rig:
        project.write("a", "1")
        with pytest.raises(SyncRefusedError):
            await rig.syncer.send(rig.target, [rig.change("a", "/etc")])
        await rig.sent("a", "2")


@pytest.mark.cluster
async def test_a_pod_that_is_deleted_is_lost(project: DiskProject, space: Cluster) -> None:
    target = start_pod(space, "deleted", BUSYBOX)
    async with in_cluster(project, space, target) as rig:
        await rig.sent("a", "1")
        await anyio.to_thread.run_sync(space.kubectl, "delete", "pod", target.pod, "--grace-period=0", "--force")
        project.write("a", "2")

        async def send_until_it_is_gone() -> None:
            while True:  # the kubelet takes a moment to end it
                await rig.syncer.send(target, [rig.change("a")])

        with pytest.raises(ContainerLostError), anyio.fail_after(60):
            await send_until_it_is_gone()


@docker
async def test_a_small_file_does_not_wait_for_a_large_one(
    project: DiskProject, containers: Callable[[str], ContainerTarget], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (project.root / "huge").open("wb") as file:
        file.truncate(40_000_000)
    project.write("small", "s")
    read, begun, go_on = LargeFile.read, anyio.Event(), threading.Event()
    pieces: list[int] = []

    def halting(file: LargeFile) -> bytes:
        """Read some pieces, and the next one only when the small files have arrived."""
        if len(pieces) == 8:
            anyio.from_thread.run_sync(begun.set)
            go_on.wait()
        data = read(file)
        pieces.append(len(data))
        return data

    monkeypatch.setattr(LargeFile, "read", halting)
    async with by_ways(project, containers(DASH), EngineShell) as rig, anyio.create_task_group() as tasks:
        huge, small = rig.change("huge"), rig.change("small")
        await rig.send("small")
        tasks.start_soon(rig.syncer.send, rig.target, [huge])
        try:
            with anyio.fail_after(60):
                await begun.wait()
            for _ in range(5):
                assert await rig.send("small") == (small,)
            assert _pieces(rig.target), "the large one is still under way"
        finally:
            go_on.set()
            tasks.cancel_scope.cancel()
    eventually(lambda: not _pieces(rig.target), within=30)


def _pieces(target: ContainerTarget) -> str:
    """Return the temporary files of a container."""
    own = target.id.removeprefix("docker://")
    return output("docker", "exec", own, "find", "/app", "-name", ".devloop*", "-size", "+1000k")


# --- readers -------------------------------------------------------------------------------------------------

_READER = """
import os, sys
seen, torn, missing = set(), 0, 0
print("ready", flush=True)
while not os.path.exists("/app/stop"):
    for name in ("/app/one", "/app/d/two"):
        try:
            text = open(name).read()
        except FileNotFoundError:
            missing += 1
            continue
        seen.add(text[:1])
        torn += len(set(text)) != 1 or len(text) != 200000
print(len(seen), torn, missing)
"""


@docker
async def test_no_reader_ever_sees_half_a_file_or_none(
    project: DiskProject, containers: Callable[[str], ContainerTarget]
) -> None:
    lines: list[str] = []
    ready = anyio.Event()

    def report(line: str) -> None:
        lines.append(line)
        ready.set()

    async with real(project, containers(DASH)) as rig, anyio.create_task_group() as tasks:
        for name in ("one", "d/two", "d/three"):
            await rig.sent(name, "a" * 200_000)
        tasks.start_soon(rig.syncer.run, rig.target, f"exec python3 -c '{_READER}'", report)
        with anyio.fail_after(60):
            await ready.wait()
        for letter in "bcdefghijklmnopqrstuvwxyz":
            await rig.sent("one", letter * 200_000)
            for name in ("d/two", "d/three"):
                project.write(name, letter * 200_000)
            await rig.send("d/two", "d/three")
        await rig.sent("stop", "")
    seen, torn, missing = map(int, lines[-1].split())
    assert (torn, missing) == (0, 0)
    assert seen > 5
