"""What happens between devloop and an API server that misbehaves: expired logins, refusals, outages, lost history."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
import yaml

from devloop.adapters.kube.cluster import KubeCluster
from devloop.adapters.kube.login import Credentials
from devloop.adapters.kube.session import RefusedError, Session
from devloop.core.cluster.pods import Pod
from devloop.core.manifest import Manifest, parse
from devloop.errors import ToolError, UnreachableError
from tests.fakes.api_server import ApiServer, Asked, Reply, api_server

pytestmark = pytest.mark.anyio

POD = "/api/v1/namespaces/default/pods/{}"
LABELS = {"devloop.dev/project": "shop", "devloop.dev/service": "web"}


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server() as server:
        server.put("/api/v1/namespaces/default")
        server.put("/api/v1/namespaces/default/serviceaccounts/default")
        yield server


@pytest.fixture
async def cluster(server: ApiServer, tmp_path: Path) -> AsyncIterator[KubeCluster]:
    async with open_cluster(server, tmp_path) as cluster:
        yield cluster


@asynccontextmanager
async def open_cluster(server: ApiServer, folder: Path) -> AsyncIterator[KubeCluster]:
    kubeconfig = folder / "config"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "kind-x", "cluster": {"server": server.url}}],
                "users": [{"name": "me", "user": {"token": "secret"}}],
                "contexts": [{"name": "kind-x", "context": {"cluster": "kind-x", "user": "me"}}],
                "current-context": "kind-x",
            }
        )
    )
    async with KubeCluster.open(project="shop", kubeconfig=kubeconfig) as cluster:
        yield cluster


def manifests(text: str) -> list[Manifest]:
    return list(parse(text, path="k8s/app.yaml"))


def config(name: str = "settings", value: str = "1") -> list[Manifest]:
    return manifests(f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{a: '{value}'}}}}")


def status(code: int, message: str) -> Reply:
    return Reply(code=code, document={"kind": "Status", "status": "Failure", "message": message, "code": code})


async def names(snapshots: anyio.abc.ObjectReceiveStream[tuple[Pod, ...]]) -> list[str]:
    return [pod.name for pod in await snapshots.receive()]


# --- calls ---------------------------------------------------------------------------------------------------


async def test_an_expired_login_is_renewed_once(server: ApiServer) -> None:
    logins: list[str] = []

    async def log_in() -> Credentials:
        await anyio.lowlevel.checkpoint()
        logins.append(f"token-{len(logins)}")
        return Credentials(server=server.url, tls=None, token=logins[-1])

    server.override = lambda asked: status(401, "who?") if asked.headers["authorization"] == "Bearer token-0" else None
    async with Session(await log_in(), log_in) as session, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(session.call, "GET", "/api/v1/namespaces/default")
    assert logins == ["token-0", "token-1"]


@pytest.mark.timeout(120)
async def test_cancelled_calls_take_nothing_away(server: ApiServer) -> None:
    """A call that is cancelled at any moment leaves its place and its connection to the next one."""

    async def log_in() -> Credentials:
        raise AssertionError

    async with Session(Credentials(server=server.url, tls=None, token="t"), log_in) as session:
        for moment in range(200):  # from before the connection is asked for until after the answer
            async with anyio.create_task_group() as tasks:
                for _ in range(12):
                    tasks.start_soon(session.call, "GET", "/api/v1/namespaces/default")
                for _ in range(moment % 100):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        with anyio.fail_after(60):
            assert (await session.call("GET", "/api/v1/namespaces/default")).good
        await server.until(lambda server: len(server.open) <= 10)


async def test_a_login_that_is_never_good_is_told(server: ApiServer, cluster: KubeCluster) -> None:
    server.override = lambda _: status(401, "Unauthorized")
    with pytest.raises(RefusedError, match="Unauthorized") as refused:
        await cluster.objects()
    assert refused.value.exit_code == 401


async def test_what_this_user_may_do_is_asked(server: ApiServer, cluster: KubeCluster) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    def review(asked: Asked) -> Reply | None:
        if asked.path != path:
            return None
        wanted = asked.body["spec"]["resourceAttributes"]
        return Reply(code=201, document={"status": {"allowed": wanted["subresource"] == "log"}})

    server.override = review
    assert await cluster.may("get", "", "pods/log")
    assert not await cluster.may("patch", "apps", "deployments")
    (_, asked) = server.asked("POST", path)
    wanted = asked.body["spec"]["resourceAttributes"]
    assert wanted == {
        "namespace": "default",
        "verb": "patch",
        "group": "apps",
        "resource": "deployments",
        "subresource": "",
    }
    server.override = lambda _: status(403, "no reviews here")
    assert await cluster.may("patch", "apps", "deployments")


async def test_headers_of_the_credentials_go_with_each_request(server: ApiServer) -> None:
    async def log_in() -> Credentials:
        raise AssertionError

    headers = (("Impersonate-User", "somebody"), ("Impersonate-Group", "one"))
    async with Session(Credentials(server=server.url, tls=None, headers=headers), log_in) as session:
        await session.call("GET", "/api/v1/namespaces/default")
    (asked,) = server.asked("GET", "/api/v1/namespaces/default")
    assert (asked.headers["impersonate-user"], asked.headers["impersonate-group"]) == ("somebody", "one")


async def test_a_refused_call_disturbs_no_stream(server: ApiServer, cluster: KubeCluster) -> None:
    async with cluster.pods() as snapshots:
        assert await names(snapshots) == []
        forbidden = status(403, "forbidden: User cannot list configmaps")
        server.override = lambda asked: forbidden if asked.method == "PATCH" else None
        with pytest.raises(RefusedError, match="forbidden"):
            await cluster.apply("web", config())
        server.put(POD.format("one"), metadata={"labels": LABELS})
        assert await names(snapshots) == ["one"]
    assert len([each for each in server.requests if each.method == "PATCH"]) == 1


async def test_pods_that_may_not_be_read_are_told(server: ApiServer, cluster: KubeCluster) -> None:
    server.override = lambda asked: status(403, "forbidden") if asked.path.endswith("/pods") else None
    async with cluster.pods() as snapshots:
        with pytest.raises(RefusedError, match="reading pods: forbidden"):
            await snapshots.receive()


async def test_no_server_is_said_at_once(server: ApiServer, tmp_path: Path) -> None:
    server.url = "http://127.0.0.1:1"
    async with open_cluster(server, tmp_path) as cluster:
        with anyio.fail_after(10), pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 does not answer"):
            await cluster.apply("web", config())


async def test_a_server_that_cannot_serve_now_is_unreachable(server: ApiServer, cluster: KubeCluster) -> None:
    server.override = lambda _: status(503, "apiserver is shutting down")
    with pytest.raises(UnreachableError, match="shutting down"):
        await cluster.apply("web", config())


# --- watches -------------------------------------------------------------------------------------------------


async def test_a_watch_goes_on_where_the_server_ended_it(server: ApiServer, cluster: KubeCluster) -> None:
    async with cluster.pods() as snapshots:
        assert await names(snapshots) == []
        await server.until(lambda server: server.watches == 1)
        server.end_watches()
        await server.until(lambda server: server.watches == 0)
        server.put(POD.format("one"), metadata={"labels": LABELS})
        assert await names(snapshots) == ["one"]
    assert len([each for each in server.asked("GET", "/pods") if "watch" not in each.query]) == 1


async def test_lost_history_is_read_anew(server: ApiServer, cluster: KubeCluster) -> None:
    server.put(POD.format("old"), metadata={"labels": LABELS})
    async with cluster.pods() as snapshots:
        assert await names(snapshots) == ["old"]
        await server.until(lambda server: server.watches == 1)
        server.end_watches()
        server.delete(POD.format("old"))
        server.put(POD.format("new"), metadata={"labels": LABELS})
        server.forget_history()
        assert await names(snapshots) == ["new"]
    assert len(server.asked("GET", "/pods")) <= 4


async def test_an_outage_is_outlived(server: ApiServer, tmp_path: Path) -> None:
    async with api_server() as first, open_cluster(first, tmp_path) as cluster:
        first.put("/api/v1/namespaces/default")
        first.put(POD.format("one"), metadata={"labels": LABELS})
        async with cluster.pods() as snapshots:
            assert await names(snapshots) == ["one"]
            first.stop()
            await first.until(lambda server: not server.open)
            with pytest.raises(UnreachableError):
                await cluster.apply("web", config())
            first.put(POD.format("two"), metadata={"labels": LABELS})
            async with api_server(_port(first), first):
                with anyio.fail_after(10):
                    assert await names(snapshots) == ["one", "two"]
                    await cluster.apply("web", config())


def _port(server: ApiServer) -> int:
    return urlsplit(server.url).port or 0


async def test_a_slow_reader_gets_the_newest_pods(server: ApiServer, cluster: KubeCluster) -> None:
    async with cluster.pods() as slow, cluster.pods() as quick:
        assert await names(slow) == []
        for name in ("a", "b", "c"):
            server.put(POD.format(name), metadata={"labels": LABELS})
        while await names(quick) != ["a", "b", "c"]:
            pass
        assert await names(slow) == ["a", "b", "c"]


# --- apply ---------------------------------------------------------------------------------------------------

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: policies.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {kind: Policy, plural: policies}
  versions: [{name: v1, served: true, storage: true}]
---
apiVersion: example.com/v1
kind: Policy
metadata: {name: strict}
"""
DEFINED = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/policies.example.com"


