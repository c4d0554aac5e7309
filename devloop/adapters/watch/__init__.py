"""Which files may have changed: the operating system's events as hints.

An event is never more than a hint: content decides, elsewhere. On Linux the kernel's own interface is read (`inotify`),
because only so can directories be left unwatched, lost events be noticed and open files be waited for; elsewhere
watchfiles does the work.
"""

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import anyio
from anyio import AsyncContextManagerMixin, CapacityLimiter, create_task_group, from_thread, to_thread
from anyio.abc import ObjectReceiveStream

from devloop.adapters.watch.polling import PollingSource, sends_no_events
from devloop.model import RelPath
from devloop.runtime.ports import Hint, PathsHint, RescanHint

__all__ = ["FileWatcher"]

Keep = Callable[[RelPath], bool]


class FileWatcher:
    """Watches directories of a project.

    Args:
        root: The project's root.
        polling: Whether to look at all files again and again; None where the file system is known to send no events.
        portable: Whether to use watchfiles even where devloop has a reader of its own.
    """

    def __init__(self, root: Path, *, polling: bool | None = None, portable: bool = False) -> None:
        self._root = root.resolve()
        self._polling = polling
        self._portable = portable or sys.platform != "linux"

    def watch(self, roots: Sequence[RelPath], keep: Keep) -> AbstractAsyncContextManager[ObjectReceiveStream[Hint]]:
        """Watch the directories and what is below them; nothing that changes after entering is missed.

        A burst of changes comes as one hint, of a long one with parts of it before; and so does all that happens until
        the hint is taken. `keep` is asked about directories: what it says no to is not reported. A root that is not
        there yet is reported when it comes.

        Raises:
            ToolError: The system's watch limit is reached; the hint says how to raise it.
        """
        return _Watching(self._source(roots, keep))

    def _source(self, roots: Sequence[RelPath], keep: Keep) -> "_Source":
        if self._is_polled():
            return PollingSource(self._root, roots, keep)
        if self._portable:
            from devloop.adapters.watch.portable import PortableSource

            return PortableSource(self._root, roots, keep)
        from devloop.adapters.watch.inotify import InotifySource

        return InotifySource(self._root, roots, keep)

    def _is_polled(self) -> bool:
        mounts = Path("/proc/self/mounts")
        if self._polling is None and mounts.is_file():
            return sends_no_events(self._root, mounts.read_text(errors="replace"))
        return bool(self._polling)


class _Source(Protocol):
    """Where events come from; `start` and `run` block and are called in a thread."""

    def start(self) -> None: ...

    def run(self, push: Callable[[Hint], None]) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


class _Watching(AsyncContextManagerMixin):
    """A running watch."""

    def __init__(self, source: _Source) -> None:
        self._source = source

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[ObjectReceiveStream[Hint]]:
        thread = CapacityLimiter(1)  # of its own: it is held for as long as we watch
        hints = _Hints()
        failure: Exception | None = None

        def push(hint: Hint) -> None:
            from_thread.run_sync(hints.push, hint)

        async def run() -> None:
            await to_thread.run_sync(self._source.run, push, limiter=thread)

        try:
            await to_thread.run_sync(self._source.start, limiter=thread)
            async with create_task_group() as tasks:
                tasks.start_soon(run, name="watch files")
                try:
                    yield hints
                except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                    failure = error
                finally:
                    self._source.stop()
        finally:
            self._source.close()
            hints.close()
        if failure is not None:
            raise failure


class _Hints(ObjectReceiveStream[Hint]):
    """Hints that wait to be taken, merged into one."""

    def __init__(self) -> None:
        self._hinted: PathsHint | None = None
        self._reason: str | None = None
        self._closed = False
        self._changed = anyio.Event()

    def push(self, hint: Hint) -> None:
        match hint:
            case RescanHint(reason=reason):
                self._reason = reason
            case PathsHint():
                self._hinted = hint if self._hinted is None else _together(self._hinted, hint)
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def receive(self) -> Hint:
        while True:
            if self._reason is not None:
                hint: Hint = RescanHint(reason=self._reason)
                break
            if self._hinted is not None:
                hint = self._hinted
                break
            if self._closed:
                raise anyio.EndOfStream
            self._changed = anyio.Event()
            await self._changed.wait()
        self._hinted, self._reason = None, None
        return hint

    async def aclose(self) -> None:
        self.close()


def _together(one: PathsHint, later: PathsHint) -> PathsHint:
    return PathsHint(paths=one.paths | later.paths, since=min(one.since, later.since), over=later.over)
