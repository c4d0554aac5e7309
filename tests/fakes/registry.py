"""A registry on this machine: as much of the distribution API as docker and buildx use to push, name and look."""

import hashlib
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

__all__ = ["Registry", "serving"]


class Registry(BaseHTTPRequestHandler):
    """One registry; each `serving` has its own content.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        blobs: Layers and configurations, by digest.
        manifests: By tag and by digest: their media type and text.
        uploads: How many blobs were brought.
    """

    protocol_version = "HTTP/1.1"
    port: ClassVar[int]
    blobs: ClassVar[dict[str, bytes]]
    manifests: ClassVar[dict[str, tuple[str, bytes]]]
    uploads: ClassVar[list[str]]

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
            self.uploads.append(digest)
            self.blobs[digest] = self.blobs.pop(upload, b"") + body
        self.answer(201, Docker_Content_Digest=digest)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serving() -> Iterator[type[Registry]]:
    """Serve an empty registry while the block runs."""

    class Own(Registry):
        blobs: ClassVar[dict[str, bytes]] = {}
        manifests: ClassVar[dict[str, tuple[str, bytes]]] = {}
        uploads: ClassVar[list[str]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    Own.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Own
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
