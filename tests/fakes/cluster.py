"""A `Cluster` in memory. Pods start as soon as their workload is applied; what they say and do is the test's choice."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, ObjectReceiveStream

from devloop.core.cluster.pods import Container, Owner, Pod, Running, Terminated, Waiting
from devloop.core.cluster.rollout import Failing, FailureReason, Progressing, Ready, Rollout
from devloop.core.manifest import Manifest, digest, waves, with_labels
from devloop.core.manifest.pod_templates import pick, template_pointer
from devloop.errors import ToolError, UnreachableError
from devloop.model import ContainerTarget, Digest, ObjectKey
from devloop.runtime.ports import Applied, ContainerLostError, LiveObject, RolloutError
from tests.fakes.containers import Echo, FakeExec, Program, small_shell

__all__ = ["FakeCluster", "target"]

_FIXED = {"Job": ("spec", "template"), "Deployment": ("spec", "selector"), "StatefulSet": ("spec", "selector")}
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class _Object:
    manifest: Manifest
    service: str
    project: str
    applied: Digest | None
    created: bool
    revision: int = 0


@dataclass
class _Log:
    lines: list[bytes] = field(default_factory=list)
    ended: bool = False


def target(pod: Pod, container: str | None = None) -> ContainerTarget:
    """Return the present run of a pod's container (by default its first that is no init container)."""
    found = next(each for each in pod.containers if each.name == container or (container is None and not each.init))
    return ContainerTarget(
        namespace=pod.namespace, pod=pod.name, uid=pod.uid, container=found.name, id=found.container_id
    )


