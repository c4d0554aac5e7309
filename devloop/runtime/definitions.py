"""Definition files: what says how a project is built and deployed, read with a note of what was read.

What was read is what has to be watched: single files, by the digest of their text (or of their bytes, where they are no
text), and whole folders such as a chart's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from devloop.core import digests
from devloop.core.charts.helmignore import HelmIgnore
from devloop.errors import InputError
from devloop.model import Digest, RelPath
from devloop.runtime.ports import Files

__all__ = ["Definitions", "Tree", "digest_of", "tree_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A folder of which every file counts, those that come new too.

    Attributes:
        folder: The folder, relative to the project's root.
        ignore: What in it does not count.
        files: The digest of each file.
    """

    folder: RelPath
    ignore: HelmIgnore = field(default_factory=HelmIgnore)
    files: Mapping[RelPath, Digest] = field(default_factory=dict)

    def wants(self, path: str) -> bool:
        """Return whether a file of the folder (by its path relative to the root) counts."""
        return not self.ignore.excludes(self._inner(path))

    def may_want_below(self, folder: str) -> bool:
        """Return False when nothing in a folder of it counts."""
        return folder == self.folder or not self.ignore.excludes(f"{self._inner(folder)}/x")

    def holds(self, path: str) -> bool:
        """Return whether the path is the folder, or lies in it."""
        return self.folder in {".", path} or path.startswith(f"{self.folder}/")

    def _inner(self, path: str) -> str:
        return path if self.folder == "." else path[len(self.folder) + 1 :]


def tree_of(files: Files, folder: RelPath, ignore: HelmIgnore) -> Tree:
    """Return a folder as it is now; without files where there is none."""
    if not files.is_directory(folder):
        return Tree(folder=folder, ignore=ignore)
    empty = Tree(folder=folder, ignore=ignore)
    return Tree(folder=folder, ignore=ignore, files=files.scan(folder, empty.may_want_below, empty.wants))


def digest_of(files: Files, path: RelPath) -> Digest:
    """Return the digest of a definition file as it is now; `ABSENT` where there is none."""
    try:
        text = files.read(path)
    except InputError:
        found = files.look_again({path}, (), lambda _: False)  # no text, but its bytes count all the same
        return found.get(path) or digests.ABSENT
    return digests.ABSENT if text is None else digests.of_text(text)


class Definitions:
    """Reads definition files and remembers what it read.

    Args:
        files: The project's files.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self.read_so_far: dict[RelPath, Digest] = {}
        self.trees: dict[RelPath, Tree] = {}

    def __call__(self, path: str) -> str | None:
        """Return the text of a file, or None where there is none.

        Raises:
            InputError: It is there but no text.
        """
        try:
            text = self._files.read(RelPath(path))
        except InputError:
            self.read_so_far[RelPath(path)] = digest_of(self._files, RelPath(path))
            raise
        self.read_so_far[RelPath(path)] = digests.ABSENT if text is None else digests.of_text(text)
        return text

    def note(self, paths: Iterable[str]) -> None:
        """Remember files that somebody else reads."""
        for path in paths:
            self.digest(path)

    def digest(self, path: str) -> Digest:
        """Return a file's digest; `ABSENT` where there is none."""
        found = digest_of(self._files, RelPath(path))
        self.read_so_far[RelPath(path)] = found
        return found

    def tree(self, folder: str, ignore: HelmIgnore) -> Tree:
        """Return a folder as it is now."""
        found = tree_of(self._files, RelPath(folder), ignore)
        self.trees[found.folder] = found
        return found

    def is_directory(self, path: str) -> bool:
        """Return whether the path is a folder."""
        return self._files.is_directory(RelPath(path))
