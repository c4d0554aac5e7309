"""What holds of the engine whatever happens, in whatever order: random projects, edits, failures, restarts."""

from collections.abc import Mapping

import hypothesis.strategies as st
from hypothesis import Phase, given, settings

from devloop.core.engine.runs import Follow, Make, Sync
from devloop.core.plan import Synced, UpToDate, Waiting
from devloop.model import Kind, NodeId, RelPath
from tests.core.world import BAD, ImageModel, Project, ServiceModel, Simulation, image_id, service_id

STEPS = 40
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)


@st.composite
def projects(draw: st.DrawFn) -> Project:
    images: list[ImageModel] = []
    for name in ("base", "api", "web")[: draw(st.sampled_from([1, 1, 2, 3]))]:
        bases = draw(st.sets(st.sampled_from(images), max_size=1)) if images else set()
        images.append(
            ImageModel(
                name=name,
                bases=tuple(sorted(base.name for base in bases)),
                synced=draw(st.sampled_from([True, True, False])),
                takes_files=draw(st.integers(0, 4)) > 0,
            )
        )
    services: list[ServiceModel] = []
    for name in ("db", "front")[: draw(st.integers(1, 2))]:
        used = draw(st.sets(st.sampled_from([image.name for image in images]), min_size=1))
        needs = draw(st.sets(st.sampled_from([service.name for service in services]))) if services else set()
        services.append(ServiceModel(name=name, images=tuple(sorted(used)), needs=tuple(sorted(needs))))
    return Project(images=tuple(images), services=tuple(services))


def contents(path: RelPath) -> st.SearchStrategy[int | None]:
    if "/lib/" in path:
        return st.sampled_from([0, 1, 2, BAD])
    if "Dockerfile" in path or path.startswith("k8s/"):
        return st.sampled_from([0, 1, BAD])
    return st.sampled_from([0, 1, None])


@st.composite
def disks(draw: st.DrawFn, project: Project) -> Mapping[RelPath, int]:
    return {path: content for path in project.paths if (content := draw(contents(path))) not in {None, BAD}}


