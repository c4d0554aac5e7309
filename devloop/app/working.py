"""The commands that work with what runs: status, logs, exec, down. They need a cluster, but no running loop."""

import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import anyio
from anyio import create_task_group, to_thread

from devloop.app.clusters import open_cluster
from devloop.app.options import Options
from devloop.app.terminal import Terminal, read_to_end
from devloop.app.workspace import Workspace, place_of
from devloop.core.cluster.pods import Container, Pod
from devloop.errors import InputError, InputErrors, ToolError
from devloop.events import PodOutput
from devloop.model import ContainerTarget, ForwardRule, Kind, NodeId, ObjectKey
from devloop.runtime.discover import Project
from devloop.runtime.pods import status_of
from devloop.runtime.ports import Cluster, ContainerLostError, ExecExit, ExecOutput, ExecStream, LogLine
from devloop.ui.rows import ObjectRow, PodRow, PortRow, ServiceRow

__all__ = ["Deployed", "deployed"]

_CONTAINER_GONE: Final = "there is no running container of service `{}`"


@runtime_checkable
class _KeepsVolumes(Protocol):
    """A place where the data of claims outlives them."""

    async def remove_with_volumes(self, services: Collection[str] | None = None) -> tuple[ObjectKey, ...]:
        """Remove all of these services (None: the whole project), and the data of their claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A project's place in the cluster.

    Attributes:
        cluster: The cluster.
        project: The project as its files declare it.
        wanted: The services that are asked for; empty for all.
    """

    cluster: Cluster
    project: Project
    wanted: frozenset[str]

    async def status(self) -> list[ServiceRow]:
        """Return each service with its objects, pods and ports."""
        objects = await self.cluster.objects()
        pods = await self.pods()
        rows = []
        names = [node.id.name for node in self.project.graph.of_kind(Kind.SERVICE)]
        names += sorted({each.service for each in objects} - set(names))
        for name in names:
            if self.wanted and name not in self.wanted:
                continue
            own = [pod for pod in pods if pod.service == name]
            have = [each for each in objects if each.service == name]
            rows.append(
                ServiceRow(
                    node=NodeId(Kind.SERVICE, name),
                    status=_status(bool(have), own),
                    objects=tuple(ObjectRow(name=str(each.key), status=each.status) for each in have),
                    pods=tuple(_pod_row(pod) for pod in own),
                    ports=tuple([await _port_row(rule) for rule in self.project.forwards if rule.service == name]),
                )
            )
        return rows

    async def pods(self) -> tuple[Pod, ...]:
        """Return the pods as they are now."""
        async with self.cluster.pods() as snapshots:
            return await snapshots.receive()

    async def logs(self, tell: Callable[[PodOutput], None], *, follow: bool, since: str | None) -> None:
        """Tell the lines of all containers: those that there are, and with `follow` those that come."""
        if follow:
            from devloop.adapters.logs import LogTailer

            tailing = LogTailer(self.cluster, lambda line: tell(_output(line)), since=since)
            async with tailing as tailer, self.cluster.pods() as snapshots:
                async for pods in snapshots:
                    tailer.update([pod for pod in pods if not self.wanted or pod.service in self.wanted])
            return
        lines: list[PodOutput] = []
        async with create_task_group() as tasks:
            for pod in await self.pods():
                if not self.wanted or pod.service in self.wanted:
                    for container in pod.containers:
                        tasks.start_soon(self._read_log, pod, container, since, lines)
        for line in sorted(lines, key=lambda each: each.time):
            tell(line)

    async def _read_log(self, pod: Pod, container: Container, since: str | None, lines: list[PodOutput]) -> None:
        try:
            async with self.cluster.logs(_target(pod, container), follow=False, since=since) as stream:
                async for raw in stream:
                    time, _, text = raw.decode(errors="replace").partition(" ")
                    lines.append(
                        PodOutput(
                            node=NodeId(Kind.SERVICE, pod.service or ""),
                            pod=pod.name,
                            container=container.name,
                            line=text.rstrip("\n"),
                            time=time,
                        )
                    )
        except ContainerLostError:
            return  # it has not started yet

    async def exec(self, service: str, command: Sequence[str], *, container: str | None, terminal: bool) -> int:
        """Run a command in a service's container, with this process's standard streams, and return its exit code.

        Args:
            service: The service.
            command: The program and its arguments.
            container: The container; None for the pod's first.
            terminal: Whether the command gets a terminal; else what is piped in, as a whole.

        Raises:
            ToolError: No container of the service runs.
            InputError: It has no container of that name.
        """
        target = _choose(service, await self.pods(), container)
        if not terminal:
            return await self._exec_piped(target, command)
        async with (
            self.cluster.exec(target, command, stdin=True, tty=True) as stream,
            Terminal() as own,
            create_task_group() as tasks,
        ):
            tasks.start_soon(_send_input, own, stream)
            tasks.start_soon(_send_size, own, stream)
            code = await _show_output(stream)
            tasks.cancel_scope.cancel("the command has ended")
        return code

    async def _exec_piped(self, target: ContainerTarget, command: Sequence[str]) -> int:
        """Run a command on what is piped in. Old servers cannot end a command's input, so its length is told first."""
        given = b"" if sys.stdin is None or sys.stdin.isatty() else await to_thread.run_sync(read_to_end)
        if given:
            command = ("sh", "-c", f'head -c {len(given)} | "$@"', "sh", *command)
        async with self.cluster.exec(target, command, stdin=bool(given)) as stream, create_task_group() as tasks:
            if given:
                tasks.start_soon(stream.send, given)
            code = await _show_output(stream)
            tasks.cancel_scope.cancel("the command has ended")
        return code

    async def down(self, services: Sequence[str] | None, *, volumes: bool = False) -> tuple[ObjectKey, ...]:
        """Remove what devloop deployed for these services (None: the whole project).

        Args:
            services: The services.
            volumes: Whether data goes too that the place would keep.
        """
        if volumes and isinstance(self.cluster, _KeepsVolumes):
            return await self.cluster.remove_with_volumes(services)
        return await self.cluster.remove(services)


