"""What goes wrong in templates, as the user's mistakes: with place, chain of includes and suggestion."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateNotFound, TemplateSyntaxError, Undefined, UndefinedError

from devloop.core.template.environment import (
    Environment,
    Files,
    UndefinedText,
    UnknownNameError,
    frame_place,
    suggestion,
)
from devloop.errors import InputError, Where

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["explained", "not_defined", "not_found", "place_of", "syntax_error"]


def explained(error: Exception, path: str, environment: Environment, variables: Mapping[str, Any]) -> InputError:
    """Return what an exception of a render means to the user.

    Args:
        error: What was raised while rendering.
        path: The template that was rendered.
        environment: The environment that rendered it.
        variables: What the template was given.
    """
    files = environment.files
    if isinstance(error, TemplateSyntaxError):
        name = error.name or path
        return syntax_error(error, name, files.text(name) or "", tuple(_places(error, files)))
    where, *chain = [*_places(error, files)] or [Where(path=path)]
    word = ""
    match error:
        case UndefinedError(args=[UndefinedText() as text, *_]):
            word = str(text.undefined._undefined_name)  # noqa: SLF001 - Jinja keeps it nowhere else
            message, hint = _undefined(text, where, {*variables, *environment.globals}, variables)
        case TemplateNotFound():
            names = getattr(error, "templates", None) or [error.name or ""]
            message, hint = not_found(names, files, where)
        case RecursionError():
            message, hint = "the template never ends: a template includes itself, or a macro calls itself", None
        case _:
            detail = f": {error}" if str(error) else ""
            message, hint = f"the template fails here: {type(error).__name__}{detail}", None
    where = place_of(files.text(where.path) or "", where.path, where.line, word)
    return InputError(message, where=where, hint=hint, chain=chain)


def _places(error: Exception, files: Files) -> Iterator[Where]:
    """Yield the places in templates that led to an error, the nearest first, without repetitions."""
    found: dict[tuple[str, int | None], Where] = {}
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if place := frame_place(trace.tb_frame, trace.tb_lineno):
            key = (place.path, place.line)
            found.pop(key, None)
            found[key] = replace(place, text=_line(files.text(place.path) or "", place.line).strip() or None)
        trace = trace.tb_next
    return reversed(found.values())


def place_of(text: str, path: str, number: int | None, word: str = "") -> Where:
    """Return the place of a mistake in a line of a template, of which Jinja tells no more than the number.

    Args:
        text: The template.
        path: Its path.
        number: The line, as Jinja counts; None for the whole file.
        word: What it is about. The column is that of the word in the first expression that has it, or else that of the
            first expression.
    """
    line = _line(text, number)
    if not line.strip():
        return Where(path=path, line=number)
    opening = _OPENING.search(line)
    start = opening.start() if opening else len(line) - len(line.lstrip())
    found = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)").search(line, start) if word else None
    return Where(path=path, line=number, column=(found.start() if found else start) + 1, text=line.strip())


_OPENING = re.compile(r"\{[{%#]")


def _line(text: str, number: int | None) -> str:
    lines = re.split(r"\r\n|\r|\n", text)
    return lines[number - 1] if number is not None and 0 < number <= len(lines) else ""


def _undefined(
    message: UndefinedText, where: Where, names: Iterable[str], variables: Mapping[str, Any]
) -> tuple[str, str | None]:
    undefined = message.undefined
    if undefined._undefined_hint:  # noqa: SLF001 - Jinja keeps it nowhere else
        return _lowered(undefined._undefined_hint), None  # noqa: SLF001
    name, owner = undefined._undefined_name, undefined._undefined_obj  # noqa: SLF001
    if not isinstance(name, str):
        return f"{_described(owner)} has no element `{name}`", None
    if type(owner) is _MISSING:
        return not_defined(name, names, variables)
    found = re.search(rf"([A-Za-z_][\w.]*)(?:\.{re.escape(name)}\b|\[.{re.escape(name)}.\])", where.text or "")
    subject = f"`{found[1]}`" if found else _described(owner)
    parts = list(map(str, owner)) if isinstance(owner, Mapping) else [part for part in dir(owner) if part[0] != "_"]
    return f"{subject} has no `{name}`", suggestion(name, parts, "it has", parts)


_MISSING = type(Undefined()._undefined_obj)  # noqa: SLF001 - Jinja's own mark for "no object"


def not_defined(name: str, names: Iterable[str], variables: Iterable[str]) -> tuple[str, str | None]:
    """Return message and hint for a variable that nothing provides."""
    return f"`{name}` is not defined", suggestion(name, names, "the template gets", variables)


def _described(value: Any) -> str:
    kind = {"dict": "mapping", "str": "text"}.get(type(value).__name__, type(value).__name__)
    return f"the {kind}"


_SUFFIXES = (".j2", ".jinja", ".jinja2", ".yaml", ".yaml.j2", ".yml")


def not_found(names: Sequence[str], files: Files, where: Where) -> tuple[str, str | None]:
    """Return message and hint for an include of which none of the names (as resolved) leads to a file."""
    tried = tuple(path for name in names for path in files.tried.get(name, (name,)))
    for path in tried:
        if found := next((other for other in _neighbours(path, where) if files.load(other) is not None), None):
            return _no_template(tried), f"did you mean `{found}`?"
    return _no_template(tried), "names are relative to the including file, or to the project's root"


def _no_template(tried: Sequence[str]) -> str:
    *others, last = (f"`{path}`" for path in tried)
    return f"no template {', '.join(others)} or {last}" if others else f"no template {last}"


def _neighbours(path: str, where: Where) -> Iterator[str]:
    """Yield paths that a person may have meant by a path that leads nowhere."""
    folder, _, _ = where.path.rpartition("/")
    stem, _, last = path.rpartition("/")
    for suffix in _SUFFIXES:
        yield path + suffix
        yield path.removesuffix(suffix)
        yield f"{stem}/_{last}{suffix}".lstrip("/")
    yield f"{stem}/_{last}".lstrip("/")
    yield f"{folder}/{last}".lstrip("/")


def syntax_error(error: Exception, path: str, text: str, chain: Sequence[Where] = ()) -> InputError:
    """Return what an exception of Jinja's parser means to the user."""
    hint = error.hint if isinstance(error, UnknownNameError) else None
    match error:
        case TemplateSyntaxError():
            line: int | None = error.lineno
            message = _lowered(error.message or "this is not a template")
        case RecursionError():
            line, message = None, "nested too deeply"
        case _:
            line, message = None, f"this is not a template: {error}"
    where = place_of(text, path, line)
    return InputError(f"template syntax: {message}", where=where, hint=hint, chain=chain)


def _lowered(text: str) -> str:
    """Return one of Jinja's sentences in devloop's voice."""
    text = re.sub(r"'([^']*)'", r"`\1`", text.strip()).removesuffix(".")
    return text[:1].lower() + text[1:]
