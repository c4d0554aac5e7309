"""YAML and JSON text as plain values with their places, and back.

Scalars mean what they mean to `kubectl` (`core.yaml.scalars`), so that devloop deploys what `kubectl apply` would.
Stricter than `kubectl` where that hides a mistake: a key that is written twice and an unknown tag are errors.

Knows nothing of Kubernetes. PyYAML's own composer is not used: it overflows the C stack on deep nesting.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn

import yaml

from devloop.core.yaml.places import Mark, Places, Pointer, Span, YamlError
from devloop.core.yaml.scalars import ScalarError, reads_as_other, scalar, shown

__all__ = ["Mark", "Pointer", "Span", "YamlDocument", "YamlError", "dump", "parse_documents"]

_MAX_DEPTH = 100
_MAX_REPEATED = 500_000
_NOWHERE: Mapping[str | int, Mark] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """One document of a YAML stream: its value (JSON's types only) and where its parts stand."""

    value: Any
    mark: Mark


def parse_documents(text: str) -> tuple[YamlDocument, ...]:
    """Return the documents of a YAML or JSON text, without the empty ones.

    Raises:
        YamlError: At the first mistake.
    """
    skipped = len(text) - len(text.removeprefix("\ufeff"))
    places = Places.of(text, begin=skipped)
    try:
        return _documents(text[skipped:], places)
    except yaml.YAMLError as error:
        return _json_documents(text, places) or _refuse(error, text, places)
    except UnicodeEncodeError as error:
        line, column, _ = places.at(error.start)
        raise YamlError("invalid YAML: the text is not valid Unicode", line=line, column=column) from None


def _refuse(error: yaml.YAMLError, text: str, places: Places) -> NoReturn:
    if isinstance(error, yaml.reader.ReaderError):
        character = error.character if isinstance(error.character, str) else chr(error.character)
        line, column, _ = places.at_offset(text.index(character))  # the error itself counts bytes
        message = f"invalid YAML: the character U+{ord(character):04X} is not allowed"
        raise YamlError(message, line=line, column=column) from None
    assert isinstance(error, yaml.MarkedYAMLError)
    message = f"invalid YAML: {error.problem or 'unreadable'}{f' {error.context}' if error.context else ''}"
    # Where the parser saw the end of the text only, what was begun and not ended helps more.
    marks = [mark.index for mark in (error.problem_mark, error.context_mark) if mark is not None]
    line, column, offset = next(
        (place for place in map(places.at, marks) if text[place[2] :].strip()), places.at_offset(len(text.rstrip()))
    )
    before = text[: offset + 1].rpartition("\n")[2]
    hint = "YAML is indented with spaces, not with tabs" if "\t" in before and not before.strip() else None
    raise YamlError(message, line=line, column=column, hint=hint) from None


# --- JSON that is no YAML ----------------------------------------------------------------------------------

_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_ALONE = re.compile(r"(?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def _json_documents(text: str, places: Places) -> tuple[YamlDocument, ...]:
    """Return the values of JSON texts where YAML cannot read them (one after another, surrogates), or nothing.

    Raises:
        YamlError: It is JSON, with a mistake that only devloop minds.
    """
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    found: list[YamlDocument] = []
    begin = _after_space(text, places.begin)
    while begin < len(text):
        try:
            value, end = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            return ()
        found.extend(_json_document(text[begin:end], value, replace(places, begin=begin, agrees=False)))
        begin = _after_space(text, end)
    return tuple(found)


def _after_space(text: str, begin: int) -> int:
    found = _SPACE.match(text, begin)
    return found.end() if found else begin


def _json_document(text: str, value: Any, places: Places) -> tuple[YamlDocument, ...]:
    shrunk: list[int] = []

    def joined(found: re.Match[str]) -> str:
        shrunk.append(found.end(1) - 11 * len(shrunk))
        return found[1] + str(json.loads(f'"{found[2]}"'))

    text = _ALONE.sub(r"\1\\ufffd", _SURROGATES.sub(joined, text))  # as Go reads one alone
    try:
        return _documents(text, replace(places, shrunk=tuple(shrunk)))
    except yaml.YAMLError:
        line, column, _ = places.at(0)
        return (YamlDocument(value=value, mark=Mark(line, column, _NOWHERE)),)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


# --- reading -----------------------------------------------------------------------------------------------


class _Node(NamedTuple):
    value: Any
    mark: Mark
    size: int


def _documents(text: str, places: Places) -> tuple[YamlDocument, ...]:
    reader = _Reader(events=yaml.parse(text, Loader=yaml.CSafeLoader), places=places)
    return tuple(document for document in reader.documents() if document.value is not None)


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Builds the values of the documents from the parser's events."""

    events: Iterator[Any]
    places: Places
    anchors: dict[str, _Node | None] = field(default_factory=dict)
    repeated: int = 0
    """How many values the aliases of all documents stand for, so far."""

    def documents(self) -> Iterator[YamlDocument]:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors = {}
                node = self._node(next(self.events), depth=0)
                yield YamlDocument(value=node.value, mark=node.mark)

    def _node(self, event: Any, *, depth: int, key: int | None = None) -> _Node:
        """Return the value that an event begins; `key` is where its key begins."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, key)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if depth > _MAX_DEPTH:
            raise self.places.error(event, f"nested more than {_MAX_DEPTH} levels deep")
        match event:
            case yaml.ScalarEvent():
                node = _Node(self._scalar(event), self.places.mark(event, _NOWHERE, key), 1)
            case yaml.SequenceStartEvent():
                node = self._sequence(event, depth, key)
            case _:
                node = self._mapping(event, depth, key)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, key: int | None) -> _Node:
        if event.anchor not in self.anchors:
            message = f"the alias `*{event.anchor}` has no anchor `&{event.anchor}` before it"
            raise self.places.error(event, message)
        node = self.anchors[event.anchor]
        if node is None:
            raise self.places.error(event, f"the alias `*{event.anchor}` stands inside its own anchor")
        self.repeated += node.size
        if self.repeated > _MAX_REPEATED:
            raise self.places.error(event, f"more than {_MAX_REPEATED:,} values when its aliases are written out")
        return node._replace(mark=node.mark._replace(alias=self.places.mark(event, _NOWHERE, None).span, key=key))

    def _sequence(self, start: Any, depth: int, key: int | None) -> _Node:
        self._check_tag(start, "tag:yaml.org,2002:seq")
        items = [self._node(event, depth=depth + 1) for event in self._until(yaml.SequenceEndEvent)]
        parts: dict[str | int, Mark] = {position: item.mark for position, item in enumerate(items)}
        mark = self.places.mark(start, parts, key)
        return _Node([item.value for item in items], mark, 1 + sum(item.size for item in items))

    def _mapping(self, start: Any, depth: int, at: int | None) -> _Node:
        self._check_tag(start, "tag:yaml.org,2002:map")
        own: dict[str, _Node] = {}
        merged: dict[str, _Node] = {}
        for event in self._until(yaml.MappingEndEvent):
            if _is_merge(event):
                self._merge(merged, event, depth=depth)
                continue
            key = self._key(event, depth)
            if key in own:
                first, _, _ = self.places.at_offset(own[key].mark.key or 0)
                raise self.places.error(event, f"the key `{key}` is written twice, first on line {first}")
            own[key] = self._node(next(self.events), depth=depth + 1, key=self.places.begin_of(event))
        nodes = {**merged, **own} if merged else own
        parts: dict[str | int, Mark] = {key: node.mark for key, node in nodes.items()}
        value = {key: node.value for key, node in nodes.items()}
        return _Node(value, self.places.mark(start, parts, at), 1 + sum(node.size for node in nodes.values()))

    def _merge(self, merged: dict[str, _Node], key: Any, *, depth: int) -> None:
        source = self._node(next(self.events), depth=depth + 1)
        values = source.value if isinstance(source.value, list) else [source.value]
        for position, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.places.error(key, "`<<` takes a mapping or a list of mappings")
            mark = source.mark.parts[position] if isinstance(source.value, list) else source.mark
            for name, part in value.items():
                merged.setdefault(name, _Node(part, mark.parts.get(name, mark), _size(part)))

    def _until(self, end: type) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event

    def _scalar(self, event: Any) -> Any:
        try:
            return scalar(event.value, event.tag, plain=event.implicit[0])
        except ScalarError as error:
            raise self.places.error(event, str(error)) from None

    def _key(self, event: Any, depth: int) -> str:
        """Return a key as JSON has it: `kubectl` turns numbers and truth values into text."""
        is_simple = isinstance(event, yaml.ScalarEvent) and event.anchor is None
        value = self._scalar(event) if is_simple else self._node(event, depth=depth + 1).value
        match value:
            case str():
                return value
            case bool():
                return "true" if value else "false"
            case int() | float():
                return str(value)
            case None:
                raise self.places.error(event, "a key must not be empty")
            case _:
                raise self.places.error(event, "a key must be text, not a list or mapping")

    def _check_tag(self, event: Any, expected: str) -> None:
        if event.tag not in (None, "!", expected):
            raise self.places.error(event, f"the tag `{shown(event.tag)}` is not known here")


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


# --- writing -----------------------------------------------------------------------------------------------


class _Dumper(yaml.CSafeDumper):
    """Writes readable YAML: key order kept, no aliases, text of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        """Return the tag of a plain scalar; another than text's makes the emitter quote it."""
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # PyYAML's stubs lack it
        is_text = kind is yaml.ScalarNode and implicit[0] and tag == "tag:yaml.org,2002:str"
        return "tag:yaml.org,2002:other" if is_text and reads_as_other(value) else tag


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
