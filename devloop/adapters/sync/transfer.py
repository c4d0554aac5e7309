"""One transfer to one container: files are read, framed and sent while earlier ones are being unpacked."""

import posixpath
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from anyio import to_thread

from devloop.adapters.sync.reading import LargeFile, Reading
from devloop.adapters.sync.session import Pending, Session, SessionLostError
from devloop.core.sync.protocol import (
    Content,
    Frame,
    Link,
    abandonment,
    bundle,
    deletion,
    in_order,
    last_part,
    location,
    part,
    single,
)
from devloop.model import FileChange

__all__ = ["transfer"]

_WINDOW: Final = 3
"""Frames on their way at once: enough to keep the container busy, few enough for small files to get in between."""


async def transfer(
    session: Session,
    aside: Callable[[], Awaitable[Session]],
    root: Path,
    changes: Sequence[FileChange],
    done: Callable[[FileChange], None],
) -> None:
    """Send the changes; tell each one that the container acknowledged, as it was really sent.

    Args:
        session: Where they go.
        aside: Returns a session of its own for large files, so that small ones need not wait for them.
        root: The project's root.
        changes: What is to be sent.
        done: Told of each change that the container holds now.

    Raises:
        SyncRefusedError: The container could not take one.
        SessionLostError: The connection ended; what was not told must be sent again.
    """
    with session.transfer():
        await _transfer(session, aside, root, changes, done)


async def _transfer(
    session: Session,
    aside: Callable[[], Awaitable[Session]],
    root: Path,
    changes: Sequence[FileChange],
    done: Callable[[FileChange], None],
) -> None:
    real = await _located(session, changes)
    originals = {change.source: change for change in changes}

    def tell(change: FileChange) -> None:
        done(replace(change, destinations=originals[change.source].destinations))

    first, writes, last = in_order([_moved(change, real) for change in changes])
    window = _Window(session, tell)
    if first:
        await window.post(deletion(first))
    reading = Reading(root, writes)
    while writes and not reading.ended:
        frames, large = await to_thread.run_sync(_next, session, reading)
        for frame in frames:
            await window.post(frame)
        if large is not None:
            await window.settle()
            await _send_large(aside, large, tell)
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


# --- where things are ----------------------------------------------------------------------------------------


async def _located(session: Session, changes: Sequence[FileChange]) -> Mapping[str, str]:
    """Return the directories of all destinations as the shell must name them; none where their own names will do."""
    if not session.root:
        return {}
    directories = sorted({posixpath.dirname(place) for change in changes for place in change.destinations})
    asked = session.post(location(directories))
    await asked.wait()
    return {each: session.root + asked.located.get(index, each) for index, each in enumerate(directories)}


def _moved(change: FileChange, real: Mapping[str, str]) -> FileChange:
    if not real:
        return change
    places = (posixpath.split(place) for place in change.destinations)
    return replace(change, destinations=tuple(posixpath.join(real[folder], name) for folder, name in places))


# --- small files ---------------------------------------------------------------------------------------------


def _next(session: Session, reading: Reading) -> tuple[tuple[Frame, ...], LargeFile | None]:
    entries, large = reading.portion()
    return _frames(session, entries), large


def _frames(session: Session, entries: Sequence[Content | Link]) -> tuple[Frame, ...]:
    if len(entries) > 1 and "tar" not in session.missing:
        beside = bool(session.root)
        return (bundle(entries, session.temporary(), beside=beside, written=session.written),)
    return tuple(frame for entry in entries for frame in single(entry, session.temporary()))


# --- large files ---------------------------------------------------------------------------------------------


async def _send_large(
    aside: Callable[[], Awaitable[Session]], large: LargeFile, done: Callable[[FileChange], None]
) -> None:
    with closing(large):
        session = await aside()
        window = _Window(session, done)
        place = large.change.destinations[0]
        temporary = session.temporary()
        complete = False
        try:
            first = True
            while data := await to_thread.run_sync(large.read):
                await window.post(part(data, place, temporary, first=first))
                first = False
            await window.post(last_part(large.change, large.mode, temporary))
            await window.settle()
            complete = True
        finally:
            if not complete:
                _abandon(session, place, temporary)


def _abandon(session: Session, place: str, temporary: str) -> None:
    try:
        session.post(abandonment(place, temporary))
    except SessionLostError:
        return  # the shell removed it when it ended
