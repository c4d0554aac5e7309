"""A TCP proxy before the API server, whose connections are cut when a test wants it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import yaml
from anyio.abc import SocketAttribute, SocketStream

__all__ = ["CuttingProxy"]

_HANDSHAKE_SECONDS = 0.2  # httpx leaves a socket open when its TLS handshake is cut


class CuttingProxy:
    """Carries connections to the server of a kubeconfig; `CuttingProxy.before` starts one.

    Attributes:
        kubeconfig: A kubeconfig that leads through the proxy.
    """

    def __init__(self, kubeconfig: Path, host: str, port: int) -> None:
        self.kubeconfig = kubeconfig
        self._target = (host, port)
        self._streams: set[SocketStream] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, kubeconfig: Path, folder: Path) -> AsyncIterator["CuttingProxy"]:
        """Start a proxy before a kubeconfig's server; its own kubeconfig is written into the folder."""
        config = yaml.safe_load(await anyio.Path(kubeconfig).read_text())
        cluster = config["clusters"][0]["cluster"]
        server = urlsplit(cluster["server"])
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as tasks:
            cluster["server"] = f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
            written = folder / "kubeconfig-through-proxy"
            await anyio.Path(written).write_text(yaml.safe_dump(config))
            proxy = cls(written, server.hostname or "", server.port or 443)
            tasks.start_soon(listener.serve, proxy._carry)
            yield proxy
            tasks.cancel_scope.cancel()

    async def cut(self) -> None:
        """Lose all connections."""
        for stream in tuple(self._streams):
            await anyio.aclose_forcefully(stream)

    async def _carry(self, client: SocketStream) -> None:
        async with client, await anyio.connect_tcp(*self._target) as server:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_pump, client, server)
                    tasks.start_soon(_pump, server, client)
                    await anyio.sleep(_HANDSHAKE_SECONDS)
                    self._streams |= {client, server}
            finally:
                self._streams -= {client, server}


async def _pump(source: SocketStream, target: SocketStream) -> None:
    try:
        async for data in source:
            await target.send(data)
        await target.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await anyio.aclose_forcefully(target)
