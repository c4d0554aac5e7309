"""The planner: what each node does or waits for, and why."""

from collections.abc import Mapping
from dataclasses import replace

from devloop.core.graph import Edge, Graph, Node, TaskDetail
from devloop.core.patterns import IgnoreRules
from devloop.core.plan import (
    Busy,
    Due,
    Idle,
    Mode,
    Situation,
    Step,
    Synced,
    UpToDate,
    Waiting,
    assume,
    plan,
    runs_by_itself,
)
from devloop.core.trace import Inputs, Result, Trace
from devloop.errors import InputError
from devloop.model import Digest, Kind, NodeId, RelPath
from tests.core.declaring import at, declared
from tests.core.world import ImageModel, Project, ServiceModel, image_id, service_id

API, APP = image_id("api"), service_id("app")
PLAIN = Project(images=(ImageModel(name="api"),), services=(ServiceModel(name="app", images=("api",)),))
SYNCED = replace(PLAIN, images=(ImageModel(name="api", synced=True),))
CI = Mode(kinds=frozenset(Kind) - {Kind.SYNC}, sync=False, once=True)


def situation(project: Project, disk: Mapping[str, int] | None = None) -> Situation:
    """Return a situation in which nothing has run yet."""
    contents = {path: 0 for path in project.paths if "/dev/" not in path}
    contents |= {RelPath(path): content for path, content in (disk or {}).items()}
    observed = project.observed(contents)
    return Situation(graph=observed.graph, files=observed.files)


def done(project: Project) -> Situation:
    """Return a situation in which everything has run well."""
    found = situation(project)
    while any(isinstance(step, Due) for step in plan(found).values()):
        found = assume(found, plan(found))
    return found


def edited(project: Project, disk: Mapping[str, int]) -> Situation:
    """Return the situation after an edit, once everything had run well."""
    before, now = done(project), situation(project, disk)
    return replace(before, graph=now.graph, files=now.files)


def with_node(base: Situation, node: Node) -> Situation:
    return replace(base, graph=Graph.of([*base.graph.nodes.values(), node], base.graph.placements))


def task(name: str, kind: Kind = Kind.TASK, *, inputs: str | None = None, needs: tuple[NodeId, ...] = ()) -> Node:
    rules = None if inputs is None else IgnoreRules.parse(inputs)
    edges = tuple(Edge(to=need, reason="argument", where=at(1)) for need in needs)
    declaration = declared(name, kind)
    return Node(id=declaration.id, declaration=declaration, edges=edges, detail=TaskDetail(inputs=rules, folder=""))


def reasons(step: Step) -> tuple[str, ...]:
    assert isinstance(step, Due)
    return step.reasons


# --- images and services ---------------------------------------------------------------------------------------------


def test_what_has_never_run_is_due_and_what_needs_it_waits() -> None:
    steps = plan(situation(PLAIN))

    assert reasons(steps[API]) == ("it has not been run yet",)
    assert steps[APP] == Waiting(reason="waits for image:api")


def test_what_has_run_with_these_inputs_is_up_to_date() -> None:
    assert {type(step) for step in plan(done(PLAIN)).values()} == {UpToDate}


def test_a_changed_file_makes_its_image_due_and_says_so() -> None:
    steps = plan(edited(PLAIN, {"api/lib/c": 1}))

    assert reasons(steps[API]) == ("api/lib/c changed",)


def test_a_changed_manifest_makes_its_service_due_alone() -> None:
    steps = plan(edited(PLAIN, {"k8s/app.yaml": 1}))

    assert isinstance(steps[API], UpToDate)
    assert reasons(steps[APP]) == ("k8s/app.yaml changed",)


def test_a_new_result_makes_what_needs_it_due() -> None:
    before = done(PLAIN)
    trace = replace(before.traces[API], result=Result(digest=Digest("sha256:new")))

    steps = plan(replace(before, traces={**before.traces, API: trace}))

    assert reasons(steps[APP]) == ("image:api changed",)


