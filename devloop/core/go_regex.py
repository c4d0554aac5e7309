"""Go's glob and regular expression dialects, translated to Python's `re`.

`.dockerignore` is matched by moby/patternmatcher, which turns a pattern into a Go regular expression character by
character, without looking whether it stands inside brackets. Its quirks are kept: what the builder sends is the truth.
"""

import functools
import re
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

__all__ = ["GO_SPACE", "PatternError", "check_glob", "compile_glob", "compile_moby"]

# What Go's unicode.IsSpace accepts; str.isspace() takes a few control characters more.
GO_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000"
)

_STAR: Final = "[^/]*"
_ONE: Final = "[^/]"
_DEEP: Final = "(?:.*/)?"
_POSIX_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_PERL_CLASSES: Final = {
    "d": "[0-9]",
    "D": "[^0-9]",
    "s": r"[\t\n\f\r ]",
    "S": r"[^\t\n\f\r ]",
    "w": "[0-9A-Za-z_]",
    "W": "[^0-9A-Za-z_]",
}

_Comparison: TypeAlias = Literal["exact", "prefix", "suffix", "regex"]


class PatternError(ValueError):
    """A pattern that the builder would refuse."""


@functools.lru_cache(maxsize=4096)
def compile_glob(pattern: str, *, tail: str) -> re.Pattern[str]:
    """Return a regular expression for a pattern of Go's `filepath.Match`.

    Args:
        pattern: The pattern.
        tail: What must follow the match, as a regular expression.

    Raises:
        PatternError: The pattern is malformed.
    """
    return re.compile(_join(list(_glob_tokens(pattern))) + tail, re.DOTALL)


def check_glob(pattern: str) -> None:
    """Raise PatternError when Go's `filepath.Match` would refuse the pattern."""
    for _ in _glob_tokens(pattern):
        pass


def _glob_tokens(pattern: str) -> Iterator[str]:
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        match char:
            case "*":
                yield _STAR
            case "?":
                yield _ONE
            case "[":
                text, position = _glob_class(pattern, position)
                yield text
            case "\\":
                if position == len(pattern):
                    raise PatternError("it ends with a backslash")
                yield re.escape(pattern[position])
                position += 1
            case _:
                yield re.escape(char)


def _glob_class(pattern: str, position: int) -> tuple[str, int]:
    negated = pattern[position : position + 1] == "^"
    position += negated
    members: list[str] = []
    while not (members and pattern[position : position + 1] == "]"):
        low, position = _class_character(pattern, position)
        high = low
        if pattern[position] == "-":
            high, position = _class_character(pattern, position + 1)
        # A range that runs backwards is legal and matches nothing.
        members.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    text = "".join(members)
    if not text:
        return ("." if negated else "(?!)"), position + 1
    return f"[{'^' if negated else ''}{text}]", position + 1


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position : position + 1] == "\\":
        position += 1
    elif pattern[position : position + 1] in {"-", "]"}:
        raise PatternError("a bracket holds a `-` or `]` out of place")
    if position + 1 >= len(pattern):
        raise PatternError("a bracket is not closed")
    return pattern[position], position + 1


def _join(tokens: list[str]) -> str:
    """Return the tokens as one expression that cannot take exponential time.

    A wildcard that is followed by another one of its kind never needs to give back what it took: the first place where
    the text between the two fits is as good as any later one, since the second can take up the difference. An atomic
    group says so.
    """
    out: list[str] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        end = _segment_end(tokens, index, token)
        segment = tokens[index:end]
        if end == len(tokens) or token not in {_STAR, _DEEP}:
            out.append(token)
        elif token == _STAR:
            if tokens[end] == _STAR:
                out.append(f"(?>[^/]*?{''.join(segment)})")
                index = end
            else:
                out.append(token)
        elif tokens[end] != _DEEP:
            out.append(token)
        elif not segment:
            continue
        elif segment[-1] == "/":
            out.append(f"(?>(?:.*?/)??{_join(segment)})")
            index = end
        else:
            out.append(token)
    return "".join(out)


