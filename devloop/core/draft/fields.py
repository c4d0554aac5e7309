"""Reading another tool's YAML file: each value with its place, and nothing passed over in silence.

What is asked for counts as carried over. `rest` makes a note of everything else, so that a field that this code does
not know ends up as a comment and not nowhere.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from devloop.core.draft.model import Note
from devloop.core.yaml.documents import Mark, YamlDocument, YamlError, parse_documents
from devloop.errors import InputError, InputErrors, Where

__all__ = ["Fields", "read_fields"]


class Fields:
    """A mapping of a YAML file.

    Args:
        value: The mapping.
        mark: Where it stands.
        path: The file.
        notes: Takes the notes.
        name: How the mapping is called in notes, for example `build.artifacts[0]`.
    """

    def __init__(self, value: Mapping[str, Any], mark: Mark, path: str, notes: list[Note], name: str = "") -> None:
        self.value = value
        self.mark = mark
        self.path = path
        self.notes = notes
        self.name = name
        self._taken: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return self.value.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.value)

    def where(self, key: str | None = None) -> Where:
        """Return the place of a key's value, or of the mapping."""
        mark = self.mark if key is None else self.mark.at((key,))
        return Where(path=self.path, line=mark.line, column=mark.column)

    def error(self, key: str, wanted: str) -> InputError:
        """Return the error for a value of a wrong type."""
        return InputError(f"`{self._named(key)}` must be {wanted}", where=self.where(key))

    # --- what is carried over ------------------------------------------------------------------------------------

    def raw(self, key: str) -> Any:
        """Return a value whatever it is."""
        self._taken.add(key)
        return self.value.get(key)

    def text(self, key: str) -> str | None:
        """Return a scalar as text.

        Raises:
            InputError: It is a list or a mapping.
        """
        value = self.raw(key)
        if isinstance(value, dict | list):
            raise self.error(key, "text")
        return None if value is None else plain(value)

    def flag(self, key: str) -> bool:
        """Return whether a value is true."""
        return str(self.raw(key)).lower() == "true"

    def number(self, key: str) -> int | None:
        """Return a whole number.

        Raises:
            InputError: It is something else.
        """
        value = self.raw(key)
        if isinstance(value, str) and value.isdigit():
            return int(value)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.error(key, "a whole number")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of scalars, or a single one as a list of one.

        Raises:
            InputError: It is a mapping, or a list of other things.
        """
        value = self.raw(key)
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict | list) for item in items):
            raise self.error(key, "a list of texts")
        return tuple(plain(item) for item in items)

    def pairs(self, key: str) -> dict[str, str | None]:
        """Return a mapping, or a list of `NAME=VALUE`, as one of texts; None for names without a value.

        Raises:
            InputError: It is something else.
        """
        value = self.raw(key)
        if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
            split = [plain(item).partition("=") for item in value]
            return {name: text if equals else None for name, equals, text in split}
        if value is not None and not isinstance(value, dict):
            raise self.error(key, "a mapping")
        found = value or {}
        if any(isinstance(item, dict | list) for item in found.values()):
            raise self.error(key, "a mapping of texts")
        return {name: None if item is None else plain(item) for name, item in found.items()}

    def mapping(self, key: str) -> "Fields":
        """Return a mapping; an empty one where there is none.

        Raises:
            InputError: It is something else.
        """
        value = self.raw(key)
        if value is not None and not isinstance(value, dict):
            raise self.error(key, "a mapping")
        return self._part(value or {}, (key,), self._named(key))

    def mappings(self, key: str) -> list["Fields"]:
        """Return a list of mappings.

        Raises:
            InputError: It is something else.
        """
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, "a list of mappings")
        return [self._part(item, (key, number), f"{self._named(key)}[{number}]") for number, item in enumerate(value)]

    def named(self, key: str) -> Iterator[tuple[str, "Fields"]]:
        """Yield the mappings of a mapping, by name; empty ones where a name stands alone."""
        parent = self.mapping(key)
        for name in parent:
            yield name, parent.mapping(name)

    # --- what is not ---------------------------------------------------------------------------------------------

    def settled(self, *keys: str) -> None:
        """Take keys that mean nothing to a devfile, or what devloop does anyway."""
        self._taken.update(keys)

    def left_out(self, key: str, why: str) -> None:
        """Make a note of a key, if it is there."""
        self._taken.add(key)
        if key in self:
            self.note(key, why)

    def note(self, key: str | None, why: str) -> None:
        """Make a note."""
        subject = self.name if key is None else self._named(key)
        self.notes.append(Note(text=f"`{subject}`: {why}", where=self.where(key)))

    def rest(self) -> None:
        """Make a note of each key that nobody asked for."""
        for key in self.value:
            if key not in self._taken and not key.startswith("x-"):
                self.note(key, "not carried over: a devfile says nothing like it")

    def _named(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _part(self, value: Mapping[str, Any], pointer: tuple[str | int, ...], name: str) -> "Fields":
        return Fields(value, self.mark.at(pointer), self.path, self.notes, name)


def plain(value: Any) -> str:
    """Return a scalar as text: truth values as YAML writes them."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def read_fields(text: str, path: str, notes: list[Note]) -> list[Fields]:
    """Return the documents of a YAML file.

    Raises:
        InputErrors: It is no YAML, or not made of mappings.
    """
    try:
        documents = parse_documents(text)
    except YamlError as error:
        where = Where(path=path, line=error.line, column=error.column)
        raise InputErrors([InputError(error.message, where=where, hint=error.hint)]) from None
    return [_fields(document, path, notes) for document in documents]


def _fields(document: YamlDocument, path: str, notes: list[Note]) -> Fields:
    if not isinstance(document.value, dict):
        where = Where(path=path, line=document.mark.line, column=document.mark.column)
        raise InputErrors([InputError(f"`{path}` must be a mapping", where=where)])
    return Fields(document.value, document.mark, path, notes)
