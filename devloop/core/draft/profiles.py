"""The functions of a devfile, and how those of several profiles become one.

Where profiles differ in an option or in what a function returns, the value depends on a switch. Where they differ in
more, or where a node is not in all of them, there is one function for each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from devloop.core.draft.literals import WIDTH, call, literal
from devloop.core.draft.model import Code, Value

__all__ = ["Block", "merged"]

_NOTHING: Final = Code("None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One decorated function.

    Attributes:
        key: The node's kind and name.
        function: The function's name.
        decorator: The decorator's name.
        positional: Its arguments without a name.
        options: Its arguments with a name.
        comment: What stands behind it.
        parameters: The function's.
        returned: The mapping that the function returns.
        body: Its further statements.
        notes: Lines of comments above it.
        condition: The switch that it depends on; empty for none.
    """

    key: tuple[str, str]
    function: str
    decorator: str
    positional: tuple[Value, ...] = ()
    options: Mapping[str, Value] = field(default_factory=dict)
    comment: str | None = None
    parameters: tuple[str, ...] = ()
    returned: Mapping[str, Value] = field(default_factory=dict)
    body: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    condition: str = ""

    def text(self) -> str:
        """Return the function with its decorator and comments."""
        lines = [*self.notes, self._decorator(), *self._definition()]
        text = "\n".join(lines)
        if self.condition:
            inner = "\n".join(f"    {line}" if line else line for line in text.split("\n"))
            text = f"if {self.condition}:\n\n{inner}"
        return text + "\n"

    def _decorator(self) -> str:
        if not self.positional and not self.options:
            return f"@{self.decorator}"
        behind = f"  # {self.comment}" if self.comment else ""
        text = f"@{call(self.decorator, self.positional, self.options, lead=1)}"
        if "\n" not in text and len(text) + len(behind) > WIDTH:
            return f"# {self.comment}\n{text}"
        return text + behind

    def _definition(self) -> list[str]:
        head = call(f"def {self.function}", tuple(Code(each) for each in self.parameters), lead=5)
        body = list(self.body)
        if self.returned:
            body.append(f"return {literal(self.returned, indent=4, lead=7)}")
        if not body:
            return [f"{head}: ..."]
        return [f"{head}:", *(f"    {line}" for line in body)]


def merged(blocks: Sequence[Block], profiles: Mapping[str, Sequence[Block]]) -> list[Block]:
    """Return the functions that are those of a profile where its switch is on, and the given ones where none is."""
    if not profiles:
        return list(blocks)
    variants = {name: {each.key: each for each in found} for name, found in profiles.items()}
    order = list(dict.fromkeys(each.key for found in (blocks, *profiles.values()) for each in found))
    plain = {each.key: each for each in blocks}
    return [
        block
        for key in order
        for block in _of_node(plain.get(key), {name: variants[name].get(key) for name in variants})
    ]


def _of_node(plain: Block | None, variants: Mapping[str, Block | None]) -> list[Block]:
    different = {name: each for name, each in variants.items() if not _equal(each, plain)}
    if not different:
        return [plain] if plain else []
    present = [each for each in different.values() if each is not None]
    if plain is not None and len(present) == len(different) and all(_alike(plain, each) for each in present):
        return [_switched(plain, {name: each for name, each in different.items() if each is not None})]
    found = [replace(each, condition=_alone(name, different)) for name, each in different.items() if each is not None]
    if plain is not None:
        found.insert(0, replace(plain, condition=" and ".join(f"not {name}" for name in different)))
    return found


def _equal(one: Block | None, other: Block | None) -> bool:
    """Return whether two functions are the same, whatever is noted above them."""
    if one is None or other is None:
        return one is other
    return replace(one, notes=()) == replace(other, notes=())


def _alone(name: str, others: Iterable[str]) -> str:
    """Return the condition for this switch where earlier ones of those that differ are off."""
    before = []
    for other in others:
        if other == name:
            break
        before.append(f"not {other}")
    return " and ".join([name, *before])


def _alike(one: Block, other: Block) -> bool:
    return (len(one.positional), one.body, one.decorator) == (len(other.positional), other.body, other.decorator)


def _switched(plain: Block, variants: Mapping[str, Block]) -> Block:
    positional = tuple(
        _choice(value, {name: each.positional[number] for name, each in variants.items()})
        for number, value in enumerate(plain.positional)
    )
    parameters = dict.fromkeys(name for each in (plain, *variants.values()) for name in each.parameters)
    return replace(
        plain,
        positional=positional,
        options=_choices(plain.options, {name: each.options for name, each in variants.items()}),
        returned=_choices(plain.returned, {name: each.returned for name, each in variants.items()}),
        parameters=tuple(parameters),
    )


def _choices(plain: Mapping[str, Value], variants: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    keys = dict.fromkeys(key for each in (plain, *variants.values()) for key in each)
    return {
        key: _choice(plain.get(key, _NOTHING), {name: each.get(key, _NOTHING) for name, each in variants.items()})
        for key in keys
    }


def _choice(plain: Value, variants: Mapping[str, Value]) -> Value:
    inner = [each for each in variants.values() if isinstance(each, Mapping)]
    if isinstance(plain, Mapping) and len(inner) == len(variants) and all(plain.keys() == e.keys() for e in inner):
        parts = {name: each for name, each in variants.items() if isinstance(each, Mapping)}
        return {key: _choice(plain[key], {name: each[key] for name, each in parts.items()}) for key in plain}
    otherwise = text = literal(plain, lead=-WIDTH * 100)
    for name, value in reversed(list(variants.items())):
        if value != plain:
            text = f"{literal(value, lead=-WIDTH * 100)} if {name} else {text}"
    return plain if text == otherwise else Code(text)
