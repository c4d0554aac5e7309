"""Who holds a local TCP port: read from /proc on Linux, asked of `lsof` elsewhere. Blocking; call it in a thread."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["holder", "listening_inodes"]

_LISTENING: Final = "0A"
_UNKNOWN: Final = "another program"


def holder(port: int) -> str:
    """Return who listens on a local TCP port, for example "`python3` (pid 4711)", or "another program"."""
    found = _from_proc(port) if sys.platform == "linux" else _from_lsof(port)
    if found is None:
        return _UNKNOWN
    pid, program = found
    return f"devloop itself (pid {pid})" if pid == os.getpid() else f"`{program}` (pid {pid})"


def listening_inodes(table: str, port: int) -> set[str]:
    """Return the socket inodes that listen on a port, from the text of /proc/net/tcp or tcp6."""
    inodes = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(fields[9])
    return inodes


def _from_proc(port: int) -> tuple[int, str] | None:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            inodes |= listening_inodes(Path(f"/proc/net/{table}").read_text(), port)
        except OSError:
            continue
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in _processes():
        if any(link in wanted for link in _open_files(pid)):
            try:
                return pid, Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
    return None


def _processes() -> Iterator[int]:
    """Yield all process ids, the youngest first: a server left over from a moment ago is the usual holder."""
    yield from sorted((int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()), reverse=True)


def _open_files(pid: int) -> Iterator[str]:
    """Yield what the process's file descriptors are; nothing for another user's process."""
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                yield str(entry.readlink())
    except OSError:
        return


def _from_lsof(port: int) -> tuple[int, str] | None:
    program = shutil.which("lsof")
    if program is None:
        return None
    command = [program, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=3, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    fields = {line[0]: line[1:] for line in reversed(done.stdout.splitlines()) if line}
    pid = fields.get("p", "")
    return (int(pid), fields.get("c", "?")) if pid.isdigit() else None
