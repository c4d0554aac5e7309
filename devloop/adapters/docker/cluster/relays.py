"""The relays of Services: one container of devloop's helper each, told where its ports lead whenever that changes."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import anyio
import httpcore

from devloop.adapters.docker.cluster.commands import open_command
from devloop.adapters.docker.cluster.records import Record
from devloop.adapters.docker.cluster.things import Things
from devloop.adapters.docker.cluster.view import View
from devloop.core.containers.creation import Creation
from devloop.core.containers.identity import network_name, thing_name
from devloop.core.containers.services import WANTED, Relay, lines, names, relay
from devloop.core.manifest.pod_templates import pick
from devloop.errors import ToolError
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput, ExecStream

__all__ = ["Relays"]

_PATIENCE: Final = 5.0


class Relays:
    """Keeps the relays of a project's Services.

    Args:
        things: The engine.
        view: What runs.
    """

    def __init__(self, things: Things, view: View) -> None:
        self._things = things
        self._view = view
        self._told: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._working = anyio.Lock()

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Start and tell no relay meanwhile."""
        async with self._working:
            yield

    async def keep(self, records: Callable[[], Iterable[Record]]) -> None:
        """Make the Services' relays what they should be, and tell them where they lead.

        Args:
            records: Returns the Services, as they are when it is their turn.

        Raises:
            ToolError: The engine refused.
        """
        errors: list[ToolError] = []

        async def keep(record: Record) -> None:
            try:
                await self._keep(record)
            except ToolError as error:
                errors.append(error)

        async with self._working:
            services = [record for record in records() if record.key.kind == "Service" and not record.key.group]
            async with anyio.create_task_group() as tasks:
                for record in services:
                    tasks.start_soon(keep, record)
        if errors:
            raise errors[0]

    async def _keep(self, record: Record) -> None:
        namespace = record.key.namespace
        image = await self._things.helper()
        wanted = relay(record.document, self._things.project, record.service, namespace, image)
        if wanted is None:
            await self.remove(namespace, record.key.name)
            return
        found = self._view.relays().get(wanted.name)
        if (
            found is None
            or found["Config"]["Labels"].get(WANTED) != wanted.digest
            or found["State"]["Status"] != "running"
        ):
            await self._start(wanted, record.key.name)
        await self._tell(record, wanted.name)

    async def _start(self, wanted: Relay, service: str) -> None:
        made = await self._things.create(Creation(name=wanted.name, body=wanted.body))
        await self._things.start(made)
        for network in await self._things.networks():
            if network["Name"] != network_name(self._things.project, wanted.namespace):
                await self._join(made, network["Name"], service, wanted.namespace)
        await self._view.look(made)

    async def _join(self, container: str, network: str, service: str, namespace: str) -> None:
        """Let the pods of another namespace find a Service by its longer names."""
        endpoint = {"Aliases": list(names(service, namespace)[1:])}
        with suppress(ToolError):  # it is there already, or the network is just going
            body = {"Container": container, "EndpointConfig": endpoint}
            await self._things.engine.post(f"/networks/{network}/connect", body)

    async def join_all(self, network: str, namespace: str) -> None:
        """Let the pods of a new namespace find the Services of the others."""
        for raw in self._view.relays().values():
            service = str(pick(raw, ("Config", "Hostname")))
            own = str(pick(raw, ("Config", "Labels", "devloop.dev/namespace")))
            if own != namespace:
                await self._join(str(raw["Id"]), network, service, own)

    async def _tell(self, record: Record, name: str) -> None:
        raw = self._view.relays().get(name)
        if raw is None:
            return
        told = lines(record.document, record.key.namespace, self._view.snapshot())
        run = f"{raw['Id']} {raw['State']['StartedAt']}"
        if self._told.get(name) == (run, told):
            return
        try:
            with anyio.fail_after(_PATIENCE):
                await self._write(str(raw["Id"]), told)
        except (TimeoutError, ContainerLostError, httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise ToolError(f"the relay of service `{record.key.name}` does not answer") from error
        self._told[name] = (run, told)

    async def _write(self, container: str, told: tuple[str, ...]) -> None:
        """Write the lines to the relay, and wait until it has taken them."""
        engine, text = self._things.engine, "".join(f"{line}\n" for line in told).encode()
        async with AsyncExitStack() as opened:
            write: Callable[[bytes], Awaitable[None]]
            read: Callable[[], Awaitable[bytes]]
            if (await engine.version()).is_podman:  # which ends a container's standard input after the first attachment
                command = open_command(engine, container, ("/helper", "tell"), "a Service's relay", stdin=True)
                stream = await opened.enter_async_context(command)
                write, read = stream.send, functools.partial(_output, stream)
            else:
                attached = engine.streams(f"/containers/{container}/attach", stream="1", stdin="1", stdout="1")
                connection = await opened.enter_async_context(attached)
                write, read = connection.write, functools.partial(connection.read, 4096)
            await write(text)
            answered = b""
            while answered.count(b"ok\n") < len(told):
                more = await read()
                if not more:
                    raise ToolError("a Service's relay ended while it was told where to lead")
                answered += more

    async def remove(self, namespace: str, service: str) -> None:
        """Remove a Service's relay."""
        name = thing_name(self._things.project, namespace, "service", service)
        found = self._view.relays().get(name)
        self._told.pop(name, None)
        if found is not None:
            await self._things.remove(found["Id"])
            self._view.drop(found["Id"])

    def leads(self) -> Mapping[str, tuple[str, ...]]:
        """Return what the relays were told last."""
        return {name: told for name, (_, told) in self._told.items()}


async def _output(stream: ExecStream) -> bytes:
    """Return what a command prints next, or nothing when it has ended."""
    match await stream.receive():
        case ExecOutput(data=data):
            return data
        case ExecExit():
            return b""
