"""The graph drawn: as a tree for people, for Mermaid and Graphviz, and as JSON."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, assert_never

from devloop.model import Kind, NodeId
from devloop.ui.rows import Edge
from devloop.ui.text import cells, clean, pad

__all__ = ["GraphFormat", "graph_text"]


class GraphFormat(StrEnum):
    """How `devloop graph` draws."""

    TREE = "tree"
    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


def graph_text(
    nodes: Sequence[NodeId],
    edges: Sequence[Edge],
    style: GraphFormat | str = GraphFormat.TREE,
    *,
    ascii_only: bool = False,
) -> str:
    """Return the graph's drawing, with its line end.

    Args:
        nodes: All nodes, in order of dependency.
        edges: Who needs whom, and why.
        style: The format.
        ascii_only: Draw the tree without box characters.
    """
    style = GraphFormat(style)
    match style:
        case GraphFormat.TREE:
            lines = _tree(nodes, edges, _ASCII if ascii_only else _BOXES)
        case GraphFormat.MERMAID:
            lines = _mermaid(nodes, edges)
        case GraphFormat.DOT:
            lines = _dot(nodes, edges)
        case GraphFormat.JSON:
            lines = [json.dumps(_json(nodes, edges), indent=2)]
        case _:
            assert_never(style)
    return "".join(f"{line}\n" for line in lines)


_BOXES: Final = ("├── ", "└── ", "│   ", "    ")
_ASCII: Final = ("|-- ", "`-- ", "|   ", "    ")


def _tree(nodes: Sequence[NodeId], edges: Sequence[Edge], boxes: tuple[str, str, str, str]) -> list[str]:
    """Draw from what nothing needs down to what needs nothing; what was drawn before is only named again."""
    needs: Mapping[NodeId, list[Edge]] = defaultdict(list)
    for edge in edges:
        needs[edge.source].append(edge)
    needed = {edge.target for edge in edges}
    drawn: set[NodeId] = set()
    lines: list[tuple[str, str]] = []

    def draw(node: NodeId, reason: str, first: str, rest: str) -> None:
        again = node in drawn and bool(needs[node])
        lines.append((f"{first}{node}", f"{reason} (see above)".strip() if again else reason))
        if again:
            return
        drawn.add(node)
        for number, edge in enumerate(needs[node], 1):
            last = number == len(needs[node])
            branch, space = (boxes[1], boxes[3]) if last else (boxes[0], boxes[2])
            draw(edge.target, clean(", ".join(edge.reasons)), rest + branch, rest + space)

    for node in nodes:
        if node not in needed:
            draw(node, "", "", "")
    width = max((cells(text) for text, reason in lines if reason), default=0)
    return [f"{pad(text, width)}  {reason}" if reason else text for text, reason in lines]


_SHAPES: Final[Mapping[Kind, tuple[str, str, str]]] = {
    Kind.IMAGE: ("[", "]", "box"),
    Kind.SERVICE: ("([", "])", "ellipse"),
    Kind.SYNC: ("[/", "/]", "parallelogram"),
    Kind.TASK: ("{{", "}}", "hexagon"),
    Kind.CHECK: ("{{", "}}", "hexagon"),
}


def _mermaid(nodes: Sequence[NodeId], edges: Sequence[Edge]) -> list[str]:
    names = {node: f"n{number}" for number, node in enumerate(nodes)}
    lines = ["graph LR"]
    for node in nodes:
        opening, closing, _ = _SHAPES[node.kind]
        lines.append(f'  {names[node]}{opening}"{_mermaid_text(str(node))}"{closing}')
    for edge in edges:
        label = f'|"{_mermaid_text(", ".join(edge.reasons))}"|' if edge.reasons else ""
        lines.append(f"  {names[edge.source]} -->{label} {names[edge.target]}")
    return lines


def _mermaid_text(text: str) -> str:
    # `#` begins an entity, `"` ends the text, and backquotes make it Markdown.
    return clean(text).replace("#", "#35;").replace('"', "#quot;").replace("`", "#96;")


def _dot(nodes: Sequence[NodeId], edges: Sequence[Edge]) -> list[str]:
    lines = ["digraph devloop {", "  rankdir=LR;"]
    lines += [f"  {_dot_text(str(node))} [shape={_SHAPES[node.kind][2]}];" for node in nodes]
    for edge in edges:
        label = f" [label={_dot_text(', '.join(edge.reasons))}]" if edge.reasons else ""
        lines.append(f"  {_dot_text(str(edge.source))} -> {_dot_text(str(edge.target))}{label};")
    return [*lines, "}"]


def _dot_text(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _json(nodes: Sequence[NodeId], edges: Sequence[Edge]) -> dict[str, object]:
    return {
        "nodes": [{"id": str(node), "kind": node.kind.value, "name": node.name} for node in nodes],
        "edges": [
            {"source": str(edge.source), "target": str(edge.target), "reasons": list(edge.reasons)} for edge in edges
        ],
    }
