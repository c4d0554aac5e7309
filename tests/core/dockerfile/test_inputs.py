import time
from pathlib import PurePosixPath

import pytest

from devloop.core.dockerfile import BuildFacts, SourceKind, build_facts, parse
from devloop.core.patterns import IgnoreRules


def facts_of(*lines: str) -> BuildFacts:
    return build_facts(parse("\n".join(lines) + "\n"))


def inputs(facts: BuildFacts, *paths: str, links: dict[str, str] | None = None) -> list[str]:
    folders = {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents if parent.name}
    return list(facts.inputs(paths, links=links, directories=folders))


def test_a_name_selects_itself_and_what_is_below() -> None:
    facts = facts_of("FROM scratch", "COPY src a.txt /")
    assert inputs(facts, "src/a", "src/b/c", "a.txt", "src2", "b.txt", "x/src") == ["src/a", "src/b/c", "a.txt"]


def test_a_dot_selects_everything() -> None:
    assert inputs(facts_of("FROM scratch", "COPY . /"), "a", ".b", "c/d") == ["a", ".b", "c/d"]


def test_a_source_cannot_leave_the_context() -> None:
    assert inputs(facts_of("FROM scratch", "COPY ../../a /x/../b /"), "a", "b", "x/b") == ["a", "b"]


def test_a_glob_selects_what_it_matches_and_what_is_below() -> None:
    facts = facts_of("FROM scratch", "COPY *.py l?b/*/x /")
    assert inputs(facts, "a.py", ".py", "d/a.py", "lib/a/x", "lib/b/x/y", "lib/a/y") == [
        "a.py",
        ".py",
        "lib/a/x",
        "lib/b/x/y",
    ]


def test_excluded_patterns_are_compared_below_the_source() -> None:
    facts = facts_of("FROM scratch", "COPY --exclude=*.md --exclude=tests/** --exclude=!tests/keep src /d/")
    paths = ("src/a", "src/a.md", "src/b/a.md", "src/tests/x", "src/tests/keep")
    assert inputs(facts, *paths) == ["src/a", "src/b/a.md", "src/tests/keep"]


def test_a_source_that_is_a_file_counts_even_if_it_is_excluded_for_engines_copy_it() -> None:
    assert inputs(facts_of("FROM scratch", "COPY --exclude=*.md *.md a.md /d/"), "a.md", "b.md") == ["a.md", "b.md"]


def test_parents_select_below_the_pivot() -> None:
    facts = facts_of("FROM scratch", "COPY --parents ./a/./b/*.py lib/**/x /d/")
    assert inputs(facts, "a/b/c.py", "a/b/c.md", "a/c.py", "lib/x", "lib/q/x/y", "x") == [
        "a/b/c.py",
        "lib/x",
        "lib/q/x/y",
    ]


def test_each_input_is_explained_by_the_lines_that_bring_it() -> None:
    facts = facts_of("FROM a", "COPY src /s", "ADD src/a.py /x", "RUN --mount=source=src/a.py,target=/m y", "COPY b /")
    assert [(source.line, source.kind) for source in facts.selects("src/a.py")] == [
        (2, SourceKind.COPY), (3, SourceKind.ADD), (4, SourceKind.BIND)
    ]  # fmt: skip
    assert facts.selects("src/a.py")[0].instruction == "COPY src /s"


def test_the_source_of_a_mount_is_a_name_and_no_pattern() -> None:
    assert inputs(facts_of("FROM a", "RUN --mount=source=a*,target=/m y"), "a*", "ab") == ["a*"]


def test_a_walker_may_skip_what_no_source_reads() -> None:
    facts = facts_of("FROM scratch", "COPY src/app /a", "COPY lib/*.py /b")
    assert [facts.reads_below(each) for each in ("", "src", "src/app/x", "lib", "lib/sub", "node_modules", "srcs")] == [
        True, True, True, True, False, False, False
    ]  # fmt: skip


def test_ignored_files_are_no_inputs() -> None:
    facts = facts_of("FROM scratch", "COPY . /")
    assert list(facts.inputs(["a", "b", "c/d"], IgnoreRules.parse("b\nc\n"))) == ["a"]


def test_a_link_that_is_named_brings_its_target() -> None:
    facts = facts_of("FROM scratch", "COPY link d/up /x/")
    links = {"link": "real", "d/up": "../other", "unused": "b"}
    paths = ("link", "real/a", "d/up", "other", "unused", "b")
    assert inputs(facts, *paths, links=links) == ["link", "real/a", "d/up", "other"]


def test_a_link_on_the_way_to_a_source_is_followed() -> None:
    facts = facts_of("FROM scratch", "COPY current/*.py /x/")
    assert inputs(facts, "current", "v2/a.py", "v2/b.md", "v1/a.py", links={"current": "v2"}) == ["current", "v2/a.py"]


