"""Words and variables of a Dockerfile: quotes, escapes and the forms of `$NAME` that the builder knows.

The rules are the builder's own (`frontend/dockerfile/shell` of BuildKit), not a shell's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from devloop.core.go_regex import GO_SPACE

__all__ = ["Expanded", "ExpansionError", "Lexer"]

_SPECIAL_PARAMETERS: Final = frozenset("@*#?-$!0")
_END: Final = ""
_SPECIAL: Final = re.compile(r"[$'\"]")
_SPACE: Final = re.compile(f"[{re.escape(GO_SPACE)}]")


class ExpansionError(ValueError):
    """A word that the builder would refuse.

    Args:
        message: What is wrong.
        unset: The variable whose absence is the mistake, or None when the form itself is wrong.
    """

    def __init__(self, message: str, *, unset: str | None = None) -> None:
        super().__init__(message)
        self.unset = unset


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """A word after expansion.

    Attributes:
        text: The result as one word.
        words: The result split at unquoted spaces.
        used: The variables that were found.
        missing: The variables that were asked for and not found.
    """

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    missing: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexer:
    """The builder's word processing, in one of its configurations.

    Attributes:
        escape: The escape character of the file.
        raw_quotes: Keep quotation marks in the result.
        raw_escapes: Keep escape characters in the result.
        keep_unset: Leave references to unset variables as they are written.
        quotes: Treat quotation marks as such.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    keep_unset: bool = False
    quotes: bool = True

    def expand(self, word: str, variables: Mapping[str, str]) -> Expanded:
        """Return the word with its variables replaced.

        Raises:
            ExpansionError: The builder would refuse the word.
        """
        if self.escape not in word and not _SPECIAL.search(word):  # as most words are
            words = tuple(part for part in _SPACE.split(word) if part)
            return Expanded(text=word, words=words, used=frozenset(), missing=frozenset())
        run = _Run(lexer=self, source=word, variables=variables)
        text, words = run.until(_END, raw_escapes=self.raw_escapes)
        return Expanded(text=text, words=words, used=frozenset(run.used), missing=frozenset(run.missing))


