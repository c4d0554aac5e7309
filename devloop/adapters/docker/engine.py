"""The Docker Engine API, spoken directly: 0.5 to 1.5 ms a call, where the docker CLI takes 12 to 19 ms."""

import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import anyio

from devloop.adapters.docker.endpoint import Endpoint, find_endpoint
from devloop.adapters.docker.version import EngineVersion, version_of
from devloop.adapters.docker.wakeups import ignore_late_wakeups
from devloop.errors import ToolError, UnreachableError
from devloop.runtime.lean import import_httpx

if TYPE_CHECKING:
    import httpcore
    import httpx

__all__ = ["Engine"]


class Engine:
    """One kept connection (pool) to an engine; use as an async context manager.

    Nothing is imported and nothing connected before the first call.

    Args:
        endpoint: Where it is; None to find it as the docker CLI does, at the first call.
    """

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        self._endpoint = endpoint
        self._client: httpx.AsyncClient | None = None
        self._version: EngineVersion | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Return where the engine is.

        Raises:
            UnreachableError: The docker context that is asked for does not exist.
        """
        if self._endpoint is None:
            self._endpoint = find_endpoint()
        return self._endpoint

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def prepare(self) -> None:
        """Begin, in a thread, what the first call would block for: importing the HTTP client takes 50 to 100 ms."""
        if self._client is None and "httpx" not in sys.modules:
            threading.Thread(target=import_httpx, name="import httpx", daemon=True).start()

    async def version(self) -> EngineVersion:
        """Return what the engine is; asked once.

        Raises:
            ToolError: The engine refused.
            UnreachableError: It did not answer.
        """
        if self._version is None:
            self._version = version_of(await self.get("/version") or {})
        return self._version

    async def get(self, path: str, **parameters: str) -> Any:
        """Return the answer to a GET, or None for what the engine does not have (404).

        Raises:
            ToolError: The engine refused.
            UnreachableError: It did not answer.
        """
        return await self._call("GET", path, parameters, absent=(404,))

    async def post(self, path: str, document: Mapping[str, Any] | None = None, **parameters: str) -> Any:
        """Return the answer to a POST.

        Raises:
            ToolError: The engine refused.
            UnreachableError: It did not answer.
        """
        return await self._call("POST", path, parameters, document)

    @asynccontextmanager
    async def streams(
        self, path: str, document: Mapping[str, Any] | None = None, **parameters: str
    ) -> AsyncIterator["httpcore.AsyncNetworkStream"]:
        """Open a process's streams by a POST that turns the connection into them; its end closes them.

        Raises:
            ToolError: The engine refused.
            UnreachableError: It did not answer.
        """
        client = self._connected()
        import httpx

        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        request = client.build_request("POST", path, params=parameters, json=document, headers=headers)
        try:
            answer = await client.send(request, stream=True)
        except httpx.TransportError as error:
            raise unreachable(self.endpoint, error) from error
        try:
            if answer.status_code not in {101, 200}:
                await answer.aread()
                raise _refusal("POST", path, answer)
            yield answer.extensions["network_stream"]
        finally:
            with anyio.move_on_after(1, shield=True):
                await answer.aclose()

    @asynccontextmanager
    async def reading(self, path: str, /, **parameters: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the answer to a GET that comes in pieces, some of them much later; its end closes the connection.

        Raises:
            ToolError: The engine refused.
            UnreachableError: It did not answer, or (from the iterator) the connection was lost.
        """
        client = self._connected()
        import httpx

        request = client.build_request("GET", path, params=parameters)
        try:
            answer = await client.send(request, stream=True)
        except httpx.TransportError as error:
            raise unreachable(self.endpoint, error) from error

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            except httpx.TransportError as error:
                raise unreachable(self.endpoint, error) from error

        try:
            if answer.is_error:
                await answer.aread()
                raise _refusal("GET", path, answer)
            yield pieces()
        finally:
            with anyio.move_on_after(1, shield=True):
                await answer.aclose()

    async def upload(self, method: str, path: str, archive: bytes, /, **parameters: str) -> Any:
        """Return the answer to a request that carries a tar archive.

        Raises:
            ToolError: The engine refused.
            UnreachableError: It did not answer.
        """
        client = self._connected()
        import httpx

        headers = {"Content-Type": "application/x-tar"}
        try:
            answer = await client.request(method, path, params=parameters, content=archive, headers=headers)
        except httpx.TransportError as error:
            raise unreachable(self.endpoint, error) from error
        if answer.is_error:
            raise _refusal(method, path, answer)
        return answer.text

    async def pull(self, ref: str) -> None:
        """Have the engine pull an image.

        Raises:
            ToolError: It could not.
            UnreachableError: The engine did not answer.
        """
        # Without a tag the engine would pull all of them.
        tagged = ref if ":" in ref.rpartition("/")[2] else f"{ref}:latest"
        answer = await self._answer("POST", "/images/create", {"fromImage": tagged})
        for line in answer.text.splitlines():
            if failed := json.loads(line).get("error"):
                raise ToolError(f"the Docker engine cannot pull `{ref}`: {failed}", command=("docker", "pull", ref))

    async def delete(self, path: str, **parameters: str) -> bool:
        """Return whether a DELETE was done: not when there is nothing (404) or something uses it (409).

        Raises:
            ToolError: The engine refused for another reason.
            UnreachableError: It did not answer.
        """
        return await self._call("DELETE", path, parameters, absent=(404, 409)) is not None

    async def head(self, path: str, /, **parameters: str) -> bool:
        """Return whether there is what a path names.

        Raises:
            ToolError: The engine refused.
            UnreachableError: It did not answer.
        """
        return (await self._answer("HEAD", path, parameters, absent=(404,))).status_code != 404

    async def image(self, ref: str) -> Mapping[str, Any] | None:
        """Return what `docker image inspect` shows, or None when the engine has no such image.

        Raises:
            UnreachableError: The engine did not answer.
        """
        answer: Mapping[str, Any] | None = await self.get(f"/images/{name_in_path(ref)}/json")
        return answer

    async def answers(self) -> bool:
        """Return whether the engine can be reached."""
        try:
            await self._call("GET", "/_ping", {})
        except ToolError:
            return False
        return True

    async def _call(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        document: Mapping[str, Any] | None = None,
        *,
        absent: tuple[int, ...] = (),
    ) -> Any:
        answer = await self._answer(method, path, parameters, document, absent=absent)
        if answer.status_code in absent:
            return None
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer.text

    async def _answer(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        document: Mapping[str, Any] | None = None,
        *,
        absent: tuple[int, ...] = (),
    ) -> "httpx.Response":
        client = self._connected()
        import httpx

        try:
            answer = await client.request(method, path, params=parameters, json=document)
        except httpx.TransportError as error:
            raise unreachable(self.endpoint, error) from error
        if answer.is_error and answer.status_code not in absent:
            raise _refusal(method, path, answer)
        return answer

    def _connected(self) -> "httpx.AsyncClient":
        if self._client is None:
            self._client = _client(self.endpoint)
        return self._client


