"""Values and calls as Python text, laid out as `ruff format` does: on one line, or one item a line."""

from collections.abc import Mapping
from typing import Final

from devloop.core.draft.model import Code, Format, Handle, Value

__all__ = ["WIDTH", "call", "literal", "quoted"]

WIDTH: Final = 88
"""The formatter's own default: what it leaves alone there, it leaves alone where lines may be longer."""


def quoted(text: str) -> str:
    """Return a text as a literal in double quotes, or in single ones where that saves escapes."""
    quote = "'" if '"' in text and "'" not in text else '"'
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return f"{quote}{escaped}{quote}"


def literal(value: Value, *, indent: int = 0, lead: int = 0, brackets: str = "[]") -> str:
    """Return a value as Python text.

    Args:
        value: The value.
        indent: How far the line is indented that it stands in.
        lead: How much stands in that line beside it.
        brackets: Those around sequences.
    """
    match value:
        case Code():
            return value.text
        case Handle() | Format():
            raise TypeError(value)  # whoever knows the functions' names has put code in their place
        case str():
            return quoted(value)
        case bool() | int():
            return str(value)
        case tuple():
            items = [literal(each, indent=indent + 4) for each in value]
            return _laid_out(brackets[0], items, brackets[1], indent=indent, lead=lead)
        case _:
            pairs = [
                f"{literal(key)}: {literal(each, indent=indent + 4, lead=len(literal(key)) + 3)}"
                for key, each in value.items()
            ]
            return _laid_out("{", pairs, "}", indent=indent, lead=lead)


def call(
    name: str,
    positional: tuple[Value, ...] = (),
    options: Mapping[str, Value] | None = None,
    *,
    indent: int = 0,
    lead: int = 0,
) -> str:
    """Return a call as Python text.

    Args:
        name: What is called.
        positional: The arguments without a name.
        options: The arguments with a name.
        indent: How far its line is indented.
        lead: How much stands in that line beside it.
    """
    short = [literal(each, lead=-WIDTH * 100) for each in positional]
    short += [f"{key}={literal(each, lead=-WIDTH * 100)}" for key, each in (options or {}).items()]
    line = f"{name}({', '.join(short)})"
    if "\n" not in line and indent + lead + len(line) <= WIDTH:
        return line
    items = [literal(each, indent=indent + 4, lead=1) for each in positional]
    items += [f"{key}={literal(each, indent=indent + 4, lead=len(key) + 2)}" for key, each in (options or {}).items()]
    inner = f"{', '.join(items)}"
    if "\n" not in inner and indent + 4 + len(inner) <= WIDTH and len(items) > 0:
        return f"{name}(\n{' ' * (indent + 4)}{inner}\n{' ' * indent})"
    body = "".join(f"{' ' * (indent + 4)}{item},\n" for item in items)
    return f"{name}(\n{body}{' ' * indent})"


def _laid_out(begin: str, items: list[str], end: str, *, indent: int, lead: int) -> str:
    line = f"{begin}{', '.join(items)}{end}"
    if "\n" not in line and indent + lead + len(line) <= WIDTH:
        return line
    body = "".join(f"{' ' * (indent + 4)}{item},\n" for item in items)
    return f"{begin}\n{body}{' ' * indent}{end}"
