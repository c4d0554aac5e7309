"""One joined line of a Dockerfile → an instruction: its keyword, options, words, JSON array and heredocs."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from devloop.core.dockerfile.expansion import ExpansionError, Lexer
from devloop.core.dockerfile.instructions import Flag, Heredoc, Instruction
from devloop.core.go_regex import GO_SPACE

__all__ = ["HEREDOC_KEYWORDS", "Problem", "heredoc_of", "heredocs_of", "read_instruction"]

_WHITESPACE: Final = re.compile(r"[\t\v\f\r ]+")
_ASCII_SPACE: Final = "\t\n\v\f\r "
_ANY_SPACE: Final = re.compile(r"[\t\n\v\f\r ]+")
_HEREDOC: Final = re.compile(r"(\d*)<<(-?)([^<]*)", re.ASCII | re.DOTALL)
HEREDOC_KEYWORDS: Final = frozenset({"ADD", "COPY", "RUN"})
_PAIRS: Final = frozenset({"ENV", "LABEL"})
_LISTS: Final = frozenset({"ADD", "COPY", "VOLUME"})
_COMMANDS: Final = frozenset({"CMD", "ENTRYPOINT", "RUN", "SHELL"})
_WORDS: Final = frozenset({"EXPOSE", "FROM"})
_TEXTS: Final = frozenset({"MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR"})
_KEYWORDS: Final = _PAIRS | _LISTS | _COMMANDS | _WORDS | _TEXTS | {"ARG", "HEALTHCHECK", "ONBUILD"}
_AT_LEAST: Final[Mapping[str, int]] = {
    "ADD": 2, "ARG": 1, "COPY": 2, "ENV": 2, "EXPOSE": 1, "FROM": 1, "HEALTHCHECK": 1, "LABEL": 2, "MAINTAINER": 1,
    "SHELL": 1, "STOPSIGNAL": 1, "USER": 1, "VOLUME": 1, "WORKDIR": 1,
}  # fmt: skip


class Problem(Exception):
    """What is wrong with the instruction at hand; whoever catches it adds the place.

    Args:
        message: What is wrong.
        hint: The way out.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def read_instruction(text: str, line: int, end_line: int, escape: str) -> Instruction:
    """Return the instruction that a joined line holds, without its heredocs.

    Raises:
        Problem: The builder's parser would refuse it.
    """
    parts = _WHITESPACE.split(text.strip(GO_SPACE), maxsplit=1)
    word = parts[0]
    keyword = word.upper()
    if keyword not in _KEYWORDS:
        close = get_close_matches(keyword, sorted(_KEYWORDS), n=1)
        raise Problem(f"unknown instruction `{word}`", f"did you mean `{close[0]}`?" if close else None)
    rest, flags = _flags(parts[1]) if len(parts) > 1 else ("", ())
    rest = rest.strip(GO_SPACE)
    made = Instruction(keyword=keyword, line=line, end_line=end_line, text=text, flags=flags)
    if keyword == "ONBUILD":
        return _onbuild(made, rest, escape)
    arguments, is_json = _arguments(keyword, rest, escape)
    if len(arguments) < _AT_LEAST.get(keyword, 0):
        raise Problem(f"`{keyword}` needs {_needs(keyword)}")
    if keyword == "FROM":
        _check_from(arguments)
    return replace(made, arguments=arguments, is_json=is_json)


def _needs(keyword: str) -> str:
    match keyword:
        case "ADD" | "COPY":
            return "a source and a destination"
        case "ENV" | "LABEL":
            return "a name and a value"
        case _:
            return "an argument"


def _onbuild(made: Instruction, rest: str, escape: str) -> Instruction:
    if not rest:
        raise Problem("`ONBUILD` needs an instruction")
    trigger = read_instruction(rest, made.line, made.end_line, escape)
    if trigger.keyword in {"ONBUILD", "FROM", "MAINTAINER"}:
        raise Problem(f"`{trigger.keyword}` cannot be a trigger of `ONBUILD`")
    return replace(made, trigger=trigger)


_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9-_.]*")


def _check_from(arguments: tuple[str, ...]) -> None:
    match arguments:
        case (_,):
            return
        case (_, word, name) if word.lower() == "as":
            if not _STAGE_NAME.fullmatch(name.lower()):
                hint = "a stage name starts with a letter and holds letters, digits, `-`, `_` and `.`"
                raise Problem(f"invalid stage name `{name}`", hint)
        case _:
            raise Problem("`FROM` takes an image, and a name after `AS`")


def _flags(line: str) -> tuple[str, tuple[Flag, ...]]:
    """Return what follows the options, and the options; quotes and backslashes in options are resolved."""
    flags: list[Flag] = []
    position = 0
    while True:
        while position < len(line) and line[position] in _ASCII_SPACE:
            position += 1
        if not line.startswith("--", position):
            return line[position:], tuple(flags)
        word, position = _flag_word(line, position)
        if word == "--":
            return line[position:], tuple(flags)
        name, given, value = word[2:].partition("=")
        flags.append(Flag(name=name, value=value if given else None))