def name_in_path(ref: str) -> str:
    """Return an image's name as it stands in a path of the API."""
    return quote(ref, safe="/:@")


def unreachable(endpoint: Endpoint, error: Exception | None = None) -> UnreachableError:
    """Return the error for an engine that does not answer."""
    detail = f": {error}" if error is not None and str(error) else ""
    hint = "is it running? `docker version` asks the same engine"
    if any(isinstance(cause, PermissionError) for cause in _causes(error)):
        hint = "may this user read and write the socket? on Linux: `sudo usermod --append --groups docker $USER`"
    return UnreachableError(
        f"the Docker engine at `{endpoint.host}` (from {endpoint.origin}) does not answer{detail}",
        command=("docker", "version"),
        hint=hint,
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _client(endpoint: Endpoint) -> "httpx.AsyncClient":
    import_httpx()
    import httpx

    # Reading has no limit: removing an image of many layers takes its time.
    timeout = httpx.Timeout(connect=5, read=None, write=30, pool=None)
    # Streams keep their connections: a limit would let calls wait for them for ever.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=10)
    if endpoint.is_ssh:
        from devloop.adapters.docker.dial import dial_transport

        return httpx.AsyncClient(transport=dial_transport(endpoint), base_url="http://docker", timeout=timeout)
    if (socket := endpoint.socket) is not None:
        ignore_late_wakeups()
        # Without TLS there is nothing to verify; the default would read all certificates of the system first (70 ms).
        transport = httpx.AsyncHTTPTransport(uds=socket, verify=False, limits=limits)
        return httpx.AsyncClient(transport=transport, base_url="http://docker", timeout=timeout)
    tls = endpoint.tls_context()
    address = endpoint.host.partition("://")[2]
    transport = httpx.AsyncHTTPTransport(verify=tls or False, limits=limits)
    return httpx.AsyncClient(transport=transport, base_url=f"{'https' if tls else 'http'}://{address}", timeout=timeout)


def _refusal(method: str, path: str, answer: "httpx.Response") -> ToolError:
    reason = _reason(answer.text)
    return ToolError(f"the Docker engine refused: {reason}", command=(method, path), exit_code=answer.status_code)


def _reason(body: str) -> str:
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.strip() or "it gave no reason"
    return str(message).strip().rstrip(".")
