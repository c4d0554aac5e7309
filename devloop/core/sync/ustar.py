"""Tar archives that every tar unpacks: plain ustar headers, names that do not fit as GNU tar writes them."""

from typing import Final

__all__ = ["END", "file_member", "link_member"]

_BLOCK: Final = 512

END: Final = bytes(2 * _BLOCK)
"""What an archive ends with."""


def file_member(name: bytes, mode: int, data: bytes) -> bytes:
    """Return a regular file as a part of an archive."""
    return _header(name, mode & 0o7777, len(data), b"0") + _padded(data)


def link_member(name: bytes, target: bytes) -> bytes:
    """Return a symbolic link as a part of an archive."""
    return _header(name, 0o777, 0, b"2", target)


def _header(name: bytes, mode: int, size: int, kind: bytes, target: bytes = b"") -> bytes:
    """Return a ustar header; names that do not fit are put before it as GNU tar does, which all tars understand."""
    before = b""
    if len(target) > 100:
        before += _long(target, b"K")
    if len(name) > 100:
        before += _long(name, b"L")
    block = b"%s%07o\x000000000\x000000000\x00%011o\x0000000000000\x00        %s%s" % (
        name[:100].ljust(100, b"\0"),
        mode,
        size,
        kind,
        target[:100].ljust(100, b"\0"),
    )
    block = (block + b"ustar\x0000").ljust(_BLOCK, b"\0")
    return before + block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _long(name: bytes, kind: bytes) -> bytes:
    return _header(b"././@LongLink", 0o644, len(name) + 1, kind) + _padded(name + b"\0")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)
