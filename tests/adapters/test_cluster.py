"""What every `Cluster` does: the fake in memory and the real one, held to the same behaviour."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from devloop.adapters.docker import Engine
from devloop.adapters.docker.cluster.target import DockerCluster
from devloop.adapters.kube.cluster import KubeCluster
from devloop.core.cluster.pods import Pod
from devloop.core.cluster.rollout import Ready
from devloop.core.manifest import Manifest, parse, to_yaml
from devloop.errors import ToolError
from devloop.model import ContainerTarget
from devloop.runtime.ports import Cluster, ContainerLostError, ExecExit, ExecOutput, ExecStream
from tests.engine import object_names, put_object, remove_all
from tests.fakes.cluster import FakeCluster, target
from tests.outside import Cluster as Namespace

pytestmark = pytest.mark.anyio

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {label}}}}}
  template:
    metadata: {{labels: {{app: {label}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: app
          image: busybox
          imagePullPolicy: IfNotPresent
          command: [sh, -c, "exec nc -ll -p 7000 -e cat"]
          ports: [{{containerPort: 7000}}]
          readinessProbe: {{tcpSocket: {{port: 7000}}, periodSeconds: 1, timeoutSeconds: 30}}
          env: [{{name: VERSION, value: "{version}"}}]
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}}}
data: {{key: "{value}"}}
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {{name: job}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: app, image: busybox, imagePullPolicy: IfNotPresent, command: [echo, "{word}"]}}]
"""


def workload(name: str = "web", *, replicas: int = 1, version: str = "1", label: str | None = None) -> list[Manifest]:
    text = WORKLOAD.format(name=name, replicas=replicas, version=version, label=label or name)
    return list(parse(text, path=f"k8s/{name}.yaml"))


def config(name: str = "settings", value: str = "1") -> list[Manifest]:
    return list(parse(CONFIG.format(name=name, value=value), path=f"k8s/{name}.yaml"))


def job(word: str) -> list[Manifest]:
    return list(parse(JOB.format(word=word), path="k8s/job.yaml"))


@dataclass(frozen=True)
class Place:
    """A cluster for one test, as many sessions of it as the test opens, and a way to look at it from outside."""

    open: Callable[..., AbstractAsyncContextManager[Cluster]]
    put: Callable[[list[Manifest]], None]
    names: Callable[[str], set[str]]
    """Returns the names of the objects of a kind, for example `configmap`."""


@pytest.fixture(
    params=[
        "fake",
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("real", marks=pytest.mark.cluster),
    ]
)
def place(request: pytest.FixtureRequest, unique_name: str) -> Iterator[Place]:
    match request.param:
        case "fake":
            yield _fake_place()
        case "docker":
            yield _docker_place(unique_name)
            remove_all(unique_name)
        case _:
            namespace: Namespace = request.getfixturevalue("cluster")
            yield _real_place(namespace)


def _fake_place() -> Place:
    fake = FakeCluster("shop")
    others = {"shop": fake}

    class Session:
        def __init__(self, project: str = "shop") -> None:
            self.cluster = others.setdefault(project, fake.beside(project))

        async def __aenter__(self) -> FakeCluster:
            return self.cluster

        async def __aexit__(self, *_: object) -> None:
            return None

    def names(kind: str) -> set[str]:
        return {key.name for key in fake.everything() if key.kind.lower() == kind}

    def put(manifests: list[Manifest]) -> None:
        for manifest in manifests:
            fake.put(manifest)

    return Place(open=Session, put=put, names=names)


def _real_place(namespace: Namespace) -> Place:
    def open_session(project: str = "shop") -> AbstractAsyncContextManager[Cluster]:
        return KubeCluster.open(
            project=project,
            context=namespace.context,
            kubeconfig=namespace.kubeconfig,
            namespace=namespace.namespace,
        )

    def put(manifests: list[Manifest]) -> None:
        namespace.kubectl("create", "-f", "-", stdin=to_yaml(manifests))

    def names(kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in namespace.get(kind)["items"]} - {"kube-root-ca.crt"}

    return Place(open=open_session, put=put, names=names)


