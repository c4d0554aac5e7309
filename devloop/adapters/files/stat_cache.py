"""What is remembered of files from one start to the next: how each looked when its digest was taken.

A file of its own format, since a hundred thousand entries have to be there at once: a line of JSON with a checksum of
the rest, the paths, and a record of fixed size for each. What does not fit to the byte is as good as none.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Final, NewType

from devloop.model import Digest

__all__ = ["Identity", "Record", "digest_of", "identity", "load", "record", "save"]

Identity = NewType("Identity", bytes)
"""Size, times, inode and mode of a file: any change of its content changes one of them, sooner or later."""

Record = NewType("Record", bytes)
"""A file's identity when its digest was taken, and the digest."""

_VERSION: Final = 2
_IDENTITY: Final = Struct("<qqqQI")
_RECORD_SIZE: Final = _IDENTITY.size + hashlib.sha256().digest_size
_ALGORITHM: Final = "sha256:"
_INODE_BITS: Final = (1 << 64) - 1


def identity(status: os.stat_result) -> Identity:
    """Return what tells a file from its later and earlier forms."""
    packed = _IDENTITY.pack(
        status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _INODE_BITS, status.st_mode
    )
    return Identity(packed)


def record(seen: Identity, digest: Digest) -> Record:
    """Return what is remembered of a file."""
    return Record(seen + bytes.fromhex(digest.removeprefix(_ALGORITHM)))


def digest_of(remembered: Record) -> Digest:
    """Return the digest that was remembered."""
    return Digest(_ALGORITHM + remembered[_IDENTITY.size :].hex())


def load(place: Path, root: str) -> dict[str, Record]:
    """Return what was saved for this project; nothing where that is missing, damaged, or of another version or root."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        line, _, body = place.read_bytes().partition(b"\n")
        if json.loads(line) == _header(body, root):
            return _entries(body)
    return {}


def save(place: Path, root: str, remembered: Mapping[str, Record]) -> None:
    """Keep it for the next start; given up silently where it cannot be written, like all that can be found out anew."""
    names = "\0".join(remembered).encode()
    body = b"".join((len(names).to_bytes(8, "little"), names, *remembered.values()))
    temporary = place.with_name(f"{place.name}.{os.getpid()}")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_bytes(json.dumps(_header(body, root)).encode() + b"\n" + body)
        temporary.replace(place)


def _header(body: bytes, root: str) -> dict[str, object]:
    return {"version": _VERSION, "root": root, "checksum": hashlib.blake2b(body, digest_size=16).hexdigest()}


def _entries(body: bytes) -> dict[str, Record]:
    start = 8 + int.from_bytes(body[:8], "little")
    names = body[8:start].decode().split("\0")
    records = (Record(body[at : at + _RECORD_SIZE]) for at in range(start, len(body), _RECORD_SIZE))
    return dict(zip(names, records, strict=False))
