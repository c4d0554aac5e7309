"""Rendering beside the observer: it goes on taking hints while tools run, and newer content ends an older call."""

from collections.abc import Collection

from anyio import CancelScope
from anyio.abc import ObjectReceiveStream, TaskGroup

from devloop.runtime.ports import Hint
from devloop.runtime.renderings import Renderings, Request

__all__ = ["Aside"]


class Aside:
    """The calls that are under way, one set of them at a time.

    Args:
        tasks: Where they run.
        renderings: What they fill.
    """

    def __init__(self, tasks: TaskGroup, renderings: Renderings) -> None:
        self._tasks = tasks
        self._renderings = renderings
        self._requests: frozenset[Request] = frozenset()
        self._scope: CancelScope | None = None
        self._waiting: CancelScope | None = None
        self._finished = False

    def start(self, requests: Collection[Request]) -> None:
        """Make these renderings, unless that is what is being done, and end what was being done for others."""
        if self._scope is not None and self._requests == frozenset(requests):
            return
        self.cancel()
        self._requests = frozenset(requests)
        self._scope = CancelScope()
        self._tasks.start_soon(self._fill, self._scope, self._requests, name="render")

    def cancel(self) -> None:
        """End what is under way, with all its processes."""
        self._finished = False
        if self._scope is not None:
            self._scope.cancel("there is newer content")
            self._scope = None

    async def next(self, hints: ObjectReceiveStream[Hint]) -> Hint | None:
        """Return the next hint, or None when what was started has been made.

        Raises:
            EndOfStream: There will be no more hints.
        """
        if not self._finished:
            with CancelScope() as self._waiting:
                return await hints.receive()
        self._finished = False
        return None

    async def _fill(self, scope: CancelScope, requests: frozenset[Request]) -> None:
        with scope:
            await self._renderings.fill(requests)
        if self._scope is scope:
            self._scope = None
            self._finished = True
            if self._waiting is not None:
                self._waiting.cancel("it is rendered")
