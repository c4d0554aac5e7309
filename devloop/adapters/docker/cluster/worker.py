"""Works one pod: starts its containers in order, starts them again when they end, and ends them in the end."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import anyio

from devloop.adapters.docker.cluster.prober import Prober
from devloop.adapters.docker.cluster.storage import Storage
from devloop.adapters.docker.cluster.things import Things
from devloop.adapters.docker.cluster.view import View
from devloop.core.containers.creation import Network, container, grace, sandbox
from devloop.core.containers.environment import ConfigurationError, Surroundings
from devloop.core.containers.identity import Identity
from devloop.core.containers.lifecycle import Sandbox, Start, Step, pause, steps, stopping_order
from devloop.core.containers.observed import Run, Seen, Trouble
from devloop.core.containers.probes import check_of
from devloop.core.manifest.pod_templates import pick
from devloop.errors import ToolError, UnreachableError

__all__ = ["Surround", "Worker"]

_TRY_AGAIN: Final = 1.0
_LATER: Final = 5.0

Surround = Callable[[Identity, str], Awaitable[tuple[Surroundings, tuple[str, ...]]]]
"""Returns what a pod (with this address) can refer to, and its names in the network."""


class Worker:
    """Brings one pod to what it should be, for as long as it should be.

    Args:
        identity: The pod.
        things: The engine.
        view: What runs.
        storage: Its volumes.
        prober: Asks its hooks.
        surround: Tells what it can refer to.
        part: Returns when no Service leads to pods that end.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        things: Things,
        view: View,
        storage: Storage,
        prober: Prober,
        surround: Surround,
        part: Callable[[], Awaitable[None]],
    ) -> None:
        self.identity = identity
        self._things = things
        self._view = view
        self._storage = storage
        self._prober = prober
        self._surround = surround
        self._part = part
        self._provided = False
        self._changed = anyio.Event()

    def hurry(self) -> None:
        """Try again at once what failed: something that it refers to has changed."""
        self._changed.set()
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Work the pod until it is removed."""
        uid = self.identity.uid
        while True:
            count = self._view.signal.count
            seen = self._view.find(uid)
            if seen is None:
                return
            if self._view.known(uid).ending:
                await self.end(seen)
                return
            if todo := steps(seen, self._view.known(uid)):
                await self._do(seen, todo)
            else:
                await self._view.signal.beyond(count)

    async def _do(self, seen: Seen, todo: tuple[Step, ...]) -> None:
        """Take the steps at once; none outlives the wish that the pod ends."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_it_ends, tasks.cancel_scope)
            async with anyio.create_task_group() as work:
                for step in todo:
                    work.start_soon(self._take, seen, step)
            tasks.cancel_scope.cancel("the steps are taken")

    async def _until_it_ends(self, scope: anyio.CancelScope) -> None:
        while not self._view.known(self.identity.uid).ending:
            await self._view.signal.beyond(self._view.signal.count)
        scope.cancel("the pod is being removed")

    async def _take(self, seen: Seen, step: Step) -> None:
        name = "network" if isinstance(step, Sandbox) else str(step.container.get("name"))
        shown = name if isinstance(step, Start) else str(pick(seen.identity.spec, ("containers", 0, "name")))
        uid = self.identity.uid
        again = self._changed
        try:
            if isinstance(step, Sandbox):
                await self._start_sandbox()
            else:
                await self._pause(step, name)
                await self._start(seen, step.container, step.attempt)
            self._view.trouble(uid, shown, None)
            return
        except ConfigurationError as error:
            trouble = Trouble(reason="CreateContainerConfigError", message=str(error))
        except UnreachableError as error:
            trouble = Trouble(reason="ContainerCreating", message=error.message)
        except _PullError as error:
            trouble = Trouble(reason=error.reason, message=error.message)
        except ToolError as error:
            trouble = Trouble(reason="RunContainerError", message=error.message)
        self._view.trouble(uid, shown, trouble)
        with anyio.move_on_after(_TRY_AGAIN if isinstance(step, Sandbox) else _LATER):
            await again.wait()

    # --- starting ------------------------------------------------------------------------------------------------

    async def _start_sandbox(self) -> None:
        _, aliases = await self._surround(self.identity, "")
        creation = sandbox(self.identity, await self._things.helper(), Network(aliases=aliases))
        made = await self._things.create(creation)
        await self._things.start(made)
        await self._view.look(made)

    async def _pause(self, step: Start, name: str) -> None:
        """Wait before a container starts again."""
        if step.after is None:
            return
        seconds = pause(step.attempt, _seconds_run(step.after)) - _seconds_since(step.after.finished_at)
        if seconds > 0:
            message = f"back-off {seconds:.0f}s restarting failed container"
            self._view.trouble(self.identity.uid, name, Trouble(reason="CrashLoopBackOff", message=message))
            await anyio.sleep(seconds)

    async def _start(self, seen: Seen, said: Mapping[str, Any], attempt: int) -> None:
        image = await self._image(said)
        surroundings, aliases = await self._surround(self.identity, seen.address)
        if not self._provided:
            await self._storage.provide(self.identity, surroundings)
            self._provided = True
        network = Network(sandbox=seen.sandbox.id if seen.sandbox else None, aliases=aliases)
        user = str(pick(image, ("Config", "User"), ""))
        creation = container(self.identity, said, attempt, network, surroundings, image_user=user)
        made = await self._things.create(creation)
        await self._things.start(made)
        await self._view.look(made)
        await self._hook(seen, said, made)
        for run in seen.runs.get(str(said.get("name")), ())[:-1]:
            await self._things.remove(run.id)
            self._view.drop(run.id)

    async def _image(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the container's image, pulled if need be."""
        ref = str(said.get("image"))
        tagged = ":" in ref.rpartition("/")[2] and not ref.endswith(":latest")
        policy = said.get("imagePullPolicy") or ("IfNotPresent" if tagged else "Always")
        found = await self._things.image(ref)
        if found is not None and (policy != "Always" or said.get("imagePullPolicy") is None):
            return found
        if policy == "Never":
            raise _PullError("ErrImageNeverPull", f"the engine does not hold `{ref}`, and it must not be pulled")
        uid, name = self.identity.uid, str(said.get("name"))
        self._view.event(uid, name, "Pulling", f'Pulling image "{ref}"')
        try:
            await self._things.pull(ref)
        except ToolError as error:
            if found is not None:
                return found  # the registry is away, and here is one
            raise _PullError("ErrImagePull", error.message) from error
        self._view.event(uid, name, "Pulled", f'Successfully pulled image "{ref}"')
        return await self._things.image(ref) or {}

    async def _hook(self, seen: Seen, said: Mapping[str, Any], made: str) -> None:
        hook = check_of(pick(said, ("lifecycle", "postStart"), {}), said)
        current = self._view.find(self.identity.uid) or seen
        run = current.current(str(said.get("name")))
        if hook is None or run is None:
            return
        if problem := await self._prober.ask(current, run, hook):
            self._view.event(self.identity.uid, run.container, "FailedPostStartHook", problem)
            await self._things.stop(made, grace(self.identity))

    # --- ending --------------------------------------------------------------------------------------------------

    async def end(self, seen: Seen) -> None:
        """End the pod: no new connections, hooks, signals, and nothing of it left."""
        with suppress(ToolError):
            await self._part()
        for runs in stopping_order(seen):
            async with anyio.create_task_group() as tasks:
                for run in runs:
                    tasks.start_soon(self._stop, seen, run)
        every = [run.id for runs in seen.runs.values() for run in runs]
        async with anyio.create_task_group() as tasks:
            for each in every:
                tasks.start_soon(self._things.remove, each)
        if seen.sandbox is not None:
            await self._things.remove(seen.sandbox.id)
            every.append(seen.sandbox.id)
        await self._storage.clear(self.identity)
        for each in every:
            self._view.drop(each)
        self._view.forget(self.identity.uid)

    async def _stop(self, seen: Seen, run: Run) -> None:
        left = float(grace(self.identity))
        said = next((each for each in _all_containers(self.identity) if each.get("name") == run.container), {})
        hook = pick(said, ("lifecycle", "preStop"), {})
        began = anyio.current_time()
        with anyio.move_on_after(left):
            await anyio.sleep(float(pick(hook, ("sleep", "seconds"), 0)))
            if (check := check_of(hook, said)) is not None:
                problem = await self._prober.ask(seen, run, check)
                if problem is not None:
                    self._view.event(self.identity.uid, run.container, "FailedPreStopHook", problem)
        left -= anyio.current_time() - began
        await self._things.stop(run.id, max(left, 1 if self.identity.spec.get("terminationGracePeriodSeconds") else 0))


class _PullError(ToolError):
    """The image cannot be had; `reason` in Kubernetes's words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _all_containers(identity: Identity) -> list[Mapping[str, Any]]:
    return [each for part in ("initContainers", "containers") for each in identity.spec.get(part) or ()]


def _seconds_run(run: Run) -> float:
    if not run.started_at or not run.finished_at:
        return 0.0
    return (_moment(run.finished_at) - _moment(run.started_at)).total_seconds()


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - _moment(moment)).total_seconds() if moment else 0.0


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text[:19] + "+00:00")
