"""A small world for the engine: a disk, builds that follow content, containers. What happens when is up to the test.

It does what workers, observer and cluster do, without any of them: it takes the commands of `decide` and feeds what
comes of them back as inputs. Content is a number; `BAD` content cannot be built or deployed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from devloop.core import digests
from devloop.core.engine import Decision, decide
from devloop.core.engine.feeds import feeds
from devloop.core.engine.runs import DONE, Cancel, Follow, Make, Remove, Run, RunEnded, Start, Sync
from devloop.core.engine.state import Input, Observed, PodsSeen, Retried, State
from devloop.core.graph import Edge, Graph, ImageDetail, Node, ServiceDetail, SyncDetail
from devloop.core.manifest.workloads import facts
from devloop.core.patterns import NO_IGNORE
from devloop.core.plan import Mode
from devloop.core.sync.catch_up import difference, wanted_files
from devloop.core.sync.rules import FollowUp, Placement, Source, patterns
from devloop.core.trace import Result
from devloop.declarations import Declaration
from devloop.errors import Where
from devloop.model import (
    ContainerTarget,
    Digest,
    FileChange,
    ImageRef,
    ImageSpec,
    Kind,
    NodeId,
    RelPath,
    RestartRule,
    RunRule,
    ServiceSpec,
    Spec,
    SyncSpec,
)

__all__ = ["BAD", "ImageModel", "Project", "ServiceModel", "Simulation", "image_id", "service_id", "sync_id"]

BAD: Final = 9
"""What no build and no deploy takes."""

_HERE: Final = Where(path="devfile.py")


# --- the project ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModel:
    """An image of four kinds of files: `src/*` (synced, if there is a sync), `lib/*`, `notes/*` (which do not reach the
    image), and `dev/*` (which only the sync brings).
    """

    name: str
    bases: tuple[str, ...] = ()
    synced: bool = False
    takes_files: bool = True

    @property
    def dockerfile(self) -> RelPath:
        return RelPath(f"{self.name}/Dockerfile")

    @property
    def paths(self) -> tuple[RelPath, ...]:
        files = ("src/a", "src/b", "lib/c", "notes/d")
        return tuple(RelPath(f"{self.name}/{each}") for each in (*files, *(("dev/e",) if self.synced else ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceModel:
    """A service that runs one container of each of its images."""

    name: str
    images: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def manifest(self) -> RelPath:
        return RelPath(f"k8s/{self.name}.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Images and services, each after those that it needs."""

    images: tuple[ImageModel, ...]
    services: tuple[ServiceModel, ...] = ()

    @property
    def paths(self) -> tuple[RelPath, ...]:
        """All files that mean something."""
        of_images = [path for image in self.images for path in (image.dockerfile, *image.paths)]
        return tuple(of_images + [service.manifest for service in self.services])

    def image(self, name: str) -> ImageModel:
        return next(image for image in self.images if image.name == name)

    def observed(
        self, disk: Mapping[RelPath, int], changed: frozenset[RelPath] = frozenset(), since: float = 0
    ) -> Observed:
        """Return what the observer makes of the disk."""
        files: dict[NodeId, dict[RelPath, Digest]] = {}
        for image in self.images:
            files[image_id(image.name)] = _files(disk, [path for path in image.paths if "/dev/" not in path])
            if image.synced:
                files[sync_id(image.name)] = _files(disk, [path for path in image.paths if _is_synced(path)])
        touched = {image_id(image.name): changed & {image.dockerfile, *image.paths} for image in self.images}
        touched |= {service_id(service.name): changed & {service.manifest} for service in self.services}
        return Observed(graph=self.graph(disk), files=files, touched=touched, touched_since=since)

    def graph(self, disk: Mapping[RelPath, int]) -> Graph:
        nodes = [*map(_image_node, self.images), *map(_service_node, self.services)]
        nodes += [_sync_node(image) for image in self.images if image.synced]
        recipes: dict[NodeId, RelPath] = {image_id(image.name): image.dockerfile for image in self.images}
        recipes |= {service_id(service.name): service.manifest for service in self.services}
        nodes = [
            replace(node, recipe={recipes[node.id]: _digest(disk.get(recipes[node.id], 0))})
            if node.id in recipes
            else node
            for node in nodes
        ]
        return Graph.of(nodes, {image_id(image.name): _placement(image) for image in self.images if image.synced})


