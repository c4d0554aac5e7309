"""Content digests: of text, of values, of files by kind, permission bits and bytes. Times and owners never count."""

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from devloop.model import Digest

__all__ = ["ABSENT", "FileHasher", "of_content", "of_link", "of_text", "of_unreadable", "of_value"]

ABSENT: Final = Digest("absent")
"""Stands for a file that is not there; differs from every file's digest."""

_PERMISSIONS: Final = 0o7777


def of_text(text: str) -> Digest:
    """Return the digest of a text's UTF-8 bytes."""
    return Digest("sha256:" + hashlib.sha256(text.encode()).hexdigest())


def of_value(value: object) -> Digest:
    """Return the digest of a JSON-like value; the order of a mapping's keys does not count."""
    return of_text(json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain))


def of_content(data: bytes, *, executable: bool) -> Digest:
    """Return the digest of a file's bytes and of whether it may be run; other permissions do not count."""
    return Digest("sha256:" + hashlib.sha256((b"run\0" if executable else b"file\0") + data).hexdigest())


def of_link(target: str) -> Digest:
    """Return the digest of a symbolic link that points to `target`."""
    return of_text(f"link\0{target}")


def of_unreadable(mode: int) -> Digest:
    """Return the digest of a file that may not be read."""
    return of_text(f"unreadable\0{mode & _PERMISSIONS:o}")


class FileHasher:
    """Digests a regular file piece by piece.

    Args:
        mode: The file's mode as `stat` gives it; only the permission bits count, to which the builder adds those for
            set-user-id, set-group-id and sticky.
    """

    __slots__ = ("_hash",)

    def __init__(self, mode: int) -> None:
        self._hash = hashlib.sha256(f"file\0{mode & _PERMISSIONS:o}\0".encode())

    def update(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        self._hash.update(data)

    def digest(self) -> Digest:
        """Return the digest of all bytes so far."""
        return Digest("sha256:" + self._hash.hexdigest())


def _plain(value: object) -> object:
    if isinstance(value, Iterable):
        return list(value)
    return str(value)
