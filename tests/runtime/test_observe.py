"""The observer: hints about files become the project as it is on disk."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio import create_memory_object_stream, create_task_group

from devloop.adapters.devfile import PythonDevfile
from devloop.adapters.files import DiskFiles, hashing
from devloop.core.graph import Graph
from devloop.errors import InputError
from devloop.model import Kind, NodeId
from devloop.runtime.discover import Project, discover
from devloop.runtime.observe import Observation, Observer
from devloop.runtime.renderings import Renderings, Request, Tool
from tests.fakes.renderer import FakeRenderer
from tests.fakes.watcher import FakeWatcher
from tests.runtime.projects import DEPLOYMENT, write

pytestmark = pytest.mark.anyio

API, APP, CODE = NodeId(Kind.IMAGE, "api"), NodeId(Kind.SERVICE, "app"), NodeId(Kind.SYNC, "code")

PROJECT = {
    "devfile.py": """
        @image("api")
        def api_image(): ...
        @service("k8s/app.yaml")
        def app(api_image): ...
        @sync("api/src", "/app")
        def code(api_image): ...
    """,
    "api/Dockerfile": "FROM scratch\nCOPY src /app\n",
    "api/src/app.py": "one",
    "api/other/file": "one",
    "k8s/app.yaml": DEPLOYMENT,
}


class Watched:
    """A project on disk under an observer, whose hints come from the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.watcher = FakeWatcher()
        self.loads = 0
        files = DiskFiles(root, root.parent / "state")
        devfile = PythonDevfile(root / "devfile.py")

        self.renderer = FakeRenderer()
        self.renderings = Renderings(self.renderer, root=str(root), namespace="default")

        def read() -> Project:
            self.loads += 1
            return discover(devfile, files, self.renderings, given={}, environment={})

        self.narrow: Callable[[Graph], Graph] = lambda graph: graph
        self.observer = Observer(read, files, self.watcher, self.renderings, self._narrow)

    def _narrow(self, graph: Graph) -> Graph:
        return self.narrow(graph)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Watched"]:
        send, self._told = create_memory_object_stream[Observation](100)
        async with send, self._told, create_task_group() as tasks:
            tasks.start_soon(self.observer.run, send.send_nowait)
            yield self
            tasks.cancel_scope.cancel()

    async def next(self) -> Observation:
        return await self._told.receive()

    async def save(self, path: str, text: str) -> Observation:
        """Write a file, tell of it, and return what is observed."""
        self._forget()
        write(self.root, {path: text})
        self.watcher.changed(path)
        return await self.next()

    async def part(self, files: dict[str, str]) -> None:
        """Write files, tell of them as a part of a burst, and wait until they were looked at."""
        write(self.root, files)
        self.watcher.changed(*files, over=False)
        with anyio.fail_after(60):
            while not self.observer._ahead.touched.issuperset(files):  # noqa: ASYNC110 - a thread does it
                await anyio.sleep(0.001)

    def was_told(self) -> bool:
        """Return whether there is an observation that nobody asked for."""
        return bool(self._told.statistics().current_buffer_used)

    def _forget(self) -> None:
        """Drop what was told of earlier saves, and not asked for."""
        while self.was_told():
            self._told.receive_nowait()


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Watched]:
    root = tmp_path / "project"
    write(root, PROJECT)
    async with Watched(root).running() as watched:
        yield watched


def files_of(observation: Observation, node: NodeId) -> set[str]:
    return set(observation.files[node])


async def test_the_first_observation_holds_the_project_and_the_files_of_each_node(project: Watched) -> None:
    first = await project.next()

    assert first.rediscovered
    assert list(map(str, first.graph.nodes)) == ["image:api", "service:app", "sync:code"]
    assert files_of(first, API) == {"api/src/app.py"}
    assert files_of(first, CODE) == {"api/src/app.py"}
    assert first.changed == ()


async def test_a_changed_file_is_told_with_its_new_digest(project: Watched) -> None:
    first = await project.next()

    told = await project.save("api/src/app.py", "two")

    assert told.changed == ("api/src/app.py",)
    assert told.files[API] != first.files[API]
    assert not told.rediscovered


