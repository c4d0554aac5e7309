"""What a log reader asks for next, and which lines it has had."""

import random

from hypothesis import given
from hypothesis import strategies as st

from devloop.core.cluster.log_cursor import LogCursor, Read, Runs, Stop, TextLine, Wait, log_sources, next_read
from devloop.core.cluster.pods import Container, Pod, Running, Terminated, Waiting


def _line(second: int, nanos: int, text: str) -> bytes:
    return f"2026-11-23T08:00:{second:02}.{nanos:09}Z {text}".encode()


def _texts(cursor: LogCursor, lines: list[bytes]) -> list[str]:
    return [line.text for raw in lines if (line := cursor.take(raw))]


def _replay(log: list[bytes], since: str | None) -> list[bytes]:
    """Return what the API gives of a log: all lines that are not older than that second, in the order of the file."""
    return [raw for raw in log if since is None or raw.decode() >= since.removesuffix("Z")]


# --- what there is -------------------------------------------------------------------------------------------

_ENDED = Terminated(exit_code=1)


def _runs_of(container: Container) -> Runs:
    pod = Pod(name="api-1", uid="u", namespace="dev", labels={"devloop.dev/service": "api"}, containers=(container,))
    (runs,) = log_sources([pod]).values()
    return runs


def test_every_kind_of_container_has_a_log() -> None:
    pod = Pod(
        name="api-1",
        uid="u",
        namespace="dev",
        labels={"devloop.dev/service": "api"},
        containers=(Container(name="setup", init=True), Container(name="api")),
        ephemeral=(Container(name="debugger"),),
    )

    assert [(source.service, source.container) for source in log_sources([pod])] == [
        ("api", "setup"),
        ("api", "api"),
        ("api", "debugger"),
    ]


def test_a_container_that_is_being_created_has_no_run() -> None:
    assert _runs_of(Container(name="api", state=Waiting(reason="ContainerCreating"))) == Runs()


def test_a_running_container_has_its_first_run() -> None:
    assert _runs_of(Container(name="api", state=Running())) == Runs(current=0)


def test_a_container_that_has_ended_and_stays_so_has_an_ended_run() -> None:
    assert _runs_of(Container(name="api", state=_ENDED)) == Runs(current=0, ended=True)


def test_a_restarted_container_has_a_run_before() -> None:
    assert _runs_of(Container(name="api", state=Running(), last=_ENDED, restarts=3)) == Runs(current=3, previous=2)


def test_a_container_that_backs_off_has_its_last_run_as_the_current() -> None:
    backing_off = Container(name="api", state=Waiting(reason="CrashLoopBackOff"), last=_ENDED, restarts=2)

    assert _runs_of(backing_off) == Runs(current=2, ended=True)


# --- what to read --------------------------------------------------------------------------------------------


def test_a_container_that_never_ran_is_waited_for() -> None:
    assert next_read(Runs(), ()) == Wait()


def test_a_running_container_is_followed() -> None:
    assert next_read(Runs(current=0), ()) == Read(run=0, follow=True)


def test_a_container_that_has_ended_is_read_to_its_end() -> None:
    assert next_read(Runs(current=0, ended=True), ()) == Read(run=0)


def test_after_a_restart_the_rest_of_the_run_before_comes_first() -> None:
    runs = Runs(current=1, previous=0)

    assert next_read(runs, ()) == Read(run=0, previous=True)
    assert next_read(runs, {0}) == Read(run=1, follow=True)


def test_nothing_is_read_twice() -> None:
    assert next_read(Runs(current=1, ended=True, previous=0), {0, 1}) == Wait()


def test_reading_stops_when_the_pod_is_gone_and_the_rest_was_read() -> None:
    assert next_read(Runs(current=0, gone=True), ()) == Read(run=0)
    assert next_read(Runs(current=0, gone=True), {0}) == Stop()


def test_a_pod_that_went_before_it_started_is_not_waited_for() -> None:
    assert next_read(Runs(gone=True), ()) == Stop()


# --- what was seen -------------------------------------------------------------------------------------------


def test_a_line_has_its_time_and_its_text() -> None:
    assert LogCursor().take(_line(1, 5, "hello world")) == TextLine("2026-11-23T08:00:01.000000005Z", "hello world")


def test_an_empty_line_is_a_line() -> None:
    assert LogCursor().take(_line(1, 5, "")) == TextLine("2026-11-23T08:00:01.000000005Z", "")


def test_the_carriage_return_of_a_line_end_is_no_part_of_the_line_and_others_are() -> None:
    assert _texts(LogCursor(), [_line(1, 0, "10%\r20%\r")]) == ["10%\r20%"]


