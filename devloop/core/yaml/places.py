"""Where values stand in a YAML or JSON text, and the error that names such a place."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Mark", "Places", "Pointer", "Span", "YamlError"]

Pointer = tuple[str | int, ...]
"""The way to a value inside a document: keys and list positions."""


class Span(NamedTuple):
    """A piece of the text, by offsets."""

    begin: int
    end: int


class Mark(NamedTuple):
    """Where a value stands, and where its parts do.

    An alias has the place and the parts of its anchor; `alias` is where itself stands. `key` is where the key of a
    mapping's value begins.
    """

    line: int
    column: int
    parts: "Mapping[str | int, Mark]"
    span: Span | None = None
    alias: Span | None = None
    key: int | None = None

    def at(self, pointer: Pointer) -> "Mark":
        """Return the mark of the value at `pointer`, or of the nearest part above it that has one."""
        mark = self
        for step in pointer:
            part = mark.parts.get(step)
            if part is None:
                break
            mark = part
        return mark


class YamlError(Exception):
    """The text is not the YAML that Kubernetes takes; the caller adds the file.

    Args:
        message: One sentence.
        line: Line number from 1, or None.
        column: Column number from 1, or None.
        hint: The way out, where one is known.
    """

    def __init__(
        self, message: str, *, line: int | None = None, column: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint


_OTHER_BREAKS = re.compile("\r(?!\n)|[\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Turns the parser's positions into offsets, lines and columns of the text.

    Lines end where editors end them, at a line feed; the parser counts further characters as line ends.

    Attributes:
        begin: The offset of the parser's position 0.
        lines: The offsets at which lines begin.
        agrees: Whether the parser counts lines and columns alike.
        shrunk: Positions at which the parser was given one character for a surrogate pair's twelve.
    """

    begin: int
    lines: tuple[int, ...]
    agrees: bool = False
    shrunk: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str, *, begin: int) -> "Places":
        """Return the places of what begins at `begin` in the text; a byte order mark takes no column."""
        first = 1 if text.startswith("\ufeff") else 0
        lines = (first, *(found.end() for found in re.finditer("\n", text)))
        return cls(begin=begin, lines=lines, agrees=begin == first and not _OTHER_BREAKS.search(text))

    def at(self, position: int) -> tuple[int, int, int]:
        """Return line and column from 1, and the offset."""
        return self.at_offset(self.begin + position + 11 * bisect_right(self.shrunk, position - 1))

    def at_offset(self, offset: int) -> tuple[int, int, int]:
        """Return line and column from 1 for an offset, and that."""
        line = max(bisect_right(self.lines, offset), 1)
        return line, max(offset - self.lines[line - 1], 0) + 1, offset

    def mark(self, event: Any, parts: Mapping[str | int, Mark], key: int | None) -> Mark:
        """Return where what an event begins stands."""
        start, end = event.start_mark, event.end_mark
        if self.agrees:
            span = Span(start.index + self.begin, end.index + self.begin)
            return Mark(start.line + 1, start.column + 1, parts, span, None, key)
        line, column, begin = self.at(start.index)
        return Mark(line, column, parts, Span(begin, self.at(end.index)[2]), None, key)

    def begin_of(self, event: Any) -> int:
        """Return the offset at which an event's text begins."""
        return self.at(event.start_mark.index)[2] if self.shrunk else int(event.start_mark.index) + self.begin

    def error(self, event: Any, message: str) -> YamlError:
        """Return the error for what begins where the event does."""
        line, column, _ = self.at(event.start_mark.index)
        return YamlError(message, line=line, column=column)
