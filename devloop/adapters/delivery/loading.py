"""Images go into the nodes of a local cluster: to each node that lacks one, and of it the layers that are new there."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from anyio import Lock, create_task_group, to_thread

from devloop.adapters.delivery.archives import layers, without_layers
from devloop.adapters.delivery.once import Once
from devloop.core.delivery.loading import Store, containers_of, stores
from devloop.core.delivery.plans import Loader, LoadImages
from devloop.errors import ToolError
from devloop.model import Digest, ImageRef
from devloop.runtime.processes import Captured

__all__ = ["Load"]

_MEGABYTE: Final = 1_000_000


class Load(Once):
    """Loads images into nodes.

    Args:
        plan: Into which.
        environment: What commands need in their environment.
    """

    def __init__(self, plan: LoadImages, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._plan = plan
        self._looking = Lock()
        self._inside: bool | None = None
        self._asking: dict[tuple[str, ...], Lock] = {}
        self._answers: dict[tuple[str, ...], tuple[float, Captured | None]] = {}

    def _reference(self, ref: ImageRef) -> ImageRef:
        return ref

    async def _is_there(self, ref: ImageRef) -> bool:
        return not await self._missing(ref)

    async def _carry(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> None:  # noqa: ARG002
        missing = await self._missing(ref)
        for store in missing:
            if not store.archive:
                await self._run(store.takes, _loading(ref, store), report)
        if taking := [store for store in missing if store.archive]:
            with tempfile.TemporaryDirectory(prefix="devloop-image-") as folder:
                await self._send(ref, taking, Path(folder), report)

    async def _missing(self, ref: ImageRef) -> list[Store]:
        """Return the stores that do not hold the image, asked all at once."""
        program = (self._plan.loader is Loader.KIND and os.environ.get("KIND_EXPERIMENTAL_PROVIDER")) or "docker"
        inside = await self._are_containers()
        found = stores(self._plan, ref, containers=program, privileged=os.geteuid() == 0, inside=inside)
        held: set[Store] = set()

        async def look(store: Store) -> None:
            if store.held or (store.asks and await self._all_say_so(store)):
                held.add(store)

        async with create_task_group() as questions:
            for store in found:
                questions.start_soon(look, store)
        return [store for store in found if store not in held]

    async def _are_containers(self) -> bool:
        """Return whether minikube's nodes are containers of the engine; found out once."""
        async with self._looking:
            if self._inside is None:
                command = containers_of(self._plan)
                answer = await self._asked(command) if command is not None else None
                names = answer.stdout.split() if answer is not None and not answer.exit_code else []
                self._inside = bool(names) and names == [self._plan.cluster] * len(self._plan.nodes)
            return self._inside

    async def _all_say_so(self, store: Store) -> bool:
        answers: list[bool] = []

        async def ask(command: tuple[str, ...]) -> None:
            answer = await (self._listed(command) if store.named else self._asked(command))
            good = answer is not None and not answer.exit_code
            answers.append(good and (not store.named or store.image in _names(answer)))

        async with create_task_group() as questions:
            for command in store.asks:
                questions.start_soon(ask, command)
        return all(answers)

    async def _listed(self, command: tuple[str, ...]) -> Captured | None:
        """Return the answer to a question that many ask at once: one that was put after this call."""
        arrived = time.monotonic()
        async with self._asking.setdefault(command, Lock()):
            if command not in self._answers or self._answers[command][0] < arrived:
                began = time.monotonic()
                self._answers[command] = began, await self._asked(command)
            return self._answers[command][1]

    async def _send(self, ref: ImageRef, taking: Sequence[Store], folder: Path, report: Callable[[str], None]) -> None:
        archive = folder / "image.tar"
        await self._run(("docker", "save", "--output", str(archive), str(ref)), f"saving `{ref}`", report)
        brought = await to_thread.run_sync(layers, archive)
        failures: list[ToolError] = []

        async def send(number: int, store: Store) -> None:
            try:
                await self._import(ref, store, archive, brought, folder / f"new-{number}.tar", report)
            except ToolError as error:
                failures.append(error)

        async with create_task_group() as tasks:
            for number, store in enumerate(taking):
                tasks.start_soon(send, number, store)
        if failures:
            raise failures[0]

    async def _import(
        self,
        ref: ImageRef,
        store: Store,
        archive: Path,
        brought: frozenset[str],
        reduced: Path,
        report: Callable[[str], None],
    ) -> None:
        known = await self._known(store, brought)
        sent = archive
        if known:
            await to_thread.run_sync(without_layers, archive, known, reduced)
            sent = reduced
        size = sent.stat().st_size / _MEGABYTE
        which = f" ({len(brought) - len(known)} of {len(brought)} layers)" if brought else ""
        report(f"{store.name} is sent {size:.1f} MB{which}")
        try:
            await self._run(store.takes, _loading(ref, store), report, stdin=sent)
        except ToolError:
            # Layers may have been collected meanwhile, and an image for another platform needs to be asked for.
            if store.takes_all is None:
                raise
            await self._run(store.takes_all, _loading(ref, store), report, stdin=archive)

    async def _known(self, store: Store, brought: frozenset[str]) -> frozenset[str]:
        """Return the layers that need not travel."""
        if store.blobs is None or not brought:
            return frozenset()
        answer = await self._asked(store.blobs)
        return brought & frozenset(answer.stdout.split()) if answer and not answer.exit_code else frozenset()


def _names(answer: Captured | None) -> frozenset[str]:
    """Return the words of a list of images, which may be JSON."""
    return frozenset(word.strip('",[]') for word in answer.stdout.split()) if answer is not None else frozenset()


def _loading(ref: ImageRef, store: Store) -> str:
    return f"loading `{ref}` into {store.name}"
