"""Bringing files back from a container to the host. The host's newer edit wins, and is told of."""

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from devloop.errors import ToolError

__all__ = ["Pulled", "unpack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came of a pull, by paths on the host.

    Attributes:
        written: Files that are now as the container has them.
        kept: Files that the host holds in a newer form.
    """

    written: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()


def unpack(archive: bytes, destination: Path) -> Pulled:
    """Write an archive's file, or the files of its folder, to the host where they differ.

    Args:
        archive: A tar archive of one file or folder.
        destination: Where that file or folder belongs on the host.

    Raises:
        ToolError: It is no archive, or a file cannot be written.
    """
    written, kept = [], []
    try:
        for path, content, member in _files(archive, destination):
            before = path.stat() if path.is_file() else None
            if before is not None and path.read_bytes() == content:
                continue
            if before is not None and before.st_mtime > member.mtime + 1:
                kept.append(path)
                continue
            _write(path, content, member.mode)
            written.append(path)
    except (OSError, tarfile.TarError) as error:
        raise ToolError(f"what the container sent for `{destination.name}` cannot be written: {error}") from error
    return Pulled(written=tuple(written), kept=tuple(kept))


def _files(archive: bytes, destination: Path) -> Iterator[tuple[Path, bytes, tarfile.TarInfo]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            parts = PurePosixPath(member.name).parts
            if file is not None and ".." not in parts:
                yield destination.joinpath(*parts[1:]), file.read(), member


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that a reader sees the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.devloop")
    temporary.write_bytes(content)
    temporary.chmod(mode & 0o777)
    temporary.replace(path)
