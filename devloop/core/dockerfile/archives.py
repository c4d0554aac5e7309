"""Whether a file may be an archive that `ADD` unpacks, told by its first bytes as the builder does, not by its name."""

from typing import Final

__all__ = ["HEAD", "may_be_archive"]

HEAD: Final = 512
"""How many of the first bytes of a file tell."""

_COMPRESSED: Final = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"LZIP")
_SKIPPABLE: Final = b"\x2a\x4d\x18"
_CHECKSUM: Final = slice(148, 156)


def may_be_archive(head: bytes) -> bool:
    """Return whether a file that begins like this may be an archive.

    What is compressed may be one; whether it is would only be seen by unpacking it.

    Args:
        head: The first `HEAD` bytes of the file, or all that there are.
    """
    if head.startswith(_COMPRESSED) or head[1:4] == _SKIPPABLE:
        return True
    return len(head) == HEAD and _is_tar_header(head)


def _is_tar_header(head: bytes) -> bool:
    try:
        said = int(head[_CHECKSUM].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    blanked = head[: _CHECKSUM.start] + b" " * 8 + head[_CHECKSUM.stop :]
    signed = sum(byte - 256 if byte > 127 else byte for byte in blanked)
    return said in {sum(blanked), signed} and head != bytes(HEAD)
