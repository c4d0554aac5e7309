"""The files of a project, as `devloop init` looks at them."""

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from devloop.core.patterns import IgnoreRules

__all__ = ["IGNORED", "Tree", "gitignore", "joined"]

IGNORED = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".idea",
        ".mypy_cache",
        ".next",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".terraform",
        ".tox",
        ".venv",
        ".vscode",
        "__pycache__",
        "bower_components",
        "node_modules",
        "venv",
    }
)
"""Folders that hold nothing of the project's own."""


@dataclass(frozen=True)
class Tree:
    """The files below a folder, less those that are not the project's own.

    Attributes:
        name: The folder's name.
        files: Their paths relative to the folder, sorted.
        read: Returns the text of a file (one outside the folder, too), or None where there is none.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[str], str | None] = field(compare=False)

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self.files)

    @cached_property
    def folders(self) -> frozenset[str]:
        """All folders that hold files, `.` included."""
        found = {"."}
        for path in self.files:
            while path := posixpath.dirname(path):
                if path in found:
                    break
                found.add(path)
        return frozenset(found)

    def has(self, path: str) -> bool:
        """Return whether there is such a file, one that git ignores included."""
        return path in self._all or (path not in self.folders and self.read(path) is not None)

    def below(self, folder: str) -> Iterator[str]:
        """Yield the files in a folder and the folders below it."""
        if folder == ".":
            return iter(self.files)
        return (path for path in self.files if path.startswith(f"{folder}/"))

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Return the files that a shell's pattern names; `**` stands for any folders."""
        if not any(mark in pattern for mark in "*?["):
            return (pattern,) if self.has(pattern) else ()
        rules = IgnoreRules.parse(pattern)
        depth = pattern.count("/")
        deep = "**" in pattern
        return tuple(path for path in self.files if rules.excludes(path) and (deep or path.count("/") == depth))


def joined(folder: str, path: str) -> str:
    """Return a path relative to a folder as one relative to the project, cleaned."""
    return posixpath.normpath(posixpath.join(folder, path))


def gitignore(text: str, folder: str) -> str:
    """Return the rules of a `.gitignore` as the builder's dialect has them, relative to the project's root.

    Args:
        text: The content of the file.
        folder: The folder it lies in, relative to the root.
    """
    prefix = "" if folder == "." else f"{folder}/"
    rules = []
    for written in text.splitlines():
        line = written.strip()
        if not line or line.startswith("#"):
            continue
        mark = "!" if line.startswith("!") else ""
        pattern = line.removeprefix("!").rstrip("/")
        anchored = "/" in pattern
        pattern = pattern.lstrip("/")
        if pattern:
            rules.append(f"{mark}{prefix}{pattern}" if anchored else f"{mark}{prefix}**/{pattern}")
    return "\n".join(rules)