async def test_a_custom_resource_waits_for_its_definition(server: ApiServer, cluster: KubeCluster) -> None:
    async def establish() -> None:
        await server.until(lambda server: len(server.asked("GET", "/policies.example.com")) >= 3)
        assert not server.asked("PATCH", "/policies/strict")
        conditions = [{"type": "Established", "status": "True"}]
        server.put(DEFINED, **{**server.objects[DEFINED], "status": {"conditions": conditions}})
        await server.until(lambda server: len(server.asked("GET", "/apis/example.com/v1")) >= 2)
        assert not server.asked("PATCH", "/policies/strict")
        server.kinds["example.com/v1"] = [{"name": "policies", "kind": "Policy", "namespaced": False}]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(establish)
        applied = await cluster.apply("web", manifests(DEFINITION))
    assert {str(key) for key in applied.changed} == {
        "customresourcedefinition/policies.example.com",
        "policy/strict",
    }
    assert "/apis/example.com/v1/policies/strict" in server.objects


async def test_a_kind_that_is_not_served_is_told_with_its_place(server: ApiServer, cluster: KubeCluster) -> None:
    with pytest.raises(ToolError, match=r"knows no `Policy` in `example.com/v1`.*k8s/app.yaml:10") as error:
        await cluster.apply("web", manifests("\n" * 8 + DEFINITION.partition("---")[2]))
    assert error.value.hint == "is its CustomResourceDefinition installed?"


