"""A project's files as `devloop init` looks at them: less what git ignores, and less what others have put there."""

import os
import posixpath
from pathlib import Path

from devloop.core.draft.tree import IGNORED, Tree, gitignore
from devloop.core.patterns import IgnoreRules
from devloop.errors import InputErrors

__all__ = ["read_tree"]

_LARGEST = 2_000_000


def read_tree(root: Path) -> Tree:
    """Return the files below a folder."""
    files: list[str] = []
    texts: list[str] = []
    _walk(root, ".", texts, files)
    return Tree(name=root.resolve().name, files=tuple(sorted(files)), read=lambda path: _text(root / path))


def _walk(root: Path, folder: str, ignored: list[str], files: list[str]) -> None:
    if (text := _text(root / folder / ".gitignore")) is not None:
        ignored = [*ignored, gitignore(text, folder)]
    rules = _rules(ignored)
    with os.scandir(root / folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = posixpath.normpath(posixpath.join(folder, entry.name))
        if entry.name in IGNORED or rules.excludes(path):
            continue
        if entry.is_dir(follow_symlinks=False):
            if not _is_foreign(root / path):
                _walk(root, path, ignored, files)
        elif entry.is_file():
            files.append(path)


def _is_foreign(folder: Path) -> bool:
    """Return whether a folder is an environment of Python's, or another repository checked out inside this one."""
    return (folder / "pyvenv.cfg").is_file() or (folder / ".git").is_dir()


def _rules(texts: list[str]) -> IgnoreRules:
    try:
        return IgnoreRules.parse("\n".join(texts))
    except InputErrors as error:
        wrong = {each.where.line for each in error.errors if each.where}
        lines = "\n".join(texts).splitlines()
        return IgnoreRules.parse("\n".join(line for number, line in enumerate(lines, 1) if number not in wrong))


def _text(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
