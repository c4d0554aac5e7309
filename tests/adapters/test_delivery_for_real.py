"""Delivery with a real engine: a push to a registry that a test serves, and the choice for the real cluster."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from devloop.adapters.delivery import delivery_for
from devloop.adapters.docker import DockerBuilder
from devloop.core.delivery.plans import PushImages, RegistryFacts, SharedEngine, choose, node_facts
from devloop.core.reference import parse
from devloop.model import Digest
from tests.fakes.registry import Registry, serving
from tests.outside import Cluster, output

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry() -> Iterator[type[Registry]]:
    with serving() as found:
        yield found


@pytest.mark.docker
async def test_a_pushed_image_is_in_the_registry(registry: type[Registry], images: str) -> None:
    host = f"127.0.0.1:{registry.port}"
    plan = PushImages(registry=RegistryFacts(host=host), reason="a test")
    async with DockerBuilder() as builder:
        image = await builder.resolve("busybox")
        assert image is not None
        ref = parse(f"{images}:dev-1")
        await builder.tag(image, ref)
        there = parse(f"{host}/{images}:dev-1")
        try:
            assert not await delivery_for(plan, builder).has(image, there)
            told: list[str] = []
            assert await delivery_for(plan, builder).deliver(image, ref, told.append) == there
            assert any("digest: sha256:" in line for line in told)
            assert await delivery_for(plan, builder).has(image, there)
        finally:
            output("docker", "image", "rm", str(there))
    _, manifest = registry.manifests["dev-1"]
    assert Digest(json.loads(manifest)["config"]["digest"]) == image


@pytest.mark.docker
async def test_what_was_pushed_by_its_digest_is_named_without_a_layer_travelling(
    registry: type[Registry], images: str
) -> None:
    pushed = f"127.0.0.1:{registry.port}/{images}"
    output("docker", "tag", "busybox", f"{pushed}:first")
    try:
        output("docker", "push", f"{pushed}:first")
        _, manifest = registry.manifests["first"]
        digest = Digest(f"sha256:{hashlib.sha256(manifest).hexdigest()}")
        brought = len(registry.uploads)
        async with DockerBuilder() as builder:
            await builder.publish(digest, parse(f"{pushed}:dev-1"))
            config = await builder.configuration(digest)
        named = registry.manifests["dev-1"][1]
        assert named == manifest or digest in named.decode()  # older ones of buildx put an index around it
        assert len(registry.uploads) == brought
        assert config.command == ("sh",)
    finally:
        output("docker", "image", "rm", "--force", f"{pushed}:first")


@pytest.mark.cluster
async def test_a_node_pulls_what_was_pushed_under_the_reference_that_came_back(
    registry: type[Registry], images: str, cluster: Cluster
) -> None:
    plan = PushImages(registry=RegistryFacts(host=f"127.0.0.1:{registry.port}", named=True), reason="a test")
    async with DockerBuilder() as builder:
        image = await builder.resolve("busybox")
        assert image is not None
        await builder.tag(image, parse(f"{images}:dev-1"))
        there = await delivery_for(plan, builder).deliver(image, parse(f"{images}:dev-1"), lambda _: None)
    output("docker", "image", "rm", str(there))
    container = {"name": "a", "image": str(there), "imagePullPolicy": "Always", "command": ["sleep", "60"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container]}}
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(pod))
    cluster.kubectl("wait", "pod/a", "--for=condition=Ready", "--timeout=90s", timeout=100)
    cluster.kubectl("delete", "pod/a", "--grace-period=0", "--force")
    output("docker", "image", "rm", "--force", str(there))


@pytest.mark.cluster
async def test_the_real_cluster_is_seen_to_use_the_engine(cluster: Cluster) -> None:
    nodes = [node_facts(node) for node in cluster.get("nodes")["items"]]
    async with DockerBuilder() as builder:
        facts = await builder.facts(nodes)
    assert isinstance(choose(cluster.context, nodes, facts, None), SharedEngine)
