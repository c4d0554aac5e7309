"""The code blocks of the documentation, and how each is to be run.

A comment above a block says what its text cannot:

    <!-- project: PATH -->      the block is the devfile of that folder (a copy of it), and must plan;
                                console lines are run in a copy of that folder, and must print what the block shows
    <!-- needs: cluster -->     run it only where there is a cluster
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.outside import ROOT

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w+-]*)[^\n`]*$")
_COMMENT = re.compile(r"^ *<!-- *(?P<key>\w+): *(?P<value>.*?) *-->$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    comments: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def project(self) -> Path | None:
        """The project folder that its comment names."""
        named = self.comments.get("project")
        return None if named is None else ROOT / named

    @property
    def needs_cluster(self) -> bool:
        """Whether it can only be run where there is a cluster."""
        return self.comments.get("needs") == "cluster"


def pages() -> list[Path]:
    """Return every page of the documentation."""
    return [
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").glob("*/README.md")),
    ]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order."""
    comments: dict[str, str] = {}
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if comment := _COMMENT.match(line):
            comments[comment["key"]] = comment["value"]
        elif fence := _FENCE.match(line):
            indent = len(fence["indent"])
            text = []
            for _, inner in lines:
                if inner.strip() == fence["fence"]:
                    break
                text.append(inner[indent:] + "\n")
            yield Block(page=page, line=number, language=fence["language"], text="".join(text), comments=dict(comments))
            comments = {}
        elif line.strip():
            comments = {}


def all_blocks(language: str) -> list[Block]:
    """Return all blocks of a language."""
    return [block for page in pages() for block in blocks(page) if block.language == language]


def earlier(block: Block) -> list[Block]:
    """Return the blocks of its page that stand before this one, are no devfiles, and need no more than it."""
    return [
        each
        for each in blocks(block.page)
        if each.line < block.line
        and each.language == block.language
        and each.project is None
        and each.needs_cluster <= block.needs_cluster
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One `$` line of a console block, with the output that the block shows for it."""

    line: str
    output: str


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block; a backslash at the end goes on to the next line."""
    found: list[tuple[str, list[str]]] = []
    rows = iter(block.text.splitlines())
    for row in rows:
        if row.startswith("$ "):
            command = row.removeprefix("$ ")
            while command.endswith("\\"):
                command = command[:-1] + next(rows).strip()
            found.append((command, []))
        elif found and row.strip():
            found[-1][1].append(row)
    return [Command(line=line, output="\n".join(shown)) for line, shown in found]
