"""A project on the Docker engine: puts the parts of this package together."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import anyio
from anyio.abc import ByteStream, ObjectReceiveStream, TaskGroup

from devloop.adapters.docker.cluster.apply import Applier
from devloop.adapters.docker.cluster.commands import open_command
from devloop.adapters.docker.cluster.connections import Connections, is_here
from devloop.adapters.docker.cluster.controller import Controller
from devloop.adapters.docker.cluster.logs import open_log
from devloop.adapters.docker.cluster.prober import Prober
from devloop.adapters.docker.cluster.records import Record, Records
from devloop.adapters.docker.cluster.relays import Relays
from devloop.adapters.docker.cluster.rollouts import Rollouts
from devloop.adapters.docker.cluster.storage import Storage
from devloop.adapters.docker.cluster.things import Things
from devloop.adapters.docker.cluster.view import View
from devloop.adapters.docker.engine import Engine
from devloop.core.cluster.pods import Pod
from devloop.core.cluster.rollout import Failing, Progressing, Rollout
from devloop.core.containers.controllers import workload
from devloop.core.containers.identity import NAMESPACE, Role
from devloop.core.containers.live import live_document, status_text
from devloop.core.containers.observed import Run, Seen
from devloop.core.containers.support import not_carried
from devloop.core.manifest import Manifest, manifest_of
from devloop.core.manifest.pod_templates import pick
from devloop.errors import ToolError
from devloop.model import ContainerTarget, ObjectKey
from devloop.runtime.ports import Applied, ContainerLostError, ExecStream, LiveObject
from devloop.runtime.signals import Latest

__all__ = ["DockerCluster"]

_FIRST_ANSWERS: Final = 1.5
_TAIL_LINES: Final = 15
_TAIL_SECONDS: Final = 2.0


class DockerCluster:
    """A project's place on an engine; `DockerCluster.open` makes one.

    Attributes:
        context: What the place is called.
        namespace: The namespace of objects that name none.
    """

    def __init__(
        self, engine: Engine, tasks: TaskGroup, *, project: str, namespace: str, tell: Callable[[str], None]
    ) -> None:
        self.context = "the Docker engine"
        self.namespace = namespace
        self._engine = engine
        self._project = project
        self._tasks = tasks
        self._things = Things(engine, project, namespace)
        self._view = View(self._things)
        self._records = Records(self._things)
        self._storage = Storage(self._things)
        self._connections = Connections(engine, self._things)
        self._prober = Prober(engine, self._view, tasks, self._dial)
        self._relays = Relays(self._things, self._view)
        self._rollouts = Rollouts(self._view, project)
        self._controller = Controller(
            things=self._things,
            view=self._view,
            records=self._records,
            storage=self._storage,
            prober=self._prober,
            relays=self._relays,
            tasks=tasks,
        )
        self._applier = Applier(
            project,
            namespace,
            records=self._records,
            view=self._view,
            storage=self._storage,
            controller=self._controller,
            relays=self._relays,
            tell=tell,
        )
        self._tell = tell
        self._local: bool | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, engine: Engine, *, project: str, namespace: str, tell: Callable[[str], None] = lambda _: None
    ) -> AsyncIterator["DockerCluster"]:
        """Follow the project's containers until the end.

        Args:
            engine: The engine.
            project: The project's name.
            namespace: The namespace of objects that name none.
            tell: Told of what in the manifests has no effect here.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            cluster = cls(engine, tasks, project=project, namespace=namespace, tell=tell)
            tasks.start_soon(cluster._view.run, name="follow the engine")
            tasks.start_soon(cluster._prober.run, name="probe containers")
            tasks.start_soon(cluster._records.follow, cluster._view.signal.fire, name="follow objects")
            tasks.start_soon(cluster._controller.run, name="control pods")
            try:
                yield cluster
            except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                failure = error
            tasks.cancel_scope.cancel("the cluster is closed")
        if failure is not None:
            raise failure

    # --- what should be there ------------------------------------------------------------------------------------

    async def apply(self, service: str, manifests: Sequence[Manifest]) -> Applied:
        """See `ports.Cluster.apply`."""
        await self._reachable()
        return await self._applier.apply(service, manifests)

    async def wait(
        self,
        service: str,
        manifests: Sequence[Manifest],
        report: Callable[[Progressing | Failing], None],
        *,
        patience: float,
    ) -> None:
        """See `ports.Cluster.wait`; the Services lead to the new pods then."""
        settled = self._applier.settle(manifests)
        await self._rollouts.wait(service, settled, report, self._tail, patience=patience)
        await self._controller.settled()

    async def state(self, service: str, manifests: Sequence[Manifest]) -> Rollout:
        """See `ports.Cluster.state`."""
        return await self._rollouts.state(service, self._applier.settle(manifests))

    async def remove(self, services: Collection[str] | None = None) -> tuple[ObjectKey, ...]:
        """See `ports.Cluster.remove`; what claims hold stays."""
        gone = await self._remove(services, claims=False)
        if kept := await self._storage.claims(services):
            names = ", ".join(f"`{name}`" for name in kept)
            self._tell(f"the data of {names} stays; `devloop down --volumes` removes it")
        return gone

    async def remove_with_volumes(self, services: Collection[str] | None = None) -> tuple[ObjectKey, ...]:
        """Remove all of these services (None: the whole project), and what their claims hold."""
        return await self._remove(services, claims=True)

    async def _remove(self, services: Collection[str] | None, *, claims: bool) -> tuple[ObjectKey, ...]:
        await self._reachable()
        gone = await self._applier.remove(services, claims=claims)
        if not await self._records.all():
            await self._remove_networks()
        return gone

    async def _remove_networks(self) -> None:
        for container in await self._things.containers(Role.NETWORK):
            await self._things.remove(container["Id"])
        for network in await self._things.networks():
            await self._things.remove_network(network["Name"])
        self._controller.forget_networks()
        self._connections.forget()

    async def objects(self) -> tuple[LiveObject, ...]:
        """See `ports.Cluster.objects`."""
        await self._reachable()
        await self._settled_view()
        records = await self._records.all()
        found = [
            LiveObject(key=key, service=record.service, status=self._status(record)) for key, record in records.items()
        ]
        return tuple(sorted(found, key=lambda each: (each.service, each.key)))

    def _status(self, record: Record) -> str:
        manifest = manifest_of(record.document, path="").in_namespace(record.key.namespace)
        made = workload(manifest, record.project, record.service)
        if made is not None:
            return status_text(live_document(made, self._rollouts.having(made.key)))
        return "no effect here" if any(not each.field for each in not_carried([manifest])) else ""

    # --- what runs -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def pods(self) -> AsyncIterator[ObjectReceiveStream[tuple[Pod, ...]]]:
        """See `ports.Cluster.pods`."""
        first = True

        async def snapshot() -> tuple[Pod, ...]:
            nonlocal first
            if first:
                await self._settled_view()
                first = False
            return tuple(pod for _, pod in self._view.snapshot())

        async with Latest(self._view.signal, snapshot) as snapshots:
            yield snapshots

    def all_pods(self) -> AbstractAsyncContextManager[ObjectReceiveStream[tuple[Pod, ...]]]:
        """See `ports.Cluster.all_pods`: on an engine, containers of others are no pods."""
        return self.pods()

    async def _settled_view(self) -> None:
        """Return when each container has been asked whether it is ready."""
        await self._view.ready()
        await self._prober.heard(_FIRST_ANSWERS)

    async def _reachable(self) -> None:
        """Raise UnreachableError unless the engine answers."""
        await self._engine.get("/_ping")

    @asynccontextmanager
    async def exec(
        self, target: ContainerTarget, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> AsyncIterator[ExecStream]:
        """See `ports.Cluster.exec`."""
        seen = await self._seen(target)
        run = seen.current(target.container) if seen else None
        if run is None or not run.running or (target.id and target.id != f"docker://{run.id}"):
            raise ContainerLostError(f"{_named(target)} is not there any more")
        opened = open_command(self._engine, run.id, command, _named(target), stdin=stdin, tty=tty)
        async with opened as stream:
            yield stream

    @asynccontextmanager
    async def logs(
        self, target: ContainerTarget, *, follow: bool = True, since: str | None = None, previous: bool = False
    ) -> AsyncIterator[ObjectReceiveStream[bytes]]:
        """See `ports.Cluster.logs`."""
        seen = await self._seen(target)
        runs = [run for run in (seen.runs.get(target.container, ()) if seen else ()) if run.started_at]
        wanted: Run | None = (runs[-2] if len(runs) > 1 else None) if previous else (runs[-1] if runs else None)
        if seen is None or wanted is None:
            raise ContainerLostError(f"{_named(target)} has no log: there is no such run of it")
        opened = open_log(
            self._engine,
            wanted.id,
            _named(target),
            terminal=_has_terminal(seen, target.container),
            follow=follow and not previous,
            since=since,
        )
        async with opened as lines:
            yield lines

    async def _seen(self, target: ContainerTarget) -> Seen | None:
        await self._view.ready()
        return next(
            (
                seen
                for seen in self._view.pods().values()
                if seen.identity.name == target.pod
                and seen.identity.namespace == (target.namespace or self.namespace)
                and target.uid in {"", seen.identity.uid}
            ),
            None,
        )

    async def _tail(self, failing: Failing) -> tuple[str, ...]:
        """Return the last lines of the failing container's log."""
        seen = next((each for each in self._view.pods().values() if each.identity.name == failing.pod), None)
        runs = seen.runs.get(failing.container or "", ()) if seen else ()
        ended = [run for run in runs if run.started_at]
        if not ended or seen is None:
            return ()
        lines: list[str] = []
        chosen = next((run for run in reversed(ended) if run.ended), ended[-1])
        terminal = _has_terminal(seen, failing.container or "")
        try:
            with anyio.move_on_after(_TAIL_SECONDS):
                opened = open_log(self._engine, chosen.id, "the container", terminal=terminal, tail=_TAIL_LINES)
                async with opened as log:
                    lines += [line.partition(b" ")[2].decode(errors="replace") async for line in log]
        except ToolError:
            return ()  # the failure itself is the message; its log is an extra
        return tuple(lines)

    # --- connections ---------------------------------------------------------------------------------------------

    def connect(self, pod: Pod, port: int) -> AbstractAsyncContextManager[ByteStream]:
        """See `ports.Cluster.connect`."""
        name = f"pod `{pod.name}`"
        if (address := self.address(pod, port)) is not None:
            return self._connections.direct(*address, name)
        return self._connections.dialled(pod.namespace, pod.name, port, name)

    def address(self, pod: Pod, port: int) -> tuple[str, int] | None:
        """See `ports.Cluster.address`: the pod's own, where the engine's networks are this machine's."""
        return (pod.ip, port) if pod.ip and self._is_local(pod.namespace) else None

    def _is_local(self, namespace: str) -> bool:
        if self._local is None:
            gateway = self._controller.gateways().get(namespace) or self._gateway_of(namespace)
            if not gateway:
                return False
            self._local = self._engine.endpoint.socket is not None and is_here(gateway)
        return self._local

    def _gateway_of(self, namespace: str) -> str:
        """Return the host's address in a namespace's network, as its containers show it."""
        for raw in self._view.raw.values():
            if raw["Config"]["Labels"].get(NAMESPACE) == namespace:
                for network in pick(raw, ("NetworkSettings", "Networks"), {}).values():
                    if network.get("Gateway"):
                        return str(network["Gateway"])
        return ""

    async def _dial(self, seen: Seen, port: int) -> ByteStream:
        identity = seen.identity
        address = "127.0.0.1" if identity.spec.get("hostNetwork") else seen.address
        if not address:
            raise ContainerLostError(f"pod `{identity.name}` has no address")
        if self._is_local(identity.namespace):
            return await anyio.connect_tcp(address, port)
        stack = AsyncExitStack()
        opened = self._connections.dialled(identity.namespace, identity.name, port, f"pod `{identity.name}`")
        return _Owning(await stack.enter_async_context(opened), stack)


class _Owning(ByteStream):
    """A stream that closes what carries it."""

    def __init__(self, stream: ByteStream, stack: AsyncExitStack) -> None:
        self._stream = stream
        self._stack = stack

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stack.aclose()


def _named(target: ContainerTarget) -> str:
    return f"container `{target.container}` of pod `{target.pod}`"


def _has_terminal(seen: Seen, container: str) -> bool:
    return any(
        each.get("name") == container and bool(each.get("tty"))
        for part in ("initContainers", "containers")
        for each in seen.identity.spec.get(part) or ()
    )