def test_a_service_is_looked_at_once_in_each_session() -> None:
    steps = plan(replace(done(PLAIN), verified=frozenset()))

    assert isinstance(steps[API], UpToDate)
    assert reasons(steps[APP]) == ("to see that the cluster still has it",)


def test_a_run_with_these_inputs_goes_on() -> None:
    found = situation(PLAIN)
    due = plan(found)[API]
    assert isinstance(due, Due)

    assert plan(replace(found, running={API: due.inputs}))[API] == Busy(inputs=due.inputs)


def test_a_run_with_other_inputs_is_overtaken() -> None:
    found = situation(PLAIN)

    assert isinstance(plan(replace(found, running={API: Inputs()}))[API], Due)


def test_a_run_whose_changed_files_can_be_synced_goes_on() -> None:
    running = done(SYNCED).traces[API].inputs

    step = plan(replace(edited(SYNCED, {"api/src/a": 1}), running={API: running}))[API]

    assert step == Busy(inputs=running, overtaken=(RelPath("api/src/a"),))


def test_files_that_can_be_copied_make_no_build() -> None:
    steps = plan(edited(SYNCED, {"api/src/a": 1}))

    assert isinstance(steps[API], Synced)
    assert isinstance(steps[APP], UpToDate)


def test_a_file_that_no_sync_covers_is_named_as_the_reason_for_a_build() -> None:
    step = plan(edited(SYNCED, {"api/src/a": 1, "api/lib/c": 1}))[API]

    assert reasons(step) == (
        "api/lib/c changed",
        "api/src/a changed",
        "api/lib/c cannot be synced: no sync covers it",
    )


def test_a_mode_without_sync_builds() -> None:
    assert isinstance(plan(replace(edited(SYNCED, {"api/src/a": 1}), mode=Mode(sync=False)))[API], Due)


def test_an_image_that_others_are_built_on_is_built_though_it_could_be_synced() -> None:
    images = (ImageModel(name="api", synced=True), ImageModel(name="web", bases=("api",)))
    project = Project(images=images, services=())

    assert isinstance(plan(edited(project, {"api/src/a": 1}))[API], Due)


def test_a_restart_rule_is_part_of_what_a_service_is_deployed_with() -> None:
    before = done(SYNCED)

    assert isinstance(plan(replace(before, mode=Mode(sync=False)))[APP], Due)


def test_a_failure_is_held_until_an_input_changes() -> None:
    found = edited(PLAIN, {"api/lib/c": 1})
    due = plan(found)[API]
    assert isinstance(due, Due)

    failed = replace(found, failed={API: due.inputs})

    assert plan(failed)[API] == Waiting(reason="its last build failed and nothing changed since", failed=True)
    assert plan(failed)[APP] == Waiting(reason="waits for image:api: its last build failed", failed=True)
    again = edited(PLAIN, {"api/lib/c": 2})
    assert isinstance(plan(replace(again, failed={API: due.inputs}))[API], Due)


def test_a_node_with_a_mistake_waits_for_it_to_be_mended() -> None:
    found = done(PLAIN)
    broken = replace(found.graph.nodes[API], problems=(InputError("no such stage `x`"),), detail=None)
    graph = replace(found.graph, nodes={**found.graph.nodes, API: broken})

    steps = plan(replace(found, graph=graph))

    assert steps[API] == Waiting(reason="it has a mistake: no such stage `x`", failed=True)
    assert steps[APP] == Waiting(reason="waits for image:api: it has a mistake", failed=True)


def test_nodes_of_kinds_that_the_mode_leaves_out_are_idle() -> None:
    steps = plan(replace(situation(PLAIN), mode=Mode(kinds=frozenset({Kind.IMAGE}))))

    assert isinstance(steps[API], Due)
    assert steps[APP] == Idle()


def test_a_service_that_needs_no_run_does_not_wait_for_another() -> None:
    services = (ServiceModel(name="db"), ServiceModel(name="app", images=("api",), needs=("db",)))
    project = replace(PLAIN, services=services)

    steps = plan(edited(project, {"k8s/db.yaml": 1}))

    assert isinstance(steps[service_id("db")], Due)
    assert isinstance(steps[APP], UpToDate)


