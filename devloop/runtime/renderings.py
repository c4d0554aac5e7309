"""Renderings by tools outside of devloop (kustomize, Helm): asked for by content, made once, kept over sessions.

Whoever needs a rendering asks for it and gets it, or the exception that says that it has yet to be made: `fill` makes
what is missing, all at once, and is cancelled for real. The reading of a project thus never waits for a tool.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeVar

import anyio
from anyio import create_task_group

from devloop.errors import ToolError
from devloop.model import Digest, RelPath
from devloop.runtime.processes import Captured

__all__ = ["Program", "Renderer", "Renderings", "Request", "Tool", "UnrenderedError"]

R = TypeVar("R")

_AT_ONCE: Final = 4
_REMEMBERED: Final = 256


class Tool(StrEnum):
    """What renders."""

    KUSTOMIZE = "kustomize"
    HELM = "helm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A tool as it is installed.

    Attributes:
        command: What runs it.
        identity: Differs when another version is installed.
    """

    command: tuple[str, ...]
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a tool.

    Attributes:
        key: The digest of all that the rendering depends on.
        command: The program and its arguments.
        folder: The working directory, relative to the project's root.
        stdin: What the tool can read.
        lasting: Whether the key covers all that the tool reads, so that the rendering holds in later sessions too.
    """

    key: Digest
    command: tuple[str, ...]
    folder: str
    stdin: str = ""
    lasting: bool = True


class Renderer(Protocol):
    """Runs the tools, and keeps what they printed outside of the project's tree."""

    def program(self, tool: Tool) -> Program | None:
        """Return the tool as it is installed, or None where it is not."""

    def real(self, path: RelPath) -> RelPath:
        """Return where a path leads to when its symbolic links are followed."""

    async def run(self, request: Request) -> Captured:
        """Return what the tool printed. Cancelling ends all of its processes first.

        Raises:
            ToolError: It cannot be started.
        """

    def recall(self, key: Digest) -> str | None:
        """Return a rendering that an earlier session kept."""

    def keep(self, key: Digest, text: str) -> None:
        """Keep a rendering for later sessions."""


class UnrenderedError(Exception):
    """Renderings that have yet to be made.

    Args:
        requests: The calls that make them.
    """

    def __init__(self, requests: Collection[Request]) -> None:
        super().__init__(f"{len(requests)} renderings have yet to be made")
        self.requests = tuple(requests)


class Renderings:
    """The renderings of one session.

    Args:
        renderer: Runs the tools.
        root: The project's root, absolute.
        namespace: The namespace that objects without one go to.
    """

    def __init__(self, renderer: Renderer, *, root: str, namespace: str) -> None:
        self.renderer = renderer
        self.root = root
        self.namespace = namespace
        self._made: OrderedDict[Digest, str] = OrderedDict()
        self._failed: dict[Digest, str] = {}

    def get(self, request: Request) -> str:
        """Return a rendering.

        Raises:
            ToolError: The tool refused; `tail` is what it said.
            UnrenderedError: It has yet to be made.
        """
        if request.key in self._failed:
            said = self._failed[request.key]
            raise ToolError("it cannot be rendered", command=request.command, tail=said.splitlines())
        if request.key not in self._made:
            kept = self.renderer.recall(request.key) if request.lasting else None
            if kept is None:
                raise UnrenderedError([request])
            self._made[request.key] = kept
        self._made.move_to_end(request.key)
        return self._made[request.key]

    def retry(self) -> None:
        """Forget what failed, so that it is tried again: a registry may answer now, a file may be there."""
        self._failed.clear()

    def complete(self, ask: Callable[[], R]) -> R:
        """Return what `ask` returns once all is rendered that it asks for; for callers without an event loop."""
        while True:
            try:
                return ask()
            except UnrenderedError as missing:
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(anyio.run, self.fill, missing.requests).result()

    async def fill(self, requests: Collection[Request]) -> None:
        """Make renderings, several at a time; what fails is known by then."""
        limit = anyio.CapacityLimiter(_AT_ONCE)
        async with create_task_group() as tasks:
            for request in dict.fromkeys(requests):
                tasks.start_soon(self._make, request, limit, name=" ".join(request.command[:3]))

    async def _make(self, request: Request, limit: anyio.CapacityLimiter) -> None:
        async with limit:
            try:
                printed = await self.renderer.run(request)
            except ToolError as error:
                self._failed[request.key] = error.message
                return
        if printed.exit_code != 0:
            self._failed[request.key] = printed.stderr or printed.stdout
            return
        self._made[request.key] = printed.stdout
        while len(self._made) > _REMEMBERED:
            self._made.popitem(last=False)
        if request.lasting:
            self.renderer.keep(request.key, printed.stdout)
