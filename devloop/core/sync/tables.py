"""Large tables of files and their digests, compared and joined: what is asked again of the very same tables is known.

Each step of the engine asks the same of the same tables, and a table is never changed in place: the answers to the last
few questions are kept. They follow from the arguments alone, so nobody can tell but by the time that it takes.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeVar

from devloop.model import Digest, RelPath

__all__ = ["Memory", "Table", "differing", "joined", "ordered", "paths_of"]

Table = Mapping[RelPath, Digest]

_KEPT: Final = 4
_LARGE: Final = 1000
"""Smaller ones are compared as fast as they are found."""

R = TypeVar("R")


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
    return table if more.keys() <= table.keys() else {**more, **table}


@_kept
def paths_of(one: Table, other: Table) -> AbstractSet[RelPath]:
    """Return the paths of both."""
    alike = all(path in one and path in other for path in differing(one, other))
    return one.keys() if alike else one.keys() | other.keys()