class FakeCluster:
    """Deploys in no time, or as long as the test wants.

    Attributes:
        applies: The services that were applied, in order.
        reachable: Whether the API server answers; set it with `cut` and `mend`.
        strangers: Pods that others deployed; set them with `let_run`.

    Args:
        project: The project's name.
        program: What commands do that are run in containers.
    """

    def __init__(self, project: str = "test", *, namespace: str = "default", program: Program = small_shell) -> None:
        self.context = "fake"
        self.namespace = namespace
        self.applies: list[str] = []
        self.execs: list[FakeExec] = []
        self.reachable = True
        self._project = project
        self._program = program
        self._objects: dict[ObjectKey, _Object] = {}
        self._pods: dict[str, Pod] = {}
        self.strangers: tuple[Pod, ...] = ()
        self._logs: dict[tuple[str, str, bool], _Log] = {}  # by pod, container, whether it is the run before
        self._states: dict[str, Rollout] = {}
        self._tails: dict[str, tuple[str, ...]] = {}
        self._refused: dict[str, str] = {}
        self._held: set[str] = set()
        self._count = 0
        self._lines = 0
        self._changed = anyio.Event()

    # --- what a test says ---

    def hold(self, service: str) -> None:
        """Let pods of the service that are made from now on start only with `roll_out`."""
        self._held.add(service)

    def roll_out(self, service: str) -> None:
        """Let the service's pods start."""
        self._held.discard(service)
        for name, pod in self._pods.items():
            if pod.service == service and not pod.ready:
                self._pods[name] = self._started(pod)
        self._tell()

    def fail(self, service: str, message: str = "container `app` ends with exit code 1", *tail: str) -> None:
        """Let rollouts of the service fail until `mend`."""
        self._states[service] = Failing(reason=FailureReason.CRASH, message=message, exit_code=1)
        self._tails[service] = tail
        self._tell()

    def refuse(self, name: str, message: str) -> None:
        """Refuse objects of this name until `mend`."""
        self._refused[name] = message

    def mend(self, name: str | None = None) -> None:
        """Let a service's rollouts and an object succeed again; without a name, let the API server answer again."""
        if name is None:
            self.reachable = True
        else:
            self._states.pop(name, None)
            self._refused.pop(name, None)
        self._tell()

    def cut(self) -> None:
        """Take the API server away: calls fail, subscribed pods stand still, streams end."""
        self.reachable = False
        for stream in self.execs:
            stream.lose()
        self._tell()

    def put(self, manifest: Manifest, *, project: str = "") -> None:
        """Put an object there that devloop, or another project of it, did not just deploy."""
        settled = manifest.in_namespace(self.namespace)
        self._objects[settled.key] = _Object(settled, "", project, None, created=False)

    def beside(self, project: str) -> "FakeCluster":
        """Return what another project sees of the same cluster."""
        other = FakeCluster(project, namespace=self.namespace, program=self._program)
        other._objects = self._objects
        return other

    def everything(self) -> frozenset[ObjectKey]:
        """Return all objects, whoever put them there."""
        return frozenset(self._objects)

    def write(self, pod: str, line: str, *, container: str | None = None) -> None:
        """Let a container print a line."""
        self._lines += 1
        stamp = (_EPOCH + timedelta(milliseconds=self._lines)).strftime("%Y-%m-%dT%H:%M:%S.%f")
        self._log(pod, container).lines.append(f"{stamp}000Z {line}".encode())
        self._tell()

    def restart(self, pod: str, *, container: str | None = None, exit_code: int = 1) -> None:
        """Let a container end and start again: a new run with a log of its own."""
        found = target(self._pods[pod], container)
        self._end(found)
        self._logs[pod, found.container, True] = self._logs.pop((pod, found.container, False))
        self._logs[pod, found.container, False] = _Log()
        ended = Terminated(exit_code=exit_code, reason="Error" if exit_code else "Completed")
        self._change(found, lambda each: self._run_of(replace(each, last=ended, restarts=each.restarts + 1)))

    def kill(self, pod: str) -> None:
        """Delete a pod; its workload makes another."""
        old = self._pods[pod]
        self._drop(pod)
        if old.owner is not None:
            self._add(replace(old, name=self._name(old.owner.name)))
        self._tell()

    def let_run(self, name: str, image: str, **labels: str) -> None:
        """Run a pod with one container `app` that devloop has nothing to do with."""
        pod = Pod(name=name, namespace=self.namespace, uid=f"uid-{name}", labels=labels)
        containers = (self._run_of(Container(name="app", image=image)),)
        self.strangers += (replace(pod, phase="Running", ready=True, containers=containers),)
        self._tell()

    @property
    def now(self) -> tuple[Pod, ...]:
        """The pods as they are."""
        return tuple(self._pods[name] for name in sorted(self._pods))

    def pod(self, service: str) -> Pod:
        """Return the only pod of a service."""
        (found,) = (pod for pod in self.now if pod.service == service and not pod.deleting)
        return found

    async def until(self, condition: Callable[["FakeCluster"], bool]) -> None:
        """Return when the condition holds; looked at after each change."""
        while not condition(self):
            await self._changed.wait()

    # --- the port: objects ---

    async def apply(self, service: str, manifests: Sequence[Manifest]) -> Applied:
        await self._ask()
        self.applies.append(service)
        settled = [manifest.in_namespace(self.namespace) for manifest in manifests]
        outcomes: dict[ObjectKey, str] = {}
        for wave in waves(settled):
            for manifest in wave:
                outcomes[manifest.key] = self._put(service, manifest)
        removed = [key for key, found in self._objects.items() if found.service == service and key not in outcomes]
        for key in removed:
            self._remove(key)
        self._tell()
        by_outcome = {
            outcome: tuple(key for key, each in outcomes.items() if each == outcome)
            for outcome in ("changed", "replaced", "unchanged")
        }
        return Applied(**by_outcome, removed=tuple(key for key in removed))

    async def wait(
        self,
        service: str,
        manifests: Sequence[Manifest],
        report: Callable[[Progressing | Failing], None],
        *,
        patience: float,
    ) -> None:
        told: Rollout = Ready()
        failing_since = anyio.current_time()
        while True:
            await anyio.lowlevel.checkpoint()
            changed, state = self._changed, self._state(service)
            match state:
                case Ready():
                    return
                case Progressing() | Failing() if state != told:
                    report(state)
            if not isinstance(told, Failing):
                failing_since = anyio.current_time()
            told = state
            left = failing_since + patience - anyio.current_time() if isinstance(state, Failing) else None
            if isinstance(state, Failing) and left is not None and left <= 0:
                raise RolloutError(state, tail=self._tails.get(service, ()))
            with anyio.move_on_after(left):
                await changed.wait()

    async def state(self, service: str, manifests: Sequence[Manifest]) -> Rollout:
        await self._ask()
        return self._state(service)

    async def remove(self, services: Collection[str] | None = None) -> tuple[ObjectKey, ...]:
        await self._ask()
        chosen = [
            key
            for key, found in self._objects.items()
            if found.project == self._project and found.service and (services is None or found.service in services)
        ]
        removed = [key for key in chosen if self._objects[key].created]
        for key in chosen:
            self._remove(key)
        self._tell()
        return tuple(sorted(removed))

    async def objects(self) -> tuple[LiveObject, ...]:
        await self._ask()
        return tuple(
            LiveObject(key=key, service=found.service, status="there")
            for key, found in sorted(self._objects.items())
            if found.project == self._project and found.service
        )

    # --- the port: pods ---

    @asynccontextmanager
    async def pods(self) -> AsyncIterator[ObjectReceiveStream[tuple[Pod, ...]]]:
        async with _Snapshots(self) as snapshots:
            yield snapshots

    @asynccontextmanager
    async def all_pods(self) -> AsyncIterator[ObjectReceiveStream[tuple[Pod, ...]]]:
        async with _Snapshots(self, everybody=True) as snapshots:
            yield snapshots

    @asynccontextmanager
    async def exec(
        self, target: ContainerTarget, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> AsyncIterator[FakeExec]:
        await self._ask()
        self._check(target)
        stream = FakeExec(command, target)
        self.execs.append(stream)

        async def run() -> None:
            stream.exit(await self._program(stream))

        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                try:
                    yield stream
                except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            stream.ended.set()
            self.execs.remove(stream)
        if failure is not None:
            raise failure

    @asynccontextmanager
    async def logs(
        self, target: ContainerTarget, *, follow: bool = True, since: str | None = None, previous: bool = False
    ) -> AsyncIterator[ObjectReceiveStream[bytes]]:
        await self._ask()
        log = self._logs.get((target.pod, target.container, previous))
        if log is None:
            raise ContainerLostError(f"container `{target.container}` of pod `{target.pod}` has no log")
        second = (since or "")[:19].encode()
        async with _Lines(self, log, follow=follow and not previous, second=second) as lines:
            yield lines

    @asynccontextmanager
    async def connect(self, pod: Pod, port: int) -> AsyncIterator[ByteStream]:
        """Answer on the ports that containers declare, with what was sent."""
        await anyio.lowlevel.checkpoint()
        here = self._pods.get(pod.name)
        if here is None or not self.reachable or port not in self._ports(here):
            raise ContainerLostError(f"port {port} of pod `{pod.name}` does not answer")
        async with Echo() as stream:
            yield stream

    def address(self, pod: Pod, port: int) -> tuple[str, int] | None:
        return None

    # --- inside ---

    async def _ask(self) -> None:
        await anyio.lowlevel.checkpoint()
        if not self.reachable:
            raise UnreachableError("the cluster does not answer")

    def _put(self, service: str, manifest: Manifest) -> str:
        if message := self._refused.get(manifest.key.name):
            raise ToolError(f"the cluster refuses `{manifest.key}` ({manifest.where}): {message}", exit_code=422)
        labels = {"devloop.dev/project": self._project, "devloop.dev/service": service}
        labelled = with_labels(manifest, labels, {})
        applied = digest(labelled.document)
        found = self._objects.get(manifest.key)
        if found and found.project not in {"", self._project}:
            raise ToolError(
                f"`{manifest.key}` ({manifest.where}) belongs to another devloop project, `{found.project}`"
            )
        if found and found.applied == applied:
            found.service = service
            return "unchanged"
        fixed = _FIXED.get(manifest.key.kind, ())
        document = labelled.document
        replaced = found and fixed and pick(found.manifest.document, fixed) != pick(document, fixed)
        old = found.manifest.document if found else {}
        revision = (found.revision if found else 0) + (_template(old) != _template(document))
        self._objects[manifest.key] = _Object(
            labelled, service, self._project, applied, created=found is None or found.created, revision=revision
        )
        if replaced or _template(old) != _template(document):
            self._make_pods(manifest.key)
        elif template_pointer(document) is not None:
            self._scale(manifest.key)
        return "replaced" if replaced else "changed"

    def _remove(self, key: ObjectKey) -> None:
        found = self._objects[key]
        if not found.created:
            self._objects[key] = _Object(found.manifest, "", "", None, created=False)
            return
        del self._objects[key]
        for pod in self._owned(key):
            self._drop(pod)

    def _make_pods(self, key: ObjectKey) -> None:
        for pod in self._owned(key):
            self._drop(pod)
        self._scale(key)

    def _scale(self, key: ObjectKey) -> None:
        document = self._objects[key].manifest.document
        wanted = 1 if key.kind in {"Pod", "Job", "DaemonSet"} else pick(document, ("spec", "replicas"), 1)
        owned = self._owned(key)
        for pod in owned[wanted:]:
            self._drop(pod)
        for _ in range(wanted - len(owned)):
            self._add(self._pod(key, document))

    def _pod(self, key: ObjectKey, document: Any) -> Pod:
        pointer = template_pointer(document) or ()
        containers = (
            *(
                Container(name=each["name"], image=each["image"], init=True)
                for each in _specs(document, "initContainers")
            ),
            *(Container(name=each["name"], image=each["image"]) for each in _specs(document, "containers")),
        )
        bare = key.kind == "Pod"
        return Pod(
            name=key.name if bare else self._name(key.name),
            namespace=key.namespace,
            labels=pick(document, (*pointer, "metadata", "labels"), {}),
            containers=containers,
            owner=None if bare else Owner(kind=key.kind, name=key.name, uid=f"{key}"),
        )

    def _name(self, owner: str) -> str:
        self._count += 1
        return f"{owner}-{self._count}"

    def _add(self, pod: Pod) -> None:
        self._count += 1
        fresh = replace(
            pod,
            uid=f"uid-{self._count}",
            phase="Pending",
            ready=False,
            containers=tuple(
                replace(each, state=Waiting(reason="ContainerCreating"), container_id="", ready=False, restarts=0)
                for each in pod.containers
            ),
        )
        self._pods[pod.name] = fresh if pod.service in self._held else self._started(fresh)

    def _started(self, pod: Pod) -> Pod:
        for each in pod.containers:
            self._logs[pod.name, each.name, False] = _Log()
        containers = tuple(self._run_of(each) for each in pod.containers)
        return replace(pod, phase="Running", ready=True, ip="192.0.2.1", host_ip="192.0.2.2", containers=containers)

    def _run_of(self, container: Container) -> Container:
        self._count += 1
        run = f"fake://{self._count}"
        if container.init:
            return replace(container, container_id=run, state=Terminated(exit_code=0, reason="Completed"))
        return replace(container, container_id=run, state=Running(), ready=True, started=True)

    def _owned(self, key: ObjectKey) -> list[str]:
        return [
            name
            for name, pod in self._pods.items()
            if (pod.owner.uid == f"{key}" if pod.owner else key.kind == "Pod" and name == key.name)
        ]

    def _drop(self, name: str) -> None:
        pod = self._pods.pop(name)
        for each in pod.containers:
            if (name, each.name, False) in self._logs:
                self._end(target(pod, each.name))

    def _end(self, gone: ContainerTarget) -> None:
        self._logs[gone.pod, gone.container, False].ended = True
        for stream in self.execs:
            if stream.target == gone:
                stream.lose()
        self._tell()

    def _change(self, gone: ContainerTarget, change: Callable[[Container], Container]) -> None:
        pod = self._pods[gone.pod]
        containers = tuple(change(each) if each.name == gone.container else each for each in pod.containers)
        self._pods[gone.pod] = replace(pod, containers=containers)
        self._tell()

    def _check(self, wanted: ContainerTarget) -> None:
        pod = self._pods.get(wanted.pod)
        container = pod.container(wanted.container) if pod else None
        if container is None or not container.running or (wanted.id and container.container_id != wanted.id):
            raise ContainerLostError(f"container `{wanted.container}` of pod `{wanted.pod}` is gone")

    def _state(self, service: str) -> Rollout:
        if service in self._states:
            return self._states[service]
        waiting = [pod.name for pod in self.now if pod.service == service and not pod.ready]
        return Progressing(message=f"waiting for {', '.join(waiting)}") if waiting else Ready()

    def _log(self, pod: str, container: str | None) -> _Log:
        return self._logs[pod, target(self._pods[pod], container).container, False]

    def _ports(self, pod: Pod) -> set[int]:
        owner = next(found for key, found in self._objects.items() if pod.name in self._owned(key))
        specs = _specs(owner.manifest.document, "containers")
        return {port["containerPort"] for spec in specs for port in spec.get("ports") or ()}

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def _template(document: Any) -> Any:
    pointer = template_pointer(document)
    return None if pointer is None else pick(document, pointer)


def _specs(document: Any, name: str) -> Iterator[Any]:
    pointer = template_pointer(document)
    yield from () if pointer is None else pick(document, (*pointer, "spec", name), ())


class _Snapshots(ObjectReceiveStream[tuple[Pod, ...]]):
    def __init__(self, cluster: FakeCluster, *, everybody: bool = False) -> None:
        self._cluster = cluster
        self._everybody = everybody
        self._last: tuple[Pod, ...] | None = None

    async def receive(self) -> tuple[Pod, ...]:
        await anyio.lowlevel.checkpoint()
        await self._cluster.until(lambda cluster: cluster.reachable and self._now() != self._last)
        self._last = self._now()
        return self._last

    def _now(self) -> tuple[Pod, ...]:
        return (*self._cluster.now, *self._cluster.strangers) if self._everybody else self._cluster.now

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


class _Lines(ObjectReceiveStream[bytes]):
    def __init__(self, cluster: FakeCluster, log: _Log, *, follow: bool, second: bytes) -> None:
        self._cluster = cluster
        self._log = log
        self._follow = follow
        self._next = next((at for at, line in enumerate(log.lines) if line[:19] >= second), len(log.lines))

    async def receive(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self._follow:
            await self._cluster.until(lambda cluster: self._more() or self._log.ended or not cluster.reachable)
        if not self._more() or not self._cluster.reachable:
            raise anyio.EndOfStream
        self._next += 1
        return self._log.lines[self._next - 1]

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()

    def _more(self) -> bool:
        return self._next < len(self._log.lines)
