"""The Engine API where only the docker CLI can reach it (ssh): HTTP over `docker system dial-stdio`.

That command is what the CLI itself runs on the far end: it joins its standard input and output to the engine's socket.
One process per kept connection; it ends with the connection.
"""

import os
import signal
import ssl
from contextlib import suppress
from typing import Any, Final

import anyio
import httpcore
import httpx
from anyio import CancelScope
from anyio.abc import Process

from devloop.adapters.docker.endpoint import Endpoint

__all__ = ["dial_transport"]

_COMMAND: Final = ("docker", "system", "dial-stdio")
_GRACE: Final = 1.0


def dial_transport(endpoint: Endpoint) -> httpx.AsyncHTTPTransport:
    """Return a transport for httpx whose connections are processes."""
    transport = httpx.AsyncHTTPTransport(verify=False)
    # httpx has no argument for httpcore's network backend; its pool is the one place to put it (hence httpx < 0.29).
    transport._pool = httpcore.AsyncConnectionPool(network_backend=_Backend(dict(endpoint.environment)))  # noqa: SLF001
    return transport


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**os.environ, **environment}

    async def connect_tcp(self, *_arguments: Any, **_options: Any) -> httpcore.AsyncNetworkStream:
        try:
            process = await anyio.open_process(_COMMAND, stderr=None, env=self._environment, start_new_session=True)
        except OSError as error:
            raise httpcore.ConnectError(f"`docker` cannot be started: {error}") from error
        return _Stream(process)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, process: Process) -> None:
        self._process = process

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's interface
        assert self._process.stdout is not None
        try:
            with anyio.fail_after(timeout):
                return await self._process.stdout.receive(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.ReadError("the connection through `docker system dial-stdio` broke") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's interface
        assert self._process.stdin is not None
        try:
            with anyio.fail_after(timeout):
                if buffer:
                    await self._process.stdin.send(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.WriteError("the connection through `docker system dial-stdio` broke") from error

    async def aclose(self) -> None:
        with CancelScope(shield=True):
            self._signal(signal.SIGTERM)
            with anyio.move_on_after(_GRACE):
                await self._process.aclose()
                return
            self._signal(signal.SIGKILL)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        raise NotImplementedError("the docker CLI does the encryption")

    def get_extra_info(self, info: str) -> Any:
        """Tell the pool, which asks before it uses a connection again, whether this one has ended."""
        return self._process.returncode is not None if info == "is_readable" else None

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
