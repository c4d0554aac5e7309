"""TCP connections to pods: straight to their addresses where the engine runs on this machine, else through it."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.abc import ByteStream

from devloop.adapters.docker.cluster.commands import open_command
from devloop.adapters.docker.cluster.things import Things
from devloop.adapters.docker.engine import Engine
from devloop.core.containers.creation import Creation
from devloop.core.containers.identity import Role, labels, network_name, thing_name
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput, ExecStream

__all__ = ["Connections", "is_here"]

_PATIENCE: Final = 5.0


def is_here(address: str) -> bool:
    """Return whether an address is one of this machine's: whether a socket may take it as its own."""
    if not address:
        return False
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


class _Dialled(ByteStream):
    """A TCP connection that devloop's helper holds inside the pods' network.

    Args:
        stream: The helper's streams, after its sign that somebody answers.
        first: What it sent together with that.
    """

    def __init__(self, stream: ExecStream, first: bytes) -> None:
        self._stream = stream
        self._rest = first

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes from the pod."""
        while not self._rest:
            match await self._stream.receive():
                case ExecOutput(data=data):
                    self._rest = data
                case ExecExit():
                    raise anyio.EndOfStream
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    async def send(self, item: bytes) -> None:
        """Send bytes to the pod."""
        await self._stream.send(item)

    async def send_eof(self) -> None:
        """Do nothing: the engine cannot close one direction of a command's streams."""

    async def aclose(self) -> None:
        """Do nothing: whoever opened the command ends it."""


class Connections:
    """Opens connections to the pods of one project.

    Args:
        engine: The engine.
        things: The project's things in it.
    """

    def __init__(self, engine: Engine, things: Things) -> None:
        self._engine = engine
        self._things = things
        self._gateways: dict[str, str] = {}
        self._making = anyio.Lock()

    @asynccontextmanager
    async def direct(self, address: str, port: int, name: str) -> AsyncIterator[ByteStream]:
        """Connect to a pod's own address.

        Raises:
            ContainerLostError: It does not answer.
        """
        try:
            with anyio.fail_after(_PATIENCE):
                stream = await anyio.connect_tcp(address, port)
        except (OSError, TimeoutError) as error:
            raise ContainerLostError(f"{name} does not answer on port {port}") from error
        async with stream:
            yield stream

    @asynccontextmanager
    async def dialled(self, namespace: str, host: str, port: int, name: str) -> AsyncIterator[ByteStream]:
        """Connect from inside the pods' network, by devloop's helper.

        Raises:
            ContainerLostError: It does not answer.
        """
        gateway = await self._gateway(namespace)
        command = ("/helper", "dial", host, str(port))
        async with open_command(self._engine, gateway, command, name, stdin=True) as stream:
            match await stream.receive():
                case ExecOutput(data=data):
                    yield _Dialled(stream, data[1:])
                case ExecExit():
                    raise ContainerLostError(f"{name} does not answer on port {port}")

    def forget(self) -> None:
        """Look again for what is in the networks."""
        self._gateways.clear()

    async def _gateway(self, namespace: str) -> str:
        """Return a container of devloop's helper in the namespace's network, started if need be."""
        async with self._making:  # who gives up while it is made leaves it to the next one
            if namespace not in self._gateways:
                network = network_name(self._things.project, namespace)
                body = {
                    "Image": await self._things.helper(),
                    "Labels": labels(self._things.project, Role.NETWORK, namespace=namespace),
                    "HostConfig": {"NetworkMode": network, "LogConfig": {"Type": "none"}},
                }
                name = thing_name(self._things.project, namespace, "gateway")
                there = await self._things.inspect(name)
                if there is not None and there["State"]["Running"]:
                    made = str(there["Id"])
                else:
                    made = await self._things.create(Creation(name=name, body=body))
                    await self._things.start(made)
                self._gateways[namespace] = made
            return self._gateways[namespace]
