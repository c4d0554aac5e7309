"""Rendering beside the observer: it goes on taking hints while tools run, and newer content ends an older call."""

import math
from collections.abc import Collection, Mapping

from anyio import CancelScope
from anyio.abc import ObjectReceiveStream, TaskGroup

from devloop.core.graph import Graph
from devloop.model import NodeId, RelPath
from devloop.runtime.ports import Hint
from devloop.runtime.renderings import Renderings, Request

__all__ = ["Aside", "Overdue", "Touched"]

Touched = Mapping[NodeId, frozenset[RelPath]]
"""For each node, what it reads and what may have changed."""


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


class Overdue:
    """What may have changed of definitions, and is told of only when the project is read with them.

    Told at once, it would make a run with what was read before; the time is kept, so that a run that ended meanwhile is
    doubted all the same.
    """

    def __init__(self) -> None:
        self._touched: dict[NodeId, frozenset[RelPath]] = {}
        self._since = math.inf

    def put_off(self, touched: Touched, since: float, graph: Graph) -> Touched:
        """Keep the definitions among what was touched, and return the rest."""
        now: dict[NodeId, frozenset[RelPath]] = {}
        for node, paths in touched.items():
            known = graph.nodes.get(node)
            later = paths & known.definitions if known is not None else frozenset[RelPath]()
            if later:
                self._touched[node] = self._touched.get(node, frozenset()) | later
                self._since = min(self._since, since)
            if paths - later:
                now[node] = paths - later
        return now

    def added_to(self, touched: Touched, since: float) -> tuple[Touched, float]:
        """Return what was touched with all that was put off, and since when."""
        if not self._touched:
            return touched, since
        late, late_since = self._touched, self._since
        self._touched, self._since = {}, math.inf
        both = {node: touched.get(node, frozenset()) | late.get(node, frozenset()) for node in {**touched, **late}}
        return both, min(since, late_since) if touched else late_since
