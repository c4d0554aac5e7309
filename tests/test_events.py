"""Each event's JSON form is pinned: programs read it."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from devloop import events
from devloop.errors import InputError, InputErrors, ToolError, Where
from devloop.events import Event, Problem, from_json, problems, to_json
from docs.generate import PAGES, REFERENCE
from tests.ui.story import story

_HEAD = {"v": 1, "seq": 12, "at": 1795422900.5}
_PROBLEM = {
    "message": "step `[3/4]` failed with exit code 1",
    "where": {
        "path": "api/Dockerfile",
        "line": 3,
        "column": None,
        "text": "RUN pip install -r requirements.txt",
    },
    "chain": [{"path": "devfile.py", "line": 9, "column": 1, "text": None}],
    "hint": "mend it",
    "tail": ["No matching distribution"],
    "command": ["docker", "buildx", "build"],
}
GOLDEN: list[dict[str, Any]] = [
    {
        "type": "ProjectLoaded",
        "node": None,
        "project": "shop",
        "target": "docker-desktop/default",
        "nodes": ["image:api", "service:api", "sync:code", "task:seed", "check:smoke"],
        "seconds": 0.25,
    },
    {"type": "ProjectRejected", "node": "service:api", "problems": [_PROBLEM]},
    {"type": "FilesChanged", "node": None, "paths": ["api/main.py", "../lib/a.py"], "count": 2},
    {"type": "Planned", "node": "image:api", "action": "build", "reasons": ["api/main.py changed"]},
    {"type": "Held", "node": "service:api", "reason": "waits for image `api`"},
    {"type": "Skipped", "node": "image:api", "reason": "no input changed"},
    {"type": "RunStarted", "node": "image:api", "run": 7, "action": "build", "reasons": ["api/main.py changed"]},
    {"type": "RunProgressed", "node": "image:api", "run": 7, "message": "COPY . .", "step": 3, "steps": 4},
    {"type": "RunOutput", "node": "image:api", "run": 7, "line": "\x1b[32mCollecting\x1b[0m ünïcode \ufffd"},
    {
        "type": "RunSucceeded",
        "node": "image:api",
        "run": 7,
        "action": "build",
        "seconds": 1.5,
        "summary": "api:dev-0123456789ab",
        "changed": False,
    },
    {
        "type": "RunFailed",
        "node": "image:api",
        "run": 7,
        "action": "build",
        "seconds": 1.5,
        "problems": [_PROBLEM],
    },
    {
        "type": "RunCancelled",
        "node": "image:api",
        "run": 7,
        "action": "build",
        "seconds": 1.5,
        "reason": "api/main.py changed",
    },
    {"type": "PodChanged", "node": "service:api", "pod": "api-1", "status": "Running", "ready": True, "restarts": 2},
    {
        "type": "PodOutput",
        "node": "service:api",
        "pod": "api-1",
        "container": "api",
        "line": "hello",
        "time": "2026-11-23T08:35:00.000000001Z",
        "previous": True,
    },
    {
        "type": "PortOpened",
        "node": "service:api",
        "local": 8000,
        "remote": "http",
        "url": "http://localhost:8000",
    },
    {"type": "PortClosed", "node": "service:api", "local": 8000, "problem": _PROBLEM},
    {"type": "Noted", "node": None, "message": "files are polled", "hint": None},
    {"type": "Settled", "node": None, "ok": False, "failed": ["image:api"], "seconds": 2.5},
    {"type": "Stopped", "node": None, "reason": "interrupted", "exit_code": 130},
]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["type"])
def test_the_json_form_of_an_event_is_as_promised(golden: dict[str, Any]) -> None:
    promised = {"type": golden["type"], **_HEAD, **golden}
    assert to_json(from_json(promised)) == promised


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["type"])
def test_an_event_names_every_field_in_its_json_form(golden: dict[str, Any]) -> None:
    event_type = getattr(events, golden["type"])
    assert {each.name for each in dataclasses.fields(event_type)} | {"type", "v"} == {"type", *_HEAD, *golden}


def test_every_event_is_pinned() -> None:
    assert [each.__name__ for each in get_args(Event)] == [golden["type"] for golden in GOLDEN]


def test_every_event_is_public() -> None:
    assert {each.__name__ for each in get_args(Event)} <= set(events.__all__)


def test_type_and_version_come_first() -> None:
    assert list(to_json(events.Stopped(reason="done", exit_code=0)))[:4] == ["type", "v", "seq", "at"]


def test_a_whole_session_survives_json() -> None:
    recorded = [json.dumps(to_json(event)) for event in story()]
    assert tuple(from_json(json.loads(line)) for line in recorded) == story()


def test_a_recording_from_before_a_field_was_added_can_be_read() -> None:
    data = to_json(events.PodChanged(pod="api-1", status="Running", ready=True))
    del data["restarts"]
    assert from_json(data) == events.PodChanged(pod="api-1", status="Running", ready=True, restarts=0)


@pytest.mark.parametrize("data", [{"type": "Stopped", "v": 2}, {"type": "Exploded", "v": 1}, {"type": "Stopped"}, {}])
def test_another_version_or_type_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an event of version 1"):
        from_json(data)


def test_events_cannot_be_changed() -> None:
    event: Any = events.Stopped(reason="done", exit_code=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.reason = "other"


def test_an_error_group_has_a_problem_for_each_mistake() -> None:
    place = Where(path="devfile.py", line=3)
    error = InputErrors([InputError("one", where=place, hint="mend it"), InputError("two", chain=(place,))])
    assert problems(error) == (
        Problem(message="one", where=place, hint="mend it"),
        Problem(message="two", chain=(place,)),
    )


def test_a_tools_failure_keeps_command_output_and_hint() -> None:
    error = ToolError("`docker` failed", command=("docker", "ps"), exit_code=1, tail=("denied",), hint="ask")
    assert problems(error) == (
        Problem(message="`docker` failed", command=("docker", "ps"), tail=("denied",), hint="ask"),
    )


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name](), "run `python -m docs.generate`"


def test_the_examples_of_the_reference_page_are_events() -> None:
    page = Path(REFERENCE / "events.md").read_text(encoding="utf-8")
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)]
    assert [type(from_json(example)).__name__ for example in examples] == [golden["type"] for golden in GOLDEN]


def test_every_field_is_described_in_the_reference_page() -> None:
    page = Path(REFERENCE / "events.md").read_text(encoding="utf-8")
    assert not re.findall(r"^\| `\w+` \| [^|]* \| +\|$", page, re.MULTILINE)
