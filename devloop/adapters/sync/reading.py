"""Files of the project as they are sent: the digest is always that of the very bytes. Called from worker threads."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from devloop.core import digests
from devloop.core.names import from_system, to_system
from devloop.core.sync.protocol import Content, Link
from devloop.model import FileChange

__all__ = ["PIECE", "LargeFile", "Reading"]

PIECE: Final = 512 * 1024
"""Bytes that go out at one stroke: few enough that a small file behind them does not wait long."""
_LARGE_PIECE: Final = 2 * 1024 * 1024
"""The same for a large file, which goes its own way: one process in the container serves each piece."""
_ENTRIES: Final = 500
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LargeFile:
    """A file that is read piece by piece.

    Args:
        change: What was asked for.
        handle: The open file, which this closes.
        mode: Its mode.
    """

    def __init__(self, change: FileChange, handle: int, mode: int) -> None:
        self._change = change
        self._handle = handle
        self._hasher = digests.FileHasher(mode)
        self.mode = mode

    @property
    def change(self) -> FileChange:
        """What was really read."""
        return replace(self._change, digest=self._hasher.digest())

    def read(self) -> bytes:
        """Return the next piece, empty at the end."""
        data = _read(self._handle, _LARGE_PIECE)
        self._hasher.update(data)
        return data

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


class Reading:
    """Reads the files that changes name, in portions; large files come last.

    Args:
        root: The project's root.
        changes: What to read.

    Attributes:
        ended: Whether all was returned.
    """

    def __init__(self, root: Path, changes: Iterable[FileChange]) -> None:
        self._entries = _entries(root, changes)
        self.ended = False

    def portion(self) -> tuple[list[Content | Link], LargeFile | None]:
        """Return the next entries, about as many as go out at one stroke, and a large file that comes after them."""
        portion: list[Content | Link] = []
        size = 0
        for entry in self._entries:
            if isinstance(entry, LargeFile):
                return portion, entry
            portion.append(entry)
            size += len(entry.data) if isinstance(entry, Content) else 0
            if size >= PIECE or len(portion) >= _ENTRIES:
                return portion, None
        self.ended = True
        return portion, None


def _entries(root: Path, changes: Iterable[FileChange]) -> Iterator[Content | Link | LargeFile]:
    large: list[FileChange] = []
    for change in changes:
        entry = _entry(root, change)
        if isinstance(entry, LargeFile):
            entry.close()
            large.append(change)
        elif entry is not None:
            yield entry
    for change in large:
        if (entry := _entry(root, change)) is not None:
            yield entry


def _entry(root: Path, change: FileChange) -> Content | Link | LargeFile | None:
    with suppress(FileNotFoundError, NotADirectoryError):  # it vanished: the next hint tells
        return _opened(change, os.path.normpath(f"{root}/{to_system(change.source)}"))
    return None


def _opened(change: FileChange, absolute: str) -> Content | Link | LargeFile | None:
    status = os.lstat(absolute)
    if stat.S_ISLNK(status.st_mode):
        target = from_system(str(Path(absolute).readlink()))
        return Link(change=replace(change, digest=digests.of_link(target)), target=target)
    if not stat.S_ISREG(status.st_mode):
        return None
    handle = os.open(absolute, _OPEN)
    try:
        mode = os.fstat(handle).st_mode
        data = _read(handle, PIECE + 1)
        if len(data) > PIECE:
            os.lseek(handle, 0, os.SEEK_SET)
            large = LargeFile(change, handle, mode)
            handle = -1
            return large
    finally:
        if handle >= 0:
            os.close(handle)
    hasher = digests.FileHasher(mode)
    hasher.update(data)
    return Content(change=replace(change, digest=hasher.digest()), mode=mode, data=data)


def _read(handle: int, size: int) -> bytes:
    """Return that many bytes, fewer only at the end."""
    data = os.read(handle, size)
    while data and len(data) < size and (more := os.read(handle, size - len(data))):
        data += more
    return data