@asynccontextmanager
async def deployed(options: Options, *, strict: bool = False) -> AsyncIterator[Deployed]:
    """Open a project's place in the cluster.

    Args:
        options: What is asked for; `nodes` name services.
        strict: Whether mistakes in the project's files are errors here; what runs can be worked with all the same.

    Raises:
        InputError: There is no devfile, no such service, or no context that may be used.
        InputErrors: The devfile has mistakes (with `strict`).
    """
    workspace = Workspace(options)
    loaded = await to_thread.run_sync(workspace.load)
    if strict and loaded.errors:
        raise InputErrors(loaded.errors)
    place = place_of(options, loaded.project)
    if place.problem is not None:
        raise place.problem
    project = await to_thread.run_sync(workspace.project, place.namespace)
    wanted = frozenset(_service(project, name) for name in options.nodes)
    async with open_cluster(options, place, workspace.name(loaded.project), tell=_tell) as cluster:
        yield Deployed(cluster=cluster, project=project, wanted=wanted)


def _tell(message: str) -> None:
    sys.stderr.write(f"note: {message}\n")


def _service(project: Project, name: str) -> str:
    if not project.graph.nodes:
        return name.removeprefix("service:")
    node = project.graph.find(name)
    if node.kind is not Kind.SERVICE:
        services = ", ".join(f"`{each.id.name}`" for each in project.graph.of_kind(Kind.SERVICE))
        raise InputError(f"`{name}` is {node.kind} `{node.name}`, and only services run", hint=f"services: {services}")
    return node.name


def _status(exists: bool, pods: Sequence[Pod]) -> str:  # noqa: FBT001 - private
    if not exists:
        return "not deployed"
    if not pods:
        return "deployed"
    waiting = [pod for pod in pods if not pod.ready and not pod.deleting and pod.phase != "Succeeded"]
    return (
        status_of(waiting[0]) if waiting and status_of(waiting[0]) != "Running" else "not ready" if waiting else "ready"
    )


def _pod_row(pod: Pod) -> PodRow:
    restarts = sum(container.restarts for container in pod.containers)
    return PodRow(name=pod.name, status=status_of(pod), ready=pod.ready, restarts=restarts)


async def _port_row(rule: ForwardRule) -> PortRow:
    url = f"http://localhost:{rule.local}" if await _listens(rule.local) else None
    return PortRow(local=rule.local, remote=str(rule.remote), url=url)


async def _listens(port: int) -> bool:
    with anyio.move_on_after(0.2):
        try:
            async with await anyio.connect_tcp("127.0.0.1", port):
                return True
        except OSError:
            return False
    return False


def _output(line: LogLine) -> PodOutput:
    return PodOutput(
        node=NodeId(Kind.SERVICE, line.service),
        pod=line.pod,
        container=line.container,
        line=line.text,
        time=line.time,
        previous=line.previous,
    )


def _choose(service: str, pods: Sequence[Pod], name: str | None) -> ContainerTarget:
    own = [pod for pod in pods if pod.service == service and not pod.deleting]
    own.sort(key=lambda pod: (not pod.ready, pod.name))
    for pod in own:
        known = [container.name for container in pod.containers if not container.init]
        if name is not None and name not in known:
            hint = "containers: " + ", ".join(f"`{each}`" for each in known)
            raise InputError(f"service `{service}` has no container `{name}`", hint=hint)
        for container in pod.containers:
            if container.running and not container.init and name in {None, container.name}:
                return _target(pod, container)
    raise ToolError(_CONTAINER_GONE.format(service), hint="see `devloop status`")


def _target(pod: Pod, container: Container) -> ContainerTarget:
    return ContainerTarget(
        namespace=pod.namespace, pod=pod.name, uid=pod.uid, container=container.name, id=container.container_id
    )


async def _send_input(own: Terminal, stream: ExecStream) -> None:
    async for data in own.input():
        await stream.send(data)


async def _send_size(own: Terminal, stream: ExecStream) -> None:
    async for columns, rows in own.sizes():
        await stream.resize(columns, rows)


async def _show_output(stream: ExecStream) -> int:
    while True:
        match await stream.receive():
            case ExecOutput(data=data, stderr=stderr):
                out = sys.stderr.buffer if stderr else sys.stdout.buffer
                out.write(data)
                out.flush()
            case ExecExit(code=code):
                return code
