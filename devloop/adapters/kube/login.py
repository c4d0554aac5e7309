"""Credentials for an API server: read where the kubeconfig has them, through kr8s where they must be fetched.

Certificates and tokens that stand in the kubeconfig (all local clusters) need no client library: leaving kr8s out there
saves a fifth of a second of start-up and keeps private keys out of /tmp. Exec plugins and auth providers are kr8s's.
"""

import base64
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import anyio.to_thread

from devloop.core.cluster.contexts import Context
from devloop.errors import InputError, ToolError
from devloop.runtime.lean import import_httpx

__all__ = ["Credentials", "log_in"]

_FETCHED: Final = frozenset({"exec", "auth-provider"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What it takes to talk to one API server.

    Attributes:
        server: Its address.
        tls: None only for one that speaks plain HTTP.
        token: The bearer token.
        proxy: The proxy that the kubeconfig names.
        server_name: The name in the server's certificate, where it is not the address's.
        headers: Further headers: who is impersonated, a name with a password.
    """

    server: str
    tls: ssl.SSLContext | None
    token: str | None = None
    proxy: str | None = None
    server_name: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


async def log_in(context: Context, kubeconfig: str | os.PathLike[str] | None = None) -> Credentials:
    """Return fresh credentials for the context.

    Raises:
        InputError: The kubeconfig lacks the context's cluster or user, or holds something unusable.
        ToolError: The credential plugin failed.
    """
    if not context.cluster.get("server"):
        raise InputError(f"context `{context.name}` names a cluster that the kubeconfig does not hold")
    if _FETCHED & context.user.keys():
        return await _fetched(context, kubeconfig)
    return await anyio.to_thread.run_sync(_written_down, context)


def _written_down(context: Context) -> Credentials:
    cluster, user = context.cluster, context.user
    try:
        token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if user.get("tokenFile") else None)
        return Credentials(
            server=str(cluster["server"]),
            tls=_tls(cluster, user),
            token=token,
            proxy=cluster.get("proxy-url"),
            server_name=cluster.get("tls-server-name"),
            headers=(*_password(user), *_impersonated(user)),
        )
    except (OSError, ValueError) as error:
        raise InputError(f"the credentials of context `{context.name}` cannot be used: {error}") from error


def _password(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "username" in user:
        pair = f"{user['username']}:{user.get('password', '')}"
        yield "Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"


def _impersonated(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the headers for acting as another user.

    Specification: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    """
    if "as" in user:
        yield "Impersonate-User", str(user["as"])
    if "as-uid" in user:
        yield "Impersonate-Uid", str(user["as-uid"])
    for group in user.get("as-groups") or ():
        yield "Impersonate-Group", str(group)
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(str(key), safe='')}", str(value)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext | None:
    if str(cluster["server"]).startswith("http://"):
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    elif data := cluster.get("certificate-authority-data"):
        tls.load_verify_locations(cadata=base64.b64decode(data).decode())
    elif path := cluster.get("certificate-authority"):
        tls.load_verify_locations(cafile=path)
    else:
        tls.load_default_certs()
    if data := user.get("client-certificate-data"):
        _load_chain(tls, base64.b64decode(data), _key(user))
    elif path := user.get("client-certificate"):
        _load_chain(tls, Path(path).read_bytes(), _key(user))
    return tls


def _key(user: Mapping[str, Any]) -> bytes:
    data = user.get("client-key-data")
    return base64.b64decode(data) if data else Path(user.get("client-key", "")).read_bytes()


def _load_chain(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # OpenSSL takes client keys from files only: one that nobody else can read, for as long as the call lasts.
    handle, name = tempfile.mkstemp(prefix="devloop-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate + b"\n" + key)
        tls.load_cert_chain(name)
    finally:
        Path(name).unlink()


async def _fetched(context: Context, kubeconfig: str | os.PathLike[str] | None) -> Credentials:
    # Of kr8s only its login: `kr8s.asyncio.api()` would also open a session that nobody can close.
    login = await anyio.to_thread.run_sync(_import_login)
    auth = login(
        kubeconfig=os.fspath(kubeconfig) if kubeconfig else None,
        context=context.name,
        namespace=context.namespace or "default",
    )
    try:
        await auth
        tls = await auth.ssl_context()
        return Credentials(
            server=auth.server,
            tls=tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context(),
            token=auth.token,
            proxy=auth.proxy,
            server_name=auth.tls_server_name,
            headers=tuple(_impersonated(context.user)),
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ToolError(
            f"logging in to context `{context.name}` failed: {error}", hint="does `kubectl get pods` work with it?"
        ) from error
    finally:
        _remove_copies(context, auth)


def _import_login() -> Any:
    import_httpx()
    from kr8s._auth import KubeAuth

    return KubeAuth


def _remove_copies(context: Context, auth: Any) -> None:
    """Remove the files that kr8s writes keys and certificates to."""
    written = {**context.cluster, **context.user}
    for path in (auth.client_key_file, auth.client_cert_file, auth.server_ca_file):
        if path and str(path) not in map(str, written.values()) and Path(path).parent == Path(tempfile.gettempdir()):
            with suppress(OSError):
                Path(path).unlink()
