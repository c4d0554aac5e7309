"""Bringing files back from a container to the host; what becomes of each file is decided in `core.sync.pulling`."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, assert_never

from devloop.core import digests
from devloop.core.sync.pulling import Outcome, disputed, outcome
from devloop.errors import ToolError
from devloop.model import Digest, RelPath

__all__ = ["Pulled", "bring_back"]

_SOMETHING_ELSE: Final = Digest("no regular file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came of a pull, by paths on the host.

    Attributes:
        written: Files that are now as the container has them.
        deleted: Files that went because the container deleted them.
        kept: Files that were changed on both sides and stay as the host has them, where that is news.
        agreed: The files that are alike on both sides now; `ABSENT` for those that are gone from both.
        seen: All that the container has; `disputed` for what stays as the host has it.
    """

    written: tuple[RelPath, ...]
    deleted: tuple[RelPath, ...]
    kept: tuple[RelPath, ...]
    agreed: Mapping[RelPath, Digest]
    seen: Mapping[RelPath, Digest]


@dataclass(frozen=True, slots=True)
class _There:
    """A file as the container has it."""

    digest: Digest
    content: bytes
    executable: bool
    changed_at: float


def bring_back(
    archive: bytes | None,
    destination: RelPath,
    root: Path,
    *,
    agreed: Mapping[RelPath, Digest],
    seen: Mapping[RelPath, Digest] | None,
    started: float = 0.0,
) -> Pulled:
    """Make the host's files what a container made of them, where nobody changed them here.

    Args:
        archive: A tar archive of one file or folder; None when there is none any more.
        destination: Where that file or folder belongs on the host.
        root: The project's root.
        agreed: What files were when they were last alike on both sides.
        seen: What the container had when it was looked at last; None if it never was.
        started: When the container started, by the clock that its files are stamped with.

    Raises:
        ToolError: It is no archive, or a file cannot be written.
    """
    written, deleted, kept = [], [], []
    alike: dict[RelPath, Digest] = {}
    disputes: dict[RelPath, Digest] = {}
    try:
        there = dict(_files(archive, destination)) if archive is not None else {}
        before = {path: digest for path, digest in (seen or {}).items() if _is_below(path, destination)}
        for path in sorted({*there, *before}):
            found = there.get(path)
            now = found.digest if found else None
            changed = before.get(path) != now if seen is not None else bool(found and found.changed_at >= started)
            place = _real(root / path)
            what = outcome(
                host=_digest_of(place),
                container=now,
                agreed=agreed.get(path),
                seen=before.get(path),
                changed=changed,
            )
            match what:
                case Outcome.STAY:
                    continue
                case Outcome.CONFLICT:
                    disputes[path] = disputed(now)
                    if before.get(path) != disputes[path]:
                        kept.append(path)
                    continue
                case Outcome.TAKE if found is not None:
                    _write(place, found)
                    written.append(path)
                case Outcome.DELETE:
                    _delete(place, root / destination)
                    deleted.append(path)
                case Outcome.ALIKE | Outcome.TAKE:
                    pass
                case _:
                    assert_never(what)
            alike[path] = now or digests.ABSENT
    except (OSError, tarfile.TarError) as error:
        raise ToolError(f"what the container sent for `{destination}` cannot be written: {error}") from error
    return Pulled(
        written=tuple(written),
        deleted=tuple(deleted),
        kept=tuple(kept),
        agreed=alike,
        seen={path: each.digest for path, each in there.items()} | disputes,
    )


def _files(archive: bytes, destination: RelPath) -> Iterator[tuple[RelPath, _There]]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            parts = PurePosixPath(member.name).parts
            if file is None or ".." in parts:
                continue
            content, executable = file.read(), bool(member.mode & stat.S_IXUSR)
            digest = digests.of_content(content, executable=executable)
            there = _There(digest, content, executable, changed_at=float(member.mtime))
            yield RelPath("/".join((destination, *parts[1:]))), there


def _is_below(path: RelPath, destination: RelPath) -> bool:
    return path == destination or path.startswith(f"{destination}/")


def _real(path: Path) -> Path:
    """Return the file itself where the path is a link to one."""
    return path.resolve() if path.is_symlink() else path


def _digest_of(path: Path) -> Digest | None:
    """Return the digest of the host's file, None where there is none."""
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            return _SOMETHING_ELSE
        return digests.of_content(path.read_bytes(), executable=bool(mode & stat.S_IXUSR))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(path: Path, there: _There) -> None:
    """Write a file so that a reader sees the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.devloop")
    try:
        temporary.write_bytes(there.content)
        mode = (path if path.exists() else temporary).stat().st_mode & 0o777
        readable = (mode & 0o444) >> 2
        temporary.chmod(mode | readable if there.executable else mode & ~0o111)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _delete(path: Path, top: Path) -> None:
    """Delete a file, and the folders below `top` that are empty without it."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        while (path := path.parent) != top and path.is_relative_to(top):
            path.rmdir()
