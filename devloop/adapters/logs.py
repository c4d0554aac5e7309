"""The log tailer: follows every container of the pods that it is told of. What was seen is the cursor's to know.

One task a container; it reads until the container's pod is gone and its last line was told.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from enum import Enum, auto
from typing import Final, Protocol, Self

import anyio
from anyio import AsyncContextManagerMixin
from anyio.abc import ObjectReceiveStream, TaskGroup

from devloop.core.cluster.log_cursor import LogCursor, LogSource, Read, Runs, Stop, Wait, log_sources, next_read
from devloop.core.cluster.pods import Pod
from devloop.errors import UnreachableError
from devloop.runtime.ports import ContainerLostError, ContainerTarget, LogLine

__all__ = ["LogTailer", "Logs"]

_QUIET: Final = (0.0, 1.0, 1.0, 2.0, 5.0)
_LOST: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
_PATIENT_FAILURES: Final = len(_LOST)
_DOUBTS: Final = 3
_TOLD_SECONDS: Final = 5
_GONE_SECONDS: Final = 30


class Logs(Protocol):
    """The part of `Cluster` that a tailer needs."""

    def logs(
        self, target: ContainerTarget, *, follow: bool = True, since: str | None = None, previous: bool = False
    ) -> AbstractAsyncContextManager[ObjectReceiveStream[bytes]]:
        """Stream a container's log lines."""


class LogTailer(AsyncContextManagerMixin):
    """Follows the logs of pods; enter it to use it, leave it to stop at once.

    A container that runs already when the first pods are told is read from `since` on, everything that starts later
    from its first line. Lines of one container come in order, each once, also over restarts and lost connections.

    Args:
        cluster: Where the logs are.
        emit: Told of each line. Must not block.
        since: An RFC 3339 timestamp, usually when the session began; None for all that the cluster has kept.
    """

    _tasks: TaskGroup

    def __init__(self, cluster: Logs, emit: Callable[[LogLine], None], *, since: str | None = None) -> None:
        self._cluster = cluster
        self._emit = emit
        self._since = since
        self._followers: dict[LogSource, _Follower] = {}
        self._first = True

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        failure: Exception | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                failure = error
            self._tasks.cancel_scope.cancel("the log tailer is closed")
        if failure is not None:
            raise failure

    def update(self, pods: Sequence[Pod]) -> None:
        """Follow these pods' containers; those of pods that are no longer told of are read to their end."""
        present = log_sources(pods)
        for source, follower in self._followers.items():
            follower.look(present.get(source) or Runs(current=follower.runs.current, ended=True, gone=True))
        for source, runs in present.items():
            if runs.current is not None and source not in self._followers:
                self._follow(source, runs)
        self._first = False

    def _follow(self, source: LogSource, runs: Runs) -> None:
        follower = _Follower(self._cluster, self._emit, source, runs, self._since if self._first else None)
        self._followers[source] = follower

        async def follow() -> None:
            await follower.run()
            del self._followers[source]

        self._tasks.start_soon(follow, name=f"logs of {source}")


class _Outcome(Enum):
    """How reading a stream ended."""

    NEWS = auto()
    """It gave new lines. It may have ended early: an API server that loses its node ends a log like any other."""
    NOTHING = auto()
    """It gave nothing new: the log has no more lines now."""
    FOREIGN = auto()
    """It is not the log that was expected, but another run's."""
    ABSENT = auto()
    """There is no such log."""
    UNREACHABLE = auto()
    """The cluster did not answer."""


