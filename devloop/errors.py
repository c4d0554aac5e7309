"""The errors that devloop raises.

```
DevloopError                 anything that devloop itself reports
├── InputError               the project's files are wrong (exit code 2)
├── InputErrors              several of them, found together (exit code 2)
└── ToolError                docker or the cluster failed (exit code 1)
    └── UnreachableError     ... because it could not be reached; the same call may work later
```

Errors carry fields; `str(error)` is one sentence. Layout (colour, indentation, `hint:`) belongs to `devloop.ui`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["DevloopError", "InputError", "InputErrors", "ToolError", "UnreachableError", "Where"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place in one of the project's files.

    Attributes:
        path: The file, relative to the project's root, in POSIX form.
        line: Line number from 1, or None when the whole file is meant.
        column: Column number from 1, or None when it is not known.
        text: What stands there, shortened by whoever made this, or None.
    """

    path: str
    line: int | None = None
    column: int | None = None
    text: str | None = None

    def __str__(self) -> str:
        """Return `path:line:column`, as editors and terminals link it."""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


class DevloopError(Exception):
    """Anything that devloop itself reports to the user."""


class InputError(DevloopError):
    """One mistake in the project's files.

    Args:
        message: One sentence: lower case, no full stop, names in backticks.
        where: The place of the mistake.
        hint: The way out, as an imperative or a question.
        chain: The places that led there, the nearest first (who asked for it, who includes it).
    """

    def __init__(
        self, message: str, *, where: Where | None = None, hint: str | None = None, chain: Sequence[Where] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.chain = tuple(chain)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InputError):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def _fields(self) -> tuple[object, ...]:
        return (self.message, self.where, self.hint, self.chain)


class InputErrors(DevloopError):
    """All the mistakes that were found together.

    Args:
        errors: At least one.
    """

    def __init__(self, errors: Iterable[InputError]) -> None:
        self.errors = tuple(errors)
        first, *others = self.errors
        super().__init__(f"{first} (and {len(others)} more)" if others else str(first))


class ToolError(DevloopError):
    """A tool or service outside devloop failed.

    Args:
        message: One sentence: lower case, no full stop, names in backticks.
        command: What was run or asked, for a person to repeat it by hand.
        exit_code: The exit code or HTTP status, where there is one.
        tail: The last lines that the tool printed.
        hint: The way out, where one is known.
    """

    def __init__(
        self,
        message: str,
        *,
        command: Sequence[str] = (),
        exit_code: int | None = None,
        tail: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.command = tuple(command)
        self.exit_code = exit_code
        self.tail = tuple(tail)
        self.hint = hint


class UnreachableError(ToolError):
    """The engine or the cluster could not be reached; the same call may work later."""