def image_id(name: str) -> NodeId:
    return NodeId(Kind.IMAGE, name)


def service_id(name: str) -> NodeId:
    return NodeId(Kind.SERVICE, name)


def sync_id(name: str) -> NodeId:
    return NodeId(Kind.SYNC, f"{name}-code")


def _image_node(image: ImageModel) -> Node:
    detail = ImageDetail(
        repository=ImageRef(path=image.name), context=image.name, dockerfile=None, facts=None, ignore=NO_IGNORE
    )
    return _node(image_id(image.name), ImageSpec(), [image_id(base) for base in image.bases], detail)


def _service_node(service: ServiceModel) -> Node:
    used = tuple(image_id(image) for image in service.images)
    detail = ServiceDetail(manifests=(), facts=facts([], namespace="default"), images=used)
    needs = [*used, *(service_id(name) for name in service.needs)]
    return _node(service_id(service.name), ServiceSpec(manifests=()), needs, detail)


def _sync_node(image: ImageModel) -> Node:
    detail = SyncDetail(images=(image_id(image.name),), rules=())
    return _node(sync_id(image.name), SyncSpec(), [image_id(image.name)], detail)


def _node(node: NodeId, spec: Spec, needs: Sequence[NodeId], detail: ImageDetail | ServiceDetail | SyncDetail) -> Node:
    declaration = Declaration(
        id=node, argument=node.name, spec=spec, function=lambda: None, parameters=(), where=_HERE, folder=""
    )
    edges = tuple(Edge(to=need, reason="the test says so", where=_HERE) for need in needs)
    return Node(id=node, declaration=declaration, edges=edges, detail=detail)


def _placement(image: ImageModel) -> Placement:
    node = sync_id(image.name)
    return Placement(
        node=node,
        sources=tuple(
            Source(node=node, path=f"{image.name}/{folder}", destination=f"/{folder}") for folder in ("src", "dev")
        ),
        follow_ups=(
            FollowUp(node=node, rule=RunRule(command="compile"), on=patterns([f"{image.name}/src/a"])),
            FollowUp(node=node, rule=RestartRule(), on=patterns([f"{image.name}/src/b"])),
        ),
    )


def _files(disk: Mapping[RelPath, int], paths: Sequence[RelPath]) -> dict[RelPath, Digest]:
    return {path: _digest(disk[path]) for path in paths if path in disk}


def _digest(content: int) -> Digest:
    return Digest(f"sha256:{content}")


def _is_synced(path: RelPath) -> bool:
    return "/src/" in path or "/dev/" in path


def _place(path: RelPath) -> str:
    return "/" + path.partition("/")[2]


# --- what runs ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Container:
    """A running container: what it holds, and what was done in it after copies."""

    target: ContainerTarget
    service: str
    image: str
    ref: str
    files: dict[str, int]
    copied: dict[int, int] = field(default_factory=dict)
    followed: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Working:
    """A run under way: what it has read or done so far."""

    run: Run
    began: int
    read: dict[RelPath, int] | None = None


