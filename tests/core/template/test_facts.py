"""What a template needs, read from its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.template import Include, TemplateFacts, VariableUse, facts
from devloop.errors import InputErrors


def _facts(text: str) -> TemplateFacts:
    return facts(text, path="k8s/a.yaml.j2")


def _required(text: str) -> list[str]:
    return [str(use) for use in _facts(text).required]


def _optional(text: str) -> list[str]:
    return [str(use) for use in _facts(text).optional]


def test_a_use_has_name_attributes_and_line() -> None:
    text = "a: {{ api }}\nb: {{ worker.image['tag'] }}\nc: {{ x.y[n].z }}\n"
    assert _facts(text).required == (
        VariableUse(name="api", attributes=(), line=1),
        VariableUse(name="worker", attributes=("image", "tag"), line=2),
        VariableUse(name="n", attributes=(), line=3),
        VariableUse(name="x", attributes=("y",), line=3),
    )


@pytest.mark.parametrize(
    ("text", "required", "optional"),
    [
        ("{{ a | default(1) }}", [], ["a"]),
        ("{{ a.b | d('x') | upper }}", ["a"], ["a.b"]),
        ("{{ a is defined }}", [], ["a"]),
        ("{{ a | default(b) }}", ["b"], ["a"]),
        ("{{ (a | upper) is defined }}", ["a"], []),
        ("{% if a is defined %}{{ a }}{{ a.b }}{% endif %}", [], ["a", "a", "a.b"]),
        ("{% if a is defined %}{{ b }}{% else %}{{ a }}{% endif %}", ["b", "a"], ["a"]),
        ("{% if a is not defined %}x{% else %}{{ a }}{% endif %}", [], ["a", "a"]),
        ("{% if a is undefined %}x{% elif b %}{{ a }}{% endif %}", ["b"], ["a", "a"]),
        ("{% if a is defined and a.b is defined %}{{ a.b.c }}{% endif %}", [], ["a", "a.b", "a.b.c"]),
        ("{% if a is defined or b is defined %}{{ a }}{% endif %}", ["a"], ["a", "b"]),
        ("{% if not (a is undefined or b is undefined) %}{{ a }}{{ b }}{% endif %}", [], ["a", "b", "a", "b"]),
        ("{{ a if a is defined else b }}", ["b"], ["a", "a"]),
        ("{{ a is defined and a }}", [], ["a", "a"]),
        ("{{ a is undefined or a }}", [], ["a", "a"]),
        ("{% if a %}{{ b }}{% endif %}", ["a", "b"], []),
        ("{% if a is not defined %}{% set a = 1 %}{% endif %}{{ a }}", [], ["a", "a"]),
        ("{% if a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", ["a"], []),
        ("{% if a %}{% set x = 1 %}{% endif %}{{ x }}", ["a"], ["x"]),
    ],
)
def test_tests_defaults_and_conditions_make_a_use_optional(text: str, required: list[str], optional: list[str]) -> None:
    facts_ = _facts(text)
    assert [str(use) for use in facts_.required] == list(dict.fromkeys(required))
    assert sorted({str(use) for use in facts_.optional}) == sorted(set(optional))


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("{% set x = a %}{{ x }}", ["a"]),
        ("{{ x }}{% set x = 1 %}", ["x"]),
        ("{% set x, y = a %}{{ x }}{{ y }}", ["a"]),
        ("{% set x %}{{ a }}{% endset %}{{ x }}", ["a"]),
        ("{% set ns = namespace(n=a) %}{% set ns.n = b %}{{ ns.n }}", ["a", "b"]),
        ("{% set ns.n = 1 %}", ["ns"]),
        ("{% for x in xs %}{{ x }}{{ loop.index }}{% endfor %}{{ x }}", ["xs", "x"]),
        ("{% for k, v in xs.items() if v and a %}{{ k }}{% else %}{{ b }}{% endfor %}", ["xs.items", "a", "b"]),
        ("{% for x in xs %}{% set y = 1 %}{% endfor %}{{ y }}", ["xs", "y"]),
        ("{% for x in xs if x.port is defined %}{{ x.port }}{% endfor %}", ["xs"]),
        ("{% with x = a %}{{ x }}{{ b }}{% endwith %}{{ x }}", ["a", "b", "x"]),
        (
            "{% macro m(p, q=a) %}{{ p }}{{ q }}{{ b }}{{ caller() }}{{ varargs }}{% endmacro %}{{ m(c) }}",
            ["a", "b", "c"],
        ),
        ("{% macro m() %}{% endmacro %}{% call(x) m() %}{{ x }}{{ a }}{% endcall %}", ["a"]),
        ("{% filter upper %}{{ a }}{% endfilter %}", ["a"]),
        ("{% block b %}{{ a }}{% set x = 1 %}{% endblock %}{{ x }}", ["a", "x"]),
        ("{{ range(3) }}{{ dict(a=b) }}{{ true }}{{ none }}", ["b"]),
        ("{% import 'm' as m %}{% from 'm' import f, g as h %}{{ m.x(f(h, a)) }}", ["a"]),
        ("{{ [a, {'k': b}] }}{{ c[1:d] }}{{ 'x' ~ e }}", ["a", "b", "d", "c", "e"]),
        ("{{ x | join(a) }}{{ x is divisibleby(b) }}", ["x", "a", "b"]),
        ("{% raw %}{{ a }}{% endraw %}{# {{ b }} #}", []),
    ],
)
def test_names_that_the_template_sets_itself_are_not_asked_for(text: str, required: list[str]) -> None:
    assert _required(text) == required


def test_includes_are_listed_with_their_lines() -> None:
    text = (
        "{% extends 'base.j2' %}\n{% include 'a.j2' %}\n{% include ['b.j2', 'c.j2'] %}\n"
        "{% include 'd.j2' ignore missing %}\n{% import 'e.j2' as e %}\n{% from 'f.j2' import g with context %}\n"
        "{% include name %}\n{% include 'h.j2' if flag else 'i.j2' %}\n"
    )
    found = _facts(text).includes
    assert [(each.name, each.line, each.optional, each.sees) for each in found] == [
        ("base.j2", 1, False, True),
        ("a.j2", 2, False, True),
        ("b.j2", 3, True, True),
        ("c.j2", 3, True, True),
        ("d.j2", 4, True, True),
        ("e.j2", 5, False, False),
        ("f.j2", 6, False, True),
        (None, 7, False, True),
        ("h.j2", 8, True, True),
        ("i.j2", 8, True, True),
    ]
    assert _required(text) == ["name", "flag"]


def test_an_include_tells_which_names_are_set_for_it() -> None:
    (include,) = _facts("{% set x = 1 %}{% for y in [1] %}{% include 'a' %}{% endfor %}").includes
    assert include == Include(name="a", line=1, bound=frozenset({"x", "y", "loop"}))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\n{% if %}", 2, "expected an expression"),
        ("{{ a", 1, "unexpected end of template"),
        ("a\n\n{% for x in y %}", 3, "unexpected end of template"),
        ("{{ x | nope }}", 1, "no filter named `nope`"),
        ("{{ x | random }}", 1, "no filter named `random`"),
        ("a\n{% nope %}", 2, "encountered unknown tag `nope`"),
        (f"{{{{ {'(' * 3000}1{')' * 3000} }}}}", None, "nested too deeply"),
        (f"{{{{ {'1' * 5000} }}}}", None, "this is not a template"),
    ],
)
def test_what_is_no_template_is_refused_with_its_line(text: str, line: int | None, message: str) -> None:
    with pytest.raises(InputErrors) as caught:
        _facts(text)
    (error,) = caught.value.errors
    assert message in error.message
    assert error.where is not None
    assert (error.where.path, error.where.line) == ("k8s/a.yaml.j2", line)


_parts = st.sampled_from(
    [
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{#",
        "#}",
        "a",
        ".b",
        "if a",
        "endif",
        "for x in y",
        "endfor",
        "set z = 1",
        "else",
        " is defined",
        " | default(1)",
        "macro m(x)",
        "endmacro",
        "'",
        '"',
        "[0]",
        "(",
        ")",
        "\n",
        "include 'x'",
        "- ",
    ]
)


@given(st.lists(_parts, max_size=16).map("".join) | st.text(alphabet="{}%#-a.|('\n 1", max_size=30))
def test_any_text_has_facts_or_input_errors(text: str) -> None:
    try:
        found = _facts(text)
    except InputErrors:
        return
    assert all(use.line >= 1 for use in (*found.required, *found.optional))
