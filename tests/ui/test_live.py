import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from devloop.events import (
    Event,
    Held,
    PodChanged,
    PortOpened,
    Problem,
    ProjectLoaded,
    ProjectRejected,
    RunFailed,
    RunProgressed,
    RunStarted,
    RunSucceeded,
    Settled,
    Skipped,
)
from devloop.model import Kind, NodeId
from devloop.ui.live import live_lines
from devloop.ui.text import ASCII, UNICODE, cells
from devloop.ui.view import EMPTY, View, replay
from tests.ui.story import API, NODES, START, number, opening, story


def drawn(view: View, *, columns: int = 80, rows: int = 24, now: float = START, ascii_only: bool = False) -> str:
    signs = ASCII if ascii_only else UNICODE
    lines = live_lines(view, columns=columns, rows=rows, now=now, glyphs=signs, colours={})
    return "".join(f"{line.plain.rstrip()}\n" for line in lines)


def at(seconds: float) -> View:
    return replay(event for event in story() if event.at <= START + seconds)


def big(count: int) -> list[Event]:
    images = tuple(NodeId(Kind.IMAGE, f"service-{each:02}") for each in range(count))
    services = tuple(NodeId(Kind.SERVICE, f"service-{each:02}") for each in range(count))
    loaded = ProjectLoaded(at=START, project="large", target="kind-dev/default", nodes=images + services, seconds=0.1)
    return [
        loaded,
        *(Skipped(node=node, reason="no input changed") for node in images),
        *(Held(node=node, reason="waits for its turn") for node in services),
    ]


def test_nothing_is_drawn_before_anything_is_known() -> None:
    assert drawn(EMPTY) == ""


def test_builds_on_their_way() -> None:
    assert drawn(at(3.5), now=START + 9.7) == snapshot("""\
── shop → docker-desktop/default ──────────────────────────────── working 9s ──
✓ base      image    built      base:dev-3f2a9c81d0e4                      3.0s
● api       image    building   [3/4] COPY src /app/src                      6s
● worker    image    building   [3/4] RUN pip install -r requirements.…      6s
! store     service  ready      port 6379 is not open                      1.1s
· api       service  waits for image `api`
· worker    service  waits for image `worker`
· api-code  sync     watching
· smoke     check    waits for service `api`
""")


def test_a_build_that_failed() -> None:
    assert drawn(at(5.8)) == snapshot("""\
── shop → docker-desktop/default ───────────────────────── not ready: worker ──
✓ base      image    built      base:dev-3f2a9c81d0e4                      3.0s
✓ api       image    built      api:dev-91aa02bd7f10                       0.9s
✗ worker    image    failed     step `[3/4] RUN pip install -r require…    1.1s
! store     service  ready      port 6379 is not open                      1.1s
✓ api       service  ready      http://localhost:8000                      1.4s
· worker    service  waits for image `worker`, which failed
· api-code  sync     watching
✓ smoke     check    passed                                                0.2s
""")


def test_a_pod_that_crashes_after_all_was_ready() -> None:
    assert drawn(at(20)) == snapshot("""\
── shop → docker-desktop/default ───────────────── in trouble: store, worker ──
✓ base      image    built      base:dev-3f2a9c81d0e4                      3.0s
✓ api       image    built      api:dev-91aa02bd7f10                       0.9s
✓ worker    image    built      worker:dev-0c77d1e6a2b3                    1.4s
! store     service  ready      port 6379 is not open                      1.1s
✓ api       service  ready      http://localhost:8000                      1.4s
! worker    service  not ready  0 of 1 ready, CrashLoopBackOff, 3 rest…
✓ api-code  sync     synced     1 file to 1 container                      12ms
✓ smoke     check    passed                                                0.2s
""")


def test_a_devfile_with_mistakes() -> None:
    assert drawn(at(15.5)) == snapshot("""\
── shop → docker-desktop/default ───────────────────────── in trouble: store ──
✗ the project's files have mistakes (see above); what was there goes on
✓ base      image    built      base:dev-3f2a9c81d0e4                      3.0s
✓ api       image    built      api:dev-91aa02bd7f10                       0.9s
✓ worker    image    built      worker:dev-0c77d1e6a2b3                    1.4s
! store     service  ready      port 6379 is not open                      1.1s
✓ api       service  ready      http://localhost:8000                      1.4s
✓ worker    service  ready                                                 0.7s
✓ api-code  sync     synced     1 file to 1 container                      12ms
✓ smoke     check    passed                                                0.2s
""")


def test_a_terminal_without_unicode() -> None:
    assert drawn(at(3.5), now=START + 3.6, ascii_only=True) == snapshot("""\
-- shop -> docker-desktop/default ------------------------------- working 3s --
+ base      image    built      base:dev-3f2a9c81d0e4                      3.0s
* api       image    building   [3/4] COPY src /app/src
* worker    image    building   [3/4] RUN pip install -r requirements.~
! store     service  ready      port 6379 is not open                      1.1s
. api       service  waits for image `api`
. worker    service  waits for image `worker`
. api-code  sync     watching
. smoke     check    waits for service `api`
""")


