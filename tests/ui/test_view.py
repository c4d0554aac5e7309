from collections.abc import Iterable

import pytest

from devloop.events import (
    Event,
    FilesChanged,
    Held,
    Noted,
    Planned,
    PodChanged,
    PodOutput,
    PortClosed,
    PortOpened,
    Problem,
    ProjectLoaded,
    ProjectRejected,
    RunCancelled,
    RunFailed,
    RunOutput,
    RunProgressed,
    RunStarted,
    RunSucceeded,
    Settled,
    Skipped,
    Stopped,
    from_json,
    to_json,
)
from devloop.ui import view
from devloop.ui.view import EMPTY, NodeView, PodView, PortView, View, fold, replay
from tests.ui.story import API, API_IMAGE, NODES, WORKER, story

LOADED = ProjectLoaded(at=10.0, project="shop", target="docker-desktop/default", nodes=NODES, seconds=0.5)
STARTED = RunStarted(at=11.0, node=API_IMAGE, run=1, action="build", reasons=("api/main.py changed",))
DONE = RunSucceeded(at=12.0, node=API_IMAGE, run=1, action="build", seconds=1.0, summary="api:dev-1")
BROKEN = Problem(message="a mistake")


def after(*events: Event) -> View:
    return replay([LOADED, *events])


def image(*events: Event) -> NodeView:
    return after(*events).nodes[API_IMAGE]


def api(*events: Event) -> NodeView:
    return after(*events).nodes[API]


def test_all_nodes_wait_at_first_in_order_of_dependency() -> None:
    assert tuple(after().nodes) == NODES
    assert {node.state for node in after().nodes.values()} == {view.Waiting()}


def test_the_first_round_begins_before_the_devfile_is_read() -> None:
    assert after().round == view.Working(since=9.5)


def test_a_planned_node_waits_with_its_reasons() -> None:
    planned = Planned(node=API_IMAGE, action="build", reasons=("never built",))
    assert image(planned).state == view.Waiting(action="build", reasons=("never built",))


def test_a_held_node_says_what_it_waits_for() -> None:
    assert api(Held(node=API, reason="waits for image `api`")).state == view.Held(reason="waits for image `api`")


def test_a_run_shows_since_when_and_how_far() -> None:
    progressed = RunProgressed(node=API_IMAGE, run=1, message="COPY . .", step=2, steps=4)
    assert image(STARTED, progressed).state == view.Running(
        run=1, action="build", since=11.0, reasons=("api/main.py changed",), message="COPY . .", step=2, steps=4
    )


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (DONE, view.Succeeded(action="build", summary="api:dev-1", seconds=1.0)),
        (
            RunFailed(node=API_IMAGE, run=1, action="build", seconds=2.0, problems=(BROKEN,)),
            view.Failed(action="build", problems=(BROKEN,), seconds=2.0),
        ),
        (
            RunCancelled(node=API_IMAGE, run=1, action="build", seconds=0.5, reason="newer content"),
            view.Cancelled(action="build", reason="newer content", seconds=0.5),
        ),
    ],
)
def test_a_run_ends_in_the_state_that_its_end_tells(event: Event, state: view.State) -> None:
    assert image(STARTED, event).state == state


def test_the_end_of_a_cancelled_run_does_not_hide_its_successor() -> None:
    second = RunStarted(at=13.0, node=API_IMAGE, run=2, action="build")
    cancelled = RunCancelled(node=API_IMAGE, run=1, action="build", seconds=2.0, reason="newer content")
    assert image(STARTED, second, cancelled).state == view.Running(run=2, action="build", since=13.0)


def test_a_node_runs_until_its_last_run_ends() -> None:
    second = RunStarted(at=13.0, node=API_IMAGE, run=2, action="build")
    assert image(STARTED, second, DONE).runs == (view.Running(run=2, action="build", since=13.0),)


def test_progress_of_an_unknown_run_changes_nothing() -> None:
    known = after(STARTED, DONE)
    assert fold(known, RunProgressed(node=API_IMAGE, run=9, message="late")) is known


def test_what_a_run_did_outlives_that_it_is_up_to_date() -> None:
    assert image(STARTED, DONE, Skipped(node=API_IMAGE, reason="no input changed")) == image(STARTED, DONE)


def test_a_node_that_needs_nothing_is_up_to_date() -> None:
    skipped = Skipped(node=API_IMAGE, reason="no input changed")
    assert image(skipped).state == view.UpToDate(reason="no input changed")


def test_a_failed_node_whose_change_is_taken_back_is_up_to_date() -> None:
    failed = RunFailed(node=API_IMAGE, run=1, action="build", seconds=2.0, problems=(BROKEN,))
    skipped = Skipped(node=API_IMAGE, reason="as it was last built")
    assert image(STARTED, failed, skipped).state == view.UpToDate(reason="as it was last built")


