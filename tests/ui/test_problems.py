import io

from devloop.errors import DevloopError, InputError, InputErrors, ToolError, Where
from devloop.events import Problem
from devloop.ui.problems import error_lines, print_error, problem_lines
from devloop.ui.text import clean

MISSPELT = InputError(
    "`web` needs `apii`, which is not declared",
    where=Where(path="devfile.py", line=14, text="web(apii)"),
    hint="did you mean `api`? declared: `api`, `db`",
)


def printed(error: DevloopError, *, colour: bool = False) -> str:
    stream = io.StringIO()
    print_error(error, stream, colour=colour)
    return stream.getvalue()


def test_a_mistake_is_told_as_the_style_says() -> None:
    assert printed(MISSPELT) == (
        "error: `web` needs `apii`, which is not declared\n"
        "  devfile.py:14  web(apii)\n"
        "hint: did you mean `api`? declared: `api`, `db`\n"
    )


def test_mistakes_found_together_are_told_together() -> None:
    error = InputErrors([InputError("one"), InputError("two", where=Where(path="k8s/api.yaml", line=3, column=5))])
    assert printed(error) == "error: one\n\nerror: two\n  k8s/api.yaml:3:5\n"


def test_the_chain_comes_before_the_last_output_and_the_hint_last() -> None:
    problem = Problem(
        message="step `RUN make` failed",
        where=Where(path="api/Dockerfile", line=3, text="RUN make"),
        chain=(Where(path="devfile.py", line=9, text="api_image()"),),
        tail=("cc main.c", "main.c:1: error"),
        hint="mend it",
    )
    assert problem_lines(problem) == [
        "error: step `RUN make` failed",
        "  api/Dockerfile:3  RUN make",
        "  devfile.py:9  api_image()",
        "  | cc main.c",
        "  | main.c:1: error",
        "hint: mend it",
    ]


def test_a_tool_that_said_nothing_is_named_with_its_command() -> None:
    error = ToolError("`docker` could not be started", command=("docker", "ps", "--filter", "name=a b"))
    assert error_lines(error) == ["error: `docker` could not be started", "  $ docker ps --filter 'name=a b'"]


def test_of_much_output_the_end_is_shown_and_the_rest_counted() -> None:
    lines = problem_lines(Problem(message="failed", tail=tuple(f"line {number}" for number in range(100))))
    assert lines[1] == "  | (60 lines more above)"
    assert lines[2] == "  | line 60"
    assert lines[-1] == "  | line 99"


def test_further_lines_of_a_message_and_a_hint_are_indented() -> None:
    assert problem_lines(Problem(message="cycle:\na -> b", hint="either\nor")) == [
        "error: cycle:",
        "  a -> b",
        "hint: either",
        "      or",
    ]


def test_colour_adds_nothing_but_colour() -> None:
    coloured = printed(MISSPELT, colour=True)
    assert "\x1b[1;31merror:\x1b[0m" in coloured
    assert [clean(line) for line in coloured.splitlines()] == printed(MISSPELT).splitlines()


def test_output_of_a_failed_tool_cannot_move_the_cursor() -> None:
    assert problem_lines(Problem(message="a\x1b[2Jb", tail=("x\x1b[Ay",))) == ["error: ab", "  | xy"]


def test_any_other_error_is_told_by_its_sentence() -> None:
    assert printed(DevloopError("the state folder cannot be written")) == "error: the state folder cannot be written\n"
