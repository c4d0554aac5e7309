"""HTTP to one API server: short calls, streams and upgraded connections, each with devloop's own errors.

Calls and streams have pools of their own, so that no number of open streams can hold up a call. Nothing here knows a
Kubernetes object.
"""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import anyio
import httpx

from devloop.adapters.kube.login import Credentials
from devloop.errors import ToolError, UnreachableError

__all__ = ["Answer", "Parameters", "RefusedError", "Session", "refusal", "unreachable"]

Parameters = Sequence[tuple[str, str]] | Mapping[str, str]

_CALL_TIMEOUT: Final = httpx.Timeout(30, connect=3, pool=None)
_STREAM_TIMEOUT: Final = httpx.Timeout(10, connect=3, read=None, pool=None)
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
        response = await self._send(
            lambda client: client.request(
                method, path, params=tuple(_pairs(parameters)), content=content, headers=self._headers(headers)
            )
        )
        return Answer(code=response.status_code, content=response.content)

    @asynccontextmanager
    async def stream(
        self, path: str, *, parameters: Parameters = (), headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Open a response whose body is read as it comes; its status is the caller's to look at.

        Raises:
            UnreachableError: There is no server, or it cannot serve now.
        """
        response = await self._send(lambda client: self._open(client, path, parameters, headers or {}), streams=True)
        try:
            yield response
        finally:
            with anyio.move_on_after(1, shield=True):
                await response.aclose()

    async def _open(
        self, client: httpx.AsyncClient, path: str, parameters: Parameters, headers: Mapping[str, str]
    ) -> httpx.Response:
        request = client.build_request("GET", path, params=tuple(_pairs(parameters)), headers=self._headers(headers))
        return await client.send(request, stream=True)

    async def _send(
        self, send: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]], *, streams: bool = False
    ) -> httpx.Response:
        used = self._credentials
        response = await self._attempt(send, streams=streams)
        if response.status_code == 401:
            await response.aclose()
            await self._log_in_again(used)
            response = await self._attempt(send, streams=streams)
        if response.status_code in _TRANSIENT:
            await response.aread()
            await response.aclose()
            raise unreachable(self.server, _message(response) or response.reason_phrase)
        return response

    async def _attempt(
        self, send: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]], *, streams: bool
    ) -> httpx.Response:
        for last in (False, True):
            try:
                return await send(self._streams if streams else self._calls)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
                # A kept connection that the server closed meanwhile. All our calls can be repeated.
                if last:
                    raise unreachable(self.server, error) from error
            except httpx.TransportError as error:
                raise unreachable(self.server, error) from error
        raise AssertionError

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        token = self._credentials.token
        return {**({"Authorization": f"Bearer {token}"} if token else {}), **more}

    async def _log_in_again(self, used: Credentials) -> None:
        async with self._renewing:
            if self._credentials is used:
                self._use(await self._renew())

    def _use(self, credentials: Credentials) -> None:
        # Clients in use before are closed at the end only: their streams live on.
        self._credentials = credentials
        self._calls = self._client(credentials, _CALL_TIMEOUT, connections=10)
        self._streams = self._client(credentials, _STREAM_TIMEOUT, connections=None)

    def _client(
        self, credentials: Credentials, timeout: httpx.Timeout, *, connections: int | None
    ) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            base_url=credentials.server,
            headers=_HEADERS,
            verify=credentials.tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # the latter trusts nobody
            timeout=timeout,
            proxy=credentials.proxy,
            # Few connections for calls: beyond ten, the handshakes of a burst cost more than the waiting.
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=10, keepalive_expiry=60),
            trust_env=not _is_loopback(credentials.server),
        )
        if credentials.server_name:
            client.event_hooks = {"request": [_names_server(credentials.server_name)]}
        self._closing.push_async_callback(client.aclose)
        return client


def _names_server(name: str) -> Callable[[httpx.Request], Awaitable[None]]:
    async def name_server(request: httpx.Request) -> None:
        request.extensions = {**request.extensions, "sni_hostname": name}

    return name_server


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pairs(parameters: Parameters) -> Sequence[tuple[str, str]]:
    return tuple(parameters.items()) if isinstance(parameters, Mapping) else parameters


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


def _message(response: httpx.Response) -> str | None:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return None
