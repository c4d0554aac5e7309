"""The engine, told as scripts: an input, the commands that are expected, the next input."""

from dataclasses import replace

import pytest

from devloop.core.engine import Decision, decide
from devloop.core.engine.commands import apart
from devloop.core.engine.runs import DONE, Cancel, Follow, Run, RunEnded, Start, Sync
from devloop.core.engine.state import PodsSeen, Requested, Retried, State
from devloop.core.plan import Mode, Synced, Waiting
from devloop.core.trace import UNSURE, Result
from devloop.model import ContainerTarget, Digest, FileChange, Kind, NodeId, RelPath, RestartRule, RunRule
from tests.core.world import (
    BAD,
    ImageModel,
    Project,
    ServiceModel,
    Simulation,
    cancels,
    image_id,
    service_id,
    starts,
    sync_id,
)

API = ImageModel(name="api", synced=True)
PLAIN = ImageModel(name="api")
_TARGET = ContainerTarget(namespace="n", pod="p", uid="u", container="c", id="i")
A, B, LIB, NOTES, DEV = (RelPath(f"api/{each}") for each in ("src/a", "src/b", "lib/c", "notes/d", "dev/e"))


def world(*images: ImageModel, services: tuple[ServiceModel, ...] | None = None) -> Simulation:
    """Return a world with all files but those that only a sync brings, before the first look."""
    if services is None:
        services = tuple(ServiceModel(name=f"{image.name}-app", images=(image.name,)) for image in images)
    project = Project(images=images, services=services)
    return Simulation(project, {path: 0 for path in project.paths if "/dev/" not in path})


def settled(*images: ImageModel, services: tuple[ServiceModel, ...] | None = None) -> Simulation:
    """Return a world at rest, with everything built, deployed and running."""
    found = world(*images, services=services)
    found.run_down()
    assert found.decision.settled
    return found


def save(simulation: Simulation, *paths: RelPath, content: int | None = 1) -> Decision:
    """Change files, let the engine see it, and return what it decides."""
    for path in paths:
        simulation.edit(path, content)
    simulation.observe()
    return simulation.decision


def only(decision: Decision) -> Run:
    """Return the only run that a decision starts."""
    (run,) = (each.run for each in decision.commands if isinstance(each, Start))
    return run


def finish(simulation: Simulation, run: Run) -> Decision:
    """Let a run end."""
    simulation.happen(f"finish {run.number}")
    return simulation.decision


# --- the first pass --------------------------------------------------------------------------------------------------


def test_nothing_starts_before_the_first_look() -> None:
    decision = decide(State(), PodsSeen(containers={}, ready=frozenset()))

    assert (decision.commands, decision.settled) == ((), False)


def test_images_are_built_side_by_side_and_services_after_what_they_need() -> None:
    base, api, web = ImageModel(name="base"), ImageModel(name="api", bases=("base",)), ImageModel(name="web")
    db, front = ServiceModel(name="db", images=("web",)), ServiceModel(name="front", images=("api",), needs=("db",))
    here = world(base, api, web, services=(db, front))

    assert starts(save(here)) == ["build base", "build web"]
    build_base, build_web = here.started
    assert starts(finish(here, build_base)) == ["build api"]
    assert starts(finish(here, build_web)) == ["deploy db"]
    assert starts(finish(here, here.started[2])) == []
    assert starts(finish(here, here.started[3])) == ["deploy front"]


def test_a_second_start_with_nothing_changed_builds_nothing_and_looks_at_each_service_once() -> None:
    here = settled(PLAIN)

    here.start_again()

    assert starts(save(here)) == ["deploy api-app"]
    assert only(here.decision).reasons == ("to see that the cluster still has it",)


@pytest.mark.parametrize("image", [PLAIN, API])
def test_a_session_that_feeds_containers_is_not_at_rest_before_it_knows_what_runs(image: ImageModel) -> None:
    here = settled(image)
    here.start_again()

    assert finish(here, only(save(here))).settled is not image.synced
    here.see_pods()
    assert here.decision.settled