async def test_an_observation_never_changes_afterwards(project: Watched) -> None:
    first = await project.next()
    before = dict(first.files[API])

    await project.save("api/src/app.py", "two")

    assert first.files[API] == before


async def test_a_file_that_no_node_reads_is_not_told(project: Watched) -> None:
    await project.next()

    write(project.root, {"api/other/file": "two"})
    project.watcher.changed("api/other/file")
    told = await project.save("api/src/app.py", "two")

    assert "api/other/file" not in told.changed


async def test_the_same_bytes_are_no_change_but_may_have_been_another_meanwhile(project: Watched) -> None:
    first = await project.next()

    told = await project.save("api/src/app.py", "one")

    assert (told.changed, told.rediscovered) == ((), False)
    assert told.files == first.files
    assert told.touched[API] == {"api/src/app.py"}


async def test_a_definition_of_the_same_text_is_not_discovered_again(project: Watched) -> None:
    await project.next()
    loads = project.loads

    told = await project.save("k8s/app.yaml", DEPLOYMENT)

    assert (told.rediscovered, project.loads) == (False, loads)
    assert told.touched[APP] == {"k8s/app.yaml"}


async def test_a_new_file_and_a_deleted_one_are_told(project: Watched) -> None:
    await project.next()

    told = await project.save("api/src/new.py", "x")
    assert files_of(told, API) == {"api/src/app.py", "api/src/new.py"}

    (project.root / "api/src/new.py").unlink()
    project.watcher.changed("api/src/new.py")
    told = await project.next()
    assert told.changed == ("api/src/new.py",)
    assert files_of(told, API) == {"api/src/app.py"}


async def test_a_renamed_directory_is_all_its_files(project: Watched) -> None:
    await project.next()
    await project.save("api/src/old/x.py", "x")

    (project.root / "api/src/old").rename(project.root / "api/src/new")
    project.watcher.changed("api/src/old", "api/src/new")
    told = await project.next()

    assert set(told.changed) == {"api/src/old/x.py", "api/src/new/x.py"}
    assert files_of(told, API) == {"api/src/app.py", "api/src/new/x.py"}


async def test_after_lost_events_everything_is_looked_at(project: Watched) -> None:
    await project.next()

    write(project.root, {"api/src/app.py": "two", "api/src/new.py": "x"})
    project.watcher.rescan()
    told = await project.next()

    assert told.changed == ("api/src/app.py", "api/src/new.py")
    assert told.touched == {
        API: {"api/src/app.py", "api/src/new.py", "api/Dockerfile"},
        CODE: {"api/src/app.py", "api/src/new.py"},
        APP: {"k8s/app.yaml"},
    }


async def test_a_burst_is_looked_at_in_parts_and_told_when_it_is_over(project: Watched) -> None:
    await project.next()

    await project.part({"api/src/app.py": "two", "api/src/new.py": "x"})
    assert not project.was_told()
    write(project.root, {"api/src/last.py": "x"})
    project.watcher.changed("api/src/last.py")
    told = await project.next()

    files = {"api/src/app.py", "api/src/new.py", "api/src/last.py"}
    assert set(told.changed) == files
    assert told.touched == {API: files, CODE: files}
    assert files_of(told, API) == files


async def test_what_a_burst_changed_and_put_back_is_no_change_but_may_have_been_another_meanwhile(
    project: Watched,
) -> None:
    first = await project.next()

    await project.part({"api/src/app.py": "two"})
    await project.part({"api/src/app.py": "one"})
    project.watcher.changed()
    told = await project.next()

    assert told.changed == ()
    assert told.touched == {API: {"api/src/app.py"}, CODE: {"api/src/app.py"}}
    assert told.files == first.files


async def test_a_definition_in_a_part_of_a_burst_is_read_when_the_burst_is_over(project: Watched) -> None:
    await project.next()

    await project.part({"api/Dockerfile": "FROM scratch\nCOPY other /app\n"})
    assert not project.was_told()
    project.watcher.changed()
    told = await project.next()

    assert told.rediscovered
    assert files_of(told, API) == {"api/other/file"}


