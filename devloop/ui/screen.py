"""The lower edge of a terminal: a few lines that stay while text flows above them.

Pure: it returns what to write. Unlike `rich.live` it rewrites only the lines that changed, writes text above and the
lines in one piece, leaves it to the terminal to wrap that text (so that it can be copied), and knows how many rows its
lines take after the window got narrower.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["SHOW_CURSOR", "Line", "Screen"]

_BEGIN: Final = "\x1b[?2026h"  # terminals that know it show all until `_END` at once
_END: Final = "\x1b[?2026l"
_NO_WRAP: Final = "\x1b[?7l"
_WRAP: Final = "\x1b[?7h"
_HIDE_CURSOR: Final = "\x1b[?25l"
SHOW_CURSOR: Final = "\x1b[?25h"
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its colours, and the columns that it takes."""

    text: str
    cells: int


class Screen:
    """What stands at the terminal's lower edge now. The cursor rests at the end of the last line."""

    def __init__(self) -> None:
        self._lines: tuple[Line, ...] = ()
        self._columns = 0

    def frame(self, above: str, lines: Sequence[Line], columns: int) -> str:
        """Return what to write so that `above` (whole lines) joins the flowing text and `lines` stand below it.

        Args:
            above: What to add to the flowing text, every line with its line end.
            lines: The lines that stay, each narrower than the terminal.
            columns: The terminal's width.
        """
        now = tuple(lines)
        if not above and now == self._lines and columns == self._columns:
            return ""
        if above or columns != self._columns or not self._lines or not now:
            body = self._home(columns) + _CLEAR_BELOW + above + _NO_WRAP + "\n".join(line.text for line in now)
        else:
            body = self._home(columns) + _NO_WRAP + self._changes(now)
        self._lines, self._columns = now, columns
        return f"{_BEGIN}{_HIDE_CURSOR}{body}{_WRAP}{_END}"

    def close(self) -> str:
        """Return what to write so that the lines stay behind as text and the terminal is as it was."""
        below = "\n" if self._lines else ""
        self._lines = ()
        return f"{_WRAP}{below}{SHOW_CURSOR}"

    def _home(self, columns: int) -> str:
        if not self._lines:
            return "\r"
        rows = sum(max(1, -(-line.cells // columns)) for line in self._lines)
        return f"\r\x1b[{rows - 1}A" if rows > 1 else "\r"

    def _changes(self, now: Sequence[Line]) -> str:
        rows = [
            "" if number < len(self._lines) and line == self._lines[number] else line.text + _CLEAR_LINE
            for number, line in enumerate(now)
        ]
        if not rows[-1]:  # the cursor belongs behind it
            rows[-1] = now[-1].text + _CLEAR_LINE
        return "\n".join(rows) + (_CLEAR_BELOW if len(now) < len(self._lines) else "")
