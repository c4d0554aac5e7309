import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.ui.text import (
    ASCII,
    UNICODE,
    cells,
    clean,
    colour_wanted,
    colours,
    crop,
    duration,
    glyphs,
    pad,
    segments,
)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain ünïcode 日本", "plain ünïcode 日本"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hhome", "home"),
        ("up\x1b[5A there", "up there"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice string\x1b\\text", "text"),
        ("\x9b2Jeight bits", "eight bits"),
        ("\x1b]never ends", "never ends"),
        ("cut \x1b[3", "cut "),
        ("bell\x07 back\x08space \x00nul \x7fdel", "bell backspace nul del"),
        ("a\tb", "a       b"),
        ("next\x85line\u2028separator", "nextline separator"),
        ("\x1b(0charset", "charset"),
        ("\x1bcreset", "reset"),
    ],
)
def test_what_moves_the_cursor_is_taken_out(printed: str, shown: str) -> None:
    assert clean(printed) == shown


def test_colours_stay_where_wanted_and_end_with_the_line() -> None:
    assert clean("\x1b[1;31mred\x1b[2K", colour=True) == "\x1b[1;31mred\x1b[0m"


def test_a_line_without_colours_gets_no_reset() -> None:
    assert clean("tab\there", colour=True) == "tab     here"


@given(st.text())
def test_a_cleaned_line_is_one_line_of_printable_text(text: str) -> None:
    assert not [each for each in clean(text) if ord(each) < 32 or 127 <= ord(each) < 160 or each in "\u2028\u2029"]


@given(st.text(alphabet=st.sampled_from("\x1b[]0;1mKJHab\x07\\\x9b")))
def test_only_colours_are_left_of_control_codes(text: str) -> None:
    rest = clean(text, colour=True)
    assert clean(rest) == clean(text)


def test_a_progress_bars_states_are_told_apart() -> None:
    assert segments("10%\r50%\r100%\r") == ("10%", "50%", "100%")


def test_a_windows_line_end_leaves_one_line() -> None:
    assert segments("text\r") == ("text",)


@pytest.mark.parametrize(
    ("env", "terminal", "wanted"),
    [
        ({"TERM": "xterm"}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"CLICOLOR": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_the_environment_decides_about_colour(env: dict[str, str], terminal: bool, wanted: bool) -> None:
    assert colour_wanted(env, terminal=terminal) is wanted


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0ms"),
        (-0.1, "0ms"),
        (0.0123, "12ms"),
        (0.0994, "99ms"),
        (0.0996, "0.1s"),
        (1.25, "1.2s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (125, "2m05s"),
        (3599.9, "1h00m"),
        (3725, "1h02m"),
    ],
)
def test_a_duration_reads_like_one(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@given(st.floats(min_value=0, max_value=359_999))
def test_a_duration_fits_its_column(seconds: float) -> None:
    assert len(duration(seconds)) <= 6


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("short", 10, "short"), ("exactly", 7, "exactly"), ("too long", 5, "too…"), ("日本語", 5, "日本…"), ("ab", 0, "")],
)
def test_a_cut_is_shown(text: str, width: int, shown: str) -> None:
    assert crop(text, width) == shown


@given(st.text(), st.integers(min_value=0, max_value=30))
def test_what_is_cropped_and_padded_has_its_width(text: str, width: int) -> None:
    assert cells(crop(text, width)) <= width
    assert cells(pad(crop(text, width), width)) == width


def test_services_have_different_colours_while_there_are_enough() -> None:
    names = [f"service-{number}" for number in range(10)]
    assert len(set(colours(names).values())) == 10


def test_a_service_keeps_its_colour_in_any_order() -> None:
    assert colours(["web", "api", "store"]) == colours(["store", "web", "api"])


def test_more_services_than_colours_share_them() -> None:
    assert len(colours(f"service-{number}" for number in range(25))) == 25


@pytest.mark.parametrize(
    ("encoding", "signs"),
    [("utf-8", UNICODE), ("UTF8", UNICODE), ("latin-1", ASCII), ("ascii", ASCII), (None, ASCII), ("no-such", ASCII)],
)
def test_signs_suit_the_encoding(encoding: str | None, signs: object) -> None:
    assert glyphs(encoding) is signs