# --- content decides -------------------------------------------------------------------------------------------------


def test_saving_the_same_bytes_does_nothing() -> None:
    here = settled(PLAIN)

    assert save(here, LIB, content=0).commands == ()


def test_an_image_that_comes_out_the_same_is_not_deployed() -> None:
    here = settled(PLAIN)

    build = only(save(here, NOTES))

    assert finish(here, build).commands == ()
    assert here.decision.settled


def test_a_changed_recipe_is_built_though_all_files_could_be_synced() -> None:
    here = settled(API)

    decision = save(here, API.dockerfile, A)

    assert starts(decision) == ["build api"]
    assert only(decision).reasons == ("api/Dockerfile changed", "api/src/a changed")


# --- new edits while something runs ----------------------------------------------------------------------------------


def test_a_new_edit_cancels_the_build_and_builds_the_new_content() -> None:
    here = settled(PLAIN)
    first = only(save(here, LIB))

    decision = save(here, LIB, content=2)

    assert cancels(decision) == ["build api"]
    assert starts(decision) == ["build api"]
    assert [type(command) for command in decision.commands] == [Cancel, Start]
    assert only(decision).inputs != first.inputs
    (cancel, _) = decision.commands
    assert isinstance(cancel, Cancel)
    assert (cancel.run.number, cancel.reason) == (first.number, "newer content: api/lib/c changed")


def test_an_edit_during_the_very_first_build_is_not_missed() -> None:
    here = world(PLAIN)
    save(here)

    decision = save(here, LIB)

    assert (cancels(decision), starts(decision)) == (["build api"], ["build api"])


def test_an_edit_that_is_taken_back_ends_the_build_that_it_caused() -> None:
    here = settled(PLAIN)
    save(here, LIB)

    decision = save(here, LIB, content=0)

    assert (cancels(decision), starts(decision)) == (["build api"], [])
    assert decision.settled


def test_a_build_goes_on_when_what_changed_can_be_synced_after_it() -> None:
    here = settled(API)
    build = only(save(here, LIB))

    assert save(here, A).commands == ()
    finish(here, build)
    here.run_down()

    assert list(here.wrong()) == []
    assert [run.action for run in here.started].count("build") == 2


def test_a_file_that_changed_under_a_build_is_never_taken_for_built() -> None:
    here = settled(PLAIN)
    build = only(save(here, LIB))

    here.edit(LIB, 2)
    here.happen(f"read {build.number}")  # the build reads what is there for a moment …
    here.edit(LIB, 1)  # … and is gone before anybody looks
    here.observe()
    again = only(finish(here, build))

    assert (again.action, again.reasons) == ("build", ("api/lib/c changed",))


def test_a_failure_with_content_that_was_there_for_a_moment_is_tried_again() -> None:
    here = settled(PLAIN)
    build = only(save(here, LIB))
    here.edit(LIB, BAD)
    here.happen(f"read {build.number}")
    here.edit(LIB, 1)
    here.observe()

    assert starts(finish(here, build)) == ["build api"]


def test_a_cancelled_runs_late_result_changes_nothing() -> None:
    here = settled(PLAIN)
    first = only(save(here, LIB))
    save(here, LIB, content=2)

    late = decide(here.state, RunEnded(number=first.number, result=Result(digest=Digest("late"), ref="late")))

    assert (late.state, late.commands) == (here.state, ())


def test_an_image_is_not_built_on_a_base_that_is_being_built_anew() -> None:
    base, api = ImageModel(name="base"), ImageModel(name="api", bases=("base",))
    here = settled(base, api, services=())
    save(here, LIB)

    decision = save(here, RelPath("base/lib/c"))

    assert (cancels(decision), starts(decision)) == (["build api"], ["build base"])
    assert starts(finish(here, only(decision))) == ["build api"]