def test_pods_come_change_and_go() -> None:
    old = PodChanged(node=API, pod="api-1", status="Running", ready=True)
    new = PodChanged(node=API, pod="api-2", status="ContainerCreating", ready=False)
    crash = PodChanged(node=API, pod="api-2", status="CrashLoopBackOff", ready=False, restarts=3)
    gone = PodChanged(node=API, pod="api-1", status="Gone", ready=False)
    assert [pod.name for pod in api(old, new).pods] == ["api-1", "api-2"]
    assert api(old, new, crash, gone).pods == (
        PodView(name="api-2", status="CrashLoopBackOff", ready=False, restarts=3),
    )


def test_ports_open_fail_and_close() -> None:
    opened = PortOpened(node=API, local=8000, remote="80", url="http://localhost:8000")
    taken = PortClosed(node=API, local=6379, problem=BROKEN)
    closed = PortClosed(node=API, local=8000)
    assert api(opened, taken).ports == (
        PortView(local=8000, url="http://localhost:8000"),
        PortView(local=6379, problem=BROKEN),
    )
    assert api(opened, taken, closed).ports == (PortView(local=6379, problem=BROKEN),)


def test_a_change_begins_a_round_and_settling_ends_it() -> None:
    settled = Settled(at=12.0, ok=True, failed=(), seconds=2.5)
    changed = FilesChanged(at=20.0, paths=("a",), count=1)
    started = RunStarted(at=21.0, node=API_IMAGE, run=2, action="build")
    assert after(settled).round == view.Settled(ok=True, failed=(), seconds=2.5)
    assert after(settled, changed, started).round == view.Working(since=20.0)


def test_a_rejected_project_keeps_its_nodes_as_they_are() -> None:
    rejected = after(STARTED, DONE, ProjectRejected(problems=(BROKEN,)))
    assert rejected.rejected == (BROKEN,)
    assert rejected.nodes == after(STARTED, DONE).nodes


def test_a_project_that_is_mended_knows_what_was_there() -> None:
    assert after(STARTED, DONE, ProjectRejected(problems=(BROKEN,)), LOADED) == after(STARTED, DONE)


def test_a_rejected_node_shows_its_mistake_until_it_is_mended() -> None:
    rejected = ProjectRejected(node=API_IMAGE, problems=(BROKEN,))
    twice = ProjectRejected(node=API_IMAGE, problems=(BROKEN, BROKEN))
    before = image(STARTED, DONE)
    assert isinstance(before.settled, view.Succeeded)
    assert image(STARTED, DONE, rejected).state == view.Rejected(problems=(BROKEN,), before=before.settled)
    assert image(STARTED, DONE, rejected, twice, LOADED) == before
    assert image(STARTED, DONE, rejected, Skipped(node=API_IMAGE, reason="as before")) == before


def test_a_project_that_is_read_anew_forgets_nodes_that_are_gone() -> None:
    fewer = ProjectLoaded(project="shop", target="t", nodes=(API_IMAGE, API), seconds=0.1)
    assert tuple(after(STARTED, DONE, fewer).nodes) == (API_IMAGE, API)


def test_the_end_is_known() -> None:
    ended = after(Stopped(reason="interrupted", exit_code=130)).ended
    assert ended == view.Ended(reason="interrupted", exit_code=130)


@pytest.mark.parametrize(
    "event",
    [
        PodOutput(node=API, pod="api-1", container="api", line="hello", time="t"),
        RunOutput(node=API_IMAGE, run=1, line="hello"),
        Noted(message="files are polled"),
        Held(reason="of no node"),
    ],
)
def test_what_the_view_does_not_hold_leaves_it_the_same(event: Event) -> None:
    known = after()
    assert fold(known, event) is known


def test_an_event_before_the_project_is_loaded_makes_its_node_known() -> None:
    assert tuple(replay([STARTED]).nodes) == (API_IMAGE,)


def test_a_recorded_session_gives_the_same_view_when_replayed() -> None:
    def recorded(events: Iterable[Event]) -> Iterable[Event]:
        return (from_json(to_json(event)) for event in events)

    assert replay(recorded(story())) == replay(story())


def test_folding_in_two_parts_is_folding_at_once() -> None:
    first, second = story()[:20], story()[20:]
    assert replay(second, replay(first, EMPTY)) == replay(story())


def test_the_story_ends_as_told() -> None:
    end = replay(story())
    assert isinstance(end.nodes[WORKER].state, view.Succeeded)
    assert end.nodes[WORKER].pods[0].status == "CrashLoopBackOff"
