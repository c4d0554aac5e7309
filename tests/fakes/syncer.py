"""A syncer that copies between fake files and containers that are dictionaries."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from anyio.lowlevel import checkpoint

from devloop.core.sync.protocol import in_order
from devloop.errors import ToolError
from devloop.model import ContainerTarget, FileChange
from devloop.runtime.ports import ContainerLostError, SyncRefusedError
from tests.fakes.files import FakeFiles, Stored

__all__ = ["FakeContainer", "FakeSyncer"]


@dataclass(slots=True)
class FakeContainer:
    """What a container holds, and what was done in it.

    Attributes:
        held: Its files.
        commands: What was run.
        restarts: How often its process was restarted.
        refusal: Why it takes no files.
        restart_failure: Why its process cannot be restarted.
        answer: What commands print, and their exit code.
        gone: Whether it is.
        archives: Tar archives of what can be fetched, by path.
    """

    held: dict[str, Stored] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    restarts: int = 0
    refusal: str | None = None
    restart_failure: str | None = None
    answer: Callable[[str], tuple[Sequence[str], int]] = lambda _: ((), 0)
    gone: bool = False
    archives: dict[str, bytes] = field(default_factory=dict)


async def _at_once() -> None:
    await checkpoint()


class FakeSyncer:
    """Copies at once, or when the test's `gate` lets it.

    Args:
        files: Where the files come from.
    """

    def __init__(self, files: FakeFiles) -> None:
        self.files = files
        self.containers: dict[ContainerTarget, FakeContainer] = {}
        self.attended: tuple[ContainerTarget, ...] = ()
        self.sends: list[tuple[ContainerTarget, tuple[FileChange, ...]]] = []
        self.gate: Callable[[], Awaitable[None]] = _at_once

    def container(self, target: ContainerTarget) -> FakeContainer:
        """Return the container, made when it is asked for the first time."""
        return self.containers.setdefault(target, FakeContainer())

    # --- the port ---

    def attend(self, targets: Collection[ContainerTarget]) -> None:
        self.attended = tuple(targets)

    async def send(self, target: ContainerTarget, changes: Sequence[FileChange]) -> tuple[FileChange, ...]:
        self.sends.append((target, tuple(changes)))
        await self.gate()
        container = self._living(target)
        if container.refusal:
            raise SyncRefusedError(container.refusal)
        acknowledged = []
        first, writes, last = in_order(changes)
        for change in (*first, *writes, *last):
            if change.digest is None:
                for place in change.destinations:
                    container.held.pop(place, None)
                acknowledged.append(change)
            elif stored := self.files.stored.get(change.source):
                container.held |= dict.fromkeys(change.destinations, stored)
                acknowledged.append(replace(change, digest=stored.digest))
        return tuple(acknowledged)

    async def run(self, target: ContainerTarget, command: str, report: Callable[[str], None]) -> int:
        await self.gate()
        container = self._living(target)
        container.commands.append(command)
        lines, code = container.answer(command)
        for line in lines:
            report(line)
        return code

    async def fetch(self, target: ContainerTarget, path: str) -> bytes | None:
        await self.gate()
        return self._living(target).archives.get(path)

    async def restart(self, target: ContainerTarget) -> None:
        await self.gate()
        container = self._living(target)
        if container.restart_failure:
            raise ToolError(container.restart_failure)
        container.restarts += 1

    # ---

    def _living(self, target: ContainerTarget) -> FakeContainer:
        container = self.container(target)
        if container.gone:
            raise ContainerLostError(f"container `{target.container}` is gone")
        return container