def test_a_run_of_a_node_that_is_gone_is_cancelled() -> None:
    here = settled(PLAIN)
    save(here, LIB)

    empty = Project(images=(), services=())
    decision = here.feed(empty.observed({}))

    assert cancels(decision) == ["build api"]
    assert decision.settled


# --- failures --------------------------------------------------------------------------------------------------------


def test_when_two_changed_and_one_fails_the_other_is_not_forgotten() -> None:
    here = settled(ImageModel(name="a"), ImageModel(name="b"))

    here.edit(RelPath("a/lib/c"), BAD)
    save(here, RelPath("b/lib/c"))
    here.run_down()

    assert here.decision.unhealthy == (image_id("a"), service_id("a-app"))
    assert here.containers["b-app", "b"].files["/lib/c"] == 1


def test_a_failed_build_is_tried_again_only_when_something_changes() -> None:
    here = settled(PLAIN)
    finish(here, only(save(here, LIB, content=BAD)))

    assert save(here).commands == ()
    assert starts(save(here, NOTES)) == ["build api"]


def test_a_failure_is_over_when_the_file_is_as_before() -> None:
    here = settled(PLAIN)
    finish(here, only(save(here, LIB, content=BAD)))
    assert here.decision.unhealthy == (image_id("api"), service_id("api-app"))

    decision = save(here, LIB, content=0)

    assert (decision.commands, decision.unhealthy) == ((), ())


def test_what_needs_a_failed_image_says_so() -> None:
    here = world(PLAIN)
    here.edit(LIB, BAD)
    here.run_down()

    assert here.decision.steps[service_id("api-app")] == Waiting(
        reason="waits for image:api: its last build failed", failed=True
    )


def test_a_service_that_failed_is_deployed_again_when_its_pods_become_ready() -> None:
    here = world(PLAIN)
    here.edit(RelPath("k8s/api-app.yaml"), BAD)
    here.run_down()
    assert here.decision.unhealthy == (service_id("api-app"),)

    decision = here.feed(PodsSeen(containers={}, ready=frozenset({service_id("api-app")})))

    assert starts(decision) == ["deploy api-app"]


def test_a_service_that_runs_in_an_older_form_is_enough_for_those_that_need_it() -> None:
    db, front = ServiceModel(name="db", images=("api",)), ServiceModel(name="front", images=("web",), needs=("db",))
    here = settled(PLAIN, ImageModel(name="web"), services=(db, front))
    here.edit(db.manifest, BAD)
    save(here)
    here.run_down()

    save(here, RelPath("web/lib/c"))
    here.run_down()

    assert here.containers["front", "web"].files["/lib/c"] == 1


# --- asked for -------------------------------------------------------------------------------------------------------


def test_what_is_asked_for_runs_again_though_nothing_changed() -> None:
    here = settled(PLAIN)

    decision = here.feed(Requested(nodes=frozenset({image_id("api")})))

    assert starts(decision) == ["build api"]
    assert only(decision).reasons == ("it was asked for",)
    assert finish(here, only(decision)).settled


def test_what_is_asked_for_while_it_runs_is_not_run_twice() -> None:
    here = settled(PLAIN)
    build = only(save(here, LIB))

    assert here.feed(Requested(nodes=frozenset({image_id("api")}))).commands == ()
    assert starts(finish(here, build)) == ["deploy api-app"]


def test_a_failed_build_that_is_asked_for_is_tried_again() -> None:
    here = settled(PLAIN)
    finish(here, only(save(here, LIB, content=BAD)))

    assert starts(here.feed(Requested(nodes=frozenset({image_id("api")})))) == ["build api"]


# --- syncs -----------------------------------------------------------------------------------------------------------


def test_a_synced_file_is_copied_and_nothing_is_built() -> None:
    here = settled(API)

    decision = save(here, A)

    assert starts(decision) == ["sync api-code"]
    assert decision.steps[image_id("api")] == Synced(result=here.state.traces[image_id("api")].result, paths=(A,))
    assert only(decision).reasons == ("api/src/a changed",)