async def test_custom_resources_go_before_their_definition(server: ApiServer, cluster: KubeCluster) -> None:
    server.kinds["example.com/v1"] = [{"name": "policies", "kind": "Policy", "namespaced": False}]
    server.override = _established
    await cluster.apply("web", manifests(DEFINITION))
    await cluster.remove()
    deleted = [each.path.rpartition("/")[2] for each in server.requests if each.method == "DELETE"]
    assert deleted == ["strict", "policies.example.com", "devloop-shop"]


async def test_a_definition_that_others_use_stays(server: ApiServer, cluster: KubeCluster) -> None:
    server.kinds["example.com/v1"] = [{"name": "policies", "kind": "Policy", "namespaced": False}]
    server.override = _established
    await cluster.apply("web", manifests(DEFINITION))
    server.put("/apis/example.com/v1/policies/theirs")
    assert [str(key) for key in await cluster.remove()] == ["policy/strict"]
    assert DEFINED in server.objects


def _established(asked: Asked) -> Reply | None:
    if asked.method != "GET" or asked.path != DEFINED or "Partial" in asked.headers.get("accept", ""):
        return None
    spec = next(iter(manifests(DEFINITION))).document["spec"]
    conditions = [{"type": "Established", "status": "True"}]
    return Reply(code=200, document={"spec": spec, "status": {"conditions": conditions}})


