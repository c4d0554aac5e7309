"""Reading files for their digests: one by one, or many in threads, so that the disk always has something to do."""

import os
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Final, NamedTuple

from devloop.adapters.files.stat_cache import Identity, identity
from devloop.core import digests
from devloop.model import Digest, RelPath

__all__ = ["RACY_NS", "Hashed", "Unknown", "hash_all", "hash_one"]

RACY_NS: Final = 2_000_000_000
"""A file that changed this shortly before it was read may change again without its times showing it (FAT: 2 s)."""
_PIECE: Final = 1 << 20
_ATTEMPTS: Final = 3
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_THREADS: Final = 8
_BATCH: Final = 64
"""Files that a thread takes at a time; handing over each by itself would cost more than reading it."""
_AHEAD: Final = 4 * _THREADS
"""Batches that wait for a thread before the walk does."""


class Unknown(NamedTuple):
    """A regular file whose digest is to be taken, and how it looked when it was found."""

    path: RelPath
    absolute: str
    seen: Identity
    size: int
    mode: int


class Hashed(NamedTuple):
    """A file's digest, and how the file looked then.

    Attributes:
        path: The file.
        digest: Its digest.
        seen: How it looked after it was read; None where it may not be read, or could still change without looking
            different.
    """

    path: RelPath
    digest: Digest
    seen: Identity | None


def hash_all(files: Iterable[Unknown]) -> Iterator[Hashed]:
    """Yield the digests of the files, while more of them are found; those that vanished meanwhile are left out."""
    batches = _batches(files)
    first, second = next(batches, []), next(batches, [])
    if not second:
        yield from _batch(first)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="hashing") as pool:
        waiting: deque[Future[list[Hashed]]] = deque()
        for batch in chain((first, second), batches):
            waiting.append(pool.submit(_batch, batch))
            if len(waiting) > _AHEAD:
                yield from waiting.popleft().result()
        for each in waiting:
            yield from each.result()


def hash_one(file: Unknown) -> Hashed:
    """Return the digest of a file.

    Raises:
        OSError: It vanished, or is no regular file any more.
    """
    _, _, before, size, mode = file
    for _ in range(_ATTEMPTS):
        started = time.time_ns()
        try:
            handle = os.open(file.absolute, _OPEN)
        except PermissionError:
            return Hashed(file.path, digests.of_unreadable(mode), None)
        try:
            digest = _digest(handle, size, mode)
            status = os.fstat(handle)
        finally:
            os.close(handle)
        after = identity(status)
        if after == before:
            newest = max(status.st_mtime_ns, status.st_ctime_ns)
            return Hashed(file.path, digest, after if started - newest >= RACY_NS else None)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(file.absolute)
        before, size, mode = after, status.st_size, status.st_mode
    # Somebody keeps writing. The digest is that of no moment; the event of the last write brings the right one.
    return Hashed(file.path, digest, None)


def _batches(files: Iterable[Unknown]) -> Iterator[list[Unknown]]:
    iterator = iter(files)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _batch(files: Iterable[Unknown]) -> list[Hashed]:
    found = []
    for each in files:
        with suppress(OSError):
            found.append(hash_one(each))
    return found


def _digest(handle: int, size: int, mode: int) -> Digest:
    # A file that is as large as it was comes in one piece, and one byte less than asked for says that it ends there.
    data = os.read(handle, min(size, _PIECE) + 1)
    hasher = digests.FileHasher(mode)
    hasher.update(data)
    if len(data) != size:
        while data := os.read(handle, _PIECE):
            hasher.update(data)
    return hasher.digest()
