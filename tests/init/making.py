"""Projects in tests of `devloop init`: written from texts, begun, planned."""

import re
import subprocess
import sys
from pathlib import Path

from devloop import testing
from devloop.app.starting import start
from devloop.core.draft import Tree, devfile, draft, notes_of
from devloop.testing import LoadedProject
from devloop.ui.beginnings import Beginning

HERE = Path(__file__).parent
SHAPES = sorted(path.stem for path in (HERE / "projects").glob("*.txt"))
_RUFF = Path(sys.executable).with_name("ruff")


def make(text: str, folder: Path) -> Path:
    """Write a project: `=== path` lines, each followed by the file's text."""
    parts = re.split(r"(?m)^=== (.+)\n", text)
    for path, content in zip(parts[1::2], parts[2::2], strict=True):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return folder


def tree(text: str, name: str = "project") -> Tree:
    """Return a project's files as the core sees them."""
    parts = re.split(r"(?m)^=== (.+)\n", text)
    files = dict(zip(parts[1::2], parts[2::2], strict=True))
    return Tree(name=name, files=tuple(sorted(files)), read=files.get)


def written(text: str) -> str:
    """Return the devfile of a project."""
    return devfile(draft(tree(text)))


def notes(text: str) -> str:
    """Return the notes of a project's devfile, one a line."""
    return "\n".join(notes_of(draft(tree(text))))


def shape(name: str, folder: Path) -> Path:
    """Write one of the projects in `projects/`."""
    return make((HERE / "projects" / f"{name}.txt").read_text(), folder / name)


def begin(text: str, folder: Path, source: str | None = None) -> Beginning:
    """Write a project and its devfile."""
    return start(make(text, folder), source=source)


def planned(folder: Path, *changed: str, **settings: object) -> dict[str, str]:
    """Return what would be done at the first start, or after a change."""
    return actions(testing.load(folder, settings=settings), *changed)


def actions(project: LoadedProject, *changed: str) -> dict[str, str]:
    """Return what would be done in a project: node to action."""
    return {str(step.node): step.action for step in project.plan(changed=changed) if step.action}


def formatted(text: str) -> str:
    """Return the text as ruff leaves it with its own defaults."""
    done = subprocess.run(
        [_RUFF, "format", "--isolated", "--quiet", "-"], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def linted(path: Path) -> str:
    """Return what ruff minds with its own defaults."""
    done = subprocess.run([_RUFF, "check", "--isolated", "--quiet", path], capture_output=True, text=True, check=False)
    return done.stdout
