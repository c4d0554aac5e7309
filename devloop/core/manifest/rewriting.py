"""Changed manifests as text: the user's own, with the changed values exchanged and every other character as it was.

What was written is read again and compared; where the text cannot say what it should (an alias for a mapping that is
changed in one of its places only), the objects are written anew, without the comments.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from devloop.core.manifest import Manifest, parse, to_yaml
from devloop.core.yaml.places import Mark, Span
from devloop.core.yaml.scalars import reads_as_other
from devloop.errors import InputErrors

__all__ = ["rewritten"]

_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9._/]|-(?=[\w-]))[\w./@=+-]*(?::[\w./@=+-]+)*\Z", re.ASCII)
_PROPERTIES: Final = re.compile(r"(?:[&!][^\s,\[\]{}]*\s+)*")
_STARTS_DOCUMENT: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*---(?:\s|\Z)")


def rewritten(manifests: Sequence[Manifest]) -> str:
    """Return the text that declares these manifests, as their files have it where that says the same."""
    pieces = [_of_source(list(same)) for _, same in groupby(manifests, key=lambda each: id(each.source))]
    text = _joined(pieces)
    return text if _says(text, manifests) else to_yaml(manifests)


def _of_source(manifests: Sequence[Manifest]) -> str:
    text = "\n".join(manifests[0].source.lines)
    originals = _read(text)
    if [each.key for each in originals] == [each.key for each in manifests]:
        changes = _Changes(text=text)
        try:
            for original, wanted in zip(originals, manifests, strict=True):
                changes.compare(original.document, wanted.document, original.mark)
        except _UnwritableError:
            return to_yaml(manifests)
        new = changes.applied()
        if _says(new, manifests):
            return new
    return to_yaml(manifests)


def _says(text: str, manifests: Iterable[Manifest]) -> bool:
    return [each.document for each in _read(text)] == [each.document for each in manifests]


def _read(text: str) -> tuple[Manifest, ...]:
    try:
        return parse(text, path="")
    except InputErrors:
        return ()


def _joined(pieces: Iterable[str]) -> str:
    text = ""
    for each in pieces:
        piece = each.removeprefix("\ufeff") if text else each
        if text:
            text += "" if text.endswith("\n") else "\n"
            text += "" if _STARTS_DOCUMENT.match(piece) else "...\n" if piece.startswith("%") else "---\n"
        text += piece
    return text if text.endswith("\n") or not text else f"{text}\n"


# --- what changes, and where -------------------------------------------------------------------------------


class _UnwritableError(Exception):
    """The text has no place for a change."""


@dataclass(slots=True, kw_only=True)
class _Changes:
    """The changes of a text, collected value by value.

    Attributes:
        text: The text as it is.
        values: For each scalar what it is and what it should be; several places may share one by aliases.
        aliases: For each alias of a scalar, that scalar and what the alias should be.
        added: What to insert, by offset.
    """

    text: str
    values: dict[Span, tuple[Any, Any]] = field(default_factory=dict)
    aliases: dict[Span, tuple[Span, Any]] = field(default_factory=dict)
    added: dict[int, str] = field(default_factory=dict)

    def compare(self, old: Any, new: Any, mark: Mark | None) -> None:
        """Collect what turns `old`, which stands at `mark`, into `new`.

        Raises:
            _UnwritableError: That is no exchange of values, or another place shares the text and wants something else.
        """
        if mark is None:
            if old != new:
                raise _UnwritableError
            return
        match old, new:
            case dict(), dict() if old.keys() <= new.keys():
                for key, value in old.items():
                    self.compare(value, new[key], mark.parts.get(key))
                if missing := {key: value for key, value in new.items() if key not in old}:
                    self._add(mark, missing)
            case list(), list() if len(old) == len(new):
                for position, (before, after) in enumerate(zip(old, new, strict=True)):
                    self.compare(before, after, mark.parts.get(position))
            case (dict() | list(), _) | (_, dict() | list()):
                raise _UnwritableError
            case _:
                self._exchange(old, new, mark)

    def _exchange(self, old: Any, new: Any, mark: Mark) -> None:
        if mark.span is None:
            raise _UnwritableError
        if mark.alias is not None:
            if self.aliases.setdefault(mark.alias, (mark.span, new)) != (mark.span, new):
                raise _UnwritableError
        elif self.values.setdefault(mark.span, (old, new)) != (old, new):
            raise _UnwritableError

    def _add(self, mark: Mark, missing: Mapping[str, Any]) -> None:
        """Insert keys before the first one that the mapping has in its own text."""
        begin = mark.span.begin if mark.span else 0
        offset = min(
            (part.key for part in mark.parts.values() if part.key is not None and part.key >= begin), default=-1
        )
        if offset < 0 or not all(isinstance(value, str) for value in missing.values()):
            raise _UnwritableError
        entries = [f"{_literal(key)}: {_literal(value)}" for key, value in missing.items()]
        if mark.span and self.text[mark.span.begin : mark.span.end].endswith("{"):
            self.added[offset] = "".join(f"{entry}, " for entry in entries)
            return
        line = self.text.rfind("\n", 0, offset) + 1
        end = "\r\n" if "\r\n" in self.text else "\n"
        self.added[offset] = "".join(f"{entry}{end}{' ' * (offset - line)}" for entry in entries)

    def applied(self) -> str:
        """Return the changed text."""
        edits = {Span(offset, offset): text for offset, text in self.added.items()}
        for span, (old, new) in self.values.items():
            if old != new:
                edits[span] = _spelled(self.text[span.begin : span.end], old, new)
        for alias, (span, new) in self.aliases.items():
            if span not in self.values or self.values[span][1] != new:
                edits[alias] = _literal(new)
        parts, at = [], 0
        for span, new in sorted(edits.items()):
            parts += [self.text[at : span.begin], new]
            at = span.end
        return "".join(parts) + self.text[at:]


# --- how a value is written --------------------------------------------------------------------------------


def _spelled(written: str, old: Any, new: Any) -> str:
    """Return the text of a scalar with another value, in the style that it has."""
    start = _PROPERTIES.match(written)
    begin = start.end() if start else 0
    style = written[begin : begin + 1]
    at = written.rfind(old, begin) if isinstance(old, str) and isinstance(new, str) and old else -1
    if at >= 0 and _PLAIN.match(new) and (style in "'\"|>" or not reads_as_other(new)):
        return f"{written[:at]}{new}{written[at + len(old) :]}"
    ended = "\n" if style in ("|", ">") and written.endswith("\n") else ""
    return written[:begin] + json.dumps(new) + ended


def _literal(value: Any) -> str:
    """Return a value as a scalar of its own."""
    is_plain = isinstance(value, str) and _PLAIN.match(value) and not reads_as_other(value)
    return str(value) if is_plain else json.dumps(value)
