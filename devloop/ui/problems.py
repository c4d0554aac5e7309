"""Mistakes and failures as text: what went wrong, where, how we got there, the last output, the way out.

The layout is the same everywhere; colour only repeats what the words say.
"""

import re
from collections.abc import Iterable
from typing import Final, TextIO

from devloop import events
from devloop.errors import DevloopError, Where
from devloop.events import Problem
from devloop.ui.text import ansi, clean

__all__ = ["error_lines", "print_error", "problem_lines"]

_NAME: Final = re.compile(r"`[^`]+`")
_TAIL: Final = 40


def problem_lines(problem: Problem, *, colour: bool = False, label: str = "error") -> list[str]:
    """Return a problem's lines.

    Args:
        problem: What to tell.
        colour: Use the terminal's colours.
        label: What it is, `error` or `warning`.
    """
    paint = ansi if colour else _plain
    first, *more = problem.message.strip().split("\n")
    lines = [f"{paint(f'{label}:', _LABEL.get(label, 'bold'))} {_named(first, colour=colour)}"]
    lines += [f"  {clean(line)}" for line in more]
    lines += [_place(where, colour=colour) for where in (problem.where, *problem.chain) if where is not None]
    if problem.command and not problem.tail:
        lines.append(f"  {paint('$ ' + clean(_shell(problem.command)), 'dim')}")
    bar = paint("|", "dim")
    if len(problem.tail) > _TAIL:
        lines.append(f"  {bar} {paint(f'({len(problem.tail) - _TAIL} lines more above)', 'dim')}")
    lines += [f"  {bar} {clean(line, colour=colour)}".rstrip() for line in problem.tail[-_TAIL:]]
    if problem.hint:
        first, *more = problem.hint.strip().split("\n")
        lines.append(f"{paint('hint:', 'cyan')} {_named(first, colour=colour)}")
        lines += [f"      {clean(line)}" for line in more]
    return lines


def error_lines(error: DevloopError, *, colour: bool = False) -> list[str]:
    """Return the lines of all the problems of an error, with an empty line between two."""
    lines: list[str] = []
    for number, problem in enumerate(events.problems(error)):
        lines += [""] if number else []
        lines += problem_lines(problem, colour=colour)
    return lines


def print_error(error: DevloopError, stream: TextIO, *, colour: bool = False) -> None:
    """Print an error as all commands do; `stream` is standard error."""
    stream.write("".join(f"{line}\n" for line in error_lines(error, colour=colour)))
    stream.flush()


_LABEL: Final = {"error": "bold red", "warning": "bold yellow"}


def _place(where: Where, *, colour: bool) -> str:
    place = ansi(str(where), "bold") if colour else str(where)
    return f"  {place}  {clean(where.text.strip())}" if where.text else f"  {place}"


def _named(sentence: str, *, colour: bool) -> str:
    text = clean(sentence)
    return _NAME.sub(lambda name: ansi(name[0], "bold"), text) if colour else text


def _plain(text: str, _style: str) -> str:
    return text


def _shell(command: Iterable[str]) -> str:
    import shlex

    return shlex.join(command)