def test_a_build_wins_over_a_sync() -> None:
    here = settled(API)

    assert starts(save(here, A, LIB)) == ["build api"]


def test_edits_during_a_copy_are_copied_after_it() -> None:
    here = settled(API)
    copy = only(save(here, B))
    here.happen(f"read {copy.number}")

    assert save(here, B, content=2).commands == ()
    assert "sync api-code" in starts(finish(here, copy))


def test_other_files_overtake_a_copy_that_takes_its_time() -> None:
    here = settled(API)
    large = only(save(here, B))

    small = only(save(here, A))

    assert [change.source for change in _changes(small)] == [A]
    assert small.key != large.key
    assert starts(finish(here, small)) == ["follow-up api-code"], "what follows a copy waits for no other"
    assert starts(save(here, A, content=2)) == ["sync api-code"]


def test_no_more_than_two_copies_go_to_a_container_at_a_time() -> None:
    here = settled(API)
    first, second = only(save(here, B)), only(save(here, A))
    for copy in (first, second):
        here.happen(f"read {copy.number}")

    assert save(here, B, content=2).commands == ()
    assert save(here, A, content=2).commands == ()
    assert starts(finish(here, first)) == ["sync api-code"]
    assert "sync api-code" in starts(finish(here, second))


def test_what_follows_copies_is_done_one_after_the_other_in_a_container() -> None:
    here = settled(API)
    first, second = only(save(here, A)), only(save(here, B))

    (follow,) = (each.run for each in finish(here, first).commands if isinstance(each, Start))
    assert isinstance(follow.work, Follow)
    assert starts(finish(here, second)) == []
    assert starts(finish(here, follow)) == ["follow-up api-code"]


def test_what_is_in_the_way_of_a_copy_waits_for_it() -> None:
    writing = FileChange(source=A, digest=Digest("1"), destinations=("/srv/a/b",))
    copies = [Sync(image=image_id("api"), target=_TARGET, changes=(writing,))]
    places = {"/srv/a", "/srv/a/b", "/srv/a/b/c", "/srv/a/c", "/srv/ab", "/srv"}
    changes = tuple(FileChange(source=B, digest=Digest("1"), destinations=(place,)) for place in sorted(places))

    free = {change.destinations[0] for change in apart(changes, copies)}

    assert free == {"/srv/a/c", "/srv/ab"}


def test_what_follows_a_copy_starts_when_no_copy_is_under_way() -> None:
    here = settled(API)
    first = only(save(here, A))
    here.happen(f"read {first.number}")
    save(here, A, content=2)

    second = finish(here, first)
    assert starts(second) == ["sync api-code"]
    assert starts(finish(here, only(second))) == ["follow-up api-code"]


def test_newer_files_take_over_what_an_earlier_copy_still_has_to_do() -> None:
    here = settled(API)
    follow = only(finish(here, only(save(here, A))))
    assert isinstance(follow.work, Follow)

    decision = finish(here, only(save(here, B)))

    assert cancels(decision) == ["follow-up api-code"]
    work = only(decision).work
    assert isinstance(work, Follow)
    assert [type(each.rule) for each in work.follow_ups] == [RunRule, RestartRule]


def test_a_restarted_container_gets_all_that_was_synced_since_its_image_was_built() -> None:
    here = settled(API)
    save(here, A, B)
    here.run_down()
    assert here.containers["api-app", "api"].files["/src/a"] == 1

    here.restart_container(("api-app", "api"))
    here.see_pods()

    assert {change.source for change in _changes(only(here.decision))} == {A, B}


def test_a_new_container_gets_what_only_a_sync_brings() -> None:
    here = world(API)
    here.edit(DEV, 1)
    here.run_down()

    assert here.containers["api-app", "api"].files["/dev/e"] == 1


def test_a_deleted_file_is_deleted_in_the_container() -> None:
    here = settled(API)

    (change,) = _changes(only(save(here, A, content=None)))

    assert (change.source, change.digest, change.destinations) == (A, None, ("/src/a",))


