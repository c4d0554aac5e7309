"""The real `Delivery`: nothing for a shared engine, a loader's command, or a push; each image once.

Which of them it is, `core.delivery.choose` decides. Whether the cluster still has an image is asked of the cluster or
the registry itself, never of notes from an earlier session: a cluster may have been made anew under the same name.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

import anyio

from devloop.core.delivery import (
    DeliveryPlan,
    Loader,
    LoadImages,
    PushImages,
    SharedEngine,
    load_command,
    probe_commands,
    pulled_from,
    pushed_to,
    seen_from_here,
)
from devloop.core.reference import normalise
from devloop.errors import ToolError
from devloop.model import Digest, ImageRef
from devloop.runtime.ports import Builder, Delivery
from devloop.runtime.processes import Captured, capture, run_lines

__all__ = ["delivery_for"]

_TAIL: Final = 20


def delivery_for(plan: DeliveryPlan, builder: Builder, environment: Mapping[str, str] | None = None) -> Delivery:
    """Return the delivery that does what the plan says.

    Args:
        plan: As `core.delivery.choose` made it.
        builder: Whose engine holds the images.
        environment: What the docker CLI must be told to reach that engine, on top of devloop's own environment.
    """
    match plan:
        case SharedEngine():
            return _Shared(builder)
        case LoadImages():
            return _Load(plan, environment or {})
        case PushImages():
            return _Push(plan, builder, environment or {})
        case _:
            assert_never(plan)


class _Shared:
    """The cluster uses the engine's images."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    async def deliver(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> ImageRef:  # noqa: ARG002
        """Return the reference as it is: an image that was built is there."""
        return ref

    async def has(self, image: Digest, ref: ImageRef) -> bool:
        """Return whether the engine holds the image under that reference."""
        return await self._builder.resolve(str(ref)) == image


class _Once(ABC):
    """Remembers what this session has delivered, so that nothing travels twice, not even by two callers at once.

    Args:
        environment: What commands need in their environment.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._there: dict[ImageRef, Digest] = {}
        self._locks: dict[ImageRef, anyio.Lock] = {}

    async def deliver(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> ImageRef:
        """Make the image available to every node; return the reference that manifests must use."""
        there = self._reference(ref)
        async with self._locks.setdefault(there, anyio.Lock()):
            if self._there.get(there) != image:
                await self._carry(image, ref, report)
                self._there[there] = image
        return there

    async def has(self, image: Digest, ref: ImageRef) -> bool:
        """Return whether the cluster can get the image under a reference that `deliver` returned.

        References have tags that follow the content, so the one that is there is this image.
        """
        if self._there.get(ref) != image and await self._is_there(ref):
            self._there[ref] = image
        return self._there.get(ref) == image

    @abstractmethod
    def _reference(self, ref: ImageRef) -> ImageRef:
        """Return the reference that manifests must use."""

    @abstractmethod
    async def _carry(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> None:
        """Bring the image there."""

    @abstractmethod
    async def _is_there(self, ref: ImageRef) -> bool:
        """Ask whether an image with this reference is there."""

    async def _run(self, command: Sequence[str], what: str, report: Callable[[str], None]) -> None:
        printed: list[str] = []

        def receive(line: str) -> None:
            printed.append(line)
            report(line)

        if code := await run_lines(command, receive, env=self._environment):
            raise ToolError(f"{what} failed", command=command, exit_code=code, tail=printed[-_TAIL:])

    async def _asked(self, command: Sequence[str]) -> Captured | None:
        try:
            return await capture(command, env=self._environment)
        except ToolError:  # the program is not there: nobody knows, and delivering says so
            return None


class _Load(_Once):
    def __init__(self, plan: LoadImages, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._plan = plan

    def _reference(self, ref: ImageRef) -> ImageRef:
        return ref

    async def _carry(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> None:  # noqa: ARG002
        where = f"the {self._plan.loader.value} cluster `{self._plan.cluster}`"
        await self._run(load_command(self._plan, ref), f"loading `{ref}` into {where}", report)

    async def _is_there(self, ref: ImageRef) -> bool:
        commands = probe_commands(self._plan, ref, self._container_program())
        answers: list[bool] = []

        async def ask(command: Sequence[str]) -> None:
            answer = await self._asked(command)
            answers.append(answer is not None and not answer.exit_code and self._names(answer.stdout, ref))

        async with anyio.create_task_group() as questions:
            for command in commands:
                questions.start_soon(ask, command)
        return bool(commands) and all(answers)

    def _names(self, printed: str, ref: ImageRef) -> bool:
        return self._plan.loader is not Loader.MINIKUBE or str(normalise(ref)) in printed.split()

    def _container_program(self) -> str:
        """Return what runs the nodes; kind may have been told to use podman or nerdctl."""
        return (self._plan.loader is Loader.KIND and os.environ.get("KIND_EXPERIMENTAL_PROVIDER")) or "docker"


class _Push(_Once):
    def __init__(self, plan: PushImages, builder: Builder, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._plan = plan
        self._builder = builder

    def _reference(self, ref: ImageRef) -> ImageRef:
        there = pulled_from(self._plan.registry, ref)
        if there is None:
            raise ToolError(
                f"{self._plan.reason}, and nothing says from where it could pull `{ref.path}`",
                hint='name a registry that both reach: `project(registry="registry.example.com/team")`',
            )
        return there

    async def _carry(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> None:
        target = pushed_to(self._plan.registry, ref) or ref
        if target != ref:
            await self._builder.tag(image, target)
        await self._run(("docker", "push", str(target)), f"pushing `{target}`", report)

    async def _is_there(self, ref: ImageRef) -> bool:
        target = seen_from_here(self._plan.registry, ref)
        # With the user's credentials, and plain HTTP for registries on this machine. (`docker manifest inspect` fails
        # at those that do not answer TLS at all.) Where it cannot be asked, pushing once more costs a HEAD a layer.
        answer = await self._asked(("docker", "buildx", "imagetools", "inspect", "--raw", str(target)))
        return answer is not None and not answer.exit_code
