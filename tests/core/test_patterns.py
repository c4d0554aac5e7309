import re
import string
from pathlib import PurePosixPath

import pytest
from docker.utils.build import PatternMatcher
from hypothesis import example, given
from hypothesis import strategies as st

from devloop.core.go_regex import compile_moby
from devloop.core.patterns import NO_IGNORE, Glob, IgnoreRules, PatternError, clean, is_glob
from devloop.errors import InputErrors


def excluded(text: str, *paths: str) -> list[str]:
    rules = IgnoreRules.parse(text)
    return [path for path in paths if rules.excludes(path)]


def test_patterns_are_anchored_at_the_root_of_the_context() -> None:
    assert excluded("build\n*.log\n", "build", "build/x", "a/build", "x.log", "a/x.log") == [
        "build",
        "build/x",
        "x.log",
    ]


def test_two_stars_match_any_depth_and_none() -> None:
    assert excluded("**/tmp\n", "tmp", "a/tmp", "a/b/tmp/c", "tmpx") == ["tmp", "a/tmp", "a/b/tmp/c"]
    assert excluded("a/**/z\n", "a/z", "a/b/c/z", "a/b", "z") == ["a/z", "a/b/c/z"]
    assert excluded("a/**\n", "a", "a/b", "a/b/c", "ab") == ["a/b", "a/b/c"]


def test_the_last_rule_that_matches_decides() -> None:
    assert excluded("*.md\n!README.md\nR*\n", "a.md", "README.md") == ["a.md", "README.md"]
    assert excluded("*.md\nR*\n!README.md\n", "a.md", "README.md", "Rest") == ["a.md", "Rest"]


def test_a_rule_brings_back_what_lies_in_an_excluded_directory() -> None:
    assert excluded("d\n!d/sub\n", "d/a", "d/sub/b") == ["d/a"]


def test_a_rule_for_the_parent_does_not_bring_back_what_was_excluded_by_name() -> None:
    assert excluded("d/*\n!d\n", "d", "d/x", "d/x/y") == ["d/x", "d/x/y"]


def test_slashes_around_a_pattern_and_dots_in_it_change_nothing() -> None:
    assert excluded("/a/\n./b\nc//d\ne/../f\n", "a", "b", "c/d", "e", "f") == ["a", "b", "c/d", "f"]


def test_byte_order_marks_carriage_returns_and_outer_spaces_are_dropped() -> None:
    assert excluded("\ufeffa\r\n  b c  \r\n\u00a0d\n", "a", "b c", "d") == ["a", "b c", "d"]


def test_a_hash_makes_a_comment_in_the_first_column_only() -> None:
    assert excluded("#a\n #b\n", "#a", "#b") == ["#b"]


def test_a_backslash_takes_the_next_character_as_it_is() -> None:
    assert excluded("a\\*\n\\#b\n", "a*", "ax", "#b") == ["a*", "#b"]


def test_a_class_of_characters_may_hold_ranges_and_be_negated() -> None:
    assert excluded("[a-c]x\n[^a-c]y\n", "ax", "dx", "ay", "dy") == ["ax", "dy"]


def test_a_dot_and_a_path_outside_exclude_nothing() -> None:
    assert excluded(".\n..\n../x\n/\n", "a", "x", "a/b") == []


def test_the_root_itself_is_never_excluded() -> None:
    assert excluded("*\n**\n", "", ".") == []


def test_nothing_is_excluded_without_a_file() -> None:
    assert not NO_IGNORE.excludes("anything")
    assert NO_IGNORE.may_contain_included("anything")


def test_the_deciding_rule_is_named_with_its_line() -> None:
    rule = IgnoreRules.parse("# all\n*\n!src\n").deciding_rule("src/a")
    assert rule is not None
    assert (rule.pattern, rule.included, rule.line) == ("src", True, 3)


def test_a_walker_may_skip_a_directory_that_no_rule_brings_back_from() -> None:
    rules = IgnoreRules.parse("node_modules\nout\n!out/keep/*.txt\n")
    assert not rules.may_contain_included("node_modules")
    assert not rules.may_contain_included("node_modules/a")
    assert rules.may_contain_included("out")
    assert rules.may_contain_included("out/keep")
    assert not rules.may_contain_included("out/drop")
    assert rules.may_contain_included("src")


def test_a_rule_that_may_bring_back_anything_keeps_the_walker_walking() -> None:
    assert IgnoreRules.parse("node_modules\n!**/keep\n").may_contain_included("node_modules/deep/down")


