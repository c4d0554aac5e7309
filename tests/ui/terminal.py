"""A terminal in small: enough to see what the live view's control codes leave on the screen."""

import re
from typing import Final

_TOKENS: Final = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")


class Terminal:
    """Rows of text without end above, and a cursor.

    A resize cuts and joins nothing: what stands wraps anew, as terminals do it.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows = [""]
        self.row = self.column = 0
        self.wraps = True
        self.cursor_visible = True
        self.joined: set[int] = set()  # rows that the terminal itself broke off from the row before

    def feed(self, text: str) -> None:
        """Take what a program writes."""
        position = 0
        for match in _TOKENS.finditer(text):
            assert match.start() == position, f"not understood: {text[position : match.start()]!r}"
            position = match.end()
            private, number, final, control, character = match.groups()
            if character:
                self._put(character)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self._down()
                self.column = 0  # the terminal driver's doing
            else:
                self._control(private, number, final)
        assert position == len(text), f"not understood: {text[position:]!r}"

    def lines(self) -> list[str]:
        """Return what can be read, each line as it was written, without the terminal's own line breaks."""
        lines: list[str] = []
        for number, row in enumerate(self.rows):
            if number in self.joined:
                lines[-1] += row
            else:
                lines.append(row)
        return [line.rstrip() for line in lines]

    def resize(self, columns: int) -> None:
        """Wrap everything anew; the cursor stays at the end of its line."""
        lines = self.lines()
        before = sum(number not in self.joined for number in range(self.row + 1))
        self.columns, self.rows, self.joined = columns, [], set()
        for line in lines[:before]:
            pieces = [line[at : at + columns] for at in range(0, len(line), columns)] or [""]
            self.joined |= {len(self.rows) + piece for piece in range(1, len(pieces))}
            self.rows += pieces
        self.row, self.column = len(self.rows) - 1, len(self.rows[-1])

    def _put(self, character: str) -> None:
        if self.column == self.columns:
            if not self.wraps:
                self.column -= 1
            else:
                self._down()
                self.column = 0
                self.joined.add(self.row)
        row = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
        self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")

    def _control(self, private: str, number: str, final: str) -> None:
        if final == "m" or (private and number == "2026"):
            return
        if private and number == "25":
            self.cursor_visible = final == "h"
        elif private and number == "7":
            self.wraps = final == "h"
        elif final == "A":
            self.row = max(self.row - int(number or 1), 0)
        elif final == "K":
            self.rows[self.row] = self.rows[self.row][: self.column]
        elif final == "J":
            self.rows[self.row] = self.rows[self.row][: self.column]
            del self.rows[self.row + 1 :]
            self.joined = {row for row in self.joined if row <= self.row}
        else:
            raise AssertionError(f"not understood: {private}{number}{final}")
