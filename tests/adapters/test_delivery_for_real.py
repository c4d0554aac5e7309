"""Delivery with a real engine: a push to a registry that a test serves, and the choice for the real cluster."""

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from devloop.adapters.delivery import delivery_for
from devloop.adapters.docker import DockerBuilder
from devloop.core.delivery import PushImages, RegistryFacts, SharedEngine, choose, node_facts
from devloop.core.reference import parse
from devloop.model import Digest
from tests.outside import Cluster, output

pytestmark = pytest.mark.anyio


class Registry(BaseHTTPRequestHandler):
    """As much of the distribution API as `docker push` and `docker buildx imagetools inspect` use."""

    protocol_version = "HTTP/1.1"
    port: ClassVar[int]
    blobs: ClassVar[dict[str, bytes]]
    manifests: ClassVar[dict[str, tuple[str, bytes]]]

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_GET(self) -> None:
        if found := re.search(r"/manifests/(.+)$", self.path):
            kind, body = self.manifests.get(found[1], ("", b""))
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            self.answer(200 if body else 404, body, Content_Type=kind, Docker_Content_Digest=digest)
        elif found := re.search(r"/blobs/(sha256:.+)$", self.path):
            body = self.blobs.get(found[1], b"")
            self.answer(200 if body else 404, body, Docker_Content_Digest=found[1])
        else:
            self.answer(200, b"{}")

    do_HEAD = do_GET  # noqa: N815 - the base class looks for it

    def do_POST(self) -> None:
        self.body()
        self.answer(202, Location=f"{self.path}{uuid.uuid4()}")

    def do_PATCH(self) -> None:
        self.blobs[self.path.partition("?")[0]] = data = self.body()
        self.answer(202, Location=self.path, Range=f"0-{len(data) - 1}")

    def do_PUT(self) -> None:
        body = self.body()
        if found := re.search(r"/manifests/(.+)$", self.path):
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            for name in (found[1], digest):
                self.manifests[name] = (self.headers["Content-Type"], body)
        else:
            upload, _, digest = self.path.partition("?digest=")
            digest = digest.replace("%3A", ":")
            self.blobs[digest] = self.blobs.pop(upload, b"") + body
        self.answer(201, Docker_Content_Digest=digest)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def registry() -> Iterator[type[Registry]]:
    class Own(Registry):
        blobs: ClassVar[dict[str, bytes]] = {}
        manifests: ClassVar[dict[str, tuple[str, bytes]]] = {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    Own.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Own
    server.shutdown()
    server.server_close()
    thread.join()


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


@pytest.mark.cluster
async def test_the_real_cluster_is_seen_to_use_the_engine(cluster: Cluster) -> None:
    nodes = [node_facts(node) for node in cluster.get("nodes")["items"]]
    async with DockerBuilder() as builder:
        facts = await builder.facts(nodes)
    assert isinstance(choose(cluster.context, nodes, facts, None), SharedEngine)