def test_a_narrow_terminal() -> None:
    assert drawn(at(5.8), columns=40) == snapshot("""\
── shop → docker…  not ready: worker ──
✓ base      base:dev-3f2a9c81d…    3.0s
✓ api       api:dev-91aa02bd7f…    0.9s
✗ worker    step `[3/4] RUN pi…    1.1s
! store     port 6379 is not o…    1.1s
✓ api       http://localhost:8…    1.4s
· worker    waits for image `w…
· api-code  watching
✓ smoke     passed                 0.2s
""")


def test_many_nodes_are_folded_into_a_line() -> None:
    node = NodeId(Kind.SERVICE, "service-17")
    broken = NodeId(Kind.IMAGE, "service-03")
    events: list[Event] = [
        *big(25),
        RunStarted(at=START, node=node, run=1, action="deploy", reasons=("image `service-17` is new",)),
        RunFailed(node=broken, run=2, action="build", seconds=1.0, problems=(Problem(message="no such file `x`"),)),
        PortOpened(node=NodeId(Kind.SERVICE, "service-20"), local=8020, remote="80", url="http://localhost:8020"),
    ]
    assert drawn(replay(events), now=START + 4) == snapshot("""\
── large → kind-dev/default ───────────────────────────────────── working 4s ──
✗ service-03  image    failed     no such file `x`                         1.0s
· service-00  service  waits for its turn
· service-01  service  waits for its turn
· service-02  service  waits for its turn
· service-03  service  waits for its turn
· service-04  service  waits for its turn
· service-05  service  waits for its turn
· service-06  service  waits for its turn
● service-17  service  deploying  image `service-17` is new                  4s
· service-20  service  waits for its turn
… 40 more: 16 waiting, 24 fine
""")


def test_a_low_terminal_keeps_the_rule_and_the_sum() -> None:
    assert drawn(replay(big(5)), rows=6) == snapshot("""\
── large → kind-dev/default ──────────────────────────────────────── working ──
… 10 nodes: 5 waiting, 5 fine
""")


def test_a_service_with_several_pods_counts_those_that_live() -> None:
    pods = [
        PodChanged(node=API, pod="api-1", status="Terminating", ready=False),
        PodChanged(node=API, pod="api-2", status="Running", ready=True, restarts=1),
        PodChanged(node=API, pod="api-3", status="Running", ready=True),
    ]
    done = RunSucceeded(node=API, run=1, action="deploy", seconds=1.0, summary="3 objects")
    loaded = ProjectLoaded(project="shop", target="t", nodes=(API,), seconds=0.1)
    lines = drawn(replay([loaded, done, *pods, Settled(ok=True, failed=(), seconds=2.0)]))
    assert lines.splitlines()[1:] == snapshot(
        ["✓ api  service  ready      2 pods  1 restart                               1.0s"]
    )
    unready = dataclasses.replace(pods[2], ready=False)
    lines = drawn(replay([loaded, done, *pods, unready]))
    assert lines.splitlines()[1:] == snapshot(["! api  service  not ready  1 of 2 ready, 1 restart"])


def test_a_node_with_a_mistake_in_its_files_says_which() -> None:
    rejected = ProjectRejected(node=API, problems=(Problem(message="`k8s/api.yaml` is no YAML"),))
    loaded = ProjectLoaded(project="shop", target="t", nodes=(API,), seconds=0.1)
    assert drawn(replay([loaded, rejected])).splitlines()[1:] == snapshot(
        ["✗ api  service  mistake    `k8s/api.yaml` is no YAML"]
    )


@pytest.mark.parametrize("columns", [1, 5, 10, 20, 40, 59, 60, 61, 80, 120, 200])
@pytest.mark.parametrize("rows", [1, 5, 10, 24, 100])
def test_lines_are_narrower_than_the_terminal_and_leave_room_above(columns: int, rows: int) -> None:
    for view in (at(0.2), at(3.5), at(5.8), at(15.5), at(20), replay(big(30))):
        lines = live_lines(view, columns=columns, rows=rows, now=START + 100, glyphs=UNICODE, colours={})
        assert len(lines) <= max(rows // 2, 2)
        assert all(line.cell_len < max(columns, 2) for line in lines)


@given(st.text(max_size=60), st.text(max_size=200), st.integers(min_value=20, max_value=120))
def test_no_name_and_no_message_breaks_the_columns(name: str, message: str, columns: int) -> None:
    node = NodeId(Kind.IMAGE, name)
    events: list[Event] = [
        ProjectLoaded(project=name, target=message, nodes=(node,), seconds=0.1),
        RunStarted(at=START, node=node, run=1, action="build"),
        RunProgressed(node=node, run=1, message=message, step=1, steps=2),
    ]
    lines = live_lines(replay(events), columns=columns, rows=24, now=START + 5, glyphs=UNICODE, colours={})
    assert all(cells(line.plain) < columns for line in lines)
    assert not any(character < " " for line in lines for character in line.plain)


def test_times_are_in_one_column() -> None:
    lines = drawn(replay(number(opening()))).splitlines()[1:]
    assert len(lines) == len(NODES)
    assert {len(line) for line in lines if line.endswith("s") and line[-2].isdigit()} == {79}
