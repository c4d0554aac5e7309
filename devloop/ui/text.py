"""Text as terminals and files can take it: cleaned of control codes, measured in cells, cut to a width, timed.

Pure functions; nothing here writes, and nothing needs rich.
"""

import codecs
import re
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ASCII",
    "UNICODE",
    "Glyphs",
    "ansi",
    "cells",
    "clean",
    "colour_wanted",
    "colours",
    "crop",
    "duration",
    "glyphs",
    "pad",
    "segments",
]

_CONTROL: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*(?:[@-~]|\Z)"  # cursor, screen, modes, colours
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c)"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]?"  # character sets, resets, what is left of a cut sequence
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]",
    re.DOTALL,
)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")
_RESET: Final = "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The signs that a stream's encoding can show."""

    good: str
    bad: str
    busy: str
    quiet: str
    warn: str
    run: str
    bar: str
    rule: str
    dot: str
    arrow: str
    ellipsis: str


UNICODE: Final = Glyphs(
    good="✓",
    bad="✗",
    busy="●",
    quiet="·",
    warn="!",
    run="▶",
    bar="│",
    rule="─",
    dot="·",
    arrow="→",
    ellipsis="…",
)
ASCII: Final = Glyphs(
    good="+",
    bad="x",
    busy="*",
    quiet=".",
    warn="!",
    run=">",
    bar="|",
    rule="-",
    dot="-",
    arrow="->",
    ellipsis="~",
)


def glyphs(encoding: str | None) -> Glyphs:
    """Return the signs for a stream of this encoding: plain ASCII unless it is UTF-8."""
    try:
        return UNICODE if encoding and codecs.lookup(encoding).name == "utf-8" else ASCII
    except LookupError:
        return ASCII


def colour_wanted(env: Mapping[str, str], *, terminal: bool) -> bool:
    """Return whether to colour what goes to a stream, by what users and tools have agreed to say in the environment."""
    if env.get("NO_COLOR"):
        return False
    if any(env.get(name, "0") not in {"", "0"} for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return terminal and env.get("TERM") != "dumb" and env.get("CLICOLOR") != "0"


def clean(text: str, *, colour: bool = False) -> str:
    """Return one line of foreign output without anything that moves the cursor or changes the terminal.

    Args:
        text: What a program printed, without its line end.
        colour: Keep colours (and end them at the end of the line).
    """
    if text.isprintable():
        return text
    coloured = False

    def keep(match: re.Match[str]) -> str:
        nonlocal coloured
        if colour and _COLOUR.fullmatch(match[0]):
            coloured = True
            return match[0]
        return " " if match[0] in "\u2028\u2029" else ""

    kept = _CONTROL.sub(keep, text)
    kept = kept.expandtabs() if "\t" in kept else kept
    return kept + _RESET if coloured else kept


def segments(text: str) -> tuple[str, ...]:
    r"""Return what a line showed one after the other in the same place: progress bars go back by `\r`."""
    if "\r" not in text:
        return (text,)
    return tuple(part for part in text.split("\r") if part) or ("",)


_BASIC: Final = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


def ansi(text: str, style: str) -> str:
    """Return the text in a style: words out of `bold`, `dim` and the basic colours, also as `bright_…`."""
    codes = [_code(word) for word in style.split()]
    return f"\x1b[{';'.join(codes)}m{text}{_RESET}" if codes and text else text


def _code(word: str) -> str:
    match word:
        case "bold":
            return "1"
        case "dim":
            return "2"
        case _:
            bright = word.startswith("bright_")
            return str((90 if bright else 30) + _BASIC.index(word.removeprefix("bright_")))


_PALETTE: Final = (
    "cyan",
    "magenta",
    "blue",
    "green",
    "yellow",
    "bright_cyan",
    "bright_magenta",
    "bright_blue",
    "bright_green",
    "bright_yellow",
)  # red is for failures


def colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name: the same one each time, and different ones while there are enough."""
    chosen: dict[str, str] = {}
    for name in sorted(set(names)):
        first = zlib.crc32(name.encode("utf-8", "backslashreplace"))
        taken = set(chosen.values()) if len(chosen) < len(_PALETTE) else set()
        turns = (_PALETTE[(first + step) % len(_PALETTE)] for step in range(len(_PALETTE)))
        chosen[name] = next(colour for colour in turns if colour not in taken)
    return chosen


def cells(text: str) -> int:
    """Return how many columns the text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def crop(text: str, width: int, ellipsis: str = "…") -> str:
    """Return the text cut to at most `width` columns; a cut is shown."""
    if cells(text) <= width:
        return text
    room = width - cells(ellipsis)
    if room < 0:
        return ""
    end = used = 0
    for end, character in enumerate(text):  # noqa: B007 - where it stopped is the answer
        used += _cells(character)
        if used > room:
            break
    return text[:end].rstrip() + ellipsis


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return the text filled up with spaces to `width` columns, on its left side when it belongs to the right."""
    fill = " " * (width - cells(text))
    return fill + text if right else text + fill


def duration(seconds: float) -> str:
    """Return a time span as a person says it, with two or three digits: `12ms`, `1.2s`, `42s`, `2m05s`, `1h02m`."""
    if seconds < 0.0995:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 59.5:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"
