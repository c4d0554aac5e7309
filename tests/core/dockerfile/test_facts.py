from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.dockerfile import BaseConfig, BuildFacts, build_facts, land, parse
from devloop.errors import InputError, InputErrors


def facts_of(
    *lines: str,
    target: str | None = None,
    args: Mapping[str, str] | None = None,
    bases: Mapping[str, BaseConfig] | None = None,
    contexts: tuple[str, ...] = (),
    platform: str = "linux/amd64",
) -> BuildFacts:
    parsed = parse("\n".join(lines) + "\n")
    return build_facts(parsed, target=target, build_args=args, bases=bases, contexts=contexts, platform=platform)


def patterns(facts: BuildFacts) -> list[str]:
    return [source.pattern for source in facts.sources]


def refused(*lines: str, target: str | None = None, args: Mapping[str, str] | None = None) -> list[InputError]:
    with pytest.raises(InputErrors) as caught:
        facts_of(*lines, target=target, args=args)
    return list(caught.value.errors)


def test_only_the_stages_that_the_target_needs_contribute() -> None:
    lines = (
        "FROM a AS one", "COPY 1 /", "FROM b AS two", "COPY 2 /", "FROM c AS three", "COPY 3 /",
        "FROM one", "COPY --from=three / /",
    )  # fmt: skip
    assert patterns(facts_of(*lines)) == ["1", "3"]
    assert patterns(facts_of(*lines, target="two")) == ["2"]
    assert [use.reference for use in facts_of(*lines, target="TWO").bases] == ["b"]


def test_a_run_mount_needs_the_stage_that_it_mounts() -> None:
    facts = facts_of(
        "FROM a AS one", "COPY 1 /", "FROM b", "RUN --mount=from=one,target=/m x", "RUN --mount=from=img,target=/m x"
    )
    assert patterns(facts) == ["1"]
    assert [(use.reference, use.via) for use in facts.bases] == [
        ("a", "FROM"), ("b", "FROM"), ("img", "RUN --mount from")
    ]  # fmt: skip


def test_images_from_outside_are_named_after_expansion_with_their_line() -> None:
    facts = facts_of(
        "ARG TAG=3", "FROM --platform=$BUILDPLATFORM reg:5000/base:$TAG AS x", "FROM x", "COPY --from=tools /a /b"
    )
    assert [(use.reference, use.line, use.via, use.platform) for use in facts.bases] == [
        ("reg:5000/base:3", 2, "FROM", "linux/amd64"),
        ("tools", 4, "COPY --from", None),
    ]


def test_a_stage_name_wins_over_an_image_and_scratch_is_no_image() -> None:
    facts = facts_of("FROM scratch AS nginx", "COPY a /", "FROM nginx", "COPY --from=scratch / /")
    assert facts.bases == ()


def test_a_named_context_replaces_the_stage_of_its_name() -> None:
    facts = facts_of("FROM a AS one", "COPY 1 /", "FROM one", "COPY 2 /", contexts=("one",))
    assert patterns(facts) == ["2"]
    assert [use.reference for use in facts.bases] == ["one"]


def test_a_name_given_twice_means_the_earlier_in_from_and_the_last_in_copy() -> None:
    facts = facts_of(
        "FROM scratch AS x", "COPY 1 /", "FROM x AS y", "FROM scratch AS x", "COPY 2 /", "FROM y", "COPY --from=x / /"
    )
    assert patterns(facts) == ["1", "2"]
    assert facts.stages[3].base == 1
    assert set(facts.stages) == {0, 1, 2, 3}


def test_variables_of_a_stage_are_expanded_in_order() -> None:
    facts = facts_of("FROM scratch", "ARG A=1", "ENV B=$A C=$B", "COPY $A $B x$C /", "ARG B=2", "COPY $B /")
    assert patterns(facts) == ["1", "1", "x", "2"]


def test_a_global_argument_is_seen_in_a_stage_that_declares_it() -> None:
    lines = ("ARG A=1", "FROM scratch", "COPY x$A /", "ARG A", "COPY x$A /")
    assert patterns(facts_of(*lines)) == ["x", "x1"]
    assert patterns(facts_of(*lines, args={"A": "2"})) == ["x", "x2"]


def test_the_platform_is_known_to_a_stage_that_asks() -> None:
    facts = facts_of(
        "FROM scratch", "ARG TARGETARCH TARGETVARIANT", "COPY bin-$TARGETARCH$TARGETVARIANT /", platform="linux/arm/v7"
    )
    assert patterns(facts) == ["bin-armv7"]


def test_the_arguments_are_those_that_the_needed_stages_declare_or_use() -> None:
    facts = facts_of(
        "ARG A=1 B=2 C=$A D=4",
        "FROM x:$C AS one",
        "ARG D",
        "FROM y:$B AS two",
        target="one",
        args={"A": "9", "B": "8", "Z": "7"},
    )
    assert [(each.name, each.line, each.value) for each in facts.arguments] == [
        ("A", 1, "9"),
        ("C", 1, None),
        ("D", 3, None),
    ]
    assert facts.unused == ("Z",)


