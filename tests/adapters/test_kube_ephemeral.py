"""Shells beside containers in ephemeral ones, on a made-up server: what goes wrong (test_sync.py has the real ones)."""

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from devloop.adapters.kube.ephemeral import EphemeralContainers
from devloop.adapters.kube.login import Credentials
from devloop.adapters.kube.session import Session
from devloop.model import ContainerTarget
from devloop.runtime.ports import ContainerLostError, SyncRefusedError
from tests.fakes.api_server import ApiServer, Asked, Reply, api_server
from tests.fakes.containers import FakeExec

pytestmark = pytest.mark.anyio

POD = "/api/v1/namespaces/shop/pods/web"
TARGET = ContainerTarget(namespace="shop", pod="web", uid="u1", container="app", id="containerd://1")
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def status(container: str = TARGET.id, state: dict[str, Any] = RUNNING) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "app", "containerID": container, "state": state}]}


class Shells:
    """Notes which commands are run where."""

    def __init__(self) -> None:
        self.run: list[tuple[ContainerTarget, Sequence[str]]] = []

    @asynccontextmanager
    async def execute(self, target: ContainerTarget, command: Sequence[str]) -> AsyncIterator[FakeExec]:
        self.run.append((target, command))
        yield FakeExec(command, target)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server() as server:
        server.put(POD, metadata={"uid": "u1"}, spec={"containers": [{"name": "app"}]}, status=status())
        server.override = answering(server, RUNNING)
        yield server


@pytest.fixture
def shells() -> Shells:
    return Shells()


@pytest.fixture
async def beside(server: ApiServer, shells: Shells) -> AsyncIterator[EphemeralContainers]:
    async def renew() -> Credentials:
        raise NotImplementedError

    async with Session(Credentials(server=server.url, tls=None), renew) as session:
        yield EphemeralContainers(session, shells.execute, "busybox")


def answering(
    server: ApiServer, state: dict[str, Any], target: ContainerTarget = TARGET
) -> Callable[[Asked], Reply | None]:
    """Return what a server of 1.23 or later answers; the ephemeral container gets into this state."""

    def answer(asked: Asked) -> Reply | None:
        match asked.method, asked.path:
            case "GET", "/api/v1":
                entry = {"name": "pods/ephemeralcontainers", "kind": "Pod", "namespaced": True}
                return Reply(code=200, document={"resources": [{"name": "pods", "kind": "Pod"}, entry]})
            case "PATCH", path if path == f"{POD}/ephemeralcontainers":
                pod = server.objects[POD]
                added = asked.body["spec"]["ephemeralContainers"]
                statuses = [{"name": each["name"], "state": state} for each in added]
                spec = {**pod["spec"], "ephemeralContainers": added}
                server.put(
                    POD,
                    **{**pod, "spec": spec, "status": {**status(target.id), "ephemeralContainerStatuses": statuses}},
                )
                return Reply(code=200, document=server.objects[POD])
            case _:
                return None

    return answer


async def open_shell(beside: EphemeralContainers, target: ContainerTarget = TARGET) -> None:
    with anyio.fail_after(60):
        async with beside.shell(target, "script"):
            pass


async def test_a_shell_runs_in_a_container_that_shares_the_processes_of_the_other(
    server: ApiServer, beside: EphemeralContainers, shells: Shells
) -> None:
    assert await beside.leads_to(TARGET)
    await open_shell(beside)
    (added,) = server.objects[POD]["spec"]["ephemeralContainers"]
    assert (added["targetContainerName"], added["image"]) == ("app", "busybox")
    assert added["securityContext"]["runAsUser"] == 0
    ((where, command),) = shells.run
    assert (where.pod, where.container, where.id, command) == ("web", added["name"], "", ("sh", "-c", "script"))


async def test_one_ephemeral_container_serves_all_connections_to_a_container(
    server: ApiServer, beside: EphemeralContainers, shells: Shells
) -> None:
    await open_shell(beside)
    await open_shell(beside)
    assert len(shells.run) == 2
    assert len(server.asked("PATCH", "/ephemeralcontainers")) == 1


async def test_a_container_that_was_started_again_gets_another(server: ApiServer, beside: EphemeralContainers) -> None:
    await open_shell(beside)
    again = dataclasses.replace(TARGET, id="containerd://2")
    server.put(POD, **{**server.objects[POD], "status": status(again.id)})
    server.override = answering(server, RUNNING, again)
    await open_shell(beside, again)
    names = [each.body["spec"]["ephemeralContainers"][0]["name"] for each in server.asked("PATCH", "containers")]
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    "resource", [{"name": "pods", "kind": "Pod"}, {"name": "pods/ephemeralcontainers", "kind": "X"}]
)
async def test_a_server_of_before_1_23_is_no_such_way(
    server: ApiServer, beside: EphemeralContainers, resource: dict[str, str]
) -> None:
    server.override = lambda _: Reply(code=200, document={"resources": [resource]})
    assert not await beside.leads_to(TARGET)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, "does not start: no such image"),
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "ended with exit code 137 \\(OOMKilled\\)"),
    ],
)
async def test_what_does_not_start_is_told(
    server: ApiServer, beside: EphemeralContainers, state: dict[str, Any], words: str
) -> None:
    server.override = answering(server, state)
    with pytest.raises(SyncRefusedError, match=words):
        await open_shell(beside)


async def test_a_server_that_forbids_it_is_quoted(server: ApiServer, beside: EphemeralContainers) -> None:
    forbidden = Reply(code=403, document={"kind": "Status", "message": "pods/ephemeralcontainers is forbidden"})
    server.override = lambda asked: forbidden if asked.method == "PATCH" else None
    with pytest.raises(SyncRefusedError, match=r"adding an ephemeral container: .* is forbidden"):
        await open_shell(beside)


async def test_processes_shared_by_the_pod_are_no_way_in(server: ApiServer, beside: EphemeralContainers) -> None:
    server.put(POD, spec={"containers": [{"name": "app"}], "shareProcessNamespace": True}, status=status())
    with pytest.raises(SyncRefusedError, match="can tell the processes"):
        await open_shell(beside)


@pytest.mark.parametrize("uid", ["u1", "u2"])
async def test_a_pod_that_is_gone_or_replaced_is_lost(server: ApiServer, beside: EphemeralContainers, uid: str) -> None:
    if uid == "u1":
        server.delete(POD)
    else:
        server.put(POD, metadata={"uid": uid}, spec={"containers": []})
    with pytest.raises(ContainerLostError):
        await open_shell(beside)


@pytest.mark.parametrize(
    "now", [status("containerd://2"), status(state={"terminated": {"exitCode": 1}}), status(state={"waiting": {}}), {}]
)
async def test_a_run_that_has_ended_is_lost(
    server: ApiServer, beside: EphemeralContainers, now: dict[str, Any]
) -> None:
    server.put(POD, spec={"containers": [{"name": "app"}]}, status=now)
    with pytest.raises(ContainerLostError):
        await open_shell(beside)
    assert not server.asked("PATCH", "/ephemeralcontainers")
