from contextlib import suppress

import dockerfile as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devloop.core.dockerfile import Flag, Instruction, parse
from devloop.errors import InputError, InputErrors


def instructions(*lines: str) -> list[Instruction]:
    return list(parse("\n".join(lines) + "\n").instructions)


def only(*lines: str) -> Instruction:
    (_, instruction) = instructions("FROM scratch", *lines)
    return instruction


def refused(text: str) -> list[InputError]:
    with pytest.raises(InputErrors) as caught:
        parse(text, path="api/Dockerfile")
    return list(caught.value.errors)


def test_an_instruction_knows_its_words_and_lines() -> None:
    copy = only("", "# why", "copy a  b\t/c")
    assert (copy.keyword, copy.arguments, copy.line, copy.end_line) == ("COPY", ("a", "b", "/c"), 4, 4)


def test_a_continued_line_is_joined_and_its_comments_and_blank_lines_are_dropped() -> None:
    run = only("RUN one \\", "  # comment", "", "  two \\  ", "three")
    assert run.arguments == ("one   two three",)
    assert (run.line, run.end_line) == (2, 6)


def test_two_backslashes_at_the_end_do_not_continue_a_line() -> None:
    assert [each.keyword for each in instructions("FROM scratch", "RUN a \\\\", "USER b")] == ["FROM", "RUN", "USER"]


def test_the_escape_directive_changes_what_continues_a_line() -> None:
    parsed = parse("# escape=`\nFROM scratch\nCOPY a `\n  b\\ /c\n")
    assert parsed.instructions[1].arguments == ("a", "b\\", "/c")
    assert parsed.escape == "`"


