import re

from hypothesis import given
from hypothesis import strategies as st

from devloop.ui.screen import Line, Screen
from tests.ui.terminal import Terminal


def lines(*texts: str) -> list[Line]:
    return [Line(text, len(text)) for text in texts]


def test_text_flows_above_the_lines_that_stay() -> None:
    terminal, screen = Terminal(20), Screen()
    terminal.feed(screen.frame("one\n", lines("----", "api ready"), 20))
    terminal.feed(screen.frame("two\nthree\n", lines("----", "api ready"), 20))
    assert terminal.lines() == ["one", "two", "three", "----", "api ready"]


def test_nothing_is_written_when_nothing_changed() -> None:
    screen = Screen()
    screen.frame("", lines("----", "api ready"), 20)
    assert screen.frame("", lines("----", "api ready"), 20) == ""


def test_only_the_lines_that_changed_are_written_again() -> None:
    screen = Screen()
    screen.frame("", lines("----", "api ready", "web ready"), 20)
    assert re.findall(r"\w{3} \w+", screen.frame("", lines("----", "api waits", "web ready"), 20)) == [
        "api waits",
        "web ready",  # the cursor belongs behind the last
    ]


def test_a_change_clears_nothing_that_stays() -> None:
    screen = Screen()
    screen.frame("", lines("----", "api ready"), 20)
    assert "\x1b[J" not in screen.frame("", lines("----", "api waits"), 20)


def test_a_frame_is_shown_at_once_where_terminals_can() -> None:
    written = Screen().frame("one\n", lines("----"), 20)
    assert written.startswith("\x1b[?2026h")
    assert written.endswith("\x1b[?2026l")


def test_closing_leaves_the_lines_as_text_and_the_cursor_below() -> None:
    terminal, screen = Terminal(20), Screen()
    terminal.feed(screen.frame("one\n", lines("----", "api ready"), 20))
    hidden = terminal.cursor_visible
    terminal.feed(screen.close() + "$ ")
    assert terminal.lines() == ["one", "----", "api ready", "$"]
    assert (hidden, terminal.cursor_visible, terminal.wraps) == (False, True, True)


def test_closing_without_lines_adds_no_line() -> None:
    terminal, screen = Terminal(20), Screen()
    terminal.feed(screen.close() + "$ ")
    assert terminal.lines() == ["$"]


def test_a_narrower_window_leaves_no_remains() -> None:
    terminal, screen = Terminal(20), Screen()
    terminal.feed(screen.frame("one\n", lines("-" * 19, "api ready at last"), 20))
    terminal.resize(8)
    terminal.feed(screen.frame("", lines("-" * 7, "api rea"), 8))
    assert terminal.lines() == ["one", "-------", "api rea"]


_texts = st.text(alphabet="abc ", max_size=50).map(lambda text: f"x{text}x")
_frames = st.lists(
    st.tuples(
        st.lists(_texts, max_size=4),
        st.lists(st.text(alphabet="abc", min_size=1, max_size=9), min_size=1, max_size=5),
        st.sampled_from([10, 17, 40]),
    ),
    max_size=8,
)


@given(_frames)
def test_whatever_is_shown_nothing_is_lost_and_nothing_remains(
    frames: list[tuple[list[str], list[str], int]],
) -> None:
    terminal, screen = Terminal(10), Screen()
    flowed: list[str] = []
    for above, live, columns in frames:
        if columns != terminal.columns:
            terminal.resize(columns)
        terminal.feed(screen.frame("".join(f"{line}\n" for line in above), lines(*live), columns))
        flowed += above
        assert terminal.lines() == [*flowed, *live]
