"""The text of a Dockerfile → its instructions, as the builder's own parser splits them.

Nothing is expanded or interpreted here beyond words, flags, JSON arrays and heredocs; `build_facts` does that.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

from devloop.core.expansion import ExpansionError, Lexer
from devloop.core.go_regex import GO_SPACE
from devloop.errors import InputError, InputErrors, Where

__all__ = ["Directive", "Dockerfile", "Flag", "Heredoc", "Instruction", "parse", "parse_trigger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A parser directive in the first lines: `# syntax=…`, `# escape=…`, `# check=…`."""

    name: str
    value: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """An option of an instruction: `--link` (value None), `--from=build`."""

    name: str
    value: str | None

    @property
    def enabled(self) -> bool:
        """Whether a flag without other values than true and false is switched on."""
        return self.value is None or self.value.lower() in {"", "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """A document written into the Dockerfile.

    Attributes:
        name: The word that ends it, and the file's name in `COPY`.
        content: Its lines, each with its line end.
        expands: Whether the builder replaces variables in it.
        chomps: Whether leading tabs are dropped (`<<-`).
        descriptor: The number before `<<`.
    """

    name: str
    content: str
    expands: bool
    chomps: bool
    descriptor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction.

    Attributes:
        keyword: In capitals.
        line: The line that it starts in.
        end_line: The line that it ends in, heredocs included.
        text: The joined line: continuations resolved, comments dropped, heredocs left out.
        flags: The options, in order.
        arguments: The words after the options. `ENV` and `LABEL` give names and values in turn.
        is_json: Whether the arguments were written as a JSON array.
        heredocs: The documents that follow.
        trigger: What `ONBUILD` holds back.
    """

    keyword: str
    line: int
    end_line: int
    text: str
    flags: tuple[Flag, ...] = ()
    arguments: tuple[str, ...] = ()
    is_json: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    trigger: "Instruction | None" = None

    def flag(self, name: str) -> Flag | None:
        """Return the last flag of this name."""
        return next((flag for flag in reversed(self.flags) if flag.name == name), None)

    @property
    def canonical(self) -> str:
        """The instruction with its heredocs, the same for every way to lay it out."""
        return "\n".join([self.text.strip(GO_SPACE), *(f"{each.content}{each.name}" for each in self.heredocs)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A parsed Dockerfile.

    Attributes:
        path: Its name for messages.
        instructions: At least one `FROM` is among them.
        directives: The parser directives.
        escape: The escape character.
    """

    path: str
    instructions: tuple[Instruction, ...]
    directives: tuple[Directive, ...]
    escape: str

    def where(self, line: int, text: str | None = None) -> Where:
        """Return a place in this file."""
        return Where(path=self.path, line=line, text=text)


def parse(text: str, *, path: str = "Dockerfile") -> Dockerfile:
    """Return the instructions of a Dockerfile.

    Args:
        text: The content of the file.
        path: The file's name for messages.

    Raises:
        InputErrors: Everything that the builder's parser would refuse.
    """
    reader = _Reader(lines=_lines(text.removeprefix("\ufeff")), path=path)
    instructions = tuple(reader.instructions())
    if not any(each.keyword == "FROM" for each in instructions) and not reader.errors:
        reader.report("the Dockerfile has no `FROM`", 1, hint="a build starts `FROM` an image, or `FROM scratch`")
    if reader.errors:
        raise InputErrors(reader.errors)
    return Dockerfile(
        path=path, instructions=instructions, directives=tuple(reader.directives), escape=reader.lexer_escape
    )


def parse_trigger(text: str, *, path: str, line: int) -> Instruction:
    """Return the instruction that an image's `ONBUILD` trigger stands for.

    Args:
        text: The trigger as the image's configuration has it.
        path: The Dockerfile that is built on the image, for messages.
        line: Its `FROM`.

    Raises:
        InputErrors: It is no single instruction.
    """
    reader = _Reader(lines=_lines(text), path=path)
    found = tuple(reader.instructions())
    if len(found) != 1 or reader.errors:
        where = Where(path=path, line=line, text=text)
        raise InputErrors([InputError(f"the base image has a trigger that is no instruction: `{text}`", where=where)])
    return replace(found[0], line=line, end_line=line)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    ended = [line + "\n" for line in lines[:-1]]
    return [*ended, lines[-1]] if lines[-1] else ended


_WHITESPACE: Final = re.compile(r"[\t\v\f\r ]+")
_ASCII_SPACE: Final = "\t\n\v\f\r "
_ANY_SPACE: Final = re.compile(r"[\t\n\v\f\r ]+")
_DIRECTIVE: Final = re.compile(r"^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$", re.ASCII)
_DIRECTIVES: Final = frozenset({"syntax", "escape", "check"})
_HEREDOC: Final = re.compile(r"(\d*)<<(-?)([^<]*)", re.ASCII | re.DOTALL)
_HEREDOC_KEYWORDS: Final = frozenset({"ADD", "COPY", "RUN"})
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


class _SyntaxProblem(Exception):
    """What is wrong with the instruction at hand; the reader adds the place."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(slots=True, kw_only=True)
class _Reader:
    lines: list[str]
    path: str
    position: int = 0
    lexer_escape: str = "\\"
    directives: list[Directive] = field(default_factory=list)
    directives_done: bool = False
    errors: list[InputError] = field(default_factory=list)

    def report(self, message: str, line: int, *, text: str | None = None, hint: str | None = None) -> None:
        self.errors.append(InputError(message, where=Where(path=self.path, line=line, text=text), hint=hint))

    def instructions(self) -> Iterator[Instruction]:
        while self.position < len(self.lines):
            start = self.position + 1
            text = self._logical_line()
            if text is None:
                continue
            try:
                instruction = self._with_heredocs(_instruction(text, start, self.position, self.lexer_escape))
            except _SyntaxProblem as problem:
                self.report(problem.message, start, text=text.strip(), hint=problem.hint)
            else:
                yield instruction

    def _logical_line(self) -> str | None:
        first = self._take().rstrip("\r\n").lstrip(GO_SPACE)
        self._look_for_directive(first)
        if first.startswith("#"):
            first = ""
        line, ended = self._without_continuation(first)
        if ended:
            return line or None
        joined = [line]
        while not ended and self.position < len(self.lines):
            following = self._take().rstrip("\r\n")
            bare = following.lstrip(GO_SPACE)
            if not bare or bare.startswith("#"):
                continue
            following, ended = self._without_continuation(following)
            joined.append(following)
        return "".join(joined)

    def _take(self) -> str:
        self.position += 1
        return self.lines[self.position - 1]

    def _without_continuation(self, line: str) -> tuple[str, bool]:
        bare = line.rstrip("\t ")
        if bare.endswith(self.lexer_escape) and not bare.endswith(self.lexer_escape * 2):
            return bare[:-1], False
        return line, True

    def _look_for_directive(self, line: str) -> None:
        if self.directives_done:
            return
        found = _DIRECTIVE.match(line)
        name = found[1].lower() if found else ""
        if not found or name not in _DIRECTIVES:
            self.directives_done = True
            return
        if any(each.name == name for each in self.directives):
            self.report(f"the directive `{name}` is given twice", self.position, text=line)
            return
        self.directives.append(Directive(name=name, value=found[2], line=self.position))
        if name == "escape":
            if found[2] not in {"\\", "`"}:
                hint = "the escape character is a backslash or a backtick"
                self.report(f"invalid escape character `{found[2]}`", self.position, text=line, hint=hint)
            else:
                self.lexer_escape = found[2]

    def _with_heredocs(self, instruction: Instruction) -> Instruction:
        holder = instruction.trigger or instruction
        if holder.keyword not in _HEREDOC_KEYWORDS or holder.is_json or "<<" not in instruction.text:
            return instruction
        documents = tuple(self._read(document) for document in _heredocs(instruction.text))
        return replace(instruction, heredocs=documents, end_line=self.position)

    def _read(self, document: Heredoc) -> Heredoc:
        content: list[str] = []
        while self.position < len(self.lines):
            line = self._take()
            candidate = line.rstrip("\r\n")
            if (candidate.lstrip("\t") if document.chomps else candidate) == document.name:
                return replace(document, content="".join(content))
            content.append(line)
        hint = f"a line with only `{document.name}` ends it"
        raise _SyntaxProblem(f"the heredoc `{document.name}` is not ended", hint)


def _instruction(text: str, line: int, end_line: int, escape: str) -> Instruction:
    parts = _WHITESPACE.split(text.strip(GO_SPACE), maxsplit=1)
    word = parts[0]
    keyword = word.upper()
    if keyword not in _KEYWORDS:
        close = get_close_matches(keyword, sorted(_KEYWORDS), n=1)
        raise _SyntaxProblem(f"unknown instruction `{word}`", f"did you mean `{close[0]}`?" if close else None)
    rest, flags = _flags(parts[1]) if len(parts) > 1 else ("", ())
    rest = rest.strip(GO_SPACE)
    made = Instruction(keyword=keyword, line=line, end_line=end_line, text=text, flags=flags)
    if keyword == "ONBUILD":
        return _onbuild(made, rest, escape)
    arguments, is_json = _arguments(keyword, rest, escape)
    if len(arguments) < _AT_LEAST.get(keyword, 0):
        raise _SyntaxProblem(f"`{keyword}` needs {_needs(keyword)}")
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
        raise _SyntaxProblem("`ONBUILD` needs an instruction")
    trigger = _instruction(rest, made.line, made.end_line, escape)
    if trigger.keyword in {"ONBUILD", "FROM", "MAINTAINER"}:
        raise _SyntaxProblem(f"`{trigger.keyword}` cannot be a trigger of `ONBUILD`")
    return replace(made, trigger=trigger)


_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9-_.]*")


def _check_from(arguments: tuple[str, ...]) -> None:
    match arguments:
        case (_,):
            return
        case (_, word, name) if word.lower() == "as":
            if not _STAGE_NAME.fullmatch(name.lower()):
                hint = "a stage name starts with a letter and holds letters, digits, `-`, `_` and `.`"
                raise _SyntaxProblem(f"invalid stage name `{name}`", hint)
        case _:
            raise _SyntaxProblem("`FROM` takes an image, and a name after `AS`")


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
        raise _SyntaxProblem("`SHELL` takes a JSON array", 'for instance `SHELL ["/bin/sh", "-c"]`')
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
        raise _SyntaxProblem("a JSON array of arguments must hold nothing but strings")
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
            raise _SyntaxProblem(f"`{keyword}` needs a name and a value", f"write `{keyword} name=value`")
        return tuple(parts)
    pairs: list[str] = []
    for word in words:
        name, given, value = word.partition("=")
        if not given:
            raise _SyntaxProblem(f"`{word}` is not of the form name=value")
        if not name:
            raise _SyntaxProblem(f"`{keyword}` has a value without a name")
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


def _heredocs(text: str) -> Iterator[Heredoc]:
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
        raise _SyntaxProblem(f"malformed heredoc `{word}`: {error}") from error
    if len(plain) != 1 or len(raw) != 1:
        return None
    return Heredoc(
        name=plain[0],
        content="",
        expands=plain == raw,
        chomps=bool(found[2]),
        descriptor=int(found[1] or 0),
    )
