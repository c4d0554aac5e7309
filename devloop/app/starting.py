"""`devloop init`: a project's first devfile, from what the project already has."""

from pathlib import Path

from devloop import events
from devloop.adapters.tree import read_tree
from devloop.app.options import DEVFILE, Options
from devloop.app.workspace import Workspace
from devloop.core.draft import Draft, devfile, draft, notes_of
from devloop.errors import InputError
from devloop.events import Problem
from devloop.ui.beginnings import Beginning

__all__ = ["start"]


def start(folder: Path, *, source: str | None = None, force: bool = False, dry: bool = False) -> Beginning:
    """Write a devfile for a folder, and the manifests that it needs.

    Args:
        folder: The project's folder.
        source: The file to make it from; None for what says most of the project.
        force: Whether an existing devfile is written over. Other files never are.
        dry: Whether nothing is written.

    Raises:
        InputErrors: A file that it is made from cannot be read.
        InputError: There is a devfile already, or nothing to make one from.
    """
    path = folder / DEVFILE
    if path.exists() and not force and not dry:
        hint = "see what would be written with `--print`; write over it with `--force`"
        raise InputError(f"there already is a `{DEVFILE}`", hint=hint)
    drafted = draft(read_tree(folder), source)
    text = devfile(drafted)
    new = {name: content for name, content in drafted.files.items() if not (folder / name).exists()}
    if not dry:
        for name, content in {**new, DEVFILE: text}.items():
            _write(folder / name, content)
    return Beginning(
        devfile=text,
        files=drafted.files,
        written=() if dry else (DEVFILE, *new),
        kept=tuple(name for name in drafted.files if name not in new),
        nodes=_counts(drafted),
        notes=notes_of(drafted),
        problems=() if dry else _problems(folder),
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _counts(drafted: Draft) -> dict[str, int]:
    counts = {
        "image": len(drafted.images),
        "service": len(drafted.services),
        "sync": len(drafted.syncs),
        "task": sum(not each.check for each in drafted.tasks),
        "check": sum(each.check for each in drafted.tasks),
    }
    return {kind: count for kind, count in counts.items() if count}


def _problems(folder: Path) -> tuple[Problem, ...]:
    """Return what is wrong with the project as it is now: mistakes of the files that the devfile names."""
    project = Workspace(Options(devfile=folder)).project("default")
    return tuple(problem for mistake in project.mistakes for problem in events.problems(mistake))
