"""Rendering: what comes out, what was read, which line made which, and how mistakes are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.template import Rendered, mistakes, render
from devloop.errors import InputError, Where

_MAIN = "k8s/main.j2"


@dataclass(frozen=True)
class _Image:
    image: str = "api:1"

    def __str__(self) -> str:
        return self.image

    def broken(self) -> None:
        message = "not today"
        raise KeyError(message)


_VARIABLES: Mapping[str, Any] = {"replicas": 3, "api": _Image(), "labels": {"tier": "web"}, "flag": False}


def _render(text: str, files: Mapping[str, str] | None = None, **variables: Any) -> Rendered:
    every = {_MAIN: text, **(files or {})}
    return render(_MAIN, variables or _VARIABLES, every.get)


def _error(text: str, files: Mapping[str, str] | None = None, **variables: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        _render(text, files, **variables)
    return caught.value


def _place(error: InputError) -> str:
    assert error.where is not None
    return _line(error.where)


def _line(where: Where) -> str:
    return f"{where.path}:{where.line}"


# --- what comes out ----------------------------------------------------------------------------------------


def test_values_render_as_their_text_and_blocks_leave_no_blank_lines() -> None:
    text = "a: {{ api }}\n{% if replicas > 1 %}\n  b: {{ replicas }}\n{% endif %}\nc: '<&>'\n"
    assert _render(text).text == "a: api:1\n  b: 3\nc: '<&>'\n"


def test_the_filters_write_yaml_base64_and_quoted_text() -> None:
    variables: dict[str, Any] = {"value": {"a": [1, "on"], "image": _Image()}, "text_": 'a "b" é'}
    assert _render("x:\n  {{ value | toyaml | indent(2) }}\n", **variables).text == (
        "x:\n  a:\n  - 1\n  - 'on'\n  image: api:1\n"
    )
    assert _render("{{ text_ | quote }}", **variables).text == '"a \\"b\\" é"'
    assert _render("{{ text_ | b64encode }}", **variables).text == "YSAiYiIgw6k="
    assert _render("{{ value | tojson }}", **variables).text == '{"a": [1, "on"], "image": "api:1"}'
    assert _render("{{ 'on' | toyaml }} {{ none | toyaml }} {{ 3 | toyaml }}", **variables).text == "'on' null 3"


def test_includes_are_found_beside_the_including_file_first_and_then_from_the_root() -> None:
    files = {"k8s/_a.j2": "near", "_a.j2": "far", "lib/_b.j2": "root {% include '_c.j2' %}", "lib/_c.j2": "beside"}
    rendered = _render("{% include '_a.j2' %} {% include 'lib/_b.j2' %} {% include '../lib/_c.j2' %}", files)
    assert rendered.text == "near root beside beside"
    assert rendered.reads == (_MAIN, "k8s/_a.j2", "lib/_b.j2", "lib/_c.j2")
    assert rendered.missing == ("k8s/lib/_b.j2",)


def test_a_leading_slash_means_the_root() -> None:
    assert _render("{% include '/_a.j2' %}", {"k8s/_a.j2": "near", "_a.j2": "root"}).text == "root"


def test_inheritance_imports_and_optional_includes_work() -> None:
    files = {
        "k8s/base.j2": "{% block head %}base{% endblock %} {% block body %}{% endblock %}",
        "k8s/m.j2": "{% macro f(x) %}<{{ x }}>{% endmacro %}",
    }
    text = (
        "{% extends 'base.j2' %}{% from 'm.j2' import f %}"
        "{% block body %}{{ super() }}{{ f(replicas) }}{% include 'no.j2' ignore missing %}"
        "{% include ['no.j2', 'm.j2'] %}{% endblock %}"
    )
    rendered = _render(text, files)
    assert rendered.text == "base <3>"
    assert rendered.reads == (_MAIN, "k8s/base.j2", "k8s/m.j2")
    assert rendered.missing == ("k8s/no.j2", "no.j2")


def test_every_file_is_loaded_once_and_anew_in_each_render() -> None:
    loads: list[str] = []

    def load(path: str) -> str | None:
        loads.append(path)
        return {"a": "{% include 'b' %}{% include 'b' %}", "b": str(loads.count("b"))}.get(path)

    assert [render("a", {}, load).text, render("a", {}, load).text] == ["11", "22"]


def test_the_same_variables_render_the_same_text() -> None:
    assert "`lipsum` is not defined" in _error("{{ lipsum() }}").message


# --- which line made which ---------------------------------------------------------------------------------


def test_every_rendered_line_knows_the_template_line_that_made_it() -> None:
    text = (
        "{# a comment\n   of two lines #}\n"
        "kind: x\n"
        "{% for port in [1, 2] %}\n"
        "- port: {{ port }}\n"
        "  name: p\n"
        "{% endfor %}\n"
        "{% include '_labels.j2' %}\n"
        "{{ labels | toyaml }}\n"
        "last: true\n"
    )
    rendered = _render(text, {"k8s/_labels.j2": "{% if true %}\nlabels:\n  a: {{ replicas }}\n{% endif %}\n"})
    lines = [line.strip() for line in rendered.text.split("\n")]
    places = [f"{where.path}:{where.line}" if where else None for where in rendered.lines]
    assert [(line, place) for line, place in zip(lines, places, strict=True) if line] == [
        ("kind: x", "k8s/main.j2:3"),
        ("- port: 1", "k8s/main.j2:5"),
        ("name: p", "k8s/main.j2:6"),
        ("- port: 2", "k8s/main.j2:5"),
        ("name: p", "k8s/main.j2:6"),
        ("labels:", "k8s/_labels.j2:2"),
        ("a: 3", "k8s/_labels.j2:3"),
        ("tier: web", "k8s/main.j2:9"),
        ("last: true", "k8s/main.j2:10"),
    ]


def test_lines_of_blocks_and_parents_are_known_too() -> None:
    rendered = _render(
        "{% extends 'base.j2' %}\n{% block b %}\nmine\n{% endblock %}\n",
        {"k8s/base.j2": "top\n{% block b %}{% endblock %}\nend\n"},
    )
    assert [str(where) for where in rendered.lines[:3]] == ["k8s/base.j2:1", "k8s/main.j2:3", "k8s/base.j2:3"]


@given(
    st.lists(
        st.sampled_from(["a\n", "{{ x }}", "{% if x %}", "{% endif %}", "\n", "{{ y }}\n", "  ", "é\u2028"]),
        max_size=12,
    )
)
def test_there_is_a_place_for_every_line(parts: list[str]) -> None:
    try:
        rendered = _render("".join(parts), x="1", y="two\nlines")
    except InputError:
        return
    assert len(rendered.lines) == rendered.text.count("\n") + 1


# --- mistakes ----------------------------------------------------------------------------------------------


def test_a_missing_template_is_named() -> None:
    with pytest.raises(InputError, match=r"the template `a\.j2` does not exist"):
        render("a.j2", {}, lambda _: None)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{{ repliccas }}", "`repliccas` is not defined", "did you mean `replicas`?"),
        ("{{ zzz }}", "`zzz` is not defined", "the template gets `api`, `flag`, `labels`, `replicas`"),
        ("{{ api.imag }}", "`api` has no `imag`", "did you mean `image`?"),
        ("{{ labels.teir }}", "`labels` has no `teir`", "did you mean `tier`?"),
        ("{{ labels['zzz'] }}", "`labels` has no `zzz`", "it has `tier`"),
        ("{{ api.zzz.more }}", "`api` has no `zzz`", "it has `broken`, `image`"),
        ("{{ [1][5] }}", "the list has no element `5`", None),
        ("{% include zzz %}", "`zzz` is not defined", "the template gets `api`, `flag`, `labels`, `replicas`"),
    ],
)
def test_an_undefined_name_has_place_and_suggestion(text: str, message: str, hint: str | None) -> None:
    error = _error(f"a: 1\n{text}\n")
    assert (error.message, error.hint, _place(error)) == (message, hint, "k8s/main.j2:2")
    assert error.where is not None
    assert error.where.text == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ 1 / 0 }}", "the template fails here: ZeroDivisionError: division by zero"),
        ("{{ api.broken() }}", "the template fails here: KeyError: 'not today'"),
        ("{{ 'a' + 1 }}", "the template fails here: TypeError: "),
        ("{{ ''.__class__.__mro__ }}", "the template fails here: SecurityError: "),
        ("{{ range(1000000) }}", "the template fails here: OverflowError: "),
        ("{% import 'm.j2' as m %}{{ m.g() }}", "`m` has no `g`"),
        ("{% from 'm.j2' import g %}{{ g() }}", "does not export the requested name `g`"),
        ("{% include 'self.j2' %}", "the template never ends"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "the template never ends"),
    ],
)
def test_whatever_fails_in_a_template_has_its_place(text: str, message: str) -> None:
    files = {"k8s/m.j2": "{% macro f() %}{% endmacro %}", "k8s/self.j2": "{% include 'self.j2' %}"}
    error = _error(f"\n\n{text}", files)
    assert message in error.message
    assert "k8s/main.j2:3" in [_place(error), *map(_line, error.chain)]


def test_a_mistake_in_an_included_file_names_that_file_and_who_includes_it() -> None:
    files = {"k8s/a.j2": "\n{% include 'b.j2' %}", "k8s/b.j2": "x\n{{ zzz }}\n"}
    error = _error("{% include 'a.j2' %}", files)
    assert [_place(error), *map(_line, error.chain)] == ["k8s/b.j2:2", "k8s/a.j2:2", "k8s/main.j2:1"]


def test_a_syntax_error_in_an_included_file_names_that_file_and_who_includes_it() -> None:
    error = _error("\n{% include 'a.j2' %}", {"k8s/a.j2": "x\n{% nope %}\n"})
    assert error.message == "template syntax: encountered unknown tag `nope`"
    assert [_place(error), *map(_line, error.chain)] == ["k8s/a.j2:2", "k8s/main.j2:2"]


def test_an_unknown_filter_or_test_gets_a_suggestion() -> None:
    error = _error("\n{{ replicas | toyml }}")
    assert (error.message, error.hint, _place(error)) == (
        "template syntax: no filter named `toyml`",
        "did you mean `toyaml`?",
        "k8s/main.j2:2",
    )
    assert _error("{{ replicas is define }}").hint == "did you mean `defined`?"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("labels", "did you mean `k8s/_labels.j2`?"),
        ("_labels", "did you mean `k8s/_labels.j2`?"),
        ("parts/_labels.j2", "did you mean `k8s/_labels.j2`?"),
        ("zzz", "names are relative to the including file, or to the project's root"),
    ],
)
def test_a_missing_include_has_place_and_suggestion(name: str, hint: str) -> None:
    error = _error(f"\n{{% include '{name}' %}}", {"k8s/_labels.j2": ""})
    assert error.message == f"no template `k8s/{name}` or `{name}`"
    assert (error.hint, _place(error)) == (hint, "k8s/main.j2:2")


def test_mistakes_that_reading_a_file_raises_pass_through() -> None:
    mine = InputError("not UTF-8")

    def load(path: str) -> str | None:
        if path == "a":
            return "{% include 'b' %}"
        raise mine

    with pytest.raises(InputError) as caught:
        render("a", {}, load)
    assert caught.value is mine


# --- mistakes that the text shows ---------------------------------------------------------------------------


def _mistakes(text: str, files: Mapping[str, str] | None = None) -> list[str]:
    found = mistakes(_MAIN, _VARIABLES.keys(), {_MAIN: text, **(files or {})}.get)
    return [f"{_place(error)}: {error.message}" for error in found]


def test_all_mistakes_that_the_text_shows_are_told_together() -> None:
    text = (
        "{{ repliccas }}\n{{ api.x }}{{ zzz }}\n{{ repliccas }}\n"
        "{% include 'a.j2' %}\n{% include 'no' %}\n{{ maybe | d(1) }}"
    )
    files = {"k8s/a.j2": "\n{{ yyy }}\n{% include 'b.j2' %}", "k8s/b.j2": "{% if %}"}
    assert _mistakes(text, files) == [
        "k8s/main.j2:1: `repliccas` is not defined",
        "k8s/main.j2:2: `zzz` is not defined",
        "k8s/a.j2:2: `yyy` is not defined",
        "k8s/b.j2:1: template syntax: expected an expression, got `end of statement block`",
        "k8s/main.j2:5: no template `k8s/no` or `no`",
    ]


def test_a_mistake_in_an_included_file_has_the_chain_and_a_suggestion() -> None:
    files = {_MAIN: "\n{% include 'a.j2' %}", "k8s/a.j2": "{{ replica }}"}
    (error,) = mistakes(_MAIN, ["replicas"], files.get)
    assert (error.hint, list(map(_line, error.chain))) == ("did you mean `replicas`?", ["k8s/main.j2:2"])


def test_what_the_including_template_sets_is_no_mistake_of_the_included_one() -> None:
    files = {
        "k8s/a.j2": "{{ x }}{% include 'main.j2' %}",
        "k8s/base.j2": "{{ title }}{% block b %}{% endblock %}",
        "k8s/m.j2": "{% macro f() %}{{ unknown }}{% endmacro %}",
    }
    assert _mistakes("{% extends 'base.j2' %}{% set title = 1 %}", files) == []
    assert _mistakes("{% set x = 1 %}{% include 'a.j2' %}", files) == []
    assert _mistakes("{% import 'm.j2' as m %}{% include 'none' ignore missing %}{% include api %}", files) == []


def test_a_template_without_mistakes_renders() -> None:
    text = "{% for x in [1] %}{{ x }}{{ replicas }}{% endfor %}{{ labels.tier }}{% if flag %}{{ api }}{% endif %}"
    assert _mistakes(text) == []
    assert _render(text).text == "13web"


_parts = st.sampled_from(
    [
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "a",
        ".b",
        "if a",
        "endif",
        "for x in a",
        "endfor",
        "set z = a",
        "else",
        "+",
        "()",
        " is defined",
        " | default(1)",
        " | toyaml",
        "[0]",
        "\n",
        "include 'x'",
        "include 'k8s/main.j2'",
        "- ",
        "'t'",
    ]
)


@given(st.lists(_parts, max_size=14).map("".join))
def test_a_variable_that_a_render_misses_is_a_mistake_that_the_text_shows(text: str) -> None:
    files = {_MAIN: text}
    try:
        render(_MAIN, {"a": [{"b": 1}]}, files.get)
    except InputError as error:
        told = error.message
    else:
        return
    if told.endswith("is not defined"):
        assert told in [error.message for error in mistakes(_MAIN, ["a"], files.get)]


@given(st.lists(_parts, max_size=14).map("".join))
def test_any_template_renders_or_is_an_input_error(text: str) -> None:
    try:
        _render(text, a=[{"b": 1}])
    except InputError as error:
        mistake = error
    else:
        return
    assert mistake.where is not None


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("a: {{ zzz }}", 7),
        ("zzz: {{ value.deep or zzz }}", 23),
        ("a: {{ api.zzz }}", 11),
        ("a: {{ }}", 4),
        ("  {% include 'zzz' %}", 15),
        ("  {% include name %}", 3),
        ("  {% if %}", 3),
    ],
)
def test_a_mistake_has_the_column_of_what_it_is_about(text: str, column: int) -> None:
    variables: dict[str, Any] = {"api": {"image": "x"}, "value": {"deep": 0}, "name": "nothing"}
    (error, *_) = mistakes("main.j2", variables, {"main.j2": text}.get) or [_error(text, **variables)]
    assert error.where is not None
    assert (error.where.line, error.where.column) == (1, column)
