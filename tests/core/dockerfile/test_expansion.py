import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.dockerfile.expansion import ExpansionError, Lexer

VALUES = {"A": "one", "V": "1.2.3", "EMPTY": "", "P": "/usr/lib/python", "Q": 'a"b'}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$A", "one"),
        ("${A}x", "onex"),
        ("$Ax", ""),
        ("$UNSET-", "-"),
        ("${UNSET:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY-two}", ""),
        ("${A:-two}", "one"),
        ("${A:+two}", "two"),
        ("${UNSET:+two}", ""),
        ("${EMPTY+two}", "two"),
        ("${UNSET:-${A}${V}}", "one1.2.3"),
        ("${A:?why}", "one"),
        ("${V#*.}", "2.3"),
        ("${V##*.}", "3"),
        ("${V%.*}", "1.2"),
        ("${V%%.*}", "1"),
        ("${V/./-}", "1-2.3"),
        ("${V//./-}", "1-2-3"),
        ("${P//\\/lib/}", "/usr/python"),
        ("${V#9}", "1.2.3"),
        ("${P#*/*/}", "lib/python"),
        ("${P##*/*i}", "b/python"),
        ("${P%/*b/*}", "/usr"),
        ("${P/l*y/-}", "/usr/-thon"),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ('"$A"', "one"),
        ('"\\$A\\x"', "$A\\x"),
        ("a\\ b", "a b"),
        ("$", "$"),
        ("$$", ""),
        ("$1x", "x"),
        ("a\\", "a"),
    ],
)
def test_words_expand_as_the_builder_expands_them(word: str, expected: str) -> None:
    assert Lexer().expand(word, VALUES).text == expected


@pytest.mark.parametrize(
    "word", ["${", "${}", "${A", "${A:", "${A:x}", "'a", '"a', "${A/x", "${A!}", "${:x}", "${UNSET:?}"]
)
def test_malformed_words_are_refused(word: str) -> None:
    with pytest.raises(ExpansionError):
        Lexer().expand(word, VALUES)


def test_an_error_about_an_absent_variable_names_it() -> None:
    with pytest.raises(ExpansionError, match="UNSET: set it") as caught:
        Lexer().expand("${UNSET:?set it}", VALUES)
    assert caught.value.unset == "UNSET"


def test_the_variables_that_were_found_and_missed_are_told() -> None:
    expanded = Lexer().expand("$A ${B:-$C} '$D'", {"A": "1", "C": "2"})
    assert expanded.used == {"A", "C"}
    assert expanded.missing == {"B"}


def test_words_are_split_after_the_expansion_and_quotes_hold_them_together() -> None:
    assert Lexer().expand("a $X \"b c\" 'd'e", {"X": "1 2"}).words == ("a", "1", "2", "b c", "de")


def test_a_backtick_may_be_the_escape_character() -> None:
    assert Lexer(escape="`").expand("`$A C:\\x", VALUES).text == "$A C:\\x"


def test_unset_variables_can_be_left_as_written() -> None:
    lexer = Lexer(keep_unset=True)
    assert lexer.expand("$B ${C} ${D:-x}", {}).text == "$B ${C} ${D:-x}"


_PIECES = st.sampled_from([*"${}:-+?#%/\\'\"`ab* ", "${A", "V}", "$A"])


@given(st.lists(_PIECES, max_size=20).map("".join))
def test_any_word_is_expanded_or_refused(word: str) -> None:
    try:
        expanded = Lexer().expand(word, VALUES)
    except ExpansionError:
        return
    assert isinstance(expanded.text, str)


@pytest.mark.timeout(10)
def test_many_stars_in_a_substitution_take_no_exponential_time() -> None:
    word = "${A##" + "*a" * 20 + "b}${A%%b" + "*a" * 20 + "}${A//" + "*a" * 20 + "b/}"
    assert Lexer().expand(word, {"A": "a" * 100}).text == "a" * 300


def test_deeply_nested_substitutions_are_refused() -> None:
    with pytest.raises(ExpansionError):
        Lexer().expand("${A:-" * 2000 + "}" * 2000, {})


@given(word=st.text(alphabet=st.sampled_from(list("aB0-/. \t\n\u00a0é="))))
def test_a_word_without_anything_special_is_itself_and_split_as_any_other(word: str) -> None:
    plain = Lexer().expand(word, {})
    expanded = Lexer().expand(f"{word}$END", {"END": ""})
    assert (plain.text, plain.words) == (word, expanded.words)
