"""What `devloop graph --inputs` and `devloop why` tell of files: who reads what, and which line says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from devloop.errors import Where
from devloop.model import NodeId
from devloop.ui.rows import Decision
from devloop.ui.tables import table
from devloop.ui.text import clean, crop

__all__ = [
    "InputRow",
    "LeftOutRow",
    "NodeInputs",
    "PathRow",
    "PathUse",
    "causes_text",
    "inputs_text",
    "path_text",
    "place_lines",
    "with_causes",
]

_EXAMPLES = 3
_TEXT = 100
"""Columns of a line's text that are enough to know it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRow:
    """Something that a node reads.

    Attributes:
        name: A path; or a node, a setting with its value, a variable, a build argument.
        kind: `file`, `definition`, `node`, `setting`, `variable` or `argument`.
        places: The lines that bring it, with their text.
        destinations: Where a synced file goes in the containers.
    """

    name: str
    kind: str
    places: Sequence[Where] = ()
    destinations: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutRow:
    """Files that instructions name and that a `.dockerignore` keeps out; what ends with a slash is all of a folder."""

    place: Where
    paths: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInputs:
    """All that a node reads.

    Attributes:
        node: The node.
        inputs: What it reads: definitions, nodes and arguments first, then the files by name.
        left_out: What is kept out, by the line that does it.
        unknown: What cannot be known of its inputs, and what is assumed instead; the text says what.
    """

    node: NodeId
    inputs: Sequence[InputRow]
    left_out: Sequence[LeftOutRow] = ()
    unknown: Sequence[Where] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathUse:
    """What one node has to do with a path.

    Attributes:
        node: The node; None for the project as a whole.
        role: `input`, `definition`, `sync`, `left out` or `not read`.
        summary: The same in words, for example `builds with it`.
        places: The lines that say so, with their text.
        destinations: Where the file is in the image, or in the containers.
        effects: What a change of it leads to, and what is uncertain.
    """

    node: NodeId | None
    role: str
    summary: str
    places: Sequence[Where] = ()
    destinations: Sequence[str] = ()
    effects: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRow:
    """What becomes of a file or folder."""

    path: str
    uses: Sequence[PathUse]


def inputs_text(found: NodeInputs, *, width: int | None = None) -> str:
    """Return the inputs in columns, then what is left out and by which line, then what cannot be known."""
    parts = [_inputs_table(found, width)]
    if found.left_out:
        ignored = [(_some(row.paths), str(row.place), _text(row.place)) for row in found.left_out]
        parts.append(table(("LEFT OUT", "LINE", "TEXT"), ignored, width=width))
    if found.unknown:
        unknown = [(str(place), _text(place)) for place in found.unknown]
        parts.append(table(("LINE", "NOT KNOWN"), unknown, width=width))
    return "\n".join(parts)


def causes_text(causes: Sequence[InputRow]) -> str:
    """Return for each file that led to a decision the lines that bring it into the node."""
    lines = []
    for cause in causes:
        lines += [f"  {clean(cause.name)} comes by {line.strip()}" for line in place_lines(cause.places)]
    return "".join(f"{line}\n" for line in lines)


def with_causes(decision: Decision, causes: Sequence[InputRow]) -> dict[str, object]:
    """Return a decision and its causes as one mapping, for `--output json`."""
    return {**{each.name: getattr(decision, each.name) for each in fields(decision)}, "causes": causes}


def path_text(row: PathRow) -> str:
    """Return what becomes of a path, node by node."""
    blocks = []
    for use in row.uses:
        lines = [f"{clean(row.path)}: {f'{use.node} ' if use.node else ''}{clean(use.summary)}"]
        lines += place_lines(use.places)
        lines += [f"  it lands at {', '.join(map(clean, use.destinations))}"] if use.destinations else []
        lines += [f"  {clean(effect)}" for effect in use.effects]
        blocks.append("".join(f"{line}\n" for line in lines))
    return "\n".join(blocks)


def place_lines(places: Iterable[Where]) -> list[str]:
    """Return a line for each place: where it is, and what stands there."""
    return [f"  {place}  {_text(place)}".rstrip() for place in places]


def _inputs_table(found: NodeInputs, width: int | None) -> str:
    if not found.inputs:
        return f"{found.node} reads nothing\n"
    if not any(row.destinations for row in found.inputs):
        return table(("INPUT", "LINE", "TEXT"), [cells for row in found.inputs for cells in _cells(row)], width=width)
    lines = []
    for row in found.inputs:
        goes_to = [", ".join(row.destinations), *("" for _ in row.places[1:])]
        lines += [(name, to, *rest) for to, (name, *rest) in zip(goes_to, _cells(row), strict=True)]
    return table(("INPUT", "GOES TO", "LINE", "TEXT"), lines, width=width)


def _cells(row: InputRow) -> Iterable[tuple[str, str, str]]:
    first, *more = row.places or (None,)
    yield row.name, str(first or ""), _text(first)
    for place in more:
        yield "", str(place), _text(place)


def _text(place: Where | None) -> str:
    return crop(clean(place.text.strip()), _TEXT) if place is not None and place.text else ""


def _some(paths: Sequence[str]) -> str:
    more = len(paths) - _EXAMPLES
    shown = paths if more <= 0 else paths[:_EXAMPLES]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