def test_a_file_that_came_and_went_is_deleted_in_the_container() -> None:
    here = settled(API)
    save(here, DEV)
    here.run_down()

    (change,) = _changes(only(save(here, DEV, content=None)))

    assert (change.source, change.digest) == (DEV, None)


def test_what_was_on_its_way_when_the_connection_broke_is_sent_even_if_it_was_taken_back() -> None:
    here = settled(API)
    copy = only(save(here, A))
    here.happen(f"read {copy.number}")
    here.lose(copy.number)

    save(here, A, content=0)
    here.run_down()

    assert here.containers["api-app", "api"].files["/src/a"] == 0


def test_a_copy_that_was_cut_off_is_not_tried_again_before_something_was_looked_at() -> None:
    here = settled(API)
    copy = only(save(here, A))

    here.lose(copy.number)
    assert here.decision.commands == ()

    here.see_pods()
    assert starts(here.decision) == ["sync api-code"]


def test_what_was_cut_off_is_tried_again_after_a_while_and_no_end_is_claimed_before() -> None:
    here = settled(API)
    copy = only(save(here, A))
    here.lose(copy.number)
    assert not here.decision.settled

    assert starts(here.feed(Retried())) == ["sync api-code"]


def test_a_follow_up_that_was_cut_off_is_done_again() -> None:
    here = settled(API)
    follow = only(finish(here, only(save(here, A))))
    here.lose(follow.number)
    assert (here.decision.commands, here.decision.settled) == ((), False)

    again = only(here.feed(Retried()))
    assert again.work == follow.work
    assert finish(here, again).settled


def test_a_file_that_vanishes_during_the_copy_is_not_sent_over_and_over() -> None:
    here = settled(API)
    copy = only(save(here, A))
    here.edit(A, None)

    assert finish(here, copy).commands == ()
    assert [change.digest for change in _changes(only(save(here)))] == [None]


def test_a_container_that_takes_no_files_is_a_reason_to_build() -> None:
    here = settled(ImageModel(name="api", synced=True, takes_files=False))

    decision = finish(here, only(save(here, A)))

    assert starts(decision) == ["build api"]
    assert only(decision).reasons == ("api/src/a changed", "its containers take no files: it has no shell")


def test_what_only_one_container_refuses_is_built_and_the_next_is_asked_again() -> None:
    here = settled(API)
    _refuse(here, save(here, A), "a directory is in the way", lasting=False)
    here.run_down()

    again = save(here, A, content=2)

    assert starts(again) == ["sync api-code"]
    _refuse(here, again, "a directory is in the way", lasting=False)
    here.run_down()
    assert starts(save(here, A, content=3)) == ["build api"], "the same reason twice is no accident"


def _refuse(here: Simulation, decision: Decision, why: str, *, lasting: bool) -> None:
    copy = only(decision)
    del here.working[copy.number]
    here.feed(RunEnded(number=copy.number, refused=why, lasting=lasting))


def test_a_container_is_asked_again_when_its_recipe_changed() -> None:
    here = settled(ImageModel(name="api", synced=True, takes_files=False))
    finish(here, only(save(here, A)))
    here.run_down()

    save(here, API.dockerfile)
    here.run_down()

    assert starts(save(here, A, content=2)) == ["sync api-code"]


def test_a_copy_that_failed_makes_the_end_unhealthy() -> None:
    here = settled(API)
    copy = only(save(here, A))

    decision = here.feed(RunEnded(number=copy.number))
    del here.working[copy.number]

    assert decision.unhealthy == (sync_id("api"),)
    assert decision.settled


def test_a_failed_follow_up_stays_unhealthy_until_it_succeeds() -> None:
    here = settled(API)
    follow = only(finish(here, only(save(here, A))))
    del here.working[follow.number]
    assert here.feed(RunEnded(number=follow.number)).unhealthy == (sync_id("api"),)

    finish(here, only(finish(here, only(save(here, B)))))
    assert list(here.decision.unhealthy) == [sync_id("api")]

    finish(here, only(finish(here, only(save(here, A, content=2)))))
    assert list(here.decision.unhealthy) == []


