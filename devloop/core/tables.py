"""Large tables of files and their digests, compared and joined in the time that their few differences take.

A table is never changed in place: `revised` makes the next one, which knows what it was made from. Each step of the
engine asks the same of the same tables, so the answers to the last few questions are kept, too. All follow from the
arguments alone: nobody can tell but by the time that it takes.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeVar

from devloop.model import Digest, RelPath

__all__ = ["Memory", "Table", "differing", "joined", "ordered", "paths_of", "revised"]

Table = Mapping[RelPath, Digest]

_KEPT: Final = 4
_LARGE: Final = 1000
"""Smaller ones are compared as fast as they are found."""

_FAR: Final = 4
"""A table that differs from its root in more than the fourth part becomes a root itself."""

R = TypeVar("R")


class _Revision(dict[RelPath, Digest]):
    """A table that was made from another one.

    Attributes:
        root: The table at the beginning.
        since: The files that may differ from the root.
    """

    __slots__ = ("root", "since")
    __hash__ = None  # as for every dict

    root: Table
    since: frozenset[RelPath]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Mapping) and _lineage(other)[0] is self.root:
            return len(self) == len(other) and not differing(self, other)
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other


def revised(table: Table, changes: Mapping[RelPath, Digest | None]) -> Table:
    """Return a table with some files changed, or without those that are None."""
    made = _Revision(table)
    for path, digest in changes.items():
        if digest is None:
            made.pop(path, None)
        else:
            made[path] = digest
    root, since = _lineage(table)
    made.root, made.since = root, since.union(changes)
    return made if len(made.since) <= len(made) // _FAR else dict(made)


def _lineage(table: Table) -> tuple[Table, frozenset[RelPath]]:
    return (table.root, table.since) if isinstance(table, _Revision) else (table, frozenset())


def _kept(function: Callable[[Table, Table], R]) -> Callable[[Table, Table], R]:
    answers: list[tuple[Table, Table, R]] = []

    def ask(one: Table, other: Table) -> R:
        if len(one) < _LARGE:
            return function(one, other)
        for first, second, answer in answers:
            if first is one and second is other:
                return answer
        answer = function(one, other)
        answers.append((one, other, answer))
        del answers[:-_KEPT]
        return answer

    return ask


class Memory:
    """Remembers tables for which something was found to hold, so that only what differs from them is looked at again.

    What holds must follow from each file's entries alone.
    """

    def __init__(self) -> None:
        self._found: list[tuple[object, Table, tuple[Table, ...]]] = []

    def news(self, about: object, base: Table, tables: tuple[Table, ...]) -> frozenset[RelPath] | None:
        """Return the files to look at; None for all of them.

        Args:
            about: What is asked: the very same object means the same question.
            base: A table that must be the very same.
            tables: Tables that may differ from those that it was found to hold for.
        """
        for known, same, found in reversed(self._found):
            if known is about and same is base:
                return frozenset[RelPath]().union(*map(differing, tables, found))
        return None

    def found(self, about: object, base: Table, tables: tuple[Table, ...]) -> None:
        """Remember that it holds for these tables."""
        if max(map(len, (base, *tables))) >= _LARGE:
            self._found.append((about, base, tables))
            del self._found[:-_KEPT]


@_kept
def differing(new: Table, old: Table) -> frozenset[RelPath]:
    """Return the files that differ, are new or are gone."""
    if new is old:
        return frozenset()
    (root, since), (old_root, old_since) = _lineage(new), _lineage(old)
    if root is new and old_root is old:
        return _compared(new, old)
    candidates = since | old_since | _compared(root, old_root)
    return frozenset(path for path in candidates if new.get(path) != old.get(path))


@_kept
def _compared(new: Table, old: Table) -> frozenset[RelPath]:
    if new is old:
        return frozenset()
    found = {path for path, digest in new.items() if old.get(path) != digest}
    added = sum(path not in old for path in found)
    # Few files are gone at most times, and to know that there are none costs nothing.
    return frozenset(found if len(new) - added == len(old) else found | (old.keys() - new.keys()))


@_kept
def ordered(new: Table, old: Table) -> tuple[RelPath, ...]:
    """Return the files that differ, are new or are gone, sorted."""
    return tuple(sorted(differing(new, old)))


@_kept
def joined(table: Table, more: Table) -> Table:
    """Return the table with the files that only the other has; the table itself where there are none."""
    (root, since), (other_root, other_since) = _lineage(table), _lineage(more)
    if _holds_all(root, other_root):
        extra = {path: more[path] for path in since | other_since if path in more and path not in table}
        return revised(table, extra) if extra else table
    return {**more, **table}


@_kept
def _holds_all(table: Table, other: Table) -> bool:
    return other.keys() <= table.keys()


@_kept
def paths_of(one: Table, other: Table) -> AbstractSet[RelPath]:
    """Return the paths of both."""
    alike = all(path in one and path in other for path in differing(one, other))
    return one.keys() if alike else one.keys() | other.keys()
