"""Writes a cluster's entries into the user's kubeconfig: whole or not at all, and never while kubectl writes it."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from devloop.adapters.kube.config import kubeconfig_files, read_contexts
from devloop.core.cluster.kubeconfig import Entries, server_of, with_entries, without_entries
from devloop.errors import InputError, ToolError, Where

__all__ = ["add_entries", "remove_entries", "server_known"]

_PATIENCE: Final = 5.0
_PAUSE: Final = 0.05


def add_entries(entries: Entries, kubeconfig: str | os.PathLike[str] | None = None) -> Path:
    """Put the entries into the kubeconfig that kubectl would write to, make their context current, return the file.

    Raises:
        InputError: The file is no kubeconfig.
        ToolError: It cannot be written.
    """
    path = _written_to(kubeconfig)
    _change(path, lambda text: with_entries(text, entries))
    return path


def remove_entries(name: str, kubeconfig: str | os.PathLike[str] | None = None) -> tuple[Path, ...]:
    """Take the entries of this name out of all the user's kubeconfig files; return those that had some.

    Raises:
        InputError: A file is no kubeconfig.
        ToolError: A file cannot be written.
    """
    known = [context.name for context in read_contexts(kubeconfig).known if context.name != name]
    files = kubeconfig_files(kubeconfig)
    return tuple(path for path in files if _change(path, lambda text: without_entries(text, name, known)))


def server_known(name: str, kubeconfig: str | os.PathLike[str] | None = None) -> tuple[str, Path] | None:
    """Return the server that the kubeconfig names for a cluster, and in which file; None where it has no such cluster.

    Raises:
        InputError: A file is no kubeconfig.
    """
    for path in kubeconfig_files(kubeconfig):
        with _named(path):
            server = server_of(_text(path), name)
        if server is not None:
            return server, path
    return None


def _written_to(kubeconfig: str | os.PathLike[str] | None) -> Path:
    """Return kubectl's choice: the first file that there is, else the last that is named."""
    if there := kubeconfig_files(kubeconfig):
        return there[0]
    named = os.fspath(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or "~/.kube/config"
    return Path([part for part in named.split(os.pathsep) if part][-1]).expanduser()


def _change(path: Path, change: Callable[[str], str]) -> bool:
    """Write what `change` makes of the file; return whether that is something else."""
    target = path.resolve()  # a link stays a link
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target), _named(path):
            before = _text(target)
            after = change(before)
            if after == before:
                return False
            _replace(target, after)
            return True
    except OSError as error:
        raise ToolError(f"the kubeconfig `{path}` cannot be written: {error.strerror or error}") from error


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _replace(target: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)  # only its owner may read it
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            with suppress(PermissionError):
                os.chown(name, target.stat().st_uid, target.stat().st_gid)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock that kubectl and other clients respect, too: a file beside it."""
    lock = target.with_name(f"{target.name}.lock")
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > end:
                raise ToolError(
                    f"the kubeconfig `{target}` is locked", hint=f"if nothing is writing it, remove `{lock}`"
                ) from None
            time.sleep(_PAUSE)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let mistakes say which file they are in."""
    try:
        yield
    except InputError as error:
        raise InputError(error.message, where=Where(path=str(path)), hint=error.hint) from None
