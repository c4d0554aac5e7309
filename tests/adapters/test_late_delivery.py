"""The delivery of a session: chosen by what the cluster says, and again when its nodes change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from devloop.adapters.docker import DockerBuilder
from devloop.app.delivering import LateDelivery
from devloop.core.contexts import Context
from devloop.core.delivery import EngineFacts, NodeFacts
from devloop.core.reference import parse
from devloop.model import Digest
from tests.adapters.image_tools import brought, install

pytestmark = pytest.mark.anyio

REF, OTHER = parse("api:dev-0123456789ab"), parse("api:dev-ba9876543210")
IMAGE = Digest("sha256:" + "0" * 64)
KIND = Context(name="kind-dev", namespace=None, cluster={}, user={})


class Machine(DockerBuilder):
    """An engine that runs no cluster."""

    async def facts(self, nodes: Sequence[NodeFacts]) -> EngineFacts:
        return EngineFacts(name="laptop")


class Nodes:
    """A cluster of kind, whose nodes come and go."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.announced: str | None = None

    async def nodes(self) -> tuple[dict[str, Any], ...]:
        status = {"nodeInfo": {"containerRuntimeVersion": "containerd://1.7.1"}}
        return tuple({"metadata": {"name": name}, "status": status} for name in self.names)

    async def local_registry(self) -> str | None:
        return self.announced


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path, "node-a", "node-b")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("STANDINS", str(tmp_path))
    return tmp_path


def ignore(_: str) -> None:
    pass


async def test_a_node_that_joins_during_the_session_gets_what_is_delivered_from_then_on(folder: Path) -> None:
    nodes = Nodes("node-a")
    delivery = LateDelivery(nodes, Machine(), KIND, None)
    await delivery.deliver(IMAGE, REF, ignore)
    nodes.names = ("node-a", "node-b")
    await delivery.deliver(IMAGE, REF, ignore)
    await delivery.deliver(IMAGE, OTHER, ignore)
    assert (brought(folder, "node-a"), brought(folder, "node-b")) == ([3, 2], [3, 2])


async def test_while_nodes_cannot_be_listed_those_that_are_known_count(folder: Path) -> None:
    nodes = Nodes("node-a")
    delivery = LateDelivery(nodes, Machine(), KIND, None)
    await delivery.deliver(IMAGE, REF, ignore)
    nodes.names = ()
    await delivery.deliver(IMAGE, OTHER, ignore)
    assert brought(folder, "node-a") == [3, 2]


async def test_a_registry_that_the_cluster_announces_goes_before_its_nodes(folder: Path) -> None:
    nodes = Nodes("node-a")
    nodes.announced = "host: localhost:5001"
    delivery = LateDelivery(nodes, Machine(), KIND, None)
    plan = await delivery.plan()
    assert plan.reason == "the cluster announces the registry `localhost:5001`"
