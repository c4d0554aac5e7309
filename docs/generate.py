# ruff: noqa: INP001 - a script of the project, no part of the package
"""Writes the reference pages that come from the code: `python -m docs.generate`.

With `--check` it only names the pages that are out of date.
"""

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import typer.main

import devloop
from devloop import cli, errors, events
from devloop.errors import DevloopError, Where
from devloop.events import Problem
from devloop.model import Kind, NodeId

REFERENCE: Final = Path(__file__).parent / "reference"


def events_page() -> str:
    """Return the page about the events and their JSON form."""
    parts = [
        "# Events\n",
        _about(events),
        "`devloop up --output json` prints the stream, one event a line; `session.events()` gives it to Python code.\n",
        "Every event has these fields:\n",
        _fields_table(
            [
                ("type", "string", "The event's name, one of those below."),
                ("v", "number", f"The version of the form, now {events.VERSION}."),
                ("seq", "number", "Counts the events of a session from 1."),
                ("at", "number", "Seconds since the Unix epoch."),
                ("node", "string or null", "The node that it is about, as `kind:name`; null for the whole project."),
            ]
        ),
        "Fields may be added within a version; whoever reads events ignores those that it does not know.\n",
    ]
    for event_type in get_args(events.Event):
        parts += [f"## {event_type.__name__}\n", *_type_parts(event_type, without={"seq", "at", "node"})]
        parts += [f"```json\n{json.dumps(events.to_json(_example(event_type)), ensure_ascii=False)}\n```\n"]
    for value_type in (Problem, Where):
        parts += [f"## {value_type.__name__}\n", *_type_parts(value_type, without=set())]
    return "\n".join(parts)


def errors_page() -> str:
    """Return the page about the errors that Python code can catch."""
    parts = ["# Errors\n", _about(errors)]
    for name in errors.__all__:
        error_type = getattr(errors, name)
        if issubclass(error_type, DevloopError):
            code = {errors.InputError: 2, errors.InputErrors: 2, errors.ToolError: 1}.get(error_type)
            ends = f" The command line ends with {code}." if code else ""
            parts += [f"## {name}\n"]
            parts += [f"Is a `{error_type.__base__.__name__}`.{ends}\n"] if error_type is not DevloopError else []
            about, rows = _sections(error_type)
            parts += [about + "\n"]
            parts += [_fields_table([(field, "", text) for field, text in rows.items()])] if rows else []
    return "\n".join(parts)


_ABOUT_COMMANDS: Final = """\
Text for people goes to standard error, data to standard output. Exit codes: 0 fine, 1 something that ran failed, 2 the
input is wrong, 130 interrupted. `NO_COLOR` is respected.
"""

_ABOUT_DEVFILES: Final = """\
A decorated function is a node; its arguments are its edges; its return value feeds the file that the decorator names.
All names are imported from `devloop`.
"""


def cli_page() -> str:
    """Return the page about the commands: what `--help` prints for each."""
    parts = [
        "# Commands\n",
        _ABOUT_COMMANDS,
    ]
    program = typer.main.get_group(cli.app)
    with program.make_context("devloop", [], resilient_parsing=True, terminal_width=100) as top:
        for name in program.commands:
            parts += _command_parts(program.commands[name], top)
    return "\n".join(parts)


def _command_parts(command: Any, parent: Any) -> list[str]:
    """Return the part of a command, and those of its own commands below it."""
    with command.make_context(command.name, [], parent=parent, resilient_parsing=True, terminal_width=100) as context:
        parts = [f"## {context.command_path}\n", f"```text\n{command.get_help(context)}\n```\n"]
        for each in getattr(command, "commands", {}).values():
            parts += _command_parts(each, context)
    return parts