def test_a_link_in_a_copied_directory_stays_a_link() -> None:
    facts = facts_of("FROM scratch", "COPY src /x/")
    assert inputs(facts, "src/up", "a", links={"src/up": "../a"}) == ["src/up"]


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "../.."}, {"a": "/"}, {"a": "a/a/a"}])
def test_strange_links_do_no_harm(links: dict[str, str]) -> None:
    facts = facts_of("FROM scratch", "COPY a/b a* /x/")
    assert "a" in inputs(facts, "a", "b", links=links)


def test_a_part_of_a_plain_stage_makes_inputs_of_that_part() -> None:
    facts = facts_of("FROM scratch AS one", "COPY . /w/", "COPY b /w/src/a", "FROM scratch", "COPY --from=one /w/src /")
    assert inputs(facts, "src/a", "src/c", "lib/a", "b") == ["src/c", "b"]
    assert [source.line for source in facts.inputs(["b", "src/c"], directories=["src"])["b"]] == [3]


def test_a_file_that_is_named_counts_wherever_it_goes_for_the_build_misses_it() -> None:
    facts = facts_of("FROM scratch AS one", "COPY a b c* /w/", "FROM scratch", "COPY --from=one /w/a /")
    assert inputs(facts, "a", "b", "c") == ["a", "b"]


def test_what_is_replaced_in_a_stage_that_is_only_taken_from_does_not_count() -> None:
    lines = ("FROM scratch AS one", "COPY */x /w/", "FROM scratch", "COPY --from=one / /")
    assert inputs(facts_of(*lines), "a/x", "b/x") == ["b/x"]
    assert inputs(facts_of(*lines[:2]), "a/x", "b/x") == ["a/x", "b/x"]


def test_all_that_is_there_before_a_run_counts_even_if_it_was_replaced_for_the_run_is_done_again() -> None:
    facts = facts_of(
        "FROM scratch AS one", "COPY a* /x/y", "COPY b* /x/y", "RUN z", "COPY c* /x/", "FROM scratch",
        "COPY --from=one /x/y /",
    )  # fmt: skip
    assert inputs(facts, "a", "b", "c") == ["a", "b", "c"]


def test_a_link_of_another_stage_is_followed_and_counts() -> None:
    facts = facts_of("FROM scratch AS one", "COPY . /w/", "FROM scratch", "COPY --from=one /w/now/a /")
    assert inputs(facts, "now", "v1/a", "v2/a", links={"now": "v1"}) == ["now", "v1/a"]
    assert inputs(facts, "other", "v1/a", links={"other": "v1"}) == []


def test_a_link_that_a_pattern_may_pass_makes_inputs_of_all_that_it_may_lead_to() -> None:
    facts = facts_of("FROM scratch AS one", "COPY . /w/", "FROM scratch", "COPY --from=one /w/n* /")
    assert inputs(facts, "now", "v1/a", "v2/a", links={"now": "v1"}) == ["now", "v1/a", "v2/a"]


def test_a_part_of_a_stage_on_an_image_makes_inputs_of_all_for_a_link_may_lead_there() -> None:
    facts = facts_of("FROM busybox AS one", "COPY . /w/", "FROM scratch", "COPY --from=one /w/src /")
    assert inputs(facts, "src/a", "lib/a") == ["src/a", "lib/a"]


def test_a_plain_stage_that_a_run_mounts_counts_as_far_as_it_is_mounted() -> None:
    facts = facts_of(
        "FROM scratch AS one", "COPY . /w/", "FROM busybox", "RUN --mount=from=one,source=/w/src,target=/m x"
    )
    assert inputs(facts, "src/a", "lib/a") == ["src/a"]


def test_a_plain_stage_that_the_image_continues_counts_as_a_whole() -> None:
    facts = facts_of(
        "FROM scratch AS one", "COPY a /x", "COPY b /x", "FROM scratch AS two", "COPY --from=one /x /y",
        "FROM one", "COPY --from=two /y /"
    )  # fmt: skip
    assert inputs(facts, "a", "b", "c") == ["a", "b"]


def test_fifty_thousand_files_are_sorted_out_quickly() -> None:
    facts = facts_of(
        "FROM a", "COPY package.json .", "COPY src src", "COPY lib/*.py lib", "COPY --exclude=*.md docs docs"
    )
    rules = IgnoreRules.parse("**/node_modules\n**/*.log\n!keep.log\n")
    paths = [
        f"{top}/d{n % 500}/f{n}.py" for n in range(10_000) for top in ("src", "lib", "docs", "node_modules/x", "other")
    ]
    start = time.perf_counter()
    found = facts.inputs(paths, rules)
    assert len(found) == 20_000
    assert time.perf_counter() - start < 3
