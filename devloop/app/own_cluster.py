"""`devloop cluster`: a single-node Kubernetes in one container, started, stopped and looked at."""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import anyio

from devloop.adapters.docker import DockerBuilder
from devloop.adapters.kube.config import read_contexts
from devloop.adapters.kube.entries import add_entries, remove_entries, server_known
from devloop.adapters.own_cluster import ClusterContainer, Found
from devloop.core.cluster.contexts import OWN_CONTEXT, OWN_NODE, Context
from devloop.core.cluster.kubeconfig import Entries
from devloop.core.yaml.documents import parse_documents
from devloop.errors import InputError, ToolError, Where
from devloop.model import Document
from devloop.ui.rows import ClusterRow

__all__ = ["IMAGE", "OwnCluster"]

IMAGE: Final = "rancher/k3s:v1.31.5-k3s1"
"""What the cluster is made of unless `--image` says otherwise."""

_POLL: Final = 0.5
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """How far the cluster is: ready, or what it still lacks."""

    lacks: str | None
    entries: Entries | None = None
    version: str | None = None


class OwnCluster:
    """The cluster that devloop makes.

    Args:
        kubeconfig: The kubeconfig to change; None for the user's own.
        name: The name of its container and its node.
    """

    def __init__(self, kubeconfig: str | None = None, name: str = OWN_NODE) -> None:
        self._kubeconfig = kubeconfig
        self._name = name

    async def start(self, image: str | None, patience: float, tell: Callable[[str], None]) -> ClusterRow:
        """Make the cluster, or start the one that there is, and return it when its node is ready.

        Args:
            image: The image of k3s; None for that of the cluster that there is, else for the usual one.
            patience: Seconds until the node must be ready, the download not included.
            tell: Told how it goes on.

        Raises:
            InputError: The context belongs to another cluster, or the image is another than that of the cluster.
            ToolError: The engine does not do it, or the cluster does not become ready.
        """
        self._check_context()
        container = await self._container()
        found = await container.look()
        if found is None:
            await self._create(container, image or IMAGE, tell)
        elif image is not None and found.image != image:
            raise InputError(
                f"the cluster runs `{found.image}`, not `{image}`",
                hint="`devloop cluster stop` removes it; `--keep-data` keeps what it holds for the new image",
            )
        elif not found.running:
            await self._start_again(container, found, tell)
        seen = await self._ready(container, patience, tell)
        assert seen.entries is not None
        path = add_entries(seen.entries, self._kubeconfig)
        await container.keep()
        tell(f"the current context is `{OWN_CONTEXT}` now, in {path}")
        return await self.status()

    async def stop(self, *, keep_data: bool, tell: Callable[[str], None]) -> None:
        """Remove the cluster and its entries in the kubeconfig.

        Args:
            keep_data: Whether what it holds stays, for a later start.
            tell: Told what was removed.
        """
        own = server_known(OWN_CONTEXT, self._kubeconfig)
        container = await self._container()
        if await container.remove(data=not keep_data):
            kept = f"; its data stay in the volumes {', '.join(container.volumes)}" if keep_data else ""
            tell(f"removed the container {self._name}{kept}")
        else:
            tell("there is no cluster")
        if own is not None and _is_here(own[0]):
            for path in remove_entries(OWN_CONTEXT, self._kubeconfig):
                tell(f"removed `{OWN_CONTEXT}` from {path}")
            current = read_contexts(self._kubeconfig).current
            tell(f"the current context is `{current}`" if current else "no context is current")

    async def status(self) -> ClusterRow:
        """Return how the cluster is."""
        container = await self._container()
        found = await container.look()
        contexts = read_contexts(self._kubeconfig)
        known = any(context.name == OWN_CONTEXT for context in contexts.known)
        row = ClusterRow(
            state="absent",
            context=OWN_CONTEXT if known else None,
            current=known and contexts.current == OWN_CONTEXT,
        )
        if found is None:
            return row
        row = replace(row, state="stopped", image=found.image, server=f"https://127.0.0.1:{found.port}")
        if not found.running:
            return row
        seen = await self._look(container, found)
        return replace(row, state="starting" if seen.lacks else "ready", lacks=seen.lacks, version=seen.version)

    def _check_context(self) -> None:
        known = server_known(OWN_CONTEXT, self._kubeconfig)
        if known is not None and not _is_here(known[0]):
            raise InputError(
                f"there is a cluster `{OWN_CONTEXT}` already, at {known[0]}",
                where=Where(path=str(known[1])),
                hint=f"rename it: `kubectl config rename-context {OWN_CONTEXT} NAME`, and its cluster and user",
            )

    async def _container(self) -> ClusterContainer:
        async with DockerBuilder() as builder:
            endpoint = builder.engine.endpoint
            if not endpoint.host.startswith("unix://") and urlsplit(endpoint.host).hostname not in _LOOPBACK:
                raise InputError(
                    f"the Docker engine is on another machine ({endpoint.host}, from {endpoint.origin}),"
                    " where its cluster could not be reached from here",
                    hint="use an engine on this machine, or a cluster that already runs there: `--context`",
                )
            await builder.engine.get("/version")  # whose errors say how to get an engine
            return ClusterContainer(self._name, dict(endpoint.environment).get("DOCKER_HOST"))

    async def _create(self, container: ClusterContainer, image: str, tell: Callable[[str], None]) -> None:
        tell(f"getting the image {image}")
        await container.pull(image)
        port = _free_port()
        tell(f"starting the container {self._name}, its API server at https://127.0.0.1:{port}")
        try:
            await container.create(image, port)
        except ToolError:
            with anyio.CancelScope(shield=True):
                await container.remove(data=False)  # made, but not started
            raise

    async def _start_again(self, container: ClusterContainer, found: Found, tell: Callable[[str], None]) -> None:
        if _is_free(found.port):
            tell(f"starting the container {self._name}")
            await container.start()
            return
        tell(f"something else has port {found.port} now; what the cluster holds goes into a new container")
        await container.remove(data=False)
        await self._create(container, found.image, tell)

    async def _ready(self, container: ClusterContainer, patience: float, tell: Callable[[str], None]) -> _Seen:
        began, told = time.monotonic(), ""
        while True:
            found = await container.look()
            if found is None or not found.running:
                ended = f" with exit code {found.exit_code}" if found is not None else ""
                raise await self._failed(container, f"the cluster's container ended{ended}")
            seen = await self._look(container, found)
            waited = time.monotonic() - began
            if seen.lacks is None:
                tell(f"Kubernetes {seen.version} is ready after {waited:.1f} s")
                return seen
            if waited > patience:
                raise await self._failed(container, f"the cluster is not ready after {patience:g} s: {seen.lacks}")
            if seen.lacks != told:
                told = seen.lacks
                tell(told)
            await anyio.sleep(_POLL)

    async def _failed(self, container: ClusterContainer, message: str) -> ToolError:
        tail = await container.last_lines() if await container.look() is not None else ()
        return ToolError(
            message,
            command=("docker", "logs", self._name),
            tail=tail,
            hint="`devloop cluster start` tries again, `devloop cluster stop` removes it",
        )

    async def _look(self, container: ClusterContainer, found: Found) -> _Seen:
        from devloop.adapters.kube.cluster import KubeCluster

        text = await container.kubeconfig()
        entries = _entries(text, found.port) if text else None
        if entries is None:
            return _Seen(lacks="k3s has not written its kubeconfig yet")
        context = Context(name=OWN_CONTEXT, namespace=None, cluster=entries.cluster, user=entries.user)
        try:
            async with KubeCluster.open(project="devloop", context=context) as cluster:
                nodes = await cluster.nodes()
        except (ToolError, InputError):
            return _Seen(lacks="the API server does not answer yet")
        lacks = _lacks(nodes, self._name)
        return _Seen(lacks=lacks, entries=entries, version=None if lacks else _version(nodes, self._name))


def _entries(text: str, port: int) -> Entries | None:
    """Return what k3s says of itself, with the address by which it is reached from here."""
    documents = parse_documents(text)
    config: Mapping[str, Any] = documents[0].value if documents else {}
    if not config.get("clusters") or not config.get("users"):
        return None
    cluster = {**config["clusters"][0]["cluster"], "server": f"https://127.0.0.1:{port}"}
    return Entries(name=OWN_CONTEXT, cluster=cluster, user=config["users"][0]["user"])


def _lacks(nodes: tuple[Document, ...], name: str) -> str | None:
    """Return why the node is not ready, or None when it is."""
    node = next((each for each in nodes if each["metadata"]["name"] == name), None)
    if node is None:
        return "the node has not registered yet"
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready: Document = next((each for each in conditions if each.get("type") == "Ready"), {})
    if ready.get("status") == "True":
        return None
    return f"the node is not ready: {ready.get('message') or ready.get('reason') or 'it does not say why'}"


def _version(nodes: tuple[Document, ...], name: str) -> str:
    node = next(each for each in nodes if each["metadata"]["name"] == name)
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", "unknown"))


def _is_here(server: str) -> bool:
    return urlsplit(server).hostname in _LOOPBACK


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