def test_files_whose_follow_up_is_unfinished_are_not_remembered_as_held() -> None:
    here = settled(API)
    finish(here, only(save(here, A)))
    (target,) = here.state.certain

    assert here.state.certain[target] == {A: UNSURE}
    assert here.state.held[target] != {A: UNSURE}


def test_a_copy_to_a_container_that_is_gone_is_cancelled() -> None:
    here = settled(API)
    save(here, A)

    decision = here.feed(PodsSeen(containers={}, ready=frozenset()))

    assert cancels(decision) == ["sync api-code"]


def test_containers_of_another_image_are_left_alone() -> None:
    here = settled(API)
    (target,) = here.state.containers

    here.feed(PodsSeen(containers={replace(target, id="other"): "api:older"}, ready=frozenset()))

    assert starts(save(here, A)) == []


def test_a_session_without_sync_builds() -> None:
    here = settled(API)
    here.state = replace(here.state, mode=Mode(sync=False))

    assert starts(save(here, A)) == ["build api"]


def test_a_new_destination_is_where_the_changed_files_go() -> None:
    here = settled(API)
    save(here, A)
    here.run_down()
    assert here.state.observed is not None
    placement = here.state.observed.graph.placements[image_id("api")]
    moved = replace(placement, sources=tuple(replace(each, destination="/moved") for each in placement.sources))
    graph = replace(here.state.observed.graph, placements={image_id("api"): moved})

    decision = here.feed(replace(here.state.observed, graph=graph))

    assert [change.destinations for change in _changes(only(decision))] == [("/moved/a",)]


# --- whom connections may be led to ----------------------------------------------------------------------------------


def test_a_new_container_is_held_back_until_it_holds_what_was_synced_and_all_that_follows_is_done() -> None:
    here = settled(API)
    save(here, A)
    here.run_down()
    here.restart_container(("api-app", "api"))

    here.see_pods()
    assert here.decision.held_back == here.state.containers.keys()
    decision = finish(here, only(here.decision))
    assert here.decision.held_back == here.state.containers.keys()

    assert finish(here, only(decision)).held_back == frozenset()


def test_a_new_container_that_lacks_nothing_is_not_held_back() -> None:
    here = settled(API)
    here.restart_container(("api-app", "api"))

    here.see_pods()

    assert here.decision.held_back == frozenset()


def test_a_container_that_was_as_it_should_be_is_not_held_back_for_an_edit() -> None:
    here = settled(API)

    assert save(here, A).held_back == frozenset()


def test_a_new_container_is_not_held_back_when_the_copy_fails() -> None:
    here = settled(API)
    save(here, A)
    here.run_down()
    here.restart_container(("api-app", "api"))
    here.see_pods()
    copy = only(here.decision)

    del here.working[copy.number]
    decision = here.feed(RunEnded(number=copy.number))

    assert (decision.held_back, decision.unhealthy) == (frozenset(), (sync_id("api"),))


# --- deploys that were broken off ------------------------------------------------------------------------------------


def test_a_deploy_that_was_broken_off_is_not_taken_for_done() -> None:
    here = settled(PLAIN)
    manifest = RelPath("k8s/api-app.yaml")
    deploy = only(save(here, manifest))
    here.happen(f"read {deploy.number}")

    decision = save(here, manifest, content=0)

    assert (cancels(decision), starts(decision)) == (["deploy api-app"], ["deploy api-app"])


@pytest.mark.parametrize("kind", [Kind.TASK, Kind.CHECK])
def test_a_result_of_a_run_that_nobody_started_is_ignored(kind: Kind) -> None:
    state = State(verified=frozenset({NodeId(kind, "x")}))

    assert decide(state, RunEnded(number=7, result=DONE)).state == state


def _changes(run: Run) -> tuple[FileChange, ...]:
    assert isinstance(run.work, Sync)
    return run.work.changes