def test_an_argument_that_a_given_one_replaces_is_not_consumed() -> None:
    facts = facts_of("ARG A=1 B=$A", "FROM x:$B", args={"B": "2"})
    assert [each.name for each in facts.arguments] == ["B"]


def test_arguments_that_the_builder_always_reads_count() -> None:
    facts = facts_of("FROM x", args={"SOURCE_DATE_EPOCH": "0", "HTTP_PROXY": "p"})
    assert [(each.name, each.line) for each in facts.arguments] == [("SOURCE_DATE_EPOCH", None)]
    assert facts.unused == ()


def test_a_variable_that_the_base_image_may_set_makes_everything_an_input() -> None:
    facts = facts_of("FROM python", "COPY --exclude=x $HOME/a /b")
    assert [(source.pattern, source.excludes) for source in facts.sources] == [("", ())]
    assert [(unknown.line, "`HOME`" in unknown.message) for unknown in facts.unknown] == [(2, True)]


def test_a_base_image_that_is_known_answers_for_its_variables() -> None:
    bases = {"python": BaseConfig(environment={"HOME": "home"}, workdir="/srv")}
    facts = facts_of("FROM python", "COPY $HOME/a$NO /b", "WORKDIR x", bases=bases)
    assert (patterns(facts), facts.unknown, facts.workdir) == (["home/a"], (), "/srv/x")


def test_an_argument_default_that_engines_read_differently_is_not_known() -> None:
    assert patterns(facts_of("FROM scratch", "ARG A=1 B=$A", "COPY x$B /")) == [""]
    assert patterns(facts_of("FROM scratch", "ARG A=1", "ARG B=$A", "COPY x$B /")) == ["x1"]


def test_fetched_sources_are_unknown_and_no_inputs() -> None:
    facts = facts_of("FROM scratch", "ADD https://x/y.tgz git@h:r.git local /d/")
    assert patterns(facts) == ["local"]
    assert len(facts.unknown) == 2


def test_copy_cannot_fetch() -> None:
    (error,) = refused("FROM scratch", "COPY https://x/y /d/")
    assert error.message == "`COPY` cannot fetch `https://x/y`"


def test_triggers_run_in_the_stage_that_continues() -> None:
    facts = facts_of("FROM scratch AS one", "ONBUILD COPY a /", "FROM one AS two", "COPY b /", "FROM two")
    assert [(source.pattern, source.stage) for source in facts.sources] == [("a", 1), ("b", 1)]


def test_triggers_of_a_base_image_run_at_its_from() -> None:
    bases = {"base": BaseConfig(triggers=("COPY a /x/", "RUN make"))}
    facts = facts_of("FROM base", "COPY b /", bases=bases)
    assert [(source.pattern, source.line) for source in facts.sources] == [("a", 1), ("b", 2)]


def test_what_an_image_hands_on_can_be_given_to_the_next_file() -> None:
    config = facts_of("FROM scratch", "ENV A=src", "ARG B=no", "WORKDIR /w", "ONBUILD COPY $A .", 'SHELL ["s"]').config
    facts = facts_of("FROM base", "COPY x$B .", "CMD run", bases={"base": config})
    assert patterns(facts) == ["src", "x"]
    assert (facts.workdir, facts.command) == ("/w", ("s", "run"))


def test_entrypoint_command_user_and_workdir_are_none_where_the_base_image_decides() -> None:
    facts = facts_of("FROM python")
    assert (facts.entrypoint, facts.command, facts.user, facts.workdir) == (None, None, None, None)
    facts = facts_of("FROM python", "CMD a", 'ENTRYPOINT ["b", "c"]', "USER u", "WORKDIR /w")
    assert (facts.entrypoint, facts.command, facts.user) == (("b", "c"), ("/bin/sh", "-c", "a"), "u")


def test_an_entrypoint_drops_the_command_of_the_base_image() -> None:
    facts = facts_of("FROM python AS a", "CMD x", "FROM a", 'ENTRYPOINT ["b"]')
    assert facts.command == ()


def test_secrets_and_agents_are_named() -> None:
    facts = facts_of(
        "FROM a",
        "RUN --mount=type=secret,id=token --mount=type=secret,target=/run/key --mount=type=ssh true",
        "RUN --mount=type=ssh,id=other --mount=type=secret,id=token true",
    )
    assert (facts.secrets, facts.ssh) == (("token", "key"), ("default", "other"))


def test_a_mount_of_the_context_reads_its_source() -> None:
    facts = facts_of("FROM a", "RUN --mount=type=bind,src=./x/,dst=/m --mount=target=/n --mount=type=tmpfs,target=/t y")
    assert patterns(facts) == ["x", ""]


def test_features_tell_their_line() -> None:
    facts = facts_of("FROM scratch", "COPY --link --parents --exclude=*.md a /b/", "COPY <<A /", "A")
    assert [(each.name, each.line) for each in facts.features] == [
        ("copy --link", 2), ("copy --parents", 2), ("copy --exclude", 2), ("heredoc", 3)
    ]  # fmt: skip