def _segment_end(tokens: list[str], start: int, wildcard: str) -> int:
    """Return where the text between two wildcards ends: at the next wildcard, or at what may match a slash."""
    end = start
    while end < len(tokens):
        token = tokens[end]
        if token in {_DEEP, ".*"} or (wildcard == _STAR and token in {_STAR, "/"}):
            break
        if token not in {_STAR, "/"} and re.compile(token).match("/"):
            break
        end += 1
    return end


@functools.lru_cache(maxsize=4096)
def compile_moby(pattern: str) -> tuple[_Comparison, str]:
    """Return how moby/patternmatcher compares a path with this cleaned pattern, and with what.

    Raises:
        PatternError: The pattern becomes no valid regular expression.
    """
    kind: _Comparison = "exact"
    out: list[str] = []
    rest = pattern
    while rest:
        first, char, rest = len(rest) == len(pattern), rest[0], rest[1:]
        if char == "*" and rest.startswith("*"):
            rest = rest[1:].removeprefix("/")
            deep = _deep_comparison(kind, is_last=not rest)
            out.append("(.*/)?" if rest else ".*")
            kind = "suffix" if first else deep
        elif char == "\\":
            out.append(char + rest[:1])
            rest = rest[1:]
            kind = "regex"
        elif char in "*?[]":
            out.append({"*": _STAR, "?": _ONE}.get(char, char))
            kind = "regex"
        else:
            out.append("\\" + char if char in ".+()|{}$" else char)
    match kind:
        case "prefix":
            return kind, pattern[:-2]
        case "suffix":
            return kind, pattern[2:]
        case "regex":
            return kind, _python_regex("".join(out))
        case _:
            return kind, pattern


def _deep_comparison(before: _Comparison, *, is_last: bool) -> _Comparison:
    return "prefix" if is_last and before == "exact" else "regex"


def _python_regex(go: str) -> str:
    """Return the Python form of the small part of Go's regular expressions that patterns turn into."""
    text = _join(list(_regex_tokens(go))) + r"\Z"
    try:
        re.compile(text)
    except (re.error, OverflowError) as error:
        raise PatternError(str(error)) from error
    return text


def _regex_tokens(go: str) -> Iterator[str]:
    position = 0
    while position < len(go):
        for known, token in (("(.*/)?", _DEEP), (_STAR, _STAR), (".*", ".*")):
            if go.startswith(known, position):
                position += len(known)
                yield token
                break
        else:
            token, position = _regex_token(go, position)
            yield token


def _regex_token(go: str, position: int) -> tuple[str, int]:
    char = go[position]
    position += 1
    if char == "\\":
        escaped = go[position : position + 1]
        if escaped in _PERL_CLASSES:
            return _PERL_CLASSES[escaped], position + 1
        if not escaped or escaped.isalnum():
            raise PatternError(f"`\\{escaped}` means nothing here")
        return re.escape(escaped), position + 1
    if char == "[":
        token, position = _regex_class(go, position)
    else:
        token = "^" if char == "^" else re.escape(char)
    if go.startswith("*", position):
        return token + "*", position + 1
    return token, position


def _regex_class(go: str, position: int) -> tuple[str, int]:
    negated = go.startswith("^", position)
    position += negated
    members: list[str] = []
    start = position
    while not (go.startswith("]", position) and position > start):
        name = re.compile(r"\[:(\^?)(\w+):\]").match(go, position)
        if name and not name[1] and name[2] in _POSIX_CLASSES:
            members.append(_POSIX_CLASSES[name[2]])
            position = name.end()
            continue
        low, position = _regex_class_character(go, position)
        if go.startswith("-", position) and not go.startswith("-]", position):
            high, position = _regex_class_character(go, position + 1)
            members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            members.append(re.escape(low))
    return f"[{'^' if negated else ''}{''.join(members)}]", position + 1


def _regex_class_character(go: str, position: int) -> tuple[str, int]:
    if go.startswith("\\", position):
        position += 1
        if go[position : position + 1].isalnum():
            raise PatternError(f"`\\{go[position]}` means nothing here")
    if position >= len(go):
        raise PatternError("a bracket is not closed")
    return go[position], position + 1
