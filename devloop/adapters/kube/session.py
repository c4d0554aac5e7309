"""HTTP to one API server: short calls, streams and upgraded connections, each with devloop's own errors.

It stands on httpcore alone: importing httpx takes longer than all of devloop's first requests. Nothing here knows a
Kubernetes object.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

import anyio
import httpcore

from devloop.adapters.kube.connections import Connections, Opened
from devloop.adapters.kube.login import Credentials
from devloop.errors import ToolError, UnreachableError

__all__ = ["Answer", "Parameters", "RefusedError", "Session", "Stream", "refusal", "unreachable"]

Parameters = Sequence[tuple[str, str]] | Mapping[str, str]

_CALL_TIMEOUT: Final = {"connect": 3.0, "read": 30.0, "write": 10.0}
_STREAM_TIMEOUT: Final = {"connect": 3.0, "write": 10.0}
_ABOUT_OBJECT: Final = frozenset({400, 404, 409, 410, 500})
_TRANSIENT: Final = frozenset({429, 502, 503, 504})
# `identity`: unpacking costs more than a local connection saves.
_HEADERS: Final = {"User-Agent": "devloop", "Accept": "*/*", "Accept-Encoding": "identity"}


class RefusedError(ToolError):
    """The API server refused a request.

    Attributes:
        status: The `Status` object that it answered with; empty when it answered something else.
        reason: What it said, without what we were doing.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        status: Mapping[str, Any],
        code: int,
        command: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, command=command, exit_code=code, hint=hint)
        self.reason = reason
        self.status = status
        self.code = code

    @property
    def concerns_object(self) -> bool:
        """Whether it was refused for the object's state (gone, not started), rather than for who asked or how."""
        return self.code in _ABOUT_OBJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server answered to a call."""

    code: int
    content: bytes

    @property
    def good(self) -> bool:
        """Whether the call did what it was asked."""
        return self.code < 300

    def document(self) -> dict[str, Any]:
        """Return the answer's JSON object, or an empty one."""
        try:
            document = json.loads(self.content)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


class Stream:
    """An open answer whose body is read as it comes. A cancelled `receive` ends it.

    Attributes:
        code: The HTTP status.
    """

    def __init__(self, opened: Opened, server: str) -> None:
        self.code = opened.response.status
        self._opened = opened
        self._response = opened.response
        self._server = server
        self._chunks = opened.response.aiter_stream().__aiter__()

    @property
    def connection(self) -> Any:
        """The connection itself, after the server agreed to speak another protocol on it."""
        return self._response.extensions["network_stream"]

    def header(self, name: bytes) -> str:
        """Return a header of the answer, or an empty text."""
        return next((value.decode() for key, value in self._response.headers if key.lower() == name), "")

    async def receive(self) -> bytes:
        """Return the next part of the body, or nothing at its end.

        Raises:
            UnreachableError: The connection is lost.
        """
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            return b""
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise unreachable(self._server, error) from error

    async def rest(self) -> bytes:
        """Return all of the body that was not received yet."""
        parts = []
        while part := await self.receive():
            parts.append(part)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._opened.aclose()


class Session:
    """An open session with an API server; enter it to use it.

    Args:
        credentials: What it takes to talk to the server.
        renew: Returns fresh credentials; called once when the server no longer takes those at hand.
    """

    def __init__(self, credentials: Credentials, renew: Callable[[], Awaitable[Credentials]]) -> None:
        self._renew = renew
        self._credentials = credentials
        self._renewing = anyio.Lock()
        self._closing = AsyncExitStack()
        self._use(credentials)

    @property
    def server(self) -> str:
        """The API server's address."""
        return self._credentials.server

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.move_on_after(2, shield=True):
            await self._closing.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters = (),
        content: bytes | None = None,
        content_type: str = "application/json",
        accept: str | None = None,
    ) -> Answer:
        """Return the server's answer, whatever its status.

        Raises:
            UnreachableError: There is no server, or it cannot serve now.
        """
        headers = {"Content-Type": content_type} if content is not None else {}
        if accept:
            headers["Accept"] = accept
        opened = await self._send(
            lambda: self._connections.call(
                self._request(method, path, parameters, headers, content, timeout=_CALL_TIMEOUT)
            )
        )
        return Answer(code=opened.response.status, content=opened.response.content)

    @asynccontextmanager
    async def stream(
        self, path: str, *, parameters: Parameters = (), headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """Open an answer whose body is read as it comes; its status is the caller's to look at.

        Raises:
            UnreachableError: There is no server, or it cannot serve now.
        """
        opened = await self._send(
            lambda: self._connections.open(
                self._request("GET", path, parameters, headers or {}, None, timeout=_STREAM_TIMEOUT)
            )
        )
        stream = Stream(opened, self.server)
        try:
            yield stream
        finally:
            await stream.aclose()

    async def _send(self, send: Callable[[], Awaitable[Opened]]) -> Opened:
        used = self._credentials
        opened = await self._attempt(send)
        if opened.response.status == 401:
            await opened.aclose()
            await self._log_in_again(used)
            opened = await self._attempt(send)
        if opened.response.status in _TRANSIENT:
            try:
                content = await opened.response.aread()
            finally:
                await opened.aclose()
            answer = Answer(code=opened.response.status, content=content)
            raise unreachable(self.server, answer.document().get("message") or f"HTTP status {answer.code}")
        return opened

    async def _attempt(self, send: Callable[[], Awaitable[Opened]]) -> Opened:
        try:
            return await send()
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise unreachable(self.server, error) from error

    def _request(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        timeout: Mapping[str, float],
    ) -> httpcore.Request:
        used = self._credentials
        url = httpcore.URL(used.server.rstrip("/") + path + (f"?{urlencode(parameters)}" if parameters else ""))
        port = "" if url.port is None else f":{url.port}"
        sent = [("Host", f"{url.host.decode()}{port}"), *_HEADERS.items(), *headers.items(), *used.headers]
        if used.token:
            sent.append(("Authorization", f"Bearer {used.token}"))
        if content is not None:
            sent.append(("Content-Length", str(len(content))))
        extensions: dict[str, Any] = {"timeout": timeout}
        if used.server_name:
            extensions["sni_hostname"] = used.server_name
        return httpcore.Request(method, url, headers=sent, content=content, extensions=extensions)

    async def _log_in_again(self, used: Credentials) -> None:
        async with self._renewing:
            if self._credentials is used:
                self._use(await self._renew())

    def _use(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._connections = Connections(credentials)
        self._closing.push_async_callback(self._connections.aclose)


def unreachable(server: str, reason: object) -> UnreachableError:
    """Return the error that says that the API server did not answer."""
    told = str(reason) or type(reason).__name__
    return UnreachableError(f"the cluster at {server} does not answer: {told}", hint="is the cluster running?")


def refusal(
    doing: str, code: int, content: bytes, *, command: Sequence[str] = (), hint: str | None = None
) -> RefusedError:
    """Return the error for an answer that is not a good one.

    Args:
        doing: What was asked for, for example "reading pods".
        code: The HTTP status.
        content: The answer's body.
        command: The same thing for a person to repeat.
        hint: The way out, where one is known.
    """
    status = Answer(code=code, content=content).document()
    message = status.get("message") or content.decode(errors="replace").strip() or f"HTTP status {code}"
    return RefusedError(f"{doing}: {message}", reason=message, status=status, code=code, command=command, hint=hint)
