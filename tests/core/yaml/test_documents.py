"""YAML as `kubectl` reads it, with places; and written so that it is read the same again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.yaml.documents import YamlError, dump, parse_documents


def _value(text: str) -> Any:
    (document,) = parse_documents(text)
    return document.value


# What kubectl 1.32 made of each of these: `kubectl create --dry-run=client --validate=false -o json`.
@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("y", True),
        ("n", False),
        ("Y", True),
        ("on", True),
        ("off", False),
        ("yes", True),
        ("~", None),
        ("Null", None),
        ("010", 8),
        ("09", 9),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0x1f", -31),
        ("0b11", 3),
        ("1e3", 1000),
        ("12345e7", 123450000000),
        ("1_000", 1000),
        ("1__0", 10),
        ("0_7", 7),
        ("_1", "_1"),
        ("22:22", "22:22"),
        ("1:2:3", "1:2:3"),
        ("2001-01-01", "2001-01-01"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        (".5", 0.5),
        ("1.", 1),
        ("+5", 5),
        ("+.5", 0.5),
        ("08.5", 8.5),
        ("1.5e3", 1500),
        ("1e-7", 1e-7),
        ("-0", 0),
        ("1.0", 1),
        ("1e400", "1e400"),
        (".e1", ".e1"),
        ("._9", "._9"),
        (".6_", ".6_"),
        ("6_.5", 6.5),
        ("123456789012345678901234567890", 1.2345678901234568e29),
        ("=", "="),
        ("<<", "<<"),
        ('"1"', "1"),
        ("'yes'", "yes"),
        ("!!str 123", "123"),
        ('!!int "12"', 12),
        ("!!float 3", 3),
        ("!!bool yes", True),
        ('!!null ""', None),
        ("! 12", "12"),
        ("truE", "truE"),
    ],
)
def test_a_scalar_means_what_it_means_to_kubectl(scalar: str, value: object) -> None:
    read = _value(f"a: {scalar}")["a"]
    assert read == value
    assert type(read) is type(value) or {type(read), type(value)} == {int, float}


def test_keys_become_text_as_kubectl_makes_them() -> None:
    assert _value("8080: a\n1.5: b\non: c\nx: d\n") == {"8080": "a", "1.5": "b", "true": "c", "x": "d"}


def test_merge_keys_fill_in_what_the_mapping_does_not_say_itself() -> None:
    assert _value("<<: [{a: 1, b: 2}, {a: 3, c: 4}]\nc: 5\n") == {"a": 1, "b": 2, "c": 5}
    assert _value('"<<": 3') == {"<<": 3}


def test_anchors_repeat_a_value_with_the_place_where_it_stands() -> None:
    (document,) = parse_documents("a: &x\n  image: api\nb: *x\n")
    assert document.value == {"a": {"image": "api"}, "b": {"image": "api"}}
    assert document.mark.at(("b", "image"))[:2] == (2, 10)


def test_every_value_has_its_place_and_what_is_not_there_the_place_above_it() -> None:
    (document,) = parse_documents("a:\n- b: 1\n  c: {d: 2}\n")
    assert document.mark.at(("a", 0, "c", "d"))[:2] == (3, 10)
    assert document.mark.at(("a", 0, "nothing", 3))[:2] == (2, 3)


def test_several_documents_keep_their_places_and_empty_ones_vanish() -> None:
    documents = parse_documents("# top\n---\na: 1\n---\n# only a comment\n---\n\nb: 2\n...\n")
    assert [(each.value, each.mark.line) for each in documents] == [({"a": 1}, 3), ({"b": 2}, 8)]


def test_byte_order_marks_and_windows_line_ends_do_not_matter() -> None:
    assert _value("\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\n") == {"a": 1, "b": "x\ny\n"}


def test_json_is_read_with_tabs_and_surrogate_pairs() -> None:
    assert _value('{\n\t"a": [1, 2.5, null],\n\t"b": "\\ud83d\\ude00 \\/"\n}') == {"a": [1, 2.5, None], "b": "😀 /"}


def test_json_texts_one_after_another_are_documents() -> None:
    documents = parse_documents('{"a": 1}\n{"b": 2}  {"c":\n "\x7f"}\n')
    assert [(each.value, each.mark[:2]) for each in documents] == [
        ({"a": 1}, (1, 1)),
        ({"b": 2}, (2, 1)),
        ({"c": "\x7f"}, (2, 11)),
    ]


def test_places_are_right_behind_surrogate_pairs_and_one_alone_is_replaced_as_go_does() -> None:
    (document,) = parse_documents('{"a": "\\ud83d\\ude00 \\ud83d\\ude00", "b": "\\\\ud800 \\ud800", "c": 1}')
    assert document.value == {"a": "😀 😀", "b": "\\ud800 \ufffd", "c": 1}
    assert [document.mark.at((key,)).column for key in "abc"] == [7, 41, 64]


def test_lines_are_counted_as_editors_count_them() -> None:
    (document,) = parse_documents('\ufeffa: "x\u2028y"\r\nb: 2\n')
    assert [document.mark.at((key,))[:2] for key in "ab"] == [(1, 4), (2, 4)]


def test_every_value_knows_its_own_text_and_an_alias_both() -> None:
    text = "\ufeffa: &x 'on'  # no\r\nb: [*x, é😀]\r\nc: |-\r\n  y\r\nd: 1\r\n"
    (document,) = parse_documents(text)
    spans = {pointer: document.mark.at(pointer).span for pointer in (("a",), ("b", 1), ("c",), ("d",))}
    assert [text[span.begin : span.end] for span in spans.values() if span] == ["&x 'on'", "é😀", "|-\r\n  y\r\n", "1"]
    alias = document.mark.at(("b", 0))
    assert alias.span == spans["a",]
    assert alias.alias is not None
    assert text[alias.alias.begin : alias.alias.end] == "*x"
    assert [text[document.mark.at((key,)).key or 0] for key in "abcd"] == list("abcd")


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ('{"a": 1}\n{"b": 1, "b": 2}', 2, 10, "the key `b` is written twice, first on line 2"),
        ('{"a": "\\ud83d\\ude00", "b": 1, "b": 2}', 1, 31, "the key `b` is written twice"),
        ("a: [", 1, 5, "did not find expected node content"),
        ("\ufeffa: 1\na: 2", 2, 1, "the key `a` is written twice, first on line 1"),
        ("a: 1\nb: [1, 2\n", 2, 4, "did not find expected ',' or ']'"),
        ("a: b: c\n", 1, 5, "mapping values are not allowed"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, 3, "the key `c` is written twice, first on line 3"),
        ('1: a\n"1": b\n', 2, 1, "the key `1` is written twice"),
        ("a: &x [*x]", 1, 8, "the alias `*x` stands inside its own anchor"),
        ("a: *x", 1, 4, "has no anchor"),
        ("[" * 200, 1, 102, "nested more than 100 levels deep"),
        ("a: \x01", 1, 4, "U+0001 is not allowed"),
        ("\ufeffé: ü\nb: é\x01", 2, 5, "U+0001 is not allowed"),
        ("a: \ud800", 1, 4, "not valid Unicode"),
        ("a: !!python/object:os.system x", 1, 4, "the tag"),
        ("a: !mine {b: 1}", 1, 4, "the tag `!mine` is not known"),
        ("a: !!int x", 1, 4, "does not fit"),
        ("a: .inf", 1, 4, "no number that Kubernetes takes"),
        ("? [a]\n: b", 1, 3, "a key must be text"),
        ("~: a", 1, 1, "a key must not be empty"),
        ("<<: 1", 1, 1, "`<<` takes a mapping"),
        ('a: "x\n', 1, 4, "unexpected end of stream"),
    ],
)
def test_a_mistake_has_line_and_column(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse_documents(text)
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


def test_tabs_used_as_indentation_get_a_hint() -> None:
    with pytest.raises(YamlError) as caught:
        parse_documents("a:\n\tb: 1\n")
    assert caught.value.line == 2
    assert caught.value.hint == "YAML is indented with spaces, not with tabs"


def test_aliases_that_would_fill_the_memory_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 20)
    )
    with pytest.raises(YamlError, match="when its aliases are written out"):
        parse_documents(bomb)


def test_merges_that_would_fill_the_memory_are_refused() -> None:
    bomb = "a0: &a0 {x: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n" + "".join(
        f"a{level}: &a{level} {{p: *a{level - 1}, q: *a{level - 1}, <<: *a{level - 1}}}\n" for level in range(1, 40)
    )
    with pytest.raises(YamlError, match="when its aliases are written out"):
        parse_documents(bomb)


_THOUSAND = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 3)
)


@pytest.mark.parametrize(
    "bomb",
    [
        _THOUSAND + "b: &b {" + ", ".join(f"k{each}: *a2" for each in range(200)) + "}\nc:\n" + "- <<: *b\n" * 3000,
        _THOUSAND + "b:\n" + "- <<: {x: *a2}\n" * 3000,
        "---\n".join([_THOUSAND + "a3: [" + "*a2, " * 100 + "]\n"] * 100),
    ],
    ids=["merges of merges", "inline merges", "many documents"],
)
def test_aliases_that_repeat_much_often_are_refused_soon(bomb: str) -> None:
    with pytest.raises(YamlError, match="when its aliases are written out"):
        parse_documents(bomb)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000, '{"a":' * 100_000])
def test_deep_nesting_is_refused_soon(text: str) -> None:
    with pytest.raises(YamlError, match="nested more than 100 levels deep"):
        parse_documents(text)


@given(
    st.text(max_size=60)
    | st.text(alphabet="ab01 -:?[]{},&*!|>'\"%@#\n\t~<.", max_size=60)
    | st.lists(
        st.sampled_from(
            ["a", "- ", ": ", "\n", "  ", "&x ", "*x", "<<", "{", "}", "[", "]", "'", '"', "|", "!!int ", "1"]
        ),
        max_size=40,
    ).map("".join)
)
def test_any_text_is_documents_or_a_yaml_error(text: str) -> None:
    try:
        documents = parse_documents(text)
    except YamlError:
        return
    json.dumps([document.value for document in documents], allow_nan=False)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_json.filter(lambda value: value is not None))
def test_what_is_written_is_read_the_same(value: Any) -> None:
    assert _value(dump(value)) == value


@given(st.text(alphabet="01289_+-.eExobynNYofalstru:~=< ", min_size=1, max_size=8))
def test_text_that_looks_like_something_else_is_written_in_quotes(text: str) -> None:
    assert _value(dump({"a": text, text: 1})) == {"a": text, text: 1}


def test_what_is_written_is_readable() -> None:
    value = {"b": "x\ny\n", "a": ["on", 1, {"c": "1e3"}], "d": "long " * 60 + "line"}
    assert dump(value) == f"b: |\n  x\n  y\na:\n- 'on'\n- 1\n- c: '1e3'\nd: {'long ' * 60}line\n"