def test_directives_are_read_from_the_first_lines_only() -> None:
    parsed = parse("# syntax = docker/dockerfile:1\n# Check=skip=all\n\n# escape=`\nFROM scratch\n")
    assert [(each.name, each.value) for each in parsed.directives] == [
        ("syntax", "docker/dockerfile:1"),
        ("check", "skip=all"),
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_dropped() -> None:
    parsed = parse("\ufeff# escape=`\r\nFROM a `\r\n  AS b\r\n")
    assert parsed.instructions[0].arguments == ("a", "AS", "b")


def test_flags_are_taken_from_the_arguments() -> None:
    copy = only('COPY --link --from=a --chown="x y" -- b /c')
    assert copy.flags == (Flag(name="link", value=None), Flag(name="from", value="a"), Flag(name="chown", value="x y"))
    assert copy.arguments == ("b", "/c")


def test_arguments_may_be_a_json_array() -> None:
    copy = only('COPY ["a b", "/c d/"]')
    assert copy.is_json
    assert copy.arguments == ("a b", "/c d/")
    assert only("RUN [ 'a' ]").arguments == ("[ 'a' ]",)


def test_names_and_values_keep_their_quotes_for_the_expansion() -> None:
    assert only('ENV A=1 B="x y" C=z\\ z').arguments == ("A", "1", "B", '"x y"', "C", "z\\ z")
    assert only("ENV A b c").arguments == ("A", "b c")
    assert only('ARG A B=1 C="2 3"').arguments == ("A", "B=1", 'C="2 3"')


def test_a_heredoc_holds_the_lines_up_to_its_name() -> None:
    copy, user = instructions("FROM scratch", "COPY <<EOF <<-'X' /d/", "COPY $a /b", "EOF", "\ty", "\tX", "USER u")[1:]
    assert [(each.name, each.content, each.expands, each.chomps) for each in copy.heredocs] == [
        ("EOF", "COPY $a /b\n", True, False),
        ("X", "\ty\n", False, True),
    ]
    assert (copy.end_line, user.line) == (6, 7)


def test_a_shift_in_an_array_makes_no_heredoc() -> None:
    assert only('RUN ["sh", "-c", "cat <<EOF"]').heredocs == ()


def test_onbuild_holds_an_instruction_back() -> None:
    onbuild = only("ONBUILD COPY --link a /b")
    assert onbuild.trigger is not None
    assert (onbuild.trigger.keyword, onbuild.trigger.arguments) == ("COPY", ("a", "/b"))


def test_layout_and_comments_do_not_change_the_canonical_text() -> None:
    assert only("RUN a \\", "# c", "b").canonical == only("RUN a \\", "b").canonical


def test_mistakes_are_reported_together_with_lines_and_hints() -> None:
    errors = refused("FROM scratch\nCOPPY a b\nCOPY a\nENV A\nONBUILD FROM x\nFROM a b\n")
    assert [str(error.where) for error in errors] == [f"api/Dockerfile:{line}:1" for line in range(2, 7)]
    assert errors[0].message == "unknown instruction `COPPY`"
    assert errors[0].hint == "did you mean `COPY`?"


def test_a_mistake_is_placed_at_the_column_of_its_instruction() -> None:
    (error,) = refused("FROM scratch\n\t RUNN x\n")
    assert str(error.where) == "api/Dockerfile:2:3"


def test_a_heredoc_that_is_not_ended_is_refused() -> None:
    (error,) = refused("FROM scratch\nRUN <<EOF\nx\n")
    assert error.message == "the heredoc `EOF` is not ended"


def test_a_file_without_a_stage_is_refused() -> None:
    assert [error.message for error in refused("ARG A\n")] == ["the Dockerfile has no `FROM`"]
    assert [error.message for error in refused("")] == ["the Dockerfile has no `FROM`"]


def test_a_directive_that_is_given_twice_is_refused() -> None:
    (error,) = refused("# escape=`\n# escape=`\nFROM scratch\n")
    assert error.message == "the directive `escape` is given twice"


_PIECES = st.sampled_from(
    [
        *(
            "FROM a\n",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "LABEL ",
            "ARG ",
            "ONBUILD ",
            "CMD ",
            "EXPOSE ",
            "USER ",
            "WORKDIR ",
        ),
        *(
            "HEALTHCHECK ",
            "VOLUME ",
            "ENTRYPOINT ",
            "SHELL ",
            "\\\n",
            "\\ \n",
            "`\n",
            "\n",
            "# c\n",
            "  # c\n",
            " ",
            "\t",
        ),
        *(
            "#escape=`\n",
            "# syntax=x\n",
            "a",
            "b=c",
            '"',
            "'",
            "\\",
            "$x",
            "${x:-y}",
            "--from=a ",
            "--link ",
            "-- ",
            "<<EOF",
        ),
        *(
            "<<-EOF",
            "<<'E F'",
            "EOF\n",
            "\tEOF\n",
            "E F\n",
            '["a", "b"]',
            '["a"',
            "\r\n",
            "é",
            "=",
            "<",
            "1<<",
            "\\\\\n",
        ),
        *("CMD", "NONE", "x y\n", "--interval=1s "),
    ]
)
_FILES = st.lists(_PIECES, max_size=14).map(lambda pieces: "FROM x\n" + "".join(pieces))


@given(_FILES)
@settings(max_examples=300)
def test_instructions_are_split_as_the_builders_own_parser_splits_them(text: str) -> None:
    try:
        mine = [_summary(each) for each in parse(text).instructions]
    except InputErrors:
        return  # the oracle checks neither keywords nor how many arguments there are
    theirs = [
        (
            each.cmd,
            each.sub_cmd,
            each.json,
            (each.start_line, each.end_line),
            each.value,
            tuple((document.name, document.content) for document in each.heredocs),
        )
        for each in oracle.parse_string(text)
    ]
    assert mine == theirs


def _summary(instruction: Instruction) -> tuple[object, ...]:
    held = instruction.trigger
    return (
        instruction.keyword,
        held.keyword if held else None,
        (held or instruction).is_json,
        (instruction.line, instruction.end_line),
        (held or instruction).arguments,
        tuple((document.name, document.content) for document in instruction.heredocs),
    )


@given(_FILES)
def test_what_the_builders_parser_refuses_is_refused(text: str) -> None:
    try:
        oracle.parse_string(text)
    except oracle.GoParseError:
        with pytest.raises(InputErrors):
            parse(text)


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(InputErrors):
        assert parse(text).instructions