async def test_an_object_that_holds_data_is_never_replaced(server: ApiServer, cluster: KubeCluster) -> None:
    claim = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, spec: {volumeName: %s}}"
    await cluster.apply("db", manifests(claim % "a"))
    immutable = status(422, "spec: Forbidden: is immutable")
    server.override = lambda asked: immutable if asked.method == "PATCH" and asked.path.endswith("/data") else None
    with pytest.raises(ToolError, match="holds data") as error:
        await cluster.apply("db", manifests(claim % "b"))
    assert error.value.hint
    assert not server.asked("DELETE", "/data")


async def test_what_is_wrong_in_itself_is_not_replaced(server: ApiServer, cluster: KubeCluster) -> None:
    await cluster.apply("web", config())
    wrong = status(422, "data: Invalid value")
    server.override = lambda asked: wrong if asked.method in {"PATCH", "POST"} else None
    with pytest.raises(RefusedError, match=r"`configmap/settings` \(k8s/app.yaml:1:69\): data: Invalid value"):
        await cluster.apply("web", config(value="2"))
    assert not server.asked("DELETE", "/settings")


async def test_a_namespace_is_made_when_missing_and_goes_only_when_empty(tmp_path: Path) -> None:
    async with api_server() as server:
        server.override = lambda asked: (
            Reply(code=200, document={"metadata": {"name": "default", "uid": "1"}})
            if asked.path.endswith("/serviceaccounts/default")
            else None
        )
        async with open_cluster(server, tmp_path) as cluster:
            await cluster.apply("web", config())
            assert "/api/v1/namespaces/default" in server.objects
            theirs = "/api/v1/namespaces/default/configmaps/theirs"
            server.put(theirs)
            assert [str(key) for key in await cluster.remove()] == ["configmap/settings"]
            await cluster.apply("web", config())
            server.delete(theirs)
            assert [str(key) for key in await cluster.remove()] == ["configmap/settings", "namespace/default"]


async def test_twenty_unchanged_services_share_their_requests(server: ApiServer, cluster: KubeCluster) -> None:
    async def apply_all() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(cluster.apply, f"s{number}", config(f"c{number}"))

    await apply_all()
    server.requests.clear()
    await apply_all()
    assert len(server.requests) <= 2


async def test_pull_secrets_are_looked_up_without_their_content(server: ApiServer, cluster: KubeCluster) -> None:
    account = "/api/v1/namespaces/default/serviceaccounts/puller"
    server.put(account, imagePullSecrets=[{"name": "regcred"}])
    server.put("/api/v1/namespaces/default/secrets/regcred", data={"token": "c2VjcmV0"})
    assert await cluster.pull_secrets("default", "puller") == ("regcred",)
    assert await cluster.pull_secrets("default", "nobody") == ()
    assert await cluster.has_secret("default", "regcred")
    assert not await cluster.has_secret("default", "other")
    asked = server.asked("GET", "/api/v1/namespaces/default/secrets/regcred")
    assert "PartialObjectMetadata" in asked[0].headers["accept"]


async def test_a_secret_that_may_not_be_looked_at_counts_as_there(server: ApiServer, cluster: KubeCluster) -> None:
    server.override = lambda _: status(403, "forbidden")
    assert await cluster.has_secret("default", "regcred")
    assert await cluster.pull_secrets("default", "default") == ()