def _flag_word(line: str, position: int) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while position < len(line):
        char = line[position]
        if not quote and char in _ASCII_SPACE:
            break
        position += 1
        if quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == "\\":
            word.append(line[position : position + 1])
            position += 1
        else:
            word.append(char)
    return "".join(word), position


def _arguments(keyword: str, rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
    if keyword in _PAIRS:
        return _pairs(keyword, rest, escape), False
    if keyword == "ARG":
        return tuple(_quoted_words(rest, escape)), False
    if keyword in _TEXTS:
        return ((rest,) if rest else ()), False
    if keyword in _WORDS:
        return (tuple(_WHITESPACE.split(rest)) if rest else ()), False
    if keyword == "HEALTHCHECK":
        return _healthcheck(rest)
    array = _json_array(rest)
    if array is not None:
        return array, True
    if keyword == "SHELL":
        raise Problem("`SHELL` takes a JSON array", 'for instance `SHELL ["/bin/sh", "-c"]`')
    if keyword in _LISTS:
        return (tuple(_WHITESPACE.split(rest)) if rest else ()), False
    return ((rest,) if rest else ()), False


def _healthcheck(rest: str) -> tuple[tuple[str, ...], bool]:
    kind, *command = _ANY_SPACE.split(rest, maxsplit=1)
    if not command:
        return ((kind,) if kind else ()), False
    array = _json_array(command[0])
    return (kind, *(array if array is not None else (command[0],))), array is not None


def _json_array(rest: str) -> tuple[str, ...] | None:
    rest = rest.lstrip(GO_SPACE)
    if not rest.startswith("["):
        return None
    try:
        # What follows the array is ignored, as the builder does.
        array, _ = _JSON.raw_decode(rest)
    except (ValueError, RecursionError):
        return None
    if not isinstance(array, list):
        return None
    if not all(isinstance(each, str) for each in array):
        raise Problem("a JSON array of arguments must hold nothing but strings")
    return tuple(array)


def _no_constant(name: str) -> None:
    raise ValueError(name)


_JSON: Final = json.JSONDecoder(parse_constant=_no_constant)


def _pairs(keyword: str, rest: str, escape: str) -> tuple[str, ...]:
    words = _quoted_words(rest, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        parts = _WHITESPACE.split(rest, maxsplit=1)
        if len(parts) < 2:
            raise Problem(f"`{keyword}` needs a name and a value", f"write `{keyword} name=value`")
        return tuple(parts)
    pairs: list[str] = []
    for word in words:
        name, given, value = word.partition("=")
        if not given:
            raise Problem(f"`{word}` is not of the form name=value")
        if not name:
            raise Problem(f"`{keyword}` has a value without a name")
        pairs += [name, value]
    return tuple(pairs)


def _quoted_words(rest: str, escape: str) -> list[str]:
    """Return the words of an `ARG`, `ENV` or `LABEL`; quotation marks hold words together and stay in them."""
    words: list[str] = []
    position = 0
    while True:
        while position < len(rest) and rest[position] in GO_SPACE:
            position += 1
        if position >= len(rest):
            return words
        word, position, blank_counts = _quoted_word(rest, position, escape)
        if word or blank_counts:
            words.append(word)


def _quoted_word(rest: str, position: int, escape: str) -> tuple[str, int, bool]:
    word: list[str] = []
    quote = ""
    quoted = False
    while position < len(rest):
        char = rest[position]
        if not quote and char in GO_SPACE:
            break
        position += 1
        if char == escape and quote != "'":
            if position == len(rest):
                break
            word += [char, rest[position]]
            position += 1
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote, quoted = char, True
        word.append(char)
    return "".join(word), position, quoted


def heredocs_of(text: str) -> Iterator[Heredoc]:
    """Yield the heredocs that a joined line announces, without their contents.

    Raises:
        Problem: One of them is malformed.
    """
    raw = Lexer(raw_quotes=True, raw_escapes=True, keep_unset=True)
    try:
        words = raw.expand(text, {}).words
    except ExpansionError:
        # The builder's own reading ends here too: what its lexer cannot split holds no heredoc.
        return
    for word in words:
        document = heredoc_of(word)
        if document is not None:
            yield document


def heredoc_of(word: str) -> Heredoc | None:
    """Return the heredoc that this word announces, without its content."""
    found = _HEREDOC.fullmatch(word)
    if not found or not found[3]:
        return None
    try:
        plain = Lexer(keep_unset=True).expand(found[3], {}).words
        raw = Lexer(keep_unset=True, raw_quotes=True, raw_escapes=True).expand(found[3], {}).words
    except ExpansionError as error:
        raise Problem(f"malformed heredoc `{word}`: {error}") from error
    if len(plain) != 1 or len(raw) != 1:
        return None
    return Heredoc(
        name=plain[0],
        content="",
        expands=plain == raw,
        chomps=bool(found[2]),
        descriptor=int(found[1] or 0),
    )
