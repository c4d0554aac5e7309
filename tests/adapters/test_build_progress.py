"""BuildKit's progress, read from bytes: pretty-printed or one object a line, JSON or plain."""

import base64
import json
from typing import Any

import pytest

from devloop.adapters.docker.progress import PlainReader, RawJsonReader
from devloop.runtime.ports import BuildLog, BuildProgress, BuildStep

T0, T1 = "2026-11-23T08:35:22.500000001Z", "2026-11-23T08:35:23.751000000Z"


def vertex(name: str, *, digest: str | None = None, **more: Any) -> dict[str, Any]:
    return {"vertexes": [{"digest": digest or f"sha256:{name}", "name": name, **more}]}


def log(name: str, data: bytes, stream: int = 1) -> dict[str, Any]:
    return {"logs": [{"vertex": f"sha256:{name}", "stream": stream, "data": base64.b64encode(data).decode()}]}


def pretty(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(message, indent=2).encode() + b"\n" for message in messages)


def compact(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def read(data: bytes, *, piece: int = 1 << 20) -> tuple[RawJsonReader, list[BuildProgress]]:
    reader = RawJsonReader()
    told = [each for start in range(0, len(data), piece) for each in reader.feed(data[start : start + piece])]
    return reader, told + reader.end()


STEP = "[2/2] RUN make"
WHOLE = (
    vertex(STEP),
    vertex(STEP, started=T0),
    log(STEP, b"one\ntw"),
    log(STEP, b"o\nlast"),
    vertex(STEP, started=T0, completed=T1),
)
TOLD = [
    BuildStep(name=STEP, index=1),
    BuildLog(step=STEP, line="one"),
    BuildLog(step=STEP, line="two"),
    BuildLog(step=STEP, line="last"),
    BuildStep(name=STEP, index=1, done=True, seconds=1.251),
]


@pytest.mark.parametrize("form", [pretty, compact])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_both_forms_are_read_however_the_bytes_are_cut(form: Any, piece: int) -> None:
    assert read(form(*WHOLE), piece=piece)[1] == TOLD


def test_an_announced_step_is_told_when_it_begins() -> None:
    assert read(pretty(vertex("[1/2] FROM busybox")))[1] == []


def test_the_same_state_is_told_once() -> None:
    assert len(read(pretty(vertex("a", started=T0), vertex("a", started=T0)))[1]) == 1


def test_standard_output_and_errors_of_a_step_are_cut_into_lines_apart() -> None:
    messages = (vertex("a", started=T0), log("a", b"ou"), log("a", b"err\n", 2), log("a", b"t\n"))
    assert [each.line for each in read(compact(*messages))[1] if isinstance(each, BuildLog)] == ["err", "out"]


def test_a_warning_is_a_line_of_its_step() -> None:
    warning = {"vertex": "sha256:a", "level": 1, "short": base64.b64encode(b"SecretsUsedInArgOrEnv").decode()}
    told = read(compact(vertex("a", started=T0), {"warnings": [warning]}))[1]
    assert told[1:] == [BuildLog(step="a", line="warning: SecretsUsedInArgOrEnv")]


def test_what_nobody_knows_yet_is_passed_over() -> None:
    reader, told = read(compact({"statuses": [{"id": "x"}], "more": 1}, {"vertexes": None}))
    assert (reader.understood, told) == (True, [])


def test_text_that_is_no_json_is_no_progress() -> None:
    reader, told = read(b"WARNING: something\n{ not json }\nERROR: failed to solve: no such thing\n")
    assert (reader.understood, told) == (False, [])
    assert reader.failure().reason == "no such thing"


def test_an_object_that_was_cut_off_does_no_harm() -> None:
    reader, told = read(pretty(vertex("a", started=T0))[:-5])
    assert told == []
    assert reader.failure().reason


SOURCE = b"""Dockerfile:3
--------------------
   1 |     FROM base AS x
   2 |     RUN echo 1
   3 | >>> RUN echo start; exit 3
--------------------
ERROR: failed to solve: process "/bin/sh -c echo start; exit 3" did not complete successfully: exit code: 3
"""
ERROR = 'process "/bin/sh -c echo start; exit 3" did not complete successfully: exit code: 3'


def test_a_failure_has_the_step_its_code_its_line_and_its_last_lines() -> None:
    failed = vertex("[3/3] RUN echo start; exit 3", digest="sha256:x", started=T0, completed=T1, error=ERROR)
    failure = read(pretty(log("x", b"start\n"), failed) + SOURCE)[0].failure()
    assert (failure.step, failure.exit_code, failure.line) == ("[3/3] RUN echo start; exit 3", 3, 3)
    assert failure.tail == ("start",)
    assert failure.excerpt[-1] == "   3 | >>> RUN echo start; exit 3"


def test_the_step_that_the_builder_blames_is_the_failing_one() -> None:
    other = vertex("other", started=T0, completed=T1, error=f"{ERROR}7: context canceled")
    blamed = vertex("blamed", started=T0, completed=T1, error=ERROR)
    assert read(pretty(other, blamed) + SOURCE)[0].failure().step == "blamed"


def test_only_the_last_lines_of_a_long_output_are_kept() -> None:
    output = b"".join(b"%d\n" % number for number in range(1000))
    failed = vertex("a", started=T0, completed=T1, error="exit code: 1")
    failure = read(compact(vertex("a", started=T0), log("a", output), failed))[0].failure()
    assert failure.tail == tuple(str(number) for number in range(950, 1000))


def test_a_reference_that_changes_each_time_is_left_out_of_the_reason() -> None:
    error = 'failed to calculate checksum of ref bc7f7cbd::9l455l0: "/nofile": not found'
    assert read(compact(vertex("a", started=T0, completed=T1, error=error)))[0].failure().reason == (
        '"/nofile": not found'
    )


def test_a_failure_without_a_step_has_the_builders_words() -> None:
    failure = read(b"ERROR: Cache export is not supported for the docker driver.\nSwitch to another.\n")[0].failure()
    assert (failure.step, failure.reason) == (None, "Cache export is not supported for the docker driver.")


def test_a_failure_without_a_word_is_one_all_the_same() -> None:
    assert RawJsonReader().failure().reason == "the builder gave no reason"


PLAIN = b"""#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 191B done
#1 DONE 0.0s

#4 [1/3] FROM docker.io/library/busybox:latest
#4 CACHED

#5 [2/3] RUN sleep 5
#6 [3/3] RUN echo boom; exit 7
#6 0.451 boom

#5 [2/3] RUN sleep 5
#5 CANCELED

#6 [3/3] RUN echo boom; exit 7
#6 0.460 again
#6 ERROR: process "/bin/sh -c echo boom; exit 7" did not complete successfully: exit code: 7
------
 > [3/3] RUN echo boom; exit 7:
0.451 boom
------
Dockerfile:4
--------------------
   4 | >>> RUN echo boom; exit 7
--------------------
ERROR: failed to solve: process "/bin/sh -c echo boom; exit 7" did not complete successfully: exit code: 7
"""


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_plain_progress_is_read_as_well(piece: int) -> None:
    reader = PlainReader()
    told = [each for start in range(0, len(PLAIN), piece) for each in reader.feed(PLAIN[start : start + piece])]
    boom = "[3/3] RUN echo boom; exit 7"
    error = 'process "/bin/sh -c echo boom; exit 7" did not complete successfully: exit code: 7'
    assert [*told, *reader.end()] == [
        BuildStep(name="[internal] load build definition from Dockerfile", index=1),
        BuildStep(name="[internal] load build definition from Dockerfile", index=1, done=True, seconds=0.0),
        BuildStep(name="[1/3] FROM docker.io/library/busybox:latest", index=2),
        BuildStep(name="[1/3] FROM docker.io/library/busybox:latest", index=2, done=True, cached=True, seconds=0.0),
        BuildStep(name="[2/3] RUN sleep 5", index=3),
        BuildStep(name=boom, index=4),
        BuildLog(step=boom, line="boom"),
        BuildStep(name="[2/3] RUN sleep 5", index=3, done=True, error="cancelled"),
        BuildLog(step=boom, line="again"),
        BuildStep(name=boom, index=4, done=True, error=error),
    ]
    failure = reader.failure()
    assert (failure.step, failure.exit_code, failure.line, failure.tail) == (boom, 7, 4, ("boom", "again"))
