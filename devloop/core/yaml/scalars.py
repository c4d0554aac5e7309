"""What a scalar of YAML means, by go-yaml's rules as `kubectl` has them: `on` is true, `010` is 8, `22:22` is text."""

import math
import re
from collections.abc import Mapping

__all__ = ["Scalar", "ScalarError", "reads_as_other", "scalar", "shown"]

Scalar = str | int | float | bool | None


class ScalarError(ValueError):
    """The text has no value that Kubernetes takes; the message says why."""


_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER = re.compile(
    r"([-+]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>0|[1-9][0-9]*))\Z"
)
_BASES = {"x": 16, "b": 2, "o": 8, "d": 10}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_JSON = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_LONGEST_NUMBER = 400


def scalar(text: str, tag: str | None, *, plain: bool) -> Scalar:
    """Return the value of a scalar.

    Args:
        text: What is written, without quotes.
        tag: Its tag, or None.
        plain: Whether it is written without quotes.

    Raises:
        ScalarError: It has no value that Kubernetes takes.
    """
    match tag:
        case None if plain:
            return _plain(text)
        case None | "!" | "tag:yaml.org,2002:str":
            return text
        case "tag:yaml.org,2002:null" if _plain(text) is None:
            return None
        case "tag:yaml.org,2002:bool" if isinstance(value := _plain(text), bool):
            return value
        case "tag:yaml.org,2002:int" if isinstance(value := _plain(text), int):
            return value
        case "tag:yaml.org,2002:float" if isinstance(value := _plain(text), int | float):
            return value
        case _:
            raise ScalarError(f"the tag `{shown(tag)}` does not fit `{text}` here")


def shown(tag: str) -> str:
    """Return a tag as people write it."""
    return tag.replace("tag:yaml.org,2002:", "!!")


def reads_as_other(text: str) -> bool:
    """Return whether a plain scalar would be something else than this text."""
    return text in _WORDS or bool(_INTEGER.match(digits := text.replace("_", "")) or _FLOAT.match(digits))


def _plain(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return str(text)
    if _NOT_JSON.match(text):
        raise ScalarError(f"`{text}` is no number that Kubernetes takes")
    digits = text if text[0] == "." else text.replace("_", "")
    if found := _INTEGER.match(digits):
        return _integer(found)
    if _FLOAT.match(digits):
        number = float(digits)
        return str(text) if math.isinf(number) else _shortest(number)
    return str(text)


def _integer(found: re.Match[str]) -> int | float:
    base = found.lastgroup or "d"
    number = int(found[base], _BASES[base]) * (-1 if found[1] == "-" else 1)
    return number if -(2**63) <= number < 2**64 else _shortest(float(number))


def _shortest(number: float) -> int | float:
    """Return the number as Go writes it to JSON: whole numbers have no fraction."""
    return int(number) if number.is_integer() and abs(number) < 1e21 else number  # Go's own limit
