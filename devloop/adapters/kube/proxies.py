"""Connection pools, straight to a server or through the proxy that the kubeconfig or the environment names."""

import os
import socket
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpcore

from devloop.adapters.kube.login import Credentials
from devloop.errors import InputError

__all__ = ["make_pool"]

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


def make_pool(credentials: Credentials, *, connections: int | None) -> httpcore.AsyncConnectionPool:
    """Return a pool of connections to the server.

    Args:
        credentials: The server, and how to prove who we are.
        connections: How many may be open at once; None for any number.

    Raises:
        InputError: The proxy is of a kind that is not supported.
    """
    options: dict[str, Any] = {
        "ssl_context": credentials.tls,
        "max_connections": connections,
        "max_keepalive_connections": connections or 0,
        "keepalive_expiry": _KEPT_SECONDS,
        "socket_options": _ALIVE,
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