# --- tasks and checks ------------------------------------------------------------------------------------------------


def test_a_task_without_inputs_runs_only_when_it_is_asked_for() -> None:
    seed = task("seed")
    found = with_node(done(PLAIN), seed)

    assert plan(found)[seed.id] == Idle()
    assert isinstance(plan(replace(found, asked=frozenset({seed.id})))[seed.id], Due)


def test_a_task_with_inputs_runs_when_one_of_them_changed() -> None:
    lint = task("lint", inputs="src/**")
    found = with_node(done(PLAIN), lint)
    before = replace(found, files={**found.files, lint.id: {RelPath("src/a"): Digest("sha256:1")}})
    ran = assume(before, plan(before))

    assert isinstance(plan(ran)[lint.id], UpToDate)
    after = replace(ran, files={**ran.files, lint.id: {RelPath("src/a"): Digest("sha256:2")}})
    assert reasons(plan(after)[lint.id]) == ("src/a changed",)


def test_a_task_that_another_node_needs_runs_before_it() -> None:
    generate = task("generate")
    lint = task("lint", inputs="src/**", needs=(generate.id,))
    found = with_node(with_node(done(PLAIN), generate), lint)

    steps = plan(found)

    assert isinstance(steps[generate.id], Due)
    assert steps[lint.id] == Waiting(reason="waits for task:generate")


def test_checks_run_in_ci_and_not_in_the_loop() -> None:
    smoke = task("smoke", Kind.CHECK, needs=(APP,))
    found = with_node(done(PLAIN), smoke)

    assert plan(found)[smoke.id] == Idle()
    ci = replace(found, mode=CI)
    assert isinstance(plan(assume(ci, plan(ci)))[smoke.id], Due | UpToDate)


def test_a_check_waits_for_a_service_even_if_that_runs_in_an_older_form() -> None:
    smoke = task("smoke", Kind.CHECK, needs=(APP,))
    found = with_node(edited(PLAIN, {"k8s/app.yaml": 1}), smoke)
    due = plan(found)[APP]
    assert isinstance(due, Due)

    steps = plan(replace(found, mode=replace(CI, sync=True), failed={APP: due.inputs}))

    assert steps[smoke.id] == Waiting(reason="waits for service:app: its last deploy failed", failed=True)


def test_a_check_runs_in_each_session() -> None:
    smoke = task("smoke", Kind.CHECK)
    found = replace(with_node(done(PLAIN), smoke), mode=CI)
    ran = assume(found, plan(found))

    assert isinstance(plan(ran)[smoke.id], UpToDate)
    assert isinstance(plan(replace(ran, verified=ran.verified - {smoke.id}))[smoke.id], Due)


def test_what_runs_by_itself_is_images_services_and_tasks_with_inputs() -> None:
    graph = done(SYNCED).graph
    nodes = [*graph.nodes.values(), task("seed"), task("lint", inputs="src")]

    assert [str(node.id) for node in nodes if runs_by_itself(node, graph, Mode())] == [
        "image:api",
        "service:app",
        "task:lint",
    ]


# --- what would be ---------------------------------------------------------------------------------------------------


def test_assuming_that_what_is_due_ran_shows_what_comes_after_it() -> None:
    now = edited(PLAIN, {"api/Dockerfile": 1})

    after = plan(assume(now, plan(now)))

    assert isinstance(after[API], UpToDate)
    assert reasons(after[APP]) == ("image:api changed",)


def test_planning_twice_gives_the_same() -> None:
    found = edited(SYNCED, {"api/lib/c": 1})

    assert plan(found) == plan(found)


def test_a_trace_stands_only_for_its_own_inputs() -> None:
    trace = Trace(inputs=Inputs(), result=Result(digest=Digest("sha256:1")))

    assert isinstance(plan(replace(situation(PLAIN), traces={API: trace}))[API], Due)