def test_terminal_colours_are_kept() -> None:
    assert _texts(LogCursor(), [_line(1, 0, "\x1b[31mred\x1b[0m")]) == ["\x1b[31mred\x1b[0m"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert _texts(LogCursor(), [b"2026-11-23T08:00:01Z a\xffb"]) == ["a\ufffdb"]


def test_a_cursor_that_saw_nothing_begins_where_it_was_told() -> None:
    assert LogCursor().since is None
    assert LogCursor("2026-11-23T08:00:00Z").since == "2026-11-23T08:00:00Z"


def test_reading_goes_on_from_a_whole_second_before_the_last() -> None:
    cursor = LogCursor()
    _texts(cursor, [_line(1, 7, "a"), _line(3, 8, "b"), _line(9, 9, "c")])

    assert cursor.since == "2026-11-23T08:00:03Z"


def test_a_time_zone_stays_part_of_the_time() -> None:
    cursor = LogCursor()
    cursor.take(b"2026-11-23T08:00:01.5+02:00 a")

    assert cursor.since == "2026-11-23T08:00:01+02:00"


def test_equal_lines_of_one_moment_are_counted() -> None:
    log = [_line(1, 5, "tick"), _line(1, 5, "tick")]
    cursor = LogCursor()
    assert _texts(cursor, log) == ["tick", "tick"]

    assert cursor.resume()
    assert _texts(cursor, [*log, _line(1, 5, "tick")]) == ["tick"]


def test_a_line_that_was_stamped_late_is_not_lost() -> None:
    log = [_line(2, 1, "out"), _line(1, 999, "err"), _line(2, 2, "out again")]
    cursor = LogCursor()
    _texts(cursor, [_line(1, 0, "first"), *log[:1]])

    cursor.resume()
    assert _texts(cursor, [_line(1, 0, "first"), *log]) == ["err", "out again"]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_whatever_the_connection_does_each_line_comes_once_and_in_order(
    steps: list[int], random_: random.Random
) -> None:
    moment, log = 0, []
    for number, step in enumerate(steps):
        moment += step * 400_000_000
        late = random_.choice([0, 0, 300])
        log.append(_line(10 + (moment - late) // 10**9, (moment - late) % 10**9, str(number % 3)))
    cursor, seen = LogCursor(), list[str]()
    while len(seen) < len(log):
        replayed = _replay(log, cursor.since)
        if cursor.resume():
            assert cursor.expects(replayed[0])
        cut = random_.randint(1, len(replayed))
        seen += _texts(cursor, replayed[:cut])

    assert seen == [raw.split(b" ")[1].decode() for raw in log]


def test_a_stream_that_does_not_begin_with_what_was_seen_is_another_runs() -> None:
    cursor = LogCursor()
    _texts(cursor, [_line(1, 0, "old")])

    assert cursor.resume()
    assert not cursor.expects(_line(5, 0, "new"))


def test_the_same_log_from_its_beginning_is_recognised_and_goes_on_where_it_was() -> None:
    log = [_line(second, 0, str(second)) for second in range(9)]
    cursor = LogCursor()
    _texts(cursor, log[:7])

    assert not cursor.restart(_line(30, 0, "other"))
    assert cursor.restart(log[0])
    assert _texts(cursor, log) == ["7", "8"]


def test_what_the_node_says_in_place_of_a_log_is_told_once() -> None:
    notice = b"failed to create fsnotify watcher: too many open files"
    cursor = LogCursor()

    assert cursor.take(notice) == TextLine("", notice.decode())
    assert cursor.take(notice) is None
    assert cursor.since is None


# --- long lines ----------------------------------------------------------------------------------------------

_CHUNK = 16384


def test_a_long_line_loses_the_timestamps_of_its_chunks() -> None:
    text = "x" * 1_000_000
    chunks = [_line(1, at, text[at : at + _CHUNK]) for at in range(0, len(text), _CHUNK)]

    assert _texts(LogCursor(), [b"".join(chunks)]) == [text]


def test_a_long_line_of_a_node_that_puts_none_stays_as_it_is() -> None:
    text = "2026-11-23T08:00:01Z " * 5000

    assert _texts(LogCursor(), [_line(1, 0, text)]) == [text]


def test_a_chunk_that_was_no_text_is_longer_than_it_was() -> None:
    first, second = "\ufffd" + "x" * (_CHUNK - 1), "y" * 9

    assert _texts(LogCursor(), [_line(1, 0, first) + _line(1, 1, second)]) == [first + second]