def test_an_unknown_target_is_refused_with_a_suggestion() -> None:
    (error,) = refused("FROM a AS release", "FROM b AS test", target="relase")
    assert error.message == "the Dockerfile has no stage `relase`"
    assert error.hint == "did you mean `release`? the file has `release`, `test`"


def test_a_stage_without_a_name_is_no_target() -> None:
    (error,) = refused("FROM a", "FROM b", target="0")
    assert error.hint == "no stage of the file has a name"


def test_a_base_that_expands_to_nothing_is_refused() -> None:
    (error,) = refused("ARG BASE", "FROM ${BASE}")
    assert error.message == "the base image is empty: `BASE` has no value"
    assert str(error.where) == "Dockerfile:2:1"


@pytest.mark.parametrize(
    "line",
    [
        "COPY --from=later / /",
        "COPY --from=self / /",
        "COPY --from=7 / /",
        "COPY --from=$X / /",
        "COPY a[ /x/",
        "COPY a /${X:?no}",
        "RUN --mount=type=what,target=/x true",
        "RUN --mount=from=$X,target=/x true",
    ],
)
def test_mistakes_in_a_needed_stage_are_refused_with_their_line(line: str) -> None:
    lines = ("FROM scratch AS self", line, "FROM scratch AS later")
    assert [str(error.where) for error in refused(*lines, target="self")] == ["Dockerfile:2:1"]


def test_instructions_before_the_first_stage_are_refused() -> None:
    (error,) = refused("COPY a /", "FROM scratch")
    assert error.message == "`COPY` stands before the first `FROM`"


RECIPE = ("ARG V=1", "FROM a:$V AS one", "RUN make", "FROM b AS no", "RUN x", "FROM one AS two", "COPY src /w")


def test_comments_layout_and_other_stages_do_not_change_the_recipe() -> None:
    other = (
        "# new",
        "ARG V=1",
        "ARG W",
        "",
        "FROM  a:$V AS one",
        "RUN \\",
        "# c",
        "make",
        "FROM c AS no",
        "FROM one AS two",
        "COPY src /w",
    )
    assert facts_of(*other).recipe[2:] == tuple(line for line in facts_of(*RECIPE).recipe[2:])


@pytest.mark.parametrize(("line", "instead"), [(0, "ARG V=2"), (2, "RUN make all"), (6, "COPY --chmod=600 src /w")])
def test_a_needed_instruction_changes_the_recipe(line: int, instead: str) -> None:
    changed = [*RECIPE]
    changed[line] = instead
    assert facts_of(*changed).recipe != facts_of(*RECIPE).recipe


def test_a_stage_number_that_means_another_stage_changes_the_recipe() -> None:
    first = facts_of("FROM scratch AS x", "COPY a /", "FROM scratch AS y", "COPY a /", "FROM x", "COPY --from=0 / /")
    second = facts_of("FROM scratch AS x", "COPY a /", "FROM scratch AS y", "COPY a /", "FROM x", "COPY --from=1 / /")
    assert first.recipe != second.recipe


_LINES = st.sampled_from(
    [
        *("FROM a", "FROM scratch AS x", "FROM x AS y", "FROM $A", "ARG A=1", "ARG A B=$A", "ENV A=x B=${A:-y}"),
        *("ENV A b", "WORKDIR $A", "WORKDIR /w", "COPY . .", "COPY $A* src /d/", "COPY --from=x /a* /b"),
        *("COPY --from=0 / /", "ADD a.tar /", "RUN --mount=from=x,target=/m y", "RUN --mount=source=$A,target=/m y"),
        *("ONBUILD COPY a /b", "ONBUILD ARG A=2", "COPY --exclude=*.md --parents ./a/./b /c", "COPY <<E /f", "E"),
        *("USER $A", "CMD x", 'ENTRYPOINT ["a"]', "LABEL a=b", "COPY ${A:?x} /", "COPY ${A%*} ${B#?} /"),
        *("COPY --link a /d", "HEALTHCHECK NONE", "EXPOSE 80", "RUN x"),
    ]
)
_NAMES = st.sampled_from(["a", "src/a", "src/b.md", "a.tar", "x/y/z", "1", "lib/a/b"])


@given(
    st.lists(_LINES, max_size=12),
    st.dictionaries(st.sampled_from("AB"), st.sampled_from(["", "a", "src"])),
    st.sets(_NAMES),
)
def test_any_instructions_give_facts_or_errors(lines: list[str], args: dict[str, str], files: set[str]) -> None:
    try:
        facts = facts_of("FROM scratch AS x", *lines, args=args)
    except InputErrors:
        return
    landing = land(facts, files)
    inputs = facts.inputs(files)
    for path in files:
        assert not landing.of(path).landed or path in inputs
        assert path not in inputs or facts.selects(path)
        assert not facts.selects(path) or facts.reads_below(path.rpartition("/")[0])