def test_malformed_patterns_are_reported_together_with_their_lines() -> None:
    with pytest.raises(InputErrors) as caught:
        IgnoreRules.parse("a[\nok\n!\nb\\\n", path="api/.dockerignore")
    places = [str(error.where) for error in caught.value.errors]
    assert places == ["api/.dockerignore:1:1", "api/.dockerignore:3:1", "api/.dockerignore:4:1"]


def test_a_star_of_a_source_matches_dot_files_and_stays_in_its_directory() -> None:
    assert Glob("*").root_of(".env") == ".env"
    assert Glob("a/*.py").root_of("a/b/c.py") is None
    assert Glob("*").root_of("a/b/c") == "a"


def test_a_negated_class_of_a_source_may_match_a_slash() -> None:
    assert Glob("a[^b]c").root_of("a/c") == "a/c"
    assert Glob("a[^b]c").may_match_below("a")


def test_a_source_glob_tells_which_directories_it_cannot_reach() -> None:
    glob = Glob("src/*/conf")
    assert glob.may_match_below("src")
    assert glob.may_match_below("src/a/conf/deep")
    assert not glob.may_match_below("lib")
    assert not glob.may_match_below("src/a/other")


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-]", "[-a]", "a\\", "[\\"])
def test_a_malformed_source_glob_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        Glob(pattern)


def test_an_escaped_star_makes_no_glob() -> None:
    assert not is_glob("a\\*")
    assert is_glob("a\\\\*")


@pytest.mark.timeout(10)
def test_many_wildcards_take_no_exponential_time() -> None:
    path = "a" * 250
    assert Glob("*a" * 25 + "b").root_of(path) is None
    assert Glob("*[ab]" * 25 + "c").root_of(path) is None
    rules = "*a" * 25 + "b\n" + "**/" * 20 + "x\n" + "**/a/" * 20 + "x\n" + "**/*a*/" * 10 + "x\n"
    assert excluded(rules, path, "/".join("a" * 60)) == []


_WILD = st.lists(st.sampled_from(["a", "b", "/", "*", "**/", "?", "[ab]"]), min_size=1, max_size=9).map("".join)


@given(pattern=_WILD, path=st.text(alphabet="ab/", min_size=1, max_size=9))
def test_what_keeps_matching_fast_changes_no_answer(pattern: str, path: str) -> None:
    plain = clean(pattern).removeprefix("/")
    if "**" not in plain:
        slow = re.sub(r"\*|\?", lambda found: {"*": "[^/]*", "?": "[^/]"}[found[0]], plain)
        assert (Glob(plain).root_of(path) is None) == (re.match(rf"(?:{slow})(?=/|\Z)", path) is None)
    kind, operand = compile_moby(plain)
    if kind == "regex" and not plain.endswith("**"):
        wild = {"**/": "(?:.*/)?", "**": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
        slow = re.sub(r"\*\*/?|\*|\?", lambda found: wild[found[0]], plain)
        assert (re.match(operand, path) is None) == (re.fullmatch(slow, path) is None)


_NAMES = st.sampled_from(["a", "b", "ab", "a.b", ".a", "b-b"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_PARTS = st.sampled_from(["a", "b", "ab", "*", "**", "a*", "*b", "?", "[ab]", "a.b", ".", "..", ".*", "a?"])
_RULE = st.builds(
    lambda mark, parts, end: mark + "/".join(parts) + end,
    st.sampled_from(["", "", "!"]),
    st.lists(_PARTS, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)


@given(rule=_RULE.filter(lambda rule: not rule.startswith("!")), path=_PATHS)
@example(rule="**/a", path="a")
@example(rule="a/**", path="a")
def test_one_rule_says_what_docker_py_says(rule: str, path: str) -> None:
    if ".." in rule or rule.strip("/.") == "":
        return  # docker-py cleans `a/../b` in its own way
    if rule.rstrip("/").endswith("/**"):
        return  # and lets `a/**` match `a`, which the builder does not
    parents = [str(each) for each in PurePosixPath(path).parents if each.name]
    theirs = any(PatternMatcher([rule]).matches(each) for each in (path, *parents))
    assert IgnoreRules.parse(rule + "\n").excludes(path) == theirs


@given(rules=st.lists(_RULE, max_size=6), path=_PATHS)
def test_a_pruned_directory_holds_nothing_that_is_included(rules: list[str], path: str) -> None:
    matcher = IgnoreRules.parse("\n".join(rules))
    directory, _, _ = path.rpartition("/")
    if directory and not matcher.may_contain_included(directory):
        assert matcher.excludes(path)


@given(st.text(alphabet=string.printable + "é\ufeff\u00a0", max_size=60), _PATHS)
def test_any_text_is_read_or_refused(text: str, path: str) -> None:
    try:
        rules = IgnoreRules.parse(text)
    except InputErrors:
        return
    assert rules.excludes(path) in {True, False}