@dataclass(slots=True)
class _Words:
    done: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    inside: bool = False

    def add(self, char: str) -> None:
        if char not in GO_SPACE:
            self.add_raw(char)
        elif self.inside and "".join(self.current):
            self.done.append("".join(self.current))
            self.current, self.inside = [], False

    def add_raw(self, text: str) -> None:
        self.current.append(text)
        self.inside = True

    def finish(self) -> tuple[str, ...]:
        last = "".join(self.current)
        return (*self.done, last) if last else tuple(self.done)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One pass over one word; `position` moves, everything else is asked of the lexer."""

    lexer: Lexer
    source: str
    variables: Mapping[str, str]
    position: int = 0
    used: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    raw_escapes: bool = False
    depth: int = 0

    def peek(self) -> str:
        return self.source[self.position : self.position + 1]

    def next(self) -> str:
        char = self.peek()
        self.position += 1
        return char

    def until(self, stop: str, *, raw_escapes: bool) -> tuple[str, tuple[str, ...]]:
        previous, self.raw_escapes = self.raw_escapes, raw_escapes
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ExpansionError("substitutions are nested too deep")
        try:
            return self._until(stop)
        finally:
            self.raw_escapes = previous
            self.depth -= 1

    def _until(self, stop: str) -> tuple[str, tuple[str, ...]]:
        result: list[str] = []
        words = _Words()
        while char := self.peek():
            if char == stop:
                self.position += 1
                return "".join(result), words.finish()
            if char == "$":
                text = self._dollar()
                result.append(text)
                for each in text:
                    words.add(each)
            elif char in "'\"" and self.lexer.quotes:
                text = self._single_quoted() if char == "'" else self._double_quoted()
                result.append(text)
                words.add_raw(text)
            elif not self._plain(result, words):
                break
        if stop:
            raise ExpansionError(f"unexpected end of statement while looking for `{stop}`")
        return "".join(result), words.finish()

    def _plain(self, result: list[str], words: _Words) -> bool:
        char = self.next()
        if char != self.lexer.escape:
            words.add(char)
            result.append(char)
            return True
        if self.raw_escapes:
            words.add_raw(char)
            result.append(char)
        escaped = self.next()
        if not escaped:
            return False
        words.add_raw(escaped)
        result.append(escaped)
        return True

    def _single_quoted(self) -> str:
        start = self.position
        end = self.source.find("'", start + 1)
        if end < 0:
            raise ExpansionError("a single quotation mark is not closed")
        self.position = end + 1
        return self.source[start : end + 1] if self.lexer.raw_quotes else self.source[start + 1 : end]

    def _double_quoted(self) -> str:
        quote = self.next()
        mark = quote if self.lexer.raw_quotes else ""
        result = [mark]
        while char := self.peek():
            if char == quote:
                self.position += 1
                return "".join([*result, mark])
            if char == "$":
                result.append(self._dollar())
                continue
            self.position += 1
            if char == self.lexer.escape:
                if self.raw_escapes:
                    result.append(char)
                following = self.peek()
                if not following:
                    continue
                if following in {'"', "$", self.lexer.escape}:
                    char = self.next()
            result.append(char)
        raise ExpansionError("a double quotation mark is not closed")

    def _dollar(self) -> str:
        self.position += 1
        if self.peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            return value if value is not None else self._unset("$" + name)
        self.position += 1
        if not self.peek():
            raise ExpansionError("`${` is not closed")
        if self.peek() in "{}:":
            raise ExpansionError("bad substitution: `${` needs a name")
        return self._braced(self._name())

    def _braced(self, name: str) -> str:
        modifier = self.next()
        match modifier:
            case "}":
                value = self._value(name)
                return value if value is not None else self._unset(f"${{{name}}}")
            case ":":
                return self._modified(name, ":", self.next())
            case "+" | "-" | "?" | "#" | "%":
                return self._modified(name, "", modifier)
            case "/":
                return self._replaced(name)
            case _:
                raise ExpansionError(f"unsupported modifier `{modifier}` in a substitution")

    def _modified(self, name: str, colon: str, modifier: str) -> str:
        word, _ = self._inner("}", raw_escapes=modifier in {"#", "%"})
        value = self._value(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}{colon}{modifier}{word}}}"
        absent = value is None or (colon == ":" and not value)
        match modifier:
            case "-":
                return word if absent else value or ""
            case "+":
                return "" if absent else word
            case "?":
                if absent:
                    default = "is not allowed to be unset" if value is None else "is not allowed to be empty"
                    raise ExpansionError(f"{name}: {word or default}", unset=name)
                return value or ""
            case "#" | "%":
                longest = word.startswith(modifier)
                pattern = word[1:] if longest else word
                trim = _without_prefix if modifier == "#" else _without_suffix
                return trim(pattern, value or "", longest=longest)
            case _:
                raise ExpansionError(f"unsupported modifier `{colon}{modifier}` in a substitution")

    def _replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        self.position += everywhere
        pattern, _ = self._inner("/", raw_escapes=True)
        replacement, _ = self._inner("}", raw_escapes=True)
        value = self._value(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        regex = re.compile(_shell_pattern(pattern, greedy=True))
        return regex.sub(lambda _: replacement, value or "", count=0 if everywhere else 1)

    def _inner(self, stop: str, *, raw_escapes: bool) -> tuple[str, tuple[str, ...]]:
        try:
            return self.until(stop, raw_escapes=raw_escapes)
        except ExpansionError as error:
            if not self.peek() and error.unset is None:
                raise ExpansionError(f"`{stop}` is missing in a substitution") from error
            raise

    def _name(self) -> str:
        found = _NAME.match(self.source, self.position)
        if found:
            self.position = found.end()
            return found.group()
        if self.peek() and self.peek() in _SPECIAL_PARAMETERS:
            return self.next()
        return ""

    def _value(self, name: str) -> str | None:
        value = self.variables.get(name)
        (self.missing if value is None else self.used).add(name)
        return value

    def _unset(self, written: str) -> str:
        return written if self.lexer.keep_unset else ""


_NAME: Final = re.compile(r"\d+|[^\W\d]\w*")
_DEEPEST: Final = 50


def _shell_pattern(pattern: str, *, greedy: bool) -> str:
    parts = [""]
    chars = iter(pattern)
    for char in chars:
        match char:
            case "*":
                parts.append("")
            case "?":
                parts[-1] += "."
            case "\\":
                escaped = next(chars, "")
                if escaped not in {"}", "/", "*", "?", "\\"}:
                    raise ExpansionError(f"invalid escape `\\{escaped}` in a substitution")
                parts[-1] += re.escape(escaped)
            case _:
                parts[-1] += re.escape(char)
    first, *between = parts
    if not between:
        return first
    last = between.pop()
    # Only the last star decides how long the match is; the others may keep the first place that fits. Without that,
    # a few stars would take exponential time.
    atoms = "".join(f"(?>.*?{part})" for part in between)
    return f"{first}{atoms}.*{'' if greedy else '?'}{last}"


def _without_prefix(pattern: str, value: str, *, longest: bool) -> str:
    found = re.compile(_shell_pattern(pattern, greedy=longest)).match(value)
    return value[found.end() :] if found else value


def _without_suffix(pattern: str, value: str, *, longest: bool) -> str:
    tail = re.compile(_shell_pattern(pattern, greedy=True) + r"\Z")
    starts = range(len(value) + 1) if longest else range(len(value), -1, -1)
    return next((value[:start] for start in starts if tail.match(value, start)), value)