def _docker_place(namespace: str) -> Place:
    @asynccontextmanager
    async def open_session(project: str = "shop") -> AsyncIterator[Cluster]:
        async with Engine() as engine, DockerCluster.open(engine, project=project, namespace=namespace) as cluster:
            yield cluster

    def put(manifests: list[Manifest]) -> None:
        for manifest in manifests:
            put_object(manifest.in_namespace(namespace))

    return Place(open=open_session, put=put, names=lambda kind: object_names(namespace, kind))


@pytest.fixture
async def cluster_of(place: Place) -> AsyncIterator[Cluster]:
    async with place.open() as cluster:
        yield cluster


async def ready(cluster: Cluster, service: str, manifests: list[Manifest]) -> None:
    await cluster.apply(service, manifests)
    await cluster.wait(service, manifests, lambda _: None, patience=20)


async def pod_that(cluster: Cluster, condition: Callable[[Pod], bool]) -> Pod:
    async with cluster.pods() as snapshots:
        async for pods in snapshots:
            found = [pod for pod in pods if pod.ready and not pod.deleting and condition(pod)]
            if found:
                return found[0]
    raise AssertionError


async def all_of(stream: ExecStream) -> tuple[bytes, bytes, int]:
    out, err = b"", b""
    while True:
        match await stream.receive():
            case ExecOutput(data=data, stderr=stderr):
                out, err = (out, err + data) if stderr else (out + data, err)
            case ExecExit(code=code):
                return out, err, code


def keys(objects: tuple[Any, ...]) -> set[str]:
    return {str(key) for key in objects}


# --- apply ---------------------------------------------------------------------------------------------------


async def test_applies_what_is_new_and_leaves_alone_what_is_the_same(cluster_of: Cluster) -> None:
    first = await cluster_of.apply("web", config() + config("other"))
    assert keys(first.changed) == {"configmap/settings", "configmap/other"}
    second = await cluster_of.apply("web", config(value="2") + config("other"))
    assert keys(second.changed) == {"configmap/settings"}
    assert keys(second.unchanged) == {"configmap/other"}


async def test_knows_in_a_later_session_what_was_applied(place: Place) -> None:
    async with place.open() as cluster:
        await cluster.apply("web", config())
    async with place.open() as cluster:
        assert keys((await cluster.apply("web", config())).unchanged) == {"configmap/settings"}


async def test_removes_what_vanished_from_the_manifests(place: Place, cluster_of: Cluster) -> None:
    await cluster_of.apply("web", config() + config("old"))
    await cluster_of.apply("db", config("data"))
    applied = await cluster_of.apply("web", config())
    assert keys(applied.removed) == {"configmap/old"}
    assert {"settings", "data"} <= place.names("configmap")
    assert "old" not in place.names("configmap")


async def test_an_object_that_moved_to_another_service_stays(place: Place, cluster_of: Cluster) -> None:
    await cluster_of.apply("web", config() + config("shared"))
    await cluster_of.apply("db", config("shared"))
    applied = await cluster_of.apply("web", config())
    assert applied.removed == ()
    assert "shared" in place.names("configmap")


async def test_replaces_what_cannot_be_changed_in_place(cluster_of: Cluster) -> None:
    await ready(cluster_of, "job", job("one"))
    assert keys((await cluster_of.apply("job", job("two"))).replaced) == {"job/job"}
    await cluster_of.apply("web", workload(replicas=0))
    assert keys((await cluster_of.apply("web", workload(replicas=0, label="x"))).replaced) == {"deployment/web"}


async def test_refuses_an_object_of_another_project_and_names_it(place: Place) -> None:
    async with place.open(project="other") as other:
        await other.apply("web", config())
    async with place.open() as cluster:
        with pytest.raises(ToolError, match=r"configmap/settings.*k8s/settings.yaml:2.*`other`"):
            await cluster.apply("web", config())


# --- remove --------------------------------------------------------------------------------------------------


async def test_removes_what_it_created_and_leaves_what_it_found(place: Place) -> None:
    place.put(config("found"))
    async with place.open() as cluster:
        await cluster.apply("web", config("found", "2") + config("made"))
        assert keys(await cluster.remove()) == {"configmap/made"}
        assert await cluster.objects() == ()
    assert "found" in place.names("configmap")


async def test_removes_only_the_services_that_are_named(place: Place, cluster_of: Cluster) -> None:
    await cluster_of.apply("web", config("one"))
    await cluster_of.apply("db", config("two"))
    assert keys(await cluster_of.remove(["web"])) == {"configmap/one"}
    assert [(each.service, str(each.key)) for each in await cluster_of.objects()] == [("db", "configmap/two")]


