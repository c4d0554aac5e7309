"""Connections to one server, straight or through the proxy that the kubeconfig or the environment names."""

import os
import socket
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import anyio
import httpcore

from devloop.adapters.kube.login import Credentials
from devloop.errors import InputError

__all__ = ["Connections", "Opened"]

_CALLS: Final = 10
"""How many calls go on at once: beyond these, the handshakes of a burst cost more than the waiting."""
_CLOSED_WITHIN: Final = 1.0
_KEPT_SECONDS: Final = 60.0
_ALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPALIVE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
"""A silent stream whose server is gone (a suspended laptop, a stopped VM) is noticed within half a minute."""


class Opened:
    """An answer together with the connection that it came on.

    Args:
        response: The answer.
        connection: The connection that belongs to it alone, or None when the answer is complete.
    """

    def __init__(self, response: httpcore.Response, connection: httpcore.AsyncConnectionInterface | None) -> None:
        self.response = response
        self._connection = connection

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await _close(self._connection)


class Connections:
    """The connections to one server: a few kept ones for calls, and one for each stream.

    httpcore's own pools lose a place for each request that is cancelled at the wrong moment, until nothing moves.

    Args:
        credentials: The server, and how to prove who we are.

    Raises:
        InputError: The proxy is of a kind that is not supported.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._maker = _maker(credentials)
        self._turns = anyio.Semaphore(_CALLS)
        self._idle: list[httpcore.AsyncConnectionInterface] = []

    async def call(self, request: httpcore.Request) -> Opened:
        """Return the whole answer to a request; a kept connection that the server closed meanwhile is replaced."""
        async with self._turns:
            kept = await self._kept()
            try:
                return await self._call(kept or self._new(request), request)
            except (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError):
                if kept is None:
                    raise
            return await self._call(self._new(request), request)

    async def open(self, request: httpcore.Request) -> Opened:
        """Return the answer to a request as soon as it begins, on a connection of its own."""
        connection = self._new(request)
        try:
            return Opened(await connection.handle_async_request(request), connection)
        except BaseException:
            await _close(connection)
            raise

    async def aclose(self) -> None:
        """Close the kept connections."""
        while self._idle:
            await _close(self._idle.pop())

    async def _call(self, connection: httpcore.AsyncConnectionInterface, request: httpcore.Request) -> Opened:
        try:
            response = await connection.handle_async_request(request)
            await response.aread()
            await response.aclose()
        except BaseException:
            await _close(connection)
            raise
        if connection.is_idle():
            self._idle.append(connection)
        else:
            await _close(connection)
        return Opened(response, None)

    async def _kept(self) -> httpcore.AsyncConnectionInterface | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed() and not connection.has_expired():
                return connection
            await _close(connection)
        return None

    def _new(self, request: httpcore.Request) -> httpcore.AsyncConnectionInterface:
        return self._maker.create_connection(request.url.origin)


async def _close(connection: httpcore.AsyncConnectionInterface) -> None:
    with anyio.move_on_after(_CLOSED_WITHIN, shield=True):
        await connection.aclose()


class _Backend(httpcore.AnyIOBackend):
    """Connects as httpcore does, but leaves no socket open when it is cancelled while the two ends agree on TLS."""

    async def connect_tcp(self, *arguments: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Plain(await super().connect_tcp(*arguments, **options))


class _Plain(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.read = stream.read  # type: ignore[method-assign]  # as they are, without a call in between
        self.write = stream.write  # type: ignore[method-assign]
        self.aclose = stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(self, *arguments: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(*arguments, **options)
        except BaseException:
            with anyio.move_on_after(_CLOSED_WITHIN, shield=True):
                await self._stream.aclose()
            raise


def _maker(credentials: Credentials) -> httpcore.AsyncConnectionPool:
    """Return what makes connections to the server, of which only that is used."""
    options: dict[str, Any] = {
        "ssl_context": credentials.tls,
        "keepalive_expiry": _KEPT_SECONDS,
        "socket_options": _ALIVE,
        "network_backend": _Backend(),
    }
    proxy = credentials.proxy or _proxy_of_environment(credentials.server)
    if not proxy:
        return httpcore.AsyncConnectionPool(**options)
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}", scheme="http")
    if parts.scheme not in {"http", "https"}:
        raise InputError(
            f"the proxy `{parts.scheme}://{parts.hostname}` cannot be used", hint="devloop speaks to HTTP proxies only"
        )
    if parts.username:
        options["proxy_auth"] = (unquote(parts.username), unquote(parts.password or ""))
    port = f":{parts.port}" if parts.port else ""
    return httpcore.AsyncHTTPProxy(f"{parts.scheme}://{parts.hostname}{port}", **options)


def _proxy_of_environment(server: str) -> str | None:
    """Return the proxy for a server as kubectl sees it: never one for this machine itself."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    if _is_this_machine(host) or not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    return None if proxy_bypass(host) else getproxies().get(parts.scheme)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
