"""One transfer over one session: files are read, framed and sent while earlier ones are being unpacked."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from anyio import to_thread

from devloop.adapters.sync.reading import LargeFile, Reading
from devloop.adapters.sync.session import Pending, Session, SessionLostError
from devloop.core.sync_protocol import (
    Content,
    Frame,
    Link,
    abandonment,
    bundle,
    deletion,
    in_order,
    last_part,
    part,
    single,
)
from devloop.model import FileChange

__all__ = ["transfer"]

_WINDOW: Final = 3
"""Frames on their way at once: enough to keep the container busy, few enough for small files to get in between."""


async def transfer(
    session: Session, root: Path, changes: Sequence[FileChange], done: Callable[[FileChange], None]
) -> None:
    """Send the changes; tell each one that the container acknowledged, as it was really sent.

    Raises:
        SyncRefusedError: The container could not take one.
        SessionLostError: The connection ended; what was not told must be sent again.
    """
    first, writes, last = in_order(changes)
    window = _Window(session, done)
    if first:
        await window.post(deletion(first))
    reading = Reading(root, writes)
    while writes and not reading.ended:
        frames, large = await to_thread.run_sync(_next, session, reading)
        for frame in frames:
            await window.post(frame)
        if large is not None:
            await _send_large(session, window, large)
    if last:
        await window.post(deletion(last))
    await window.settle()


class _Window:
    """Sends frames, a few ahead of their answers."""

    def __init__(self, session: Session, done: Callable[[FileChange], None]) -> None:
        self._session = session
        self._done = done
        self._pending: deque[Pending] = deque()

    async def post(self, frame: Frame) -> None:
        while len(self._pending) >= _WINDOW:
            await self._settle_one()
        self._pending.append(self._session.post(frame))

    async def settle(self) -> None:
        while self._pending:
            await self._settle_one()

    async def _settle_one(self) -> None:
        pending = self._pending[0]
        await pending.wait()
        self._pending.popleft()
        for change in pending.frame.changes:
            self._done(change)


def _next(session: Session, reading: Reading) -> tuple[tuple[Frame, ...], LargeFile | None]:
    entries, large = reading.portion()
    return _frames(session, entries), large


def _frames(session: Session, entries: Sequence[Content | Link]) -> tuple[Frame, ...]:
    if len(entries) > 1 and "tar" not in session.missing:
        return (bundle(entries, session.temporary()),)
    return tuple(frame for entry in entries for frame in single(entry, session.temporary()))


async def _send_large(session: Session, window: _Window, large: LargeFile) -> None:
    place = large.change.destinations[0]
    temporary = session.temporary()
    complete = False
    try:
        first = True
        while data := await to_thread.run_sync(large.read):
            await window.post(part(data, place, temporary, first=first))
            first = False
        await window.post(last_part(large.change, large.mode, temporary))
        complete = True
    finally:
        large.close()
        if not complete:
            _abandon(session, place, temporary)


def _abandon(session: Session, place: str, temporary: str) -> None:
    try:
        session.post(abandonment(place, temporary))
    except SessionLostError:
        return  # the shell removed it when it ended
