"""An API server in small, over real HTTP: for what the test cluster cannot be made to do (410, 403, outages).

It keeps documents by path, numbers their changes, and serves lists, watches and server-side apply of whole documents.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

__all__ = ["ApiServer", "Asked", "Reply", "api_server"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What to answer."""

    code: int
    document: Any


@dataclass
class ApiServer:
    """The server's state; `api_server` runs one.

    Attributes:
        url: Where it listens.
        requests: All that was asked, in order.
        kinds: What it serves beside paths that have objects: group version to entries of discovery.
        override: Answers a request instead of the server, or returns None.
    """

    url: str = ""
    requests: list[Asked] = field(default_factory=list)
    kinds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    override: Callable[[Asked], Reply | None] = lambda _: None
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = 100
    oldest: int = 0
    watches: int = 0
    open: set[SocketStream] = field(default_factory=set)
    running: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _events: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    _ending: int = 0
    _changed: anyio.Event = field(default_factory=anyio.Event)

    # --- what a test says ---

    def put(self, path: str, **document: Any) -> None:
        """Create or change the object at a path."""
        self.version += 1
        kind = "MODIFIED" if path in self.objects else "ADDED"
        old = self.objects.get(path, {}).get("metadata", {})
        metadata = {
            "uid": f"uid-{self.version}",
            **old,
            **document.get("metadata", {}),
            "name": path.rpartition("/")[2],
            "resourceVersion": str(self.version),
        }
        if "/namespaces/" in path.rpartition("/")[0]:
            metadata["namespace"] = path.partition("/namespaces/")[2].partition("/")[0]
        self.objects[path] = {**document, "metadata": metadata}
        self._tell(kind, path, self.objects[path])

    def delete(self, path: str) -> None:
        """Delete the object at a path."""
        self.version += 1
        self._tell("DELETED", path, self.objects.pop(path))

    def forget_history(self) -> None:
        """Answer watches from before now with 410, as after compaction."""
        self.oldest = self.version + 1
        self._events.clear()

    def end_watches(self) -> None:
        """End all watches, as a server does every few minutes."""
        self._ending += 1
        self._wake()

    def stop(self) -> None:
        """End like a process: nothing listens any more, and every connection is gone."""
        self.running.cancel()

    async def until(self, condition: Callable[["ApiServer"], bool]) -> None:
        """Return when the condition holds; looked at after each request and change."""
        while not condition(self):
            await self._changed.wait()

    def asked(self, method: str, path: str) -> list[Asked]:
        """Return the requests of this method whose path ends so."""
        return [each for each in self.requests if each.method == method and each.path.endswith(path)]

    # --- HTTP ---

    async def serve(self, stream: SocketStream) -> None:
        self.open.add(stream)
        try:
            async with stream:
                connection = h11.Connection(h11.SERVER)
                while (asked := await _request(connection, stream)) is not None:
                    self.requests.append(asked)
                    self._wake()
                    await self._answer(asked, connection, stream)
                    if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                        return
                    connection.start_next_cycle()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            self.open.discard(stream)
            self._wake()

    async def _answer(self, asked: Asked, connection: h11.Connection, stream: SocketStream) -> None:
        reply = self.override(asked)
        if reply is None and asked.query.get("watch"):
            await self._watch(asked, connection, stream)
            return
        reply = reply or self._reply(asked)
        body = json.dumps(reply.document).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        await stream.send(
            (connection.send(h11.Response(status_code=reply.code, headers=headers)) or b"")
            + (connection.send(h11.Data(data=body)) or b"")
            + (connection.send(h11.EndOfMessage()) or b"")
        )

    async def _watch(self, asked: Asked, connection: h11.Connection, stream: SocketStream) -> None:
        after = int(asked.query.get("resourceVersion") or 0)
        headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")]
        await stream.send(connection.send(h11.Response(status_code=200, headers=headers)) or b"")

        async def tell(kind: str, document: Any) -> None:
            line = json.dumps({"type": kind, "object": document}).encode() + b"\n"
            await stream.send(connection.send(h11.Data(data=line)) or b"")

        self.watches += 1
        self._wake()
        ending = self._ending
        try:
            if after < self.oldest:
                await tell("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
            while ending == self._ending and after >= self.oldest:
                changed = self._changed
                for version, kind, path, document in list(self._events):
                    if version > after and path.rpartition("/")[0] == asked.path:
                        await tell(kind, document)
                    after = max(after, version)
                await changed.wait()
            await stream.send(connection.send(h11.EndOfMessage()) or b"")
        finally:
            self.watches -= 1
            self._wake()

    # --- the API ---

    def _reply(self, asked: Asked) -> Reply:
        match asked.method:
            case "GET" if asked.path in self.objects:
                return Reply(code=200, document=self.objects[asked.path])
            case "GET" if (group_version := asked.path.partition("apis/")[2]) in self.kinds:
                return Reply(code=200, document={"resources": self.kinds[group_version]})
            case "GET" if self._is_collection(asked.path):
                return Reply(code=200, document=self._list(asked.path, asked.query.get("labelSelector", "")))
            case "PATCH" if "apply-patch" in asked.headers["content-type"] and self._has_place(asked.path):
                there = asked.path in self.objects
                self.put(asked.path, **asked.body)
                return Reply(code=200 if there else 201, document=self.objects[asked.path])
            case "PATCH" if asked.path in self.objects:
                self.put(asked.path, **_merged(self.objects[asked.path], asked.body))
                return Reply(code=200, document=self.objects[asked.path])
            case "POST" if self._is_collection(asked.path):
                path = f"{asked.path}/{asked.body['metadata']['name']}"
                if "dryRun" not in asked.query:
                    self.put(path, **asked.body)
                return Reply(code=201, document=asked.body)
            case "DELETE" if asked.path in self.objects:
                self.delete(asked.path)
                return Reply(code=200, document={"kind": "Status", "status": "Success"})
        return Reply(code=404, document={"kind": "Status", "status": "Failure", "message": "not found", "code": 404})

    def _is_collection(self, path: str) -> bool:
        return self._steps(path) in {1, 3}

    def _has_place(self, path: str) -> bool:
        return self._steps(path) in {2, 4}

    def _steps(self, path: str) -> int:
        """Return how deep below its group version a path is: 0 where the group is not served."""
        parts = path.strip("/").split("/")
        base = 2 if parts[0] == "api" else 3
        known = parts[0] == "api" or "." not in parts[1] or parts[1].endswith(".k8s.io")
        return len(parts) - base if known or "/".join(parts[1:3]) in self.kinds else 0

    def _list(self, path: str, selector: str) -> dict[str, Any]:
        wanted = dict(part.split("=") for part in selector.split(",") if part)
        items = [
            document
            for place, document in self.objects.items()
            if place.rpartition("/")[0] == path and wanted.items() <= document["metadata"].get("labels", {}).items()
        ]
        return {"metadata": {"resourceVersion": str(self.version)}, "items": items}

    def _tell(self, kind: str, path: str, document: dict[str, Any]) -> None:
        version = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}
        self._events.append((self.version, kind, path, version))
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def _merged(old: Any, change: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(change, dict):
        return change
    merged = {**old, **{key: _merged(old.get(key), value) for key, value in change.items()}}
    return {key: value for key, value in merged.items() if value is not None}


async def _request(connection: h11.Connection, stream: SocketStream) -> Asked | None:
    request: h11.Request | None = None
    body = b""
    while True:
        match connection.next_event():
            case h11.Request() as request:
                pass
            case h11.Data(data=data):
                body += bytes(data)
            case h11.EndOfMessage() if request is not None:
                target = urlsplit(request.target.decode())
                return Asked(
                    method=request.method.decode(),
                    path=target.path,
                    query=dict(parse_qsl(target.query)),
                    headers={name.decode().lower(): value.decode() for name, value in request.headers},
                    body=json.loads(body) if body else None,
                )
            case h11.ConnectionClosed():
                return None
            case _:
                try:
                    connection.receive_data(await stream.receive())
                except anyio.EndOfStream:
                    connection.receive_data(b"")


@asynccontextmanager
async def api_server(port: int = 0, state: ApiServer | None = None) -> AsyncIterator[ApiServer]:
    """Run a server; with the state of one that was ended, it is that server again."""
    server = state or ApiServer()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    server.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    scope = server.running = anyio.CancelScope()

    async def run() -> None:
        with scope:
            async with listener:
                await listener.serve(server.serve)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            yield server
        finally:
            tasks.cancel_scope.cancel()
