"""The container in which the cluster of one's own runs: k3s, by python-on-whales. Knows nothing of Kubernetes' API.

Two volumes outlive the container: what the cluster holds, and the identity of its node, without which a new container
would be refused as an impostor under the old node's name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from anyio import to_thread

from devloop.errors import ToolError

if TYPE_CHECKING:
    from python_on_whales import DockerClient

__all__ = ["ClusterContainer", "Found"]

_PORT: Final = "6443/tcp"
_KUBECONFIG: Final = "/etc/rancher/k3s/k3s.yaml"
_VOLUMES: Final = {"data": "/var/lib/rancher/k3s", "node": "/etc/rancher/node"}
_TAIL: Final = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The container as it is.

    Attributes:
        image: The image that it was made from, as it was named then.
        running: Whether it runs.
        port: The port of 127.0.0.1 that leads to its API server.
        exit_code: How it ended, when it does not run.
    """

    image: str
    running: bool
    port: int
    exit_code: int


class ClusterContainer:
    """The container of a cluster.

    Args:
        name: Its name, which is its node's, too.
        host: The engine, as `DOCKER_HOST` has it; None for the one that the docker CLI finds by itself.
    """

    def __init__(self, name: str, host: str | None = None) -> None:
        self.name = name
        self._host = host

    @property
    def volumes(self) -> tuple[str, ...]:
        """The names of its volumes."""
        return tuple(f"{self.name}-{each}" for each in _VOLUMES)

    async def look(self) -> Found | None:
        """Return the container as it is, or None where there is none."""
        return await self._call(self._look)

    async def pull(self, image: str) -> bool:
        """Get the image if the engine lacks it; return whether it had to be got."""
        if await self._call(lambda: self._docker.image.exists(image)):
            return False
        await self._call(lambda: self._docker.image.pull(image, quiet=True))
        return True

    async def create(self, image: str, port: int) -> None:
        """Make the container and start it, with its API server at the port of 127.0.0.1."""
        await self._call(lambda: self._create(image, port))

    async def start(self) -> None:
        """Start the container that there is."""
        await self._call(lambda: self._docker.container.start(self.name))

    async def keep(self) -> None:
        """Let the engine start the container with itself from now on."""
        await self._call(lambda: self._docker.container.update(self.name, restart="unless-stopped"))

    async def remove(self, *, data: bool) -> bool:
        """Remove the container, and its volumes if `data`; return whether there was anything to remove."""
        return await self._call(lambda: self._remove(data))

    async def kubeconfig(self) -> str | None:
        """Return the kubeconfig that k3s wrote inside, or None as long as it has not."""
        return await self._call(self._kubeconfig)

    async def last_lines(self) -> tuple[str, ...]:
        """Return the last lines that it printed."""
        printed = await self._call(lambda: self._docker.container.logs(self.name, tail=_TAIL))
        return tuple(str(printed).splitlines())

    @cached_property
    def _docker(self) -> "DockerClient":
        from python_on_whales import DockerClient

        return DockerClient(host=self._host)

    async def _call(self, function: Callable[[], T]) -> T:
        return await to_thread.run_sync(lambda: self._guarded(function), abandon_on_cancel=True)

    def _guarded(self, function: Callable[[], T]) -> T:
        from python_on_whales import ClientNotFoundError, DockerException

        try:
            return function()
        except ClientNotFoundError as error:
            raise ToolError("there is no `docker` command", hint="is docker installed and on the PATH?") from error
        except DockerException as error:
            tail = (error.stderr or "").strip().splitlines()
            message = f"docker failed: {tail[-1] if tail else 'it does not say why'}"
            raise ToolError(
                message, command=error.docker_command, exit_code=error.return_code, tail=tail[-_TAIL:]
            ) from error

    def _look(self) -> Found | None:
        if not self._docker.container.exists(self.name):
            return None
        container = self._docker.container.inspect(self.name)
        bindings = (container.host_config.port_bindings or {}).get(_PORT) or ()
        return Found(
            image=str(container.config.image),
            running=bool(container.state.running) and not container.state.restarting,
            port=next((int(each.host_port) for each in bindings if each.host_port), 0),
            exit_code=container.state.exit_code or 0,
        )

    def _create(self, image: str, port: int) -> None:
        self._docker.run(
            image,
            ["server", f"--node-name={self.name}", "--tls-san=127.0.0.1", "--disable=traefik"],
            name=self.name,
            hostname=self.name,
            detach=True,
            privileged=True,
            tmpfs=["/run", "/var/run"],
            volumes=[(f"{self.name}-{each}", path) for each, path in _VOLUMES.items()],
            publish=[(f"127.0.0.1:{port}", 6443)],
            labels={"app.kubernetes.io/managed-by": "devloop"},
        )

    def _remove(self, data: bool) -> bool:  # noqa: FBT001
        there = self._docker.container.exists(self.name)
        if there:
            self._docker.container.remove(self.name, force=True, volumes=True)
        if not data:
            return there
        volumes = [each for each in self.volumes if self._docker.volume.exists(each)]
        if volumes:
            self._docker.volume.remove(list(volumes))
        return there or bool(volumes)

    def _kubeconfig(self) -> str | None:
        from python_on_whales import DockerException

        try:
            return str(self._docker.container.execute(self.name, ["cat", _KUBECONFIG]))
        except DockerException:  # it is not written yet; whether the container still runs, is another question
            return None