class Scenario:
    """A simulation driven by hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.project = data.draw(projects())
        self.world = Simulation(self.project, data.draw(disks(self.project)))

    def edit(self) -> RelPath:
        path = self.data.draw(st.sampled_from(self.project.paths))
        self.world.edit(path, self.data.draw(contents(path)))
        return path

    def anything(self) -> None:
        """Let one thing happen, whether by itself or not."""
        world = self.world
        syncs = [number for number, working in world.working.items() if isinstance(working.run.work, Sync | Follow)]
        choices = [*world.actions(), "edit", "edit"]
        choices += ["restart"] * bool(world.containers) + [f"lose {number}" for number in syncs]
        choices += ["late"] * bool(world.cancelled) + ["again"] + ["back"] * (world.before is not None)
        choice = self.data.draw(st.sampled_from(choices))
        match choice.split():
            case ["edit"]:
                self.edit()
            case ["back"] if world.before is not None:
                world.edit(*world.before)
            case ["restart"]:
                world.restart_container(self.data.draw(st.sampled_from(sorted(world.containers))))
            case ["lose", number]:
                world.lose(int(number))
            case ["late"]:
                world.tell_late(self.data.draw(st.sampled_from(world.cancelled)))
            case ["again"]:
                world.start_again()
            case _:
                world.happen(choice)

    def come_to_rest(self) -> None:
        """Let all that is under way end, in any order."""
        for _ in range(200):
            if not (actions := self.world.actions()):
                return
            self.world.happen(self.data.draw(st.sampled_from(actions)))
        self.world.run_down()


@given(st.data())
@settings(max_examples=150, phases=PHASES)
def test_whatever_happened_the_end_equals_a_clean_build(data: st.DataObject) -> None:
    scenario = Scenario(data)
    for _ in range(data.draw(st.integers(0, STEPS))):
        scenario.anything()
    scenario.come_to_rest()

    assert list(scenario.world.wrong()) == []
    assert set(scenario.world.decision.unhealthy) == set(held_by(scenario))


def held_by(scenario: Scenario) -> set[NodeId]:
    """Return the nodes that are broken, or wait for one that is."""
    world = scenario.world
    held = set(world.broken())
    for service in scenario.project.services:
        needs = {service_id(need) for need in service.needs}
        step = world.decision.steps[service_id(service.name)]
        if needs & held and isinstance(step, Waiting):
            held.add(service_id(service.name))
    return held


@given(st.data())
@settings(max_examples=50, phases=PHASES)
def test_nothing_is_done_when_nothing_changed(data: st.DataObject) -> None:
    scenario = Scenario(data)
    scenario.edit()
    scenario.come_to_rest()
    before = len(scenario.world.started)

    scenario.world.observe()
    scenario.world.see_pods()

    assert scenario.world.started[before:] == []


@given(st.data())
@settings(max_examples=50, phases=PHASES)
def test_a_round_runs_each_node_at_most_once_and_only_with_a_cause(data: st.DataObject) -> None:
    scenario = Scenario(data)
    world = scenario.world
    scenario.come_to_rest()
    before = len(world.started)
    good = {node: trace.inputs for node, trace in world.state.traces.items()}

    edited = {scenario.edit() for _ in range(data.draw(st.integers(1, 4)))}
    scenario.come_to_rest()

    made = [run.key.node for run in world.started[before:] if isinstance(run.work, Make)]
    refused = {image_id(image.name) for image in scenario.project.images if not image.takes_files}
    # That a container takes no files shows in the round itself: what stands on its image may have run by then.
    behind = {node for node in set(made) - refused if refused & {node, *upstream(scenario, node)}}
    assert all(made.count(node) == 1 for node in set(made) - refused - behind)
    assert all(made.count(node) <= 2 for node in behind)
    for run in world.started[before:]:
        if isinstance(run.work, Make) and run.key.node not in refused:
            assert good.get(run.key.node) != run.inputs, f"{run.key.node} ran without a cause"
            assert edited & causes(scenario, run.key.node), f"{run.key.node} has nothing to do with {edited}"


def upstream(scenario: Scenario, node: NodeId) -> set[NodeId]:
    """Return all images that a node stands on, by way of others or not."""
    if node.kind is Kind.IMAGE:
        below = {image_id(base) for base in scenario.project.image(node.name).bases}
    else:
        service = next(each for each in scenario.project.services if each.name == node.name)
        below = {image_id(image) for image in service.images}
        below |= {image for need in service.needs for image in upstream(scenario, service_id(need))}
    return below.union(*(upstream(scenario, image) for image in below))


def causes(scenario: Scenario, node: NodeId) -> set[RelPath]:
    """Return all files that a node is made of, by way of others or not."""
    if node.kind is Kind.IMAGE:
        image = scenario.project.image(node.name)
        own = {image.dockerfile, *image.paths}
        return own.union(*(causes(scenario, image_id(base)) for base in image.bases))
    service = next(each for each in scenario.project.services if each.name == node.name)
    images = (causes(scenario, image_id(image)) for image in service.images)
    needs = (causes(scenario, service_id(need)) for need in service.needs)
    return {service.manifest}.union(*images, *needs)


@given(st.data())
@settings(max_examples=50, phases=PHASES)
def test_nothing_runs_behind_an_unchanged_result(data: st.DataObject) -> None:
    scenario = Scenario(data)
    world = scenario.world
    scenario.come_to_rest()
    before = len(world.started)

    image = data.draw(st.sampled_from(scenario.project.images))
    world.edit(RelPath(f"{image.name}/notes/d"), data.draw(st.integers(3, 5)))
    scenario.come_to_rest()

    if image_id(image.name) not in world.broken():
        assert [run.key.node for run in world.started[before:]] in ([image_id(image.name)], [])


@given(st.data())
@settings(max_examples=50, phases=PHASES)
def test_the_order_of_events_does_not_matter_for_the_end(data: st.DataObject) -> None:
    project = data.draw(projects())
    disk = data.draw(disks(project))
    edits = [(path, data.draw(contents(path))) for path in data.draw(st.lists(st.sampled_from(project.paths)))]

    ends = []
    for _ in range(2):
        world = Simulation(project, disk)
        waiting = list(edits)
        while waiting or world.actions():
            choice = data.draw(st.sampled_from([*world.actions(), *(["edit"] if waiting else [])]))
            world.edit(*waiting.pop(0)) if choice == "edit" else world.happen(choice)
        broken = world.broken() | {service_id(each.name) for each in project.services if each.needs}
        ends.append(
            {
                key: (container.ref, container.files)
                for key, container in world.containers.items()
                if not broken & {service_id(key[0]), image_id(key[1])}
                and isinstance(world.decision.steps[image_id(key[1])], UpToDate | Synced)
            }
        )

    first, second = ({key: files for key, (_, files) in end.items()} for end in ends)
    assert first == second
