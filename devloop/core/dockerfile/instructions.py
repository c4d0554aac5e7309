"""A Dockerfile as its instructions: plain values."""

from dataclasses import dataclass

from devloop.core.go_regex import GO_SPACE
from devloop.errors import Where

__all__ = ["Directive", "Dockerfile", "Flag", "Heredoc", "Instruction"]


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
        column: The column that its keyword starts in.
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
    column: int = 1

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
        """Return a line of this file as a place."""
        return Where(path=self.path, line=line, text=text)

    def place(self, instruction: Instruction) -> Where:
        """Return where an instruction stands."""
        text = instruction.text.strip()
        return Where(path=self.path, line=instruction.line, column=instruction.column, text=text)
