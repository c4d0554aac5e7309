"""What `devloop init` tells: what it wrote, what it left to the reader, what comes next."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from devloop.events import Problem

__all__ = ["Beginning", "beginning_lines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A devfile that was written, or could be.

    Attributes:
        devfile: Its text.
        files: The other files that belong to it: path to text.
        written: What was written.
        kept: Files that were there already and stay as they are.
        nodes: How many nodes of each kind it declares.
        notes: What its comments say was not carried over, or is for the reader to decide.
        problems: What is wrong with the project's files.
    """

    devfile: str
    files: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    nodes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def beginning_lines(beginning: Beginning) -> Iterator[str]:
    """Yield the lines for people."""
    for path in beginning.written:
        declares = f": {_counted(beginning.nodes)}" if path == beginning.written[0] else ""
        yield f"wrote {path}{declares}"
    for path in beginning.kept:
        yield f"kept {path}, which was there already"
    if not beginning.written:
        yield from (f"would write {path}, too" for path in beginning.files if path not in beginning.kept)
    if number := len(beginning.notes):
        comments = "comment says" if number == 1 else "comments say"
        yield f"{number} {comments} what was not carried over or is left to you, and why"
    if beginning.written and not beginning.problems:
        yield "next: `devloop plan` shows what would run, `devloop up` runs it"


def _counted(nodes: Mapping[str, int]) -> str:
    texts = [f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in nodes.items()]
    return ", ".join(texts) or "nothing"
