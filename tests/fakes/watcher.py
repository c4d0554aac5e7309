"""A watcher that hears of changes from fake files, or from the test itself."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ObjectReceiveStream

from devloop.errors import ToolError
from devloop.model import RelPath
from devloop.runtime.ports import Hint, PathsHint, RescanHint
from tests.fakes.files import FakeFiles

__all__ = ["FakeWatcher"]


class FakeWatcher:
    """Watches fake files.

    Args:
        files: What to watch.
        failure: What watching fails with.
    """

    def __init__(self, files: FakeFiles | None = None, failure: ToolError | None = None) -> None:
        self.files = files or FakeFiles()
        self.watched: list[tuple[RelPath, ...]] = []
        self.failure = failure
        self._streams: list[_Hints] = []

    def changed(self, *paths: str, over: bool = True) -> None:
        """Tell that these may have changed, whether they did or not; and whether that is all for now."""
        for stream in self._streams:
            for path in paths:
                stream.add(RelPath(path))
            stream.end(over=over)

    def rescan(self, reason: str = "events were lost") -> None:
        """Tell that anything may have changed."""
        for stream in self._streams:
            stream.lose(reason)

    @asynccontextmanager
    async def watch(
        self, roots: Sequence[RelPath], keep: Callable[[RelPath], bool]
    ) -> AsyncIterator[ObjectReceiveStream[Hint]]:
        if self.failure:
            raise self.failure
        self.watched.append(tuple(roots))
        stream = _Hints(tuple(roots), keep)
        self._streams.append(stream)
        self.files.listeners.append(stream.add)
        try:
            yield stream
        finally:
            self.files.listeners.remove(stream.add)
            self._streams.remove(stream)
            await stream.aclose()


class _Hints(ObjectReceiveStream[Hint]):
    def __init__(self, roots: tuple[RelPath, ...], keep: Callable[[RelPath], bool]) -> None:
        self._roots = roots
        self._keep = keep
        self._paths: set[RelPath] = set()
        self._since = 0.0
        self._reason: str | None = None
        self._over = True
        self._waiting = False
        self._closed = False
        self._changed = anyio.Event()

    def end(self, *, over: bool) -> None:
        self._waiting = self._waiting or not self._over
        self._over = over
        self._changed.set()

    def add(self, path: RelPath) -> None:
        for root in self._roots:
            prefix = "" if root in ("", ".") else f"{root}/"
            inside = path == root or (path.startswith(prefix) and (bool(prefix) or not path.startswith("../")))
            parts = path.removeprefix(prefix).split("/")
            between = [RelPath(prefix + "/".join(parts[:length])) for length in range(1, len(parts))]
            if inside and (path == root or all(self._keep(directory) for directory in between)):
                self._since = self._since if self._paths else time.monotonic()
                self._paths.add(path)
        self._changed.set()

    def lose(self, reason: str) -> None:
        self._reason = reason
        self._changed.set()

    async def receive(self) -> Hint:
        while not self._paths and self._reason is None and not self._waiting:
            if self._closed:
                raise anyio.EndOfStream
            self._changed = anyio.Event()
            await self._changed.wait()
        paths, reason = frozenset(self._paths), self._reason
        self._paths, self._reason, self._waiting = set(), None, False
        if reason is not None:
            return RescanHint(reason=reason)
        return PathsHint(paths=paths, since=self._since, over=self._over)

    async def aclose(self) -> None:
        self._closed = True
        self._changed.set()
