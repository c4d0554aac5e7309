"""Settings: which source wins, how text becomes a value, and what is said when it cannot."""

from typing import Any, Literal, Optional

import pytest

from devloop.core.graph import bind
from devloop.core.settings import Setting, resolve
from devloop.errors import InputError
from devloop.model import Kind
from tests.core.declaring import at, declared, setting


def settings(
    *parameters: Any, given: dict[str, str] | None = None, environment: dict[str, str] | None = None
) -> tuple[tuple[Setting, ...], list[InputError]]:
    bindings, errors = bind([declared("my_api", Kind.SERVICE, *parameters, line=7)])
    assert errors == []
    return resolve(bindings.values(), given or {}, environment or {})


def value(default: object, text: str, annotation: Any = None) -> object:
    """Return what a setting makes of a text."""
    (found,), errors = settings(setting("x", default, annotation), given={"x": text})
    assert errors == []
    return found.value


def refused(default: object, text: str, annotation: Any = None) -> str:
    """Return what is said of a text that does not fit."""
    _, (error,) = settings(setting("x", default, annotation), given={"x": text})
    assert (error.where, error.hint) == (at(7), "it comes from --set x")
    return str(error).removeprefix("setting `x` of service:my-api cannot be ")


# --- sources ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, (1, "default")),
        ({}, {"DEVLOOP_SET_X": "2"}, (2, "DEVLOOP_SET_X")),
        ({}, {"DEVLOOP_SET_X": "2", "DEVLOOP_SET_MY_API_X": "3"}, (3, "DEVLOOP_SET_MY_API_X")),
        ({"x": "4"}, {"DEVLOOP_SET_MY_API_X": "3"}, (4, "--set x")),
        ({"x": "4", "my-api.x": "5"}, {}, (5, "--set my-api.x")),
        ({"my-api.x": "5", "service:my-api.x": "6"}, {}, (6, "--set service:my-api.x")),
    ],
)
def test_the_nearer_source_wins(
    given: dict[str, str], environment: dict[str, str], expected: tuple[object, str]
) -> None:
    (found,), errors = settings(setting("x", 1), given=given, environment=environment)

    assert ((found.value, found.source), errors) == (expected, [])


def test_a_setting_that_nothing_has_is_told_with_the_nearest_one() -> None:
    _, (error,) = settings(setting("replicas", 1), given={"replcas": "3"})

    assert str(error) == "there is no setting `replcas`"
    assert (error.hint or "").startswith("did you mean `replicas`?")


def test_other_variables_of_the_environment_are_left_alone() -> None:
    _, errors = settings(setting("x", 1), environment={"DEVLOOP_SET_OTHER": "1", "X": "7"})

    assert errors == []


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("default", "annotation", "text", "expected"),
    [
        ("a", None, "b", "b"),
        (None, None, "b", "b"),
        (1, None, "3", 3),
        (1, int, "-3", -3),
        (1.5, None, "2", 2.0),
        (False, None, "true", True),
        (False, None, "On", True),
        (True, None, "0", False),
        (True, None, "", False),
        (True, None, "no", False),
        ([], list[int], "1, 2,3", [1, 2, 3]),
        ((), tuple[str, ...], "a,b", ("a", "b")),
        (["a"], None, "a,b", ["a", "b"]),
        ([], list[str], "", []),
        ("dev", Literal["dev", "prod"], "prod", "prod"),
        (1, Literal[1, 2], "2", 2),
        (None, int | None, "4", 4),
        (None, int | None, "none", None),
        (None, Optional[str], "x", "x"),  # noqa: UP045 - users write it
        (None, int | str, "4", 4),
        (None, int | str, "four", "four"),
        ("a", Any, "b", "b"),
    ],
)
def test_text_becomes_a_value_of_the_settings_type(
    default: object, annotation: Any, text: str, expected: object
) -> None:
    assert value(default, text, annotation) == expected


@pytest.mark.parametrize(
    ("default", "annotation", "text", "expected"),
    [
        (1, None, "three", "`three`: it must be a whole number"),
        (1.5, None, "x", "`x`: it must be a number"),
        (True, None, "maybe", "`maybe`: it must be true or false"),
        ("dev", Literal["dev", "prod"], "test", "`test`: it must be one of `dev`, `prod`"),
        ([], list[int], "1,x", "`1,x`: it must be a whole number"),
        (None, int | None, "x", "`x`: it must be a whole number"),
        ({}, None, "a=1", "`a=1`: settings of type dict cannot be given as text"),
    ],
)
def test_text_that_does_not_fit_is_a_mistake(default: object, annotation: Any, text: str, expected: str) -> None:
    assert refused(default, text, annotation) == expected


def test_a_default_is_taken_as_it_is() -> None:
    (found,), _ = settings(setting("x", {"a": 1}))

    assert (found.value, found.type) == ({"a": 1}, "dict")


@pytest.mark.parametrize(
    ("default", "annotation", "words"),
    [(1, None, "int"), ("a", None, "str"), (None, int | None, "int | None"), ([], list[int], "list[int]")],
)
def test_the_type_is_told_in_words(default: object, annotation: Any, words: str) -> None:
    (found,), _ = settings(setting("x", default, annotation))

    assert found.type == words