class _Follower:
    """Reads one container's logs, run after run.

    Attributes:
        runs: The container's runs as they are known now.
    """

    def __init__(
        self, cluster: Logs, emit: Callable[[LogLine], None], source: LogSource, runs: Runs, since: str | None
    ) -> None:
        self.runs = runs
        self._cluster = cluster
        self._emit = emit
        self._source = source
        self._since = since
        self._early = frozenset({runs.current, runs.previous}) if since else frozenset()
        self._changed = anyio.Event()
        self._stream = anyio.CancelScope()
        self._cursor = LogCursor()
        self._reading: int | None = None
        self._complete: set[int] = set()
        self._trusting = False
        self._failures = 0

    def look(self, runs: Runs) -> None:
        """Take the container's runs as they are now."""
        if runs == self.runs:
            return
        self.runs = runs
        if runs.gone:
            # The log ends by itself, unless the node went with the pod.
            self._stream.deadline = anyio.current_time() + _GONE_SECONDS
        self._changed.set()
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Read until there can be nothing more."""
        while True:
            match next_read(self.runs, self._complete):
                case Stop():
                    return
                case Wait():
                    await self._changed.wait()
                case Read(follow=True) as read:
                    await self._follow(read)
                case Read() as read:
                    await self._finish(read)

    async def _follow(self, read: Read) -> None:
        """Read the current run as long as the stream gives lines, then wait for what the cluster says about it."""
        match await self._read(read):
            case _Outcome.NEWS:
                pass
            case _Outcome.FOREIGN:
                await self._leave(read)
            case _Outcome.NOTHING:
                await self._pause(_QUIET)
            case _Outcome.ABSENT | _Outcome.UNREACHABLE:
                await self._pause(_LOST)

    async def _finish(self, read: Read) -> None:
        """Read a run that has ended, until nothing more comes."""
        match await self._read(read):
            case _Outcome.NEWS:
                pass
            case _Outcome.UNREACHABLE:
                await self._pause(_LOST)
            case _Outcome.FOREIGN if not read.previous:
                await self._leave(read)
            case _Outcome.ABSENT if self._failures < _DOUBTS and not self.runs.gone:
                await self._pause(_LOST)  # a busy node denies a log that it has a moment later
            case _Outcome.NOTHING | _Outcome.ABSENT | _Outcome.FOREIGN:
                self._failures = 0
                self._complete.add(read.run)

    async def _leave(self, read: Read) -> None:
        """Deal with a "current" log that is not the run's: most likely a newer one began, which we shall be told of.

        If so, the rest of this run is the "previous" log. Else the node has cut the log's beginning off.
        """
        while (outcome := await self._read(replace(read, previous=True, follow=False))) is _Outcome.NEWS:
            pass
        if outcome is _Outcome.NOTHING:
            self._complete.add(read.run)
            return
        if outcome is _Outcome.UNREACHABLE:
            await self._pause(_LOST)
            return
        changed = self._changed
        with anyio.move_on_after(_TOLD_SECONDS):
            await changed.wait()
            return
        self._trusting = True

    async def _pause(self, delays: Sequence[float]) -> None:
        """Wait before the next attempt; news about the container end the wait."""
        delay = delays[min(self._failures, len(delays) - 1)]
        self._failures += 1
        with anyio.move_on_after(delay):
            await self._changed.wait()

    # --- one stream ---

    async def _read(self, read: Read) -> _Outcome:
        source = self._source
        target = ContainerTarget(
            namespace=source.namespace, pod=source.pod, uid=source.uid, container=source.container, id=str(read.run)
        )
        resumed = read.run == self._reading
        since = self._cursor.since if resumed else self._since if read.run in self._early else None
        with anyio.CancelScope() as self._stream:
            if self.runs.gone:
                self._stream.deadline = anyio.current_time() + _GONE_SECONDS
            opening = self._cluster.logs(target, follow=read.follow, since=since, previous=read.previous)
            try:
                async with opening as lines:
                    return await self._take(read, lines, since, resumed=resumed)
            except ContainerLostError as error:
                self._tell_if_it_lasts(error)
                return _Outcome.ABSENT
            except UnreachableError:
                return _Outcome.UNREACHABLE
        return _Outcome.NOTHING

    async def _take(
        self, read: Read, lines: ObjectReceiveStream[bytes], since: str | None, *, resumed: bool
    ) -> _Outcome:
        """Tell the new lines of a stream."""
        try:
            raw = await lines.receive()
            if not self._accept(read, raw, since, resumed=resumed):
                return _Outcome.FOREIGN
        except anyio.EndOfStream:
            return _Outcome.NOTHING
        cursor, source, news = self._cursor, self._source, False
        try:
            while True:
                if line := cursor.take(raw):
                    news = True
                    self._failures = 0
                    self._emit(
                        LogLine(
                            service=source.service,
                            pod=source.pod,
                            container=source.container,
                            time=line.time,
                            text=line.text,
                            previous=read.previous,
                        )
                    )
                raw = await lines.receive()
        except anyio.EndOfStream:
            return _Outcome.NEWS if news else _Outcome.NOTHING

    def _accept(self, read: Read, first: bytes, since: str | None, *, resumed: bool) -> bool:
        """Set the cursor for a stream that begins with this line; return whether it is the run's log."""
        if resumed:
            trusting, self._trusting = self._trusting, False
            return not self._cursor.resume() or trusting or self._cursor.expects(first)
        # The run may have been read already, when it was taken for the one before it.
        if not self._cursor.restart(first):
            self._cursor = LogCursor(since)
        self._reading = read.run
        return True

    def _tell_if_it_lasts(self, error: ContainerLostError) -> None:
        """Tell once, in the log's place, why a running container's log cannot be read."""
        running = not (self.runs.ended or self.runs.gone)
        if running and self._failures == _PATIENT_FAILURES:
            self._emit(
                LogLine(
                    service=self._source.service,
                    pod=self._source.pod,
                    container=self._source.container,
                    time="",
                    text=f"devloop cannot read this log: {error}",
                )
            )