class Simulation:
    """The engine in its world.

    Args:
        project: What there is.
        disk: What the files hold at first.
    """

    def __init__(self, project: Project, disk: Mapping[RelPath, int]) -> None:
        self.project = project
        self.disk = dict(disk)
        self.state = State()
        self.decision = Decision(state=self.state, commands=(), steps={})
        self.started: list[Run] = []
        self.working: dict[int, Working] = {}
        self.cancelled: list[Run] = []
        self.images: dict[str, dict[str, int]] = {}
        self.containers: dict[tuple[str, str], Container] = {}
        self.manifests: dict[str, int] = {}
        self.before: tuple[RelPath, int | None] | None = None
        self._touched: set[RelPath] = set(project.paths)
        self._pods_changed = True
        self._ticks = 0
        self._touched_since = 0

    # --- what may happen ---

    def actions(self) -> list[str]:
        """Return what can happen next by itself, each as the name of a thing that `happen` knows."""
        found = ["observe"] * bool(self._touched) + ["pods"] * self._pods_changed + ["retry"] * bool(self.state.lost)
        for number, working in self.working.items():
            if working.read is None and not isinstance(working.run.work, Follow):
                found.append(f"read {number}")
            found.append(f"finish {number}")
        return found

    def happen(self, action: str) -> None:
        """Let one of `actions` happen."""
        verb, _, number = action.partition(" ")
        match verb:
            case "observe":
                self.observe()
            case "pods":
                self.see_pods()
            case "retry":
                self.feed(Retried())
            case "read":
                self._read(self.working[int(number)])
            case _:
                self._finish(int(number))

    def run_down(self, limit: int = 400) -> None:
        """Let everything happen that happens by itself, first things first, until nothing is left."""
        for _ in range(limit):
            actions = self.actions()
            if not actions:
                return
            self.happen(actions[0])
        raise AssertionError(f"no end to it: {self.actions()}, {[run.key for run in self.started[-10:]]}")

    def edit(self, path: RelPath, content: int | None) -> None:
        """Write a file, or delete it; `before` is how it was."""
        self.before = path, self.disk.get(path)
        if content is None:
            self.disk.pop(path, None)
        else:
            self.disk[path] = content
        self._ticks += 1
        if not self._touched:
            self._touched_since = self._ticks
        self._touched.add(path)

    def observe(self) -> None:
        """Let the engine know of the disk."""
        touched, self._touched = frozenset(self._touched), set()
        self.feed(self.project.observed(self.disk, touched, self._touched_since))

    def see_pods(self) -> None:
        """Let the engine know of the containers."""
        self._pods_changed = False
        running = {container.target: container.ref for container in self.containers.values()}
        services = {container.service for container in self.containers.values()}
        self.feed(PodsSeen(containers=running, ready=frozenset(service_id(name) for name in services)))

    def restart_container(self, key: tuple[str, str]) -> None:
        """Let a container start again: with what its image holds, under a new id."""
        self._launch(*key, self.containers[key].ref)

    def lose(self, number: int) -> None:
        """Cut the connection in the middle of a sync, or of what follows it."""
        working = self.working[number]
        work = working.run.work
        if isinstance(work, Sync) and working.read is None and self._model(work.image).takes_files:
            self._copy(work, work.changes[:1])
        del self.working[number]
        self.feed(RunEnded(number=number, lost=True))

    def tell_late(self, run: Run) -> None:
        """Let a cancelled run's result come nevertheless."""
        before = self.state
        self.feed(RunEnded(number=run.number, result=Result(digest=Digest("late"), ref="late")))
        assert (self.state, self.decision.commands) == (before, ())

    def start_again(self) -> None:
        """End devloop with all that it does, when it has seen what there is to see, and start it again."""
        if self._touched:
            self.observe()
        self.working.clear()
        self.cancelled.clear()
        self.state = State(traces=self.state.traces, held=self.state.certain)
        self._touched |= set(self.project.paths)
        self._pods_changed = True

    def feed(self, received: Input) -> Decision:
        """Give the engine an input and carry out what it commands."""
        served = self.state.served
        self.decision = decide(self.state, received)
        self.state = self.decision.state
        self._check_claims(served)
        for command in self.decision.commands:
            match command:
                case Start(run=run):
                    self._ticks += 1
                    assert run.number not in self.working
                    assert all(each.run.key != run.key for each in self.working.values()), "two runs of one key"
                    self.started.append(run)
                    self.working[run.number] = Working(run=run, began=self._ticks)
                case Cancel(run=run):
                    assert run.number in self.working, "a run is cancelled that is not under way"
                    del self.working[run.number]
                    self.cancelled.append(run)
        return self.decision

    def _check_claims(self, served: frozenset[ContainerTarget]) -> None:
        """Check that nobody is led to a new container too early, and that no end is claimed too early."""
        state = self.state
        failed = {key.target for key in state.broken}
        for feed in feeds(state, self.decision.steps):
            if feed.target in failed or not (self.decision.settled or feed.target in state.served - served):
                continue
            wanted = wanted_files(state.observed.files if state.observed else {}, feed.source, feed.placement)
            lacking = tuple(difference(feed.placement, wanted, feed.built, state.held.get(feed.target, {})))
            assert not lacking, "it is called as it should be, and is not"
            undone = [run for run in state.following.values() if run.key.target == feed.target]
            assert not undone, "it is called as it should be before all was done"

    # --- runs ---

    def _read(self, working: Working) -> None:
        """Let a run take what it works on from the disk, as it is now."""
        run = working.run
        working.read = dict(self.disk)
        if run.key.node.kind is Kind.SERVICE and self.disk.get(self._service(run).manifest) != BAD:
            self._deploy(run)
        if isinstance(run.work, Sync) and self._model(run.work.image).takes_files:
            self._copy(run.work, run.work.changes)

    def _finish(self, number: int) -> None:
        working = self.working[number]
        if working.read is None and not isinstance(working.run.work, Follow):
            self._read(working)
        del self.working[number]
        self._ticks += 1
        self.feed(replace(self._ended(working), at=self._ticks))

    def _ended(self, working: Working) -> RunEnded:
        run = working.run
        read = working.read or {}
        match run.work:
            case Make() if run.key.node.kind is Kind.IMAGE:
                return RunEnded(number=run.number, result=self._built(run, run.work, read))
            case Make():
                failed = read.get(self._service(run).manifest) == BAD
                result = Result(digest=digests.of_value([str(run.key.node), self._refs(run, run.work)]))
                return RunEnded(number=run.number, result=None if failed else result)
            case Sync() if not self._model(run.work.image).takes_files:
                return RunEnded(number=run.number, refused="it has no shell")
            case Sync():
                return RunEnded(number=run.number, result=DONE, acknowledged=self._acknowledged(run.work, read))
            case Remove():
                return RunEnded(number=run.number, result=DONE)
            case Follow():
                container = self._container(run.work.target)
                if container is None:
                    return RunEnded(number=run.number, lost=True)
                placement = _placement(self._model(run.work.image))
                for follow_up in run.work.follow_ups:
                    container.followed[placement.follow_ups.index(follow_up)] = working.began
                return RunEnded(number=run.number, result=DONE)

    def _built(self, run: Run, work: Make, read: Mapping[RelPath, int]) -> Result | None:
        model = self._model(run.key.node)
        content = {path: read[path] for path in model.paths if path in read and _reaches_image(path)}
        recipe = read.get(model.dockerfile, 0)
        if BAD in (recipe, *content.values()):
            return None
        bases = {name: work.results[image_id(name)].digest for name in model.bases}
        digest = digests.of_value([model.name, recipe, content, bases])
        ref = f"{model.name}:{digest.partition(':')[2][:12]}"
        self.images[ref] = {_place(path): each for path, each in content.items()}
        return Result(digest=digest, ref=ref)

    def _refs(self, run: Run, work: Make) -> dict[str, str]:
        return {name: work.results[image_id(name)].ref for name in self._service(run).images}

    def _deploy(self, run: Run) -> None:
        assert isinstance(run.work, Make)
        service = self._service(run).name
        self.manifests[service] = self.disk.get(self._service(run).manifest, 0)
        refs = self._refs(run, run.work)
        for image, ref in refs.items():
            known = self.containers.get((service, image))
            if known is None or known.ref != ref:
                self._launch(service, image, ref)

    def _launch(self, service: str, image: str, ref: str) -> None:
        self._ticks += 1
        name = f"{service}-{image}"
        target = ContainerTarget(namespace="", pod=name, uid=name, container=image, id=f"id-{self._ticks}")
        self.containers[service, image] = Container(
            target=target, service=service, image=image, ref=ref, files=dict(self.images[ref])
        )
        self._pods_changed = True

    def _copy(self, work: Sync, changes: Sequence[FileChange]) -> None:
        container = self._container(work.target)
        if container is None:
            return
        placement = _placement(self._model(work.image))
        self._ticks += 1
        for change in changes:
            if change.digest is not None and change.source not in self.disk:
                continue  # it has vanished meanwhile
            for place in change.destinations:
                if change.digest is not None:
                    container.files[place] = self.disk[change.source]
                else:
                    container.files.pop(place, None)
            for follow_up in placement.due([change.source]):
                container.copied[placement.follow_ups.index(follow_up)] = self._ticks

    def _acknowledged(self, work: Sync, read: Mapping[RelPath, int]) -> tuple[FileChange, ...]:
        """Return what a sync that read this is told: with what was really sent, without what had vanished."""
        if self._container(work.target) is None:
            return ()
        return tuple(
            change if change.digest is None else replace(change, digest=_digest(read[change.source]))
            for change in work.changes
            if change.digest is None or change.source in read
        )

    def _container(self, target: ContainerTarget) -> Container | None:
        return next((each for each in self.containers.values() if each.target == target), None)

    def _model(self, node: NodeId) -> ImageModel:
        return self.project.image(node.name)

    def _service(self, run: Run) -> ServiceModel:
        return next(service for service in self.project.services if service.name == run.key.node.name)

    # --- what is right ---

    def broken(self) -> frozenset[NodeId]:
        """Return the nodes that cannot be made from what is on disk, and those that need them."""
        found: set[NodeId] = set()
        for image in self.project.images:
            content = [self.disk.get(path) for path in image.paths if _reaches_image(path)]
            if BAD in (self.disk.get(image.dockerfile), *content) or found & {image_id(base) for base in image.bases}:
                found.add(image_id(image.name))
        for service in self.project.services:
            if self.disk.get(service.manifest) == BAD or found & {image_id(image) for image in service.images}:
                found.add(service_id(service.name))
        return frozenset(found)

    def wrong(self) -> Iterator[str]:
        """Yield how containers differ from what a clean build and deploy of the disk would run."""
        broken = self.broken()
        for service in self.project.services:
            if broken & {service_id(service.name), *(service_id(need) for need in service.needs)}:
                continue
            if self.manifests.get(service.name) != self.disk.get(service.manifest, 0):
                yield f"{service.name} is deployed by an old manifest"
            for name in service.images:
                container = self.containers.get((service.name, name))
                if container is None:
                    yield f"{service.name} does not run {name}"
                    continue
                wanted = self._wanted(self.project.image(name))
                if container.files != wanted:
                    yield f"{service.name} runs {name} with {container.files}, not {wanted}"
                for index, tick in container.copied.items():
                    if container.followed.get(index, 0) < tick:
                        yield f"rule {index} of {name} was not followed in {service.name}"

    def _wanted(self, image: ImageModel) -> dict[str, int]:
        brought = [path for path in image.paths if "/notes/" not in path and path in self.disk]
        if not image.takes_files:
            brought = [path for path in brought if "/dev/" not in path]
        return {_place(path): self.disk[path] for path in brought}


def _reaches_image(path: RelPath) -> bool:
    return "/notes/" not in path and "/dev/" not in path


def starts(decision: Decision) -> list[str]:
    """Return what a decision starts, in words."""
    return [f"{each.run.action} {each.run.key.node.name}" for each in decision.commands if isinstance(each, Start)]


def cancels(decision: Decision) -> list[str]:
    """Return what a decision cancels, in words."""
    return [f"{each.run.action} {each.run.key.node.name}" for each in decision.commands if isinstance(each, Cancel)]


def mode(*kinds: Kind, sync: bool = True, once: bool = False) -> Mode:
    return Mode(kinds=frozenset(kinds), sync=sync, once=once)