async def test_what_was_looked_at_before_events_were_lost_is_told_with_the_rest(project: Watched) -> None:
    await project.next()

    await project.part({"api/src/app.py": "two"})
    write(project.root, {"api/src/new.py": "x"})
    project.watcher.rescan()
    told = await project.next()

    assert told.changed == ("api/src/app.py", "api/src/new.py")


async def test_what_changed_before_the_watch_was_on_is_seen(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(root, PROJECT)
    watched = Watched(root)
    discover_once = watched.observer._discover

    def discover_and_edit() -> Project:
        found = discover_once()
        if watched.loads == 1:
            write(root, {"k8s/app.yaml": DEPLOYMENT + "# changed\n", "api/src/app.py": "two"})
        return found

    watched.observer._discover = discover_and_edit
    async with watched.running():
        first = await watched.next()

    assert watched.loads == 2
    assert first.rediscovered


async def test_a_changed_manifest_is_discovered_again(project: Watched) -> None:
    first = await project.next()

    told = await project.save("k8s/app.yaml", DEPLOYMENT.replace("spec:", "spec:\n  replicas: 2", 1))

    assert told.rediscovered
    assert told.graph.nodes[APP].recipe != first.graph.nodes[APP].recipe


async def test_a_changed_dockerfile_selects_other_files_and_watches_them(project: Watched) -> None:
    await project.next()
    watches = len(project.watcher.watched)

    told = await project.save("api/Dockerfile", "FROM scratch\nCOPY . /app\n")

    assert files_of(told, API) == {"api/Dockerfile", "api/src/app.py", "api/other/file"}
    assert (await project.save("api/other/file", "two")).changed == ("api/other/file",)
    assert len(project.watcher.watched) > watches


async def test_a_link_that_is_copied_and_leads_elsewhere_now_selects_other_files(project: Watched) -> None:
    await project.next()
    (project.root / "api/now").symlink_to("src")
    told = await project.save("api/Dockerfile", "FROM scratch\nCOPY now /app\n")
    assert files_of(told, API) == {"api/now", "api/src/app.py"}

    (project.root / "api/now").unlink()
    (project.root / "api/now").symlink_to("other")
    project.watcher.changed("api/now")
    told = await project.next()

    assert told.rediscovered
    assert files_of(told, API) == {"api/now", "api/other/file"}


async def test_a_dockerignore_that_appears_is_read(project: Watched) -> None:
    await project.next()
    await project.save("api/src/notes.md", "x")

    told = await project.save("api/.dockerignore", "**/*.md\n")

    assert files_of(told, API) == {"api/src/app.py"}


async def test_a_broken_devfile_leaves_the_graph_as_it_was(project: Watched) -> None:
    first = await project.next()

    told = await project.save("devfile.py", "1 / 0\n")

    assert len(told.project.errors) == 1
    assert told.mistakes == told.project.errors
    assert told.graph == first.graph
    assert (await project.save("api/src/app.py", "two")).changed == ("api/src/app.py",)


async def test_a_mended_devfile_is_read(project: Watched) -> None:
    await project.next()
    await project.save("devfile.py", "1 / 0\n")

    told = await project.save("devfile.py", PROJECT["devfile.py"])

    assert told.mistakes == ()


async def test_a_module_that_was_missing_is_noticed_when_it_comes(project: Watched) -> None:
    await project.next()
    assert (await project.save("devfile.py", "import helper\n" + _plain(PROJECT["devfile.py"]))).mistakes

    told = await project.save("helper.py", "x = 1\n")

    assert told.mistakes == ()


async def test_a_helper_module_that_changed_is_read_again(project: Watched) -> None:
    await project.next()
    write(project.root, {"helper.py": "FILE = 'k8s/app.yaml'\n"})
    devfile = _plain(PROJECT["devfile.py"]).replace('"k8s/app.yaml"', "FILE")
    await project.save("devfile.py", "from helper import FILE\n" + devfile)

    told = await project.save("helper.py", "FILE = 'k8s/gone.yaml'\n")

    assert [str(error) for error in told.mistakes] == [
        "service `app` names the manifest `k8s/gone.yaml`, which does not exist"
    ]


async def test_the_files_of_an_image_are_watched_while_its_dockerfile_is_broken(project: Watched) -> None:
    await project.next()
    broken = await project.save("api/Dockerfile", "FRM scratch\n")
    assert broken.graph.nodes[API].problems

    assert (await project.save("api/src/app.py", "two")).changed == ("api/src/app.py",)
    told = await project.save("api/Dockerfile", PROJECT["api/Dockerfile"])

    assert len(project.watcher.watched) == 1
    assert told.graph.nodes[API].problems == ()
    assert files_of(told, API) == {"api/src/app.py"}


async def test_a_manifest_that_was_missing_is_noticed_when_it_comes(project: Watched) -> None:
    await project.next()
    (project.root / "k8s/app.yaml").unlink()
    project.watcher.changed("k8s/app.yaml")
    assert (await project.next()).mistakes

    assert (await project.save("k8s/app.yaml", DEPLOYMENT)).mistakes == ()


async def test_a_definition_in_a_directory_that_is_gone_is_noticed(project: Watched) -> None:
    await project.next()

    shutil.rmtree(project.root / "k8s")
    project.watcher.changed("k8s")

    assert (await project.next()).mistakes


async def test_only_the_nodes_that_were_asked_for_are_observed(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(root, PROJECT)
    watched = Watched(root)
    watched.narrow = lambda graph: graph.closure([API])
    async with watched.running():
        first = await watched.next()

    assert set(first.graph.nodes) == {API, CODE}


async def test_a_node_that_was_asked_for_and_is_gone_is_a_mistake(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(root, PROJECT)
    watched = Watched(root)
    watched.narrow = lambda graph: graph.closure([graph.find("app")])
    async with watched.running():
        first = await watched.next()
        told = await watched.save("devfile.py", "@image('api')\ndef api_image(): ...\n")

    assert isinstance(told.project.errors[0], InputError)
    assert str(told.project.errors[0]) == "there is no node `app`"
    assert told.graph == first.graph


async def test_a_folder_outside_of_the_project_is_watched_too(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(tmp_path, {"shared/x": "one"})
    write(root, {"devfile.py": "@image('api', contexts={'shared': '../shared'})\ndef api_image(): ...\n"})
    write(root, {"api/Dockerfile": "FROM scratch\nCOPY --from=shared x /x\n"})
    async with Watched(root).running() as watched:
        first = await watched.next()
        assert "../shared/x" in first.files[API]

        told = await watched.save("../shared/x", "two")

    assert told.changed == ("../shared/x",)
    assert watched.watcher.watched[-1] == (".", "../shared")


async def test_looking_once_needs_no_watcher(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(root, PROJECT)
    watched = Watched(root)

    assert (await watched.observer.look()).files == watched.observer.look_now().files
    assert watched.watcher.watched == []


def _plain(devfile: str) -> str:
    return "\n".join(line.strip() for line in devfile.splitlines())


async def test_what_a_session_read_is_not_read_again_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devloop.adapters.files.hashing.RACY_NS", 0)
    root = tmp_path / "project"
    write(root, PROJECT)
    async with Watched(root).running() as project:
        await project.next()
        edited = (await project.save("api/src/app.py", "two")).files[API]
    monkeypatch.setattr("devloop.adapters.files.hashing.hash_one", lambda file: pytest.fail(f"{file.path} was read"))

    again = Watched(root).observer.look_now()

    assert again.files[API] == edited


async def test_a_file_that_no_node_reads_is_not_read_either(project: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project.root, {"api/src/deep/more.py": "1", "api/dump.sql": "1", "dump.sql": "1"})
    read = []
    hash_one = hashing.hash_one

    def noted(file: hashing.Unknown) -> hashing.Hashed:
        read.append(file.path)
        return hash_one(file)

    monkeypatch.setattr(hashing, "hash_one", noted)

    project.observer.look_now()

    assert sorted(read) == ["api/src/app.py", "api/src/deep/more.py"]


# --- what tools render ---------------------------------------------------------------------------------------------

RENDERED = {
    "devfile.py": """
        @image("api")
        def api_image(): ...
        @service(kustomize("k8s"))
        def app(api_image): ...
    """,
    "k8s/kustomization.yaml": "resources: [app.yaml]\n",
}


@pytest.fixture
async def rendered(tmp_path: Path) -> AsyncIterator[Watched]:
    root = tmp_path / "project"
    write(root, PROJECT | RENDERED)
    watched = Watched(root)
    watched.renderer.installed = (Tool.KUSTOMIZE,)
    watched.renderer.prints = lambda request: (root / request.folder / "k8s/app.yaml").read_text()
    async with watched.running():
        yield watched


async def edit(project: Watched, path: str, text: str, calls: int) -> None:
    """Write a file, tell of it, and wait until tools were called so many times in all."""
    write(project.root, {path: text})
    project.watcher.changed(path)
    while len(project.renderer.calls) < calls:
        await anyio.lowlevel.checkpoint()


async def test_the_first_observation_has_all_that_tools_render(rendered: Watched) -> None:
    first = await rendered.next()
    assert first.mistakes == ()
    assert first.graph.nodes[APP].recipe.keys() == {"the rendering of k8s"}
    assert len(rendered.renderer.calls) == 1


async def test_other_files_are_seen_while_a_tool_renders(rendered: Watched) -> None:
    first = await rendered.next()
    rendered.renderer.gate = anyio.Event()
    changed = DEPLOYMENT.replace("image: api}", "image: api, tty: true}")
    await edit(rendered, "k8s/app.yaml", changed, calls=2)
    told = await rendered.save("api/src/app.py", "two")
    while not told.changed:
        told = await rendered.next()
    assert told.changed == ("api/src/app.py",)
    assert told.graph is first.graph
    assert APP not in told.touched  # a run for it would still be one of the older content
    rendered.renderer.gate.set()
    told = await rendered.next()
    assert told.rediscovered
    assert told.mistakes == ()
    assert told.touched == {APP: {"k8s/app.yaml"}}


async def test_newer_content_ends_the_rendering_of_older(rendered: Watched) -> None:
    await rendered.next()
    rendered.renderer.gate = anyio.Event()
    await edit(rendered, "k8s/app.yaml", "older", calls=2)
    await edit(rendered, "k8s/app.yaml", DEPLOYMENT + "# newer\n", calls=3)
    rendered.renderer.gate.set()
    while not (told := await rendered.next()).rediscovered:
        pass
    assert told.mistakes == ()
    assert rendered.renderer.cancelled == rendered.renderer.calls[1:2]


async def test_going_back_while_a_tool_renders_ends_it(rendered: Watched) -> None:
    first = await rendered.next()
    rendered.renderer.gate = anyio.Event()
    await edit(rendered, "k8s/app.yaml", "other", calls=2)
    told = await rendered.save("k8s/app.yaml", DEPLOYMENT)
    assert told.touched[APP] == {"k8s/app.yaml"}
    assert told.graph.nodes[APP].recipe == first.graph.nodes[APP].recipe


async def test_a_refused_rendering_keeps_what_was_good_and_is_tried_again(rendered: Watched) -> None:
    await rendered.next()

    def refuse(_request: Request) -> str:
        raise ValueError("error: the registry does not answer")

    good, rendered.renderer.prints = rendered.renderer.prints, refuse
    await edit(rendered, "k8s/app.yaml", DEPLOYMENT + "# a comment\n", calls=2)
    while not (told := await rendered.next()).mistakes:
        pass
    assert str(told.mistakes[0]) == "kustomize: the registry does not answer"
    rendered.renderer.prints = good
    await edit(rendered, "k8s/app.yaml", DEPLOYMENT + "# another comment\n", calls=3)
    while (told := await rendered.next()).mistakes:
        pass
    assert told.graph.nodes[APP].detail is not None
