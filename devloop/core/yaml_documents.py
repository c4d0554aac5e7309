"""YAML and JSON text as plain values with their places, and back.

Scalars mean what they mean to `kubectl` (go-yaml's rules: `on` and `y` are true, `010` is 8, `22:22` and dates are
text, `1e3` is a number), so that devloop deploys what `kubectl apply` would. Stricter than `kubectl` where that hides a
mistake: a key that is written twice and an unknown tag are errors.

Knows nothing of Kubernetes. PyYAML's own composer is not used: it overflows the C stack on deep nesting.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import yaml

__all__ = ["Mark", "Pointer", "YamlDocument", "YamlError", "dump", "parse_documents"]

Pointer = tuple[str | int, ...]
"""The way to a value inside a document: keys and list positions."""

_MAX_DEPTH = 100
_MAX_SIZE = 500_000


class Mark(NamedTuple):
    """Where a value stands, and where its parts do; aliases share the marks of their anchor."""

    line: int
    column: int
    parts: "Mapping[str | int, Mark]"

    def at(self, pointer: Pointer) -> "Mark":
        """Return the mark of the value at `pointer`, or of the nearest part above it that has one."""
        mark = self
        for step in pointer:
            part = mark.parts.get(step)
            if part is None:
                break
            mark = part
        return mark


_NOWHERE: Mapping[str | int, Mark] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """One document of a YAML stream: its value (JSON's types only) and where its parts stand."""

    value: Any
    mark: Mark


class YamlError(Exception):
    """The text is not the YAML that Kubernetes takes; the caller adds the file.

    Args:
        message: One sentence.
        line: Line number from 1, or None.
        column: Column number from 1, or None.
        hint: The way out, where one is known.
    """

    def __init__(
        self, message: str, *, line: int | None = None, column: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint


def parse_documents(text: str) -> tuple[YamlDocument, ...]:
    """Return the documents of a YAML or JSON text, without the empty ones.

    Raises:
        YamlError: At the first mistake.
    """
    try:
        return tuple(document for document in _documents(text) if document.value is not None)
    except yaml.MarkedYAMLError as error:
        return _as_json(text) or _refuse(error, text)
    except yaml.reader.ReaderError as error:
        line, column = _place(text, error.position)
        message = f"invalid YAML: the character {_code(error.character)} is not allowed"
        raise YamlError(message, line=line, column=column) from None
    except UnicodeEncodeError as error:
        line, column = _place(text, error.start)
        raise YamlError("invalid YAML: the text is not valid Unicode", line=line, column=column) from None


def _as_json(text: str) -> tuple[YamlDocument, ...]:
    """Return a JSON text's value where YAML cannot read it (surrogate pairs), or nothing."""
    if not text.lstrip().startswith("{"):
        return ()
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return ()
    return (YamlDocument(value=value, mark=Mark(1, 1, _NOWHERE)),)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _refuse(error: yaml.MarkedYAMLError, text: str) -> NoReturn:
    lines = text.split("\n")
    message = f"invalid YAML: {error.problem or 'unreadable'}{f' {error.context}' if error.context else ''}"
    # Where the parser saw the end of the text only, what was begun and not ended helps more.
    marks = [mark for mark in (error.problem_mark, error.context_mark) if mark is not None]
    mark = next((mark for mark in marks if "".join(lines[mark.line :]).strip()), None)
    if mark is None:
        raise YamlError(message, line=text.rstrip().count("\n") + 1) from None
    before = lines[mark.line][: mark.column + 1]
    hint = "YAML is indented with spaces, not with tabs" if "\t" in before and not before.strip() else None
    raise YamlError(message, line=mark.line + 1, column=mark.column + 1, hint=hint) from None


def _place(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _code(character: object) -> str:
    return f"U+{character:04X}" if isinstance(character, int) else f"`{character!r}`"


# --- reading -----------------------------------------------------------------------------------------------


class _Node(NamedTuple):
    value: Any
    mark: Mark
    size: int


def _documents(text: str) -> Iterator[YamlDocument]:
    events = yaml.parse(text, Loader=yaml.CSafeLoader)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            node = _Reader(events=events).node(next(events), depth=0)
            yield YamlDocument(value=node.value, mark=node.mark)


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Builds the value of one document from the parser's events."""

    events: Iterator[Any]
    anchors: dict[str, _Node | None] = field(default_factory=dict)

    def node(self, event: Any, *, depth: int) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if depth > _MAX_DEPTH:
            raise _error(event, f"nested more than {_MAX_DEPTH} levels deep")
        match event:
            case yaml.ScalarEvent():
                node = _Node(_scalar(event), _mark(event, _NOWHERE), 1)
            case yaml.SequenceStartEvent():
                node = self._sequence(event, depth=depth)
            case _:
                node = self._mapping(event, depth=depth)
        if node.size > _MAX_SIZE:
            raise _error(event, f"more than {_MAX_SIZE:,} values when its aliases are written out")
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> _Node:
        if event.anchor not in self.anchors:
            raise _error(event, f"the alias `*{event.anchor}` has no anchor `&{event.anchor}` before it")
        node = self.anchors[event.anchor]
        if node is None:
            raise _error(event, f"the alias `*{event.anchor}` stands inside its own anchor")
        return node

    def _sequence(self, start: Any, *, depth: int) -> _Node:
        _check_tag(start, "tag:yaml.org,2002:seq")
        items = [self.node(event, depth=depth + 1) for event in self._until(yaml.SequenceEndEvent)]
        parts: dict[str | int, Mark] = {position: item.mark for position, item in enumerate(items)}
        return _Node([item.value for item in items], _mark(start, parts), 1 + sum(item.size for item in items))

    def _mapping(self, start: Any, *, depth: int) -> _Node:
        _check_tag(start, "tag:yaml.org,2002:map")
        own: dict[str, _Node] = {}
        merged: dict[str, _Node] = {}
        lines: dict[str, int] = {}
        for event in self._until(yaml.MappingEndEvent):
            if _is_merge(event):
                self._merge(merged, event, depth=depth)
                continue
            key = _key(event, self.node(event, depth=depth + 1).value)
            if key in own:
                message = f"the key `{key}` is written twice, first on line {lines[key]}"
                raise _error(event, message)
            lines[key] = event.start_mark.line + 1
            own[key] = self.node(next(self.events), depth=depth + 1)
        merged.update(own)
        parts: dict[str | int, Mark] = {key: node.mark for key, node in merged.items()}
        value = {key: node.value for key, node in merged.items()}
        return _Node(value, _mark(start, parts), 1 + sum(node.size for node in merged.values()))

    def _merge(self, merged: dict[str, _Node], key: Any, *, depth: int) -> None:
        source = self.node(next(self.events), depth=depth + 1)
        values = source.value if isinstance(source.value, list) else [source.value]
        for position, value in enumerate(values):
            if not isinstance(value, dict):
                raise _error(key, "`<<` takes a mapping or a list of mappings")
            mark = source.mark.parts[position] if isinstance(source.value, list) else source.mark
            for name, part in value.items():
                merged.setdefault(name, _Node(part, mark.parts.get(name, mark), _size(part)))

    def _until(self, end: type) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event


def _size(value: Any) -> int:
    """Return how many values there are in what an earlier step has found small enough to walk."""
    match value:
        case dict():
            return 1 + sum(map(_size, value.values()))
        case list():
            return 1 + sum(map(_size, value))
        case _:
            return 1


def _is_merge(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0] and event.tag is None


def _key(event: Any, value: Any) -> str:
    """Return a key as JSON has it: `kubectl` turns numbers and truth values into text."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case None:
            raise _error(event, "a key must not be empty")
        case _:
            raise _error(event, "a key must be text, not a list or mapping")


def _check_tag(event: Any, expected: str) -> None:
    if event.tag not in (None, "!", expected):
        raise _error(event, f"the tag `{_shown(event.tag)}` is not known here")


def _mark(event: Any, parts: Mapping[str | int, Mark]) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1, parts)


def _error(event: Any, message: str) -> YamlError:
    return YamlError(message, line=event.start_mark.line + 1, column=event.start_mark.column + 1)


def _shown(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


# --- scalars -----------------------------------------------------------------------------------------------

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


def _scalar(event: Any) -> Any:
    text = event.value
    match event.tag:
        case None if event.implicit[0]:
            return _plain(event, text)
        case None | "!" | "tag:yaml.org,2002:str":
            return text
        case "tag:yaml.org,2002:null" if _plain(event, text) is None:
            return None
        case "tag:yaml.org,2002:bool" if isinstance(value := _plain(event, text), bool):
            return value
        case "tag:yaml.org,2002:int" if isinstance(value := _plain(event, text), int):
            return value
        case "tag:yaml.org,2002:float" if isinstance(value := _plain(event, text), int | float):
            return value
        case tag:
            raise _error(event, f"the tag `{_shown(tag)}` does not fit `{text}` here")


def _plain(event: Any, text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return str(text)
    if _NOT_JSON.match(text):
        raise _error(event, f"`{text}` is no number that Kubernetes takes")
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


# --- writing -----------------------------------------------------------------------------------------------


class _Dumper(yaml.CSafeDumper):
    """Writes readable YAML: key order kept, no aliases, text of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        """Return the tag of a plain scalar; another than text's makes the emitter quote it."""
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # PyYAML's stubs lack it
        is_text = kind is yaml.ScalarNode and implicit[0] and tag == "tag:yaml.org,2002:str"
        return "tag:yaml.org,2002:other" if is_text and _reads_as_other(value) else tag


def _reads_as_other(text: str) -> bool:
    return text in _WORDS or bool(_INTEGER.match(digits := text.replace("_", "")) or _FLOAT.match(digits))


def _represent_text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump(value: Any) -> str:
    """Return `value` as one YAML document without a `---` line, stable and readable."""
    dumped: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=_WIDTH
    )
    return dumped


_WIDTH = 1_000_000
