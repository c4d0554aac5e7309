"""Tools that render, as a test makes them up."""

from collections.abc import Callable

import anyio

from devloop.model import Digest, RelPath
from devloop.runtime.processes import Captured
from devloop.runtime.renderings import Program, Renderings, Request, Tool

__all__ = ["FakeRenderer", "renderings"]


class FakeRenderer:
    """Tools that print what the test says.

    Args:
        prints: What a call prints; an error where it raises ValueError.
        installed: The tools that there are.
    """

    def __init__(self, prints: Callable[[Request], str] = lambda _: "", installed: tuple[Tool, ...] = ()) -> None:
        self.prints = prints
        self.installed = installed
        self.calls: list[Request] = []
        self.cancelled: list[Request] = []
        self.kept: dict[Digest, str] = {}
        self.links: dict[str, str] = {}
        self.identity = "1"
        self.gate = anyio.Event()
        self.gate.set()

    def program(self, tool: Tool) -> Program | None:
        return Program(command=(str(tool),), identity=self.identity) if tool in self.installed else None

    def real(self, path: RelPath) -> RelPath:
        return RelPath(self.links.get(path, path))

    async def run(self, request: Request) -> Captured:
        self.calls.append(request)
        try:
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(request)
            raise
        try:
            return Captured(exit_code=0, stdout=self.prints(request), stderr="")
        except ValueError as error:
            return Captured(exit_code=1, stdout="", stderr=str(error))

    def recall(self, key: Digest) -> str | None:
        return self.kept.get(key)

    def keep(self, key: Digest, text: str) -> None:
        self.kept[key] = text


def renderings(root: str = "/project", namespace: str = "default") -> Renderings:
    """Return renderings of a session without any tool."""
    return Renderings(FakeRenderer(), root=root, namespace=namespace)