def dsl_page() -> str:
    """Return the page about what a devfile can say."""
    parts = [
        "# Devfile\n",
        _ABOUT_DEVFILES,
    ]
    for title, names in (
        ("Nodes", ("image", "service", "sync", "task", "check")),
        ("Manifests that tools render", ("kustomize", "helm")),
        ("The project", ("project", "setting", "include")),
        ("Rules of a sync", ("copy", "run", "restart", "pull", "ignore")),
        ("Commands in tasks, checks and custom builders", ("sh",)),
    ):
        parts += [f"## {title}\n"]
        for name in names:
            member = getattr(devloop, name)
            about, rows = _sections(member)
            parts += [f"### `{name}`\n", about + "\n"]
            parts += [_fields_table([(field, "", text) for field, text in rows.items()])] if rows else []
    parts += ["## What arguments are\n"]
    for each in (devloop.Image, devloop.Service):
        parts += [f"### `{each.__name__}`\n", (inspect.getdoc(each) or "").split("\n\n")[0] + "\n"]
        members = [
            (name, "", (inspect.getdoc(member) or "").split("\n")[0])
            for name, member in vars(each).items()
            if isinstance(member, property)
        ]
        parts += [_fields_table(members)]
    return "\n".join(parts)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "events.md": events_page,
    "errors.md": errors_page,
    "cli.md": cli_page,
    "dsl.md": dsl_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` only name those that are out of date; return the exit code."""
    REFERENCE.mkdir(exist_ok=True)
    stale = [name for name, page in PAGES.items() if _text(REFERENCE / name) != page()]
    for name in stale:
        sys.stderr.write(f"docs/reference/{name}\n")
        if "--check" not in arguments:
            (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _about(module: object) -> str:
    return (inspect.getdoc(module) or "").replace("```\n", "```text\n", 1) + "\n"


def _type_parts(value_type: type, *, without: set[str]) -> list[str]:
    about, described = _sections(value_type)
    hints = get_type_hints(value_type)
    rows = [
        (field.name, _json_type(hints[field.name]), described.get(field.name, "").replace("None", "null"))
        for field in dataclasses.fields(value_type)
        if field.name not in without
    ]
    return [about + "\n", *([_fields_table(rows)] if rows else [])]


def _sections(documented: type) -> tuple[str, dict[str, str]]:
    """Return a docstring's text, and what its `Attributes:` or `Args:` say of each."""
    about, _, section = re.sub(r"\n(Args|Attributes):\n", "\n\0", inspect.getdoc(documented) or "").partition("\0")
    rows: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if match := re.fullmatch(r" {4}(\w+): (.*)", line):
            name = match[1]
            rows[name] = match[2]
        elif line.strip() and name:
            rows[name] += f" {line.strip()}"
    return about.strip(), rows


def _fields_table(rows: list[tuple[str, str, str]]) -> str:
    typed = any(kind for _, kind, _ in rows)
    head = "| field | type | |\n|---|---|---|\n" if typed else "| field | |\n|---|---|\n"
    lines = (f"| `{name}` | {kind} | {text} |\n" if typed else f"| `{name}` | {text} |\n" for name, kind, text in rows)
    return head + "".join(lines)


_NAMES: Final[Mapping[object, str]] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "true or false",
    NoneType: "null",
    NodeId: "string",
    Problem: "[problem](#problem)",
    Where: "[where](#where)",
}


def _json_type(hint: object) -> str:
    if hint in _NAMES:
        return _NAMES[hint]
    if get_origin(hint) in {UnionType, Union}:
        return " or ".join(map(_json_type, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"list of {_json_type(get_args(hint)[0])}"
    message = f"no word for {hint!r}"
    raise TypeError(message)


_WHERE: Final = Where(path="api/Dockerfile", line=3, text="RUN pip install -r requirements.txt")
_PROBLEM: Final = Problem(
    message="step `[3/4]` failed with exit code 1", where=_WHERE, tail=("No matching distribution",)
)
_EXAMPLES: Final[Mapping[str, object]] = {
    "node": NodeId(Kind.SERVICE, "api"),
    "nodes": (NodeId(Kind.IMAGE, "api"), NodeId(Kind.SERVICE, "api")),
    "failed": (NodeId(Kind.IMAGE, "api"),),
    "project": "shop",
    "target": "docker-desktop/default",
    "seconds": 1.25,
    "problems": (_PROBLEM,),
    "problem": _PROBLEM,
    "paths": ("api/src/main.py",),
    "count": 1,
    "action": "build",
    "reasons": ("api/src/main.py changed",),
    "reason": "waits for image `api`",
    "run": 7,
    "message": "[3/4] RUN pip install -r requirements.txt",
    "step": 3,
    "steps": 4,
    "line": "Collecting fastapi",
    "summary": "api:dev-3f2a9c81d0e4",
    "changed": True,
    "pod": "api-7d9f8c-x7k2p",
    "status": "Running",
    "ready": True,
    "restarts": 0,
    "container": "api",
    "time": "2026-11-23T08:35:00.000000000Z",
    "previous": False,
    "local": 8000,
    "remote": "80",
    "url": "http://localhost:8000",
    "hint": "copy it by a sync to be faster",
    "ok": False,
    "exit_code": 0,
    "seq": 12,
    "at": 1795422900.5,
}
_GLOBAL: Final = frozenset({"ProjectLoaded", "ProjectRejected", "FilesChanged", "Noted", "Settled", "Stopped"})
_OWN: Final[Mapping[str, Mapping[str, object]]] = {
    "Skipped": {"reason": "no input changed"},
    "RunCancelled": {"reason": "api/src/main.py changed"},
    "Stopped": {"reason": "interrupted"},
    "Noted": {"message": "no sync covers `api/notes.txt`: image `api` is rebuilt"},
    "PortClosed": {"problem": Problem(message="local port 8000 is taken by `python` (pid 812)")},
}


def _example(event_type: type) -> events.Event:
    names = [field.name for field in dataclasses.fields(event_type)]
    values = {name: _EXAMPLES[name] for name in names} | dict(_OWN.get(event_type.__name__, {}))
    if event_type.__name__ in _GLOBAL:
        values["node"] = None
    example: events.Event = event_type(**values)
    return example


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
