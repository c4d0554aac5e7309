"""What deliveries share that carry images: each travels once, and whether it is there, the place itself is asked."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio

from devloop.core.delivery.pull_secrets import Obstacle
from devloop.core.manifest import Manifest
from devloop.errors import ToolError
from devloop.model import Digest, ImageRef
from devloop.runtime.ports import Way
from devloop.runtime.processes import Captured, capture, run_lines

__all__ = ["Once"]

_TAIL: Final = 20


class Once(ABC):
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

    async def way(self, repository: ImageRef) -> Way:  # noqa: ARG002
        """Return how images of a repository reach the cluster: by the engine."""
        return Way()

    async def obstacles(self, manifests: Sequence[Manifest], images: Collection[str]) -> tuple[Obstacle, ...]:  # noqa: ARG002
        """Return what may keep nodes from pulling; who knows the cluster finds that out."""
        return ()

    @abstractmethod
    def _reference(self, ref: ImageRef) -> ImageRef:
        """Return the reference that manifests must use."""

    @abstractmethod
    async def _carry(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> None:
        """Bring the image there."""

    @abstractmethod
    async def _is_there(self, ref: ImageRef) -> bool:
        """Ask whether an image with this reference is there."""

    async def _run(
        self, command: Sequence[str], what: str, report: Callable[[str], None], *, stdin: bytes | Path = b""
    ) -> None:
        printed: list[str] = []

        def receive(line: str) -> None:
            printed.append(line)
            report(line)

        if code := await run_lines(command, receive, stdin=stdin, env=self._environment):
            raise ToolError(f"{what} failed", command=command, exit_code=code, tail=printed[-_TAIL:])

    async def _asked(self, command: Sequence[str]) -> Captured | None:
        try:
            return await capture(command, env=self._environment)
        except ToolError:  # the program is not there: nobody knows, and delivering says so
            return None
