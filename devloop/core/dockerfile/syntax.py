"""The text of a Dockerfile → its instructions, as the builder's own parser splits them.

Nothing is expanded or interpreted here beyond words, flags, JSON arrays and heredocs; `build_facts` does that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from devloop.core.dockerfile.instructions import Directive, Dockerfile, Heredoc, Instruction
from devloop.core.dockerfile.words import HEREDOC_KEYWORDS, Problem, heredocs_of, read_instruction
from devloop.core.go_regex import GO_SPACE
from devloop.errors import InputError, InputErrors, Where

__all__ = ["parse", "parse_trigger"]

_DIRECTIVE: Final = re.compile(r"^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$", re.ASCII)
_DIRECTIVES: Final = frozenset({"syntax", "escape", "check"})


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
        column = self._column(line) if text else None
        self.errors.append(
            InputError(message, where=Where(path=self.path, line=line, column=column, text=text), hint=hint)
        )

    def _column(self, line: int) -> int:
        text = self.lines[line - 1]
        return len(text) - len(text.lstrip(GO_SPACE)) + 1

    def instructions(self) -> Iterator[Instruction]:
        while self.position < len(self.lines):
            start = self.position + 1
            text = self._logical_line()
            if text is None:
                continue
            try:
                instruction = self._with_heredocs(read_instruction(text, start, self.position, self.lexer_escape))
            except Problem as problem:
                self.report(problem.message, start, text=text.strip(), hint=problem.hint)
            else:
                yield replace(instruction, column=self._column(start))

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
        if holder.keyword not in HEREDOC_KEYWORDS or holder.is_json or "<<" not in instruction.text:
            return instruction
        documents = tuple(self._read(document) for document in heredocs_of(instruction.text))
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
        raise Problem(f"the heredoc `{document.name}` is not ended", hint)
