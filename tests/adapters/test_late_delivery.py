"""The delivery of a session: chosen by what the cluster says, and again when its nodes change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from devloop.adapters.docker import DockerBuilder
from devloop.app.delivering import LateDelivery
from devloop.core.cluster.contexts import Context
from devloop.core.delivery.plans import EngineFacts, NodeFacts
from devloop.core.manifest import parse as parse_manifests
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
        self.namespace = "dev-ada"
        self.accounts: dict[str, tuple[str, ...]] = {}
        self.secrets: set[str] = set()

    async def pull_secrets(self, namespace: str, account: str) -> tuple[str, ...]:
        return self.accounts.get(f"{namespace}/{account}", ())

    async def has_secret(self, namespace: str, name: str) -> bool:
        return f"{namespace}/{name}" in self.secrets

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


# --- registries ---

FAR = Context(name="team", namespace=None, cluster={}, user={})
POD = """
apiVersion: v1
kind: Pod
metadata: {name: api}
spec: {containers: [{name: a, image: "r.example.com/api:dev-1"}]MORE}
"""
BUILT = "r.example.com/api:dev-1"


async def obstacles(nodes: Nodes, more: str, image: str = BUILT, context: Context = FAR) -> list[str]:
    delivery = LateDelivery(nodes, Machine(), context, "r.example.com" if context is FAR else None)
    await delivery.way(REF)
    found = await delivery.obstacles(parse_manifests(POD.replace("MORE", more), path="k8s/api.yaml"), {image})
    return [each.message for each in found]


async def test_a_pull_secret_that_is_not_there_is_told_with_its_place() -> None:
    (told,) = await obstacles(Nodes("node-a"), ", imagePullSecrets: [{name: regcred}]")
    assert told == (
        "`pod/api` (k8s/api.yaml:2:1) names the pull secret `regcred`, which namespace `dev-ada` does not have:"
        " `r.example.com` may refuse its nodes"
    )


async def test_a_pull_secret_that_is_there_is_no_matter() -> None:
    nodes = Nodes("node-a")
    nodes.secrets = {"dev-ada/regcred"}
    assert await obstacles(nodes, ", imagePullSecrets: [{name: regcred}]") == []


async def test_a_pod_that_names_none_has_those_of_its_service_account() -> None:
    nodes = Nodes("node-a")
    nodes.accounts = {"dev-ada/default": ("one",), "dev-ada/own": ("two",)}
    (default,) = await obstacles(nodes, "")
    (own,) = await obstacles(nodes, ", serviceAccountName: own")
    assert default.startswith("the service account `default` of `pod/api` names the pull secret `one`")
    assert own.startswith("the service account `own` of `pod/api` names the pull secret `two`")


async def test_pods_of_other_images_and_clusters_without_a_registry_need_none() -> None:
    secrets = ", imagePullSecrets: [{name: regcred}]"
    assert await obstacles(Nodes("node-a"), secrets, image="r.example.com/other:1") == []
    assert await obstacles(Nodes("node-a"), secrets, context=KIND) == []


async def test_only_a_named_registry_is_for_builders_but_nodes_pull_from_each() -> None:
    named = await LateDelivery(Nodes("node-a"), Machine(), FAR, "r.example.com").way(parse("api"))
    assert (named.pushed, named.pulled) == (parse("r.example.com/api"), parse("r.example.com/api"))
    nodes = Nodes("node-a")
    nodes.announced = "host: localhost:5001"
    announced = await LateDelivery(nodes, Machine(), KIND, None).way(parse("api"))
    assert (announced.pushed, announced.pulled) == (None, parse("localhost:5001/api"))
    assert (await LateDelivery(Nodes("node-a"), Machine(), KIND, None).way(parse("api"))).pulled is None