async def test_what_was_removed_can_be_applied_again_at_once(cluster_of: Cluster) -> None:
    await cluster_of.apply("web", workload(replicas=0))
    await cluster_of.remove()
    applied = await cluster_of.apply("web", workload(replicas=0))
    assert keys(applied.changed) == {"deployment/web"}


# --- rollouts and pods ---------------------------------------------------------------------------------------


async def test_waits_until_the_pods_are_ready(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload(replicas=2))
    assert await cluster_of.state("web", workload(replicas=2)) == Ready()
    async with cluster_of.pods() as snapshots:
        pods = await snapshots.receive()
    assert [(pod.service, pod.project, pod.ready) for pod in pods] == [("web", "shop", True)] * 2


async def test_a_changed_template_makes_new_pods_and_an_unchanged_one_none(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload())
    first = await pod_that(cluster_of, lambda _: True)
    await ready(cluster_of, "web", workload())
    assert (await pod_that(cluster_of, lambda _: True)).uid == first.uid
    await ready(cluster_of, "web", workload(version="2"))
    assert (await pod_that(cluster_of, lambda pod: pod.uid != first.uid)).service == "web"


async def test_every_subscriber_sees_all_pods_and_then_each_change(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload())
    async with cluster_of.pods() as first, cluster_of.pods() as second:
        assert [pod.service for pod in await first.receive()] == ["web"]
        await cluster_of.apply("db", workload("db"))
        for snapshots in (first, second):
            async for pods in snapshots:
                if {pod.service for pod in pods} == {"web", "db"}:
                    break


# --- in the containers ---------------------------------------------------------------------------------------


async def test_runs_a_command_and_tells_its_output_and_exit_code(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload())
    pod = await pod_that(cluster_of, lambda _: True)
    async with cluster_of.exec(target(pod), ["sh", "-c", "echo out; echo err >&2; exit 3"]) as stream:
        assert await all_of(stream) == (b"out\n", b"err\n", 3)


async def test_feeds_a_command(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload())
    pod = await pod_that(cluster_of, lambda _: True)
    async with cluster_of.exec(target(pod), ["cat"], stdin=True) as stream:
        for word in (b"one\n", b"two\n"):
            await stream.send(word)
            assert await stream.receive() == ExecOutput(data=word)


async def test_a_cancelled_command_is_left_at_once(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload())
    pod = await pod_that(cluster_of, lambda _: True)
    async with cluster_of.exec(target(pod), ["sleep", "1000"]) as stream:  # longer than the test may take
        with anyio.move_on_after(0.05) as scope:
            await stream.receive()
    assert scope.cancelled_caught


@pytest.mark.parametrize("wrong", ["pod", "id"])
async def test_a_container_that_is_not_there_is_lost(cluster_of: Cluster, wrong: str) -> None:
    await ready(cluster_of, "web", workload())
    there = target(await pod_that(cluster_of, lambda _: True))
    gone = ContainerTarget(
        namespace=there.namespace,
        pod="nobody" if wrong == "pod" else there.pod,
        uid=there.uid,
        container=there.container,
        id="docker://0" if wrong == "id" else there.id,
    )
    with pytest.raises(ContainerLostError, match=gone.pod):
        async with cluster_of.exec(gone, ["cat"]):
            pass


async def test_there_is_no_log_of_a_run_that_never_was(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload())
    pod = await pod_that(cluster_of, lambda _: True)
    with pytest.raises(ContainerLostError, match="has no log"):
        async with cluster_of.logs(target(pod), follow=False, previous=True):
            pass


async def test_a_log_that_is_not_followed_ends(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload())
    pod = await pod_that(cluster_of, lambda _: True)
    async with cluster_of.logs(target(pod), follow=False) as lines:
        assert [line async for line in lines] == []


async def test_connects_to_a_port_and_carries_bytes_both_ways(cluster_of: Cluster) -> None:
    await ready(cluster_of, "web", workload())
    pod = await pod_that(cluster_of, lambda _: True)
    async with cluster_of.connect(pod, 7000) as stream:
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        await stream.send(b"again")
        assert await stream.receive() == b"again"
