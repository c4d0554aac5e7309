"""Whatever a Dockerfile, its ignore file and its context hold: an answer, or the mistakes with their places."""

import time
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from devloop.core.dockerfile import BaseConfig, build_facts, land, parse
from devloop.core.dockerfile.archives import HEAD, may_be_archive
from devloop.core.patterns import IgnoreRules
from devloop.errors import InputErrors

_WORDS = st.sampled_from(
    (
        ".", "/", "..", "a", "b/c", "a*", "[a", "[a-b]*", "**", "$A", "${A:-b}", "${A#*}", "${A/b/c}", "${", "${A:?x}",
        "$", "\\", "'a", '"a b"', "<<E", "<<-'E'", "<<", '<<"E F"', "<<$A", "E", "AS", "s0", "0", "9", "scratch",
        "busybox", "A=1", "A=$B", "A", "--from=s0", "--from=0", "--link", "--parents", "--exclude=*", "--exclude=",
        "--mount=target=/m", "--mount=,,", "--mount=from=s0,source=$A", "--", "--platform=$X", "--chmod=1",
        '["a", "/b"]', "[1]", '["', "http://h/x", "#", "`", "/./", "\u00fc", "\ufeff", "x" * 300, "${A//**/x}",
        "../../..", "/w/./", "a:b", "A:B",
    )
)  # fmt: skip
_KEYWORDS = st.sampled_from(
    (
        "FROM", "from", "COPY", "ADD", "RUN", "ENV", "ARG", "WORKDIR", "ONBUILD COPY", "ONBUILD", "USER", "CMD",
        "ENTRYPOINT", "SHELL", "HEALTHCHECK", "LABEL", "VOLUME", "EXPOSE", "FORM", "", "# escape=`", "# syntax=x", "E",
        "\tE", "#",
    )
)  # fmt: skip
_LINES = st.builds(
    lambda keyword, words, end: " ".join((keyword, *words)) + end,
    _KEYWORDS,
    st.lists(_WORDS, max_size=5),
    st.sampled_from(("\n", "\n", "\n", "\r\n", " \\\n", "`\n", "\n\n", "")),
)
_TEXTS = st.builds(
    lambda start, lines: start + "".join(lines),
    st.sampled_from(("", "FROM scratch AS s0\n")),
    st.lists(_LINES, max_size=12),
)
_NAMES = st.sampled_from(("a", "b", "c", "ab", ".a", "a b", "l", "m"))
_PATHS = st.lists(st.lists(_NAMES, min_size=1, max_size=3).map("/".join), max_size=8)
_TARGETS = st.sampled_from(("a", "..", "/", "l", "../l", "/b/../m", "", "nowhere", "l/l/l", "../../.."))
_BASES = {"busybox": BaseConfig(environment={"A": "b"}, triggers=("COPY a /x", "RUN x", "ENV B=1", "nonsense", ""))}


@given(_TEXTS, _PATHS, st.dictionaries(_NAMES, _TARGETS, max_size=4), st.booleans())
def test_a_dockerfile_is_understood_or_refused(
    text: str, paths: list[str], links: dict[str, str], listed: bool
) -> None:
    started = time.perf_counter()
    with suppress(InputErrors):
        facts = build_facts(parse(text), bases=_BASES, build_args={"X": "1"}, contexts=("s0",))
        facts = facts.following(links)
        every = [*paths, *links]
        inputs = facts.inputs(every, links=links, directories=paths if listed else None)
        assert set(inputs) <= set(every)
        assert all(facts.selects(path) for path in inputs)
        landing = land(facts, every, links, directories=paths if listed else None, archives=paths)
        for path in every:
            found = landing.of(path)
            assert all(each.path.startswith("/") for each in found.landed)
    assert time.perf_counter() - started < 5


@given(_TEXTS)
def test_every_mistake_of_a_dockerfile_has_a_place(text: str) -> None:
    try:
        build_facts(parse(text, path="x/Dockerfile"))
    except InputErrors as errors:
        for each in errors.errors:
            assert each.where is not None
            assert each.where.path == "x/Dockerfile"
            assert each.where.line is None or 1 <= each.where.line <= text.count("\n") + 1


@given(st.text(alphabet="ab*?[]!/\\.#- \t\r\n\ufeff^$(){}|+", max_size=60), _PATHS)
def test_an_ignore_file_is_understood_or_refused(text: str, paths: list[str]) -> None:
    with suppress(InputErrors):
        rules = IgnoreRules.parse(text)
        for path in paths:
            excluded = rules.excludes(path)
            parent = path.rpartition("/")[0]
            assert excluded or not parent or rules.may_contain_included(parent)


@given(st.binary(max_size=HEAD + 10))
def test_any_beginning_of_a_file_may_be_an_archive_or_not(head: bytes) -> None:
    assert may_be_archive(head) in {True, False}
