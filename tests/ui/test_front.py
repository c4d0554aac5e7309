import io
import subprocess
import sys

import pytest

from devloop.ui.console import ConsoleFront
from devloop.ui.front import Output, choose_front
from devloop.ui.lines import JsonFront, PlainFront
from tests.outside import ROOT

XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("output", "terminal", "env", "front_type"),
    [
        ("auto", True, XTERM, ConsoleFront),
        ("auto", False, XTERM, PlainFront),
        ("auto", True, {"TERM": "dumb"}, PlainFront),
        ("auto", True, {}, PlainFront),
        ("auto", True, {**XTERM, "NO_COLOR": "1"}, ConsoleFront),
        ("live", True, XTERM, ConsoleFront),
        ("live", False, XTERM, PlainFront),
        ("plain", True, XTERM, PlainFront),
        ("json", True, XTERM, JsonFront),
        (Output.JSON, False, {}, JsonFront),
    ],
)
def test_the_front_suits_where_the_output_goes(
    output: str, terminal: bool, env: dict[str, str], front_type: type[object]
) -> None:
    assert type(choose_front(output, stderr_is_terminal=terminal, env=env)) is front_type


def test_an_unknown_output_is_refused() -> None:
    with pytest.raises(ValueError, match="colourful"):
        choose_front("colourful", stderr_is_terminal=True, env={})


@pytest.mark.anyio
async def test_json_goes_to_standard_output_and_text_for_people_to_standard_error() -> None:
    from tests.ui.story import story, told

    for output in ("json", "plain"):
        stdout, stderr = io.StringIO(), io.StringIO()
        front = choose_front(output, stderr_is_terminal=False, env={}, stdout=stdout, stderr=stderr)
        await front.run(told(story()))
        assert bool(stdout.getvalue()) is (output == "json")
        assert bool(stderr.getvalue()) is (output == "plain")


def test_only_the_live_view_needs_rich() -> None:
    modules = "devloop.ui.front, devloop.ui.tables, devloop.ui.drawings, devloop.ui.problems"
    code = f"import sys, {modules}; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
