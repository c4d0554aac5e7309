"""Traces: what differs between what was read then and what is there now."""

from devloop.core.trace import UNSURE, Inputs, Result, Trace, changed_files, reasons
from devloop.model import Digest, Kind, NodeId, RelPath

ONE, TWO = Digest("sha256:1"), Digest("sha256:2")
BASE = NodeId(Kind.IMAGE, "base")


def inputs(files: dict[str, Digest] | None = None, **recipe: Digest) -> Inputs:
    return Inputs(recipe=recipe, files={RelPath(path): digest for path, digest in (files or {}).items()})


def trace(of: Inputs) -> Trace:
    return Trace(inputs=of, result=Result(digest=ONE))


def test_without_a_trace_the_reason_is_that_it_has_not_been_run() -> None:
    assert reasons(None, inputs()) == ("it has not been run yet",)


def test_equal_inputs_are_no_reason() -> None:
    assert reasons(trace(inputs({"a": ONE}, Dockerfile=TWO)), inputs({"a": ONE}, Dockerfile=TWO)) == ()


def test_each_part_that_differs_is_a_reason() -> None:
    old = Inputs(recipe={"Dockerfile": ONE}, files={RelPath("a"): ONE}, results={BASE: ONE})
    new = Inputs(recipe={"Dockerfile": TWO}, files={RelPath("a"): TWO}, results={BASE: TWO})

    assert reasons(trace(old), new) == ("Dockerfile changed", "a changed", "image:base changed")


def test_a_file_that_is_new_or_gone_is_called_so() -> None:
    assert reasons(trace(inputs({"gone": ONE})), inputs({"new": ONE})) == ("gone was deleted", "new is new")


def test_of_many_files_the_first_are_named_and_the_others_counted() -> None:
    many = {f"file-{number}": ONE for number in range(10)}

    assert reasons(trace(inputs()), inputs(many)) == ("file-0 is new", "file-1 is new", "8 more files changed")


def test_three_files_are_all_named() -> None:
    three = {"a": ONE, "b": ONE, "c": ONE}

    assert reasons(trace(inputs()), inputs(three)) == ("a is new", "b is new", "c is new")


def test_changed_files_are_those_that_differ_are_new_or_are_gone() -> None:
    old, new = inputs({"same": ONE, "other": ONE, "gone": ONE}), inputs({"same": ONE, "other": TWO, "new": ONE})

    assert changed_files(old, new) == ("gone", "new", "other")


def test_what_changed_under_a_runs_hands_equals_nothing() -> None:
    read = inputs({"a": ONE, "b": ONE}, Dockerfile=ONE)

    unsure = read.unsure_of(frozenset({RelPath("a"), RelPath("Dockerfile"), RelPath("came-and-went")}))

    assert unsure.files == {"a": UNSURE, "b": ONE, "came-and-went": UNSURE}
    assert unsure.recipe == {"Dockerfile": UNSURE}
    assert reasons(trace(unsure), read) == ("Dockerfile changed", "a changed", "came-and-went was deleted")
