"""The bookkeeping of log streams: what is to be read next, and which lines of a stream were seen before. Reads nothing.

A container's log is a file per *run* (each restart is a new run), served by the API under the container's name: "the
current one" or "the one before", from a whole second on. A connection may end at any line, and the current run may be
another one than a moment ago. So a reader asks again from a second that it has surely seen, and gets lines again that
it had; since the file is replayed as it is, these are exactly the lines remembered here. A replay that does not begin
with one of them is another file.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from devloop.core.cluster.pods import Container, Pod, Waiting

__all__ = ["LogCursor", "LogSource", "Read", "Runs", "Stop", "TextLine", "Wait", "log_sources", "next_read"]


# --- what there is -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """A container of a pod, over all of its runs."""

    service: str
    namespace: str
    pod: str
    uid: str
    container: str

    def __str__(self) -> str:
        return f"{self.pod}/{self.container}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The runs of a container that Kubernetes knows at one moment, by number: the first run is 0.

    Attributes:
        current: The newest run, or None when there was none yet.
        ended: Whether that run has ended.
        previous: The run before, if its log can be had, or None.
        gone: Whether the pod is gone.
    """

    current: int | None = None
    ended: bool = False
    previous: int | None = None
    gone: bool = False


def log_sources(pods: Iterable[Pod]) -> dict[LogSource, Runs]:
    """Return every container of these pods, init and ephemeral ones included, with its runs."""
    return {
        LogSource(
            service=pod.service or "",
            namespace=pod.namespace,
            pod=pod.name,
            uid=pod.uid,
            container=container.name,
        ): _runs(container)
        for pod in pods
        for container in (*pod.containers, *pod.ephemeral)
    }


def _runs(container: Container) -> Runs:
    if isinstance(container.state, Waiting):
        # While it waits to be started again, the newest run is the one that has just ended.
        return Runs(current=container.restarts, ended=True) if container.last else Runs()
    previous = container.restarts - 1 if container.last and container.restarts else None
    return Runs(current=container.restarts, ended=not container.running, previous=previous)


# --- what to read --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Read the log of this run; it is complete afterwards, unless it is followed (then look at the runs again)."""

    run: int
    previous: bool = False
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to read before the container's runs change."""


@dataclass(frozen=True, slots=True)
class Stop:
    """There will be nothing more to read."""


def next_read(runs: Runs, complete: Collection[int]) -> Read | Wait | Stop:
    """Return what to read next: the run before first, then the current one.

    Args:
        runs: The container's runs as they are known now.
        complete: The runs that were read to their end.
    """
    if runs.previous is not None and runs.previous not in complete and not runs.gone:
        return Read(run=runs.previous, previous=True)
    if runs.current is not None and runs.current not in complete:
        return Read(run=runs.current, follow=not (runs.ended or runs.gone))
    return Stop() if runs.gone else Wait()


# --- what was seen -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of a log: when it was written (empty for a notice of the node itself) and its text."""

    time: str
    text: str


class LogCursor:
    """Tells the new lines of one run's log from those that came before.

    Lines are remembered for the last two seconds in which there were any: two, because stdout and stderr are stamped
    apart, so that a line of the second before may come late.

    Args:
        since: An RFC 3339 timestamp; what was written before it is not wanted.
    """

    __slots__ = ("_count", "_expected", "_first", "_newer", "_notice", "_older", "_skip", "_wanted")

    def __init__(self, since: str | None = None) -> None:
        self._wanted = since
        self._older: _Second | None = None
        self._newer: _Second | None = None
        self._expected: Counter[int] = Counter()
        self._first: int | None = None
        self._count = 0
        self._skip = 0
        self._notice: str | None = None

    @property
    def since(self) -> str | None:
        """Where to read on from: a whole second, or None for the beginning."""
        second = self._older or self._newer
        return _whole_second(second.stamp) if second else self._wanted

    def resume(self) -> bool:
        """Expect a stream that begins at `since`; return whether lines that were seen must come again."""
        self._expected = Counter(self._remembered())
        self._skip = 0
        return bool(self._expected)

    def expects(self, raw: bytes) -> bool:
        """Return whether this line must come again; a resumed stream that begins otherwise is another run's."""
        return self._expected[hash(raw)] > 0

    def restart(self, raw: bytes) -> bool:
        """Return whether a stream from the beginning that starts with this line is the log that this cursor has read.

        If so, the cursor expects all that it has seen to come again.
        """
        if self._first is None or self._first != hash(raw):
            return False
        self._expected.clear()
        self._skip = self._count
        return True

    def take(self, raw: bytes) -> TextLine | None:
        """Return the line, without its line end, or None when it came before."""
        key = hash(raw)
        if self._skip:
            self._skip -= 1
            return None
        if self._expected and self._expected[key] > 0:
            self._expected[key] -= 1
            return None
        stamp, _, text = raw.partition(b" ")
        if not _STAMP.fullmatch(stamp):
            return self._notice_of(raw)
        self._remember(key, stamp)
        if self._first is None:
            self._first = key
        self._count += 1
        if len(text) > _CHUNK:
            text = _joined(text)
        return TextLine(stamp.decode(), text.decode("utf-8", "replace").rstrip("\r"))

    def _notice_of(self, raw: bytes) -> TextLine | None:
        """Return what the node says in place of the log (`unable to retrieve …`), the first time it says so."""
        notice = raw.decode("utf-8", "replace").rstrip("\r")
        if not notice or notice == self._notice:
            return None
        self._notice = notice
        return TextLine("", notice)

    def _remembered(self) -> list[int]:
        return [key for second in (self._older, self._newer) if second for key in second.keys]

    def _remember(self, key: int, stamp: bytes) -> None:
        name = stamp[:_SECOND]
        newer, older = self._newer, self._older
        if newer and name == newer.name:
            newer.keys.append(key)
        elif newer is None or name > newer.name:
            self._older, self._newer = newer, _Second(name, stamp, [key])
        elif older and name == older.name:
            older.keys.append(key)
        elif older is None or name > older.name:
            self._older = _Second(name, stamp, [key])


@dataclass(slots=True)
class _Second:
    """The lines written within one second, by their hashes."""

    name: bytes
    stamp: bytes
    keys: list[int]


_SECOND = len("2026-01-31T23:59:59")
_CHUNK = 16 * 1024
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_CHUNK_STAMP = re.compile(_STAMP.pattern + rb" ")
_FRACTION = re.compile(r"\.\d+")
_REPLACED = "\ufffd".encode()


def _whole_second(stamp: bytes) -> str:
    return _FRACTION.sub("", stamp.decode())


def _joined(text: bytes) -> bytes:
    """Return a long line without the timestamps that older nodes (Kubernetes 1.20) put before each of its chunks.

    A chunk has 16 KiB as the container wrote it; where bytes were no UTF-8, each has become a character of three.
    """
    chunks = []
    start = 0
    while len(text) - start > _CHUNK:
        end = start + _CHUNK
        match = _CHUNK_STAMP.match(text, end)
        if match is None and _REPLACED in text[start:end]:
            match = _CHUNK_STAMP.search(text, end, end + 2 * _CHUNK + 64)
        if match is None:
            break
        chunks.append(text[start : match.start()])
        start = match.end()
    chunks.append(text[start:])
    return b"".join(chunks)
