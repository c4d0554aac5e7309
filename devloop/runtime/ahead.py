"""What was looked at of a burst before it is over: parts of it are hashed while the rest is still being written."""

from collections.abc import Iterable, Mapping

from devloop.model import Digest, RelPath

__all__ = ["Ahead"]


class Ahead:
    """Keeps what a burst has touched, and how its files were before it.

    Attributes:
        touched: The paths that were hinted, and those that were found below them.
        before: The digests that files had before the burst, None of those that were not there.
    """

    def __init__(self) -> None:
        self.touched: set[RelPath] = set()
        self.before: dict[RelPath, Digest | None] = {}

    def add(self, touched: Iterable[RelPath], before: Mapping[RelPath, Digest | None]) -> None:
        """Take in a part: what it touched, and the digests before it of what it changed."""
        self.touched.update(touched)
        self.before = {**before, **self.before}

    def changed(self, now: Mapping[RelPath, Digest]) -> frozenset[RelPath]:
        """Return the files that are not as they were before the burst.

        Args:
            now: The digests that all files have now.
        """
        return frozenset(path for path, digest in self.before.items() if now.get(path) != digest)
