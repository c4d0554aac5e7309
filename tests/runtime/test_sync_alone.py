"""Copying files into what others built and deployed: the loop on fakes."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from devloop.app.options import SYNC
from devloop.errors import InputErrors
from devloop.events import Held, RunFailed, RunStarted, Settled
from devloop.model import ContainerTarget
from tests.fakes.session import FakeSession

pytestmark = pytest.mark.anyio

CHOSEN = """
from devloop import sync

@sync("site", "/www", selector="app=front")
def pages(): ...
"""

SERVED = """
from devloop import Service, service, sync

@service("front.yaml", ports={})
def front(): ...

@sync("site", "/www")
def pages(front: Service): ...
"""

BUILT = """
from devloop import Image, image, sync

@image("api", ref="registry.example.com/api")
def api_image(): ...

@sync("api/src", "/app")
def pages(api_image: Image): ...
"""

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [CONTAINERS]}
"""

ONE = DEPLOYMENT.replace("CONTAINERS", "{name: app, image: nginx}")
TWO = DEPLOYMENT.replace("CONTAINERS", "{name: app, image: nginx}, {name: proxy, image: envoy}")

SITE = {"site/index.html": "one", "site/more/page.html": "one"}


def session(devfile: str, files: Mapping[str, str] | None = None, *, once: bool = False) -> FakeSession:
    return FakeSession({"devfile.py": devfile, **SITE, **(files or {})}, mode=replace(SYNC, once=once))


def target(pod: str, session: FakeSession) -> ContainerTarget:
    (found,) = (each for each in session.loop.state.containers if each.pod == pod)
    return found


def held(pod: str, session: FakeSession) -> dict[str, str]:
    files = session.syncer.container(target(pod, session)).held
    return {path: stored.data.decode() for path, stored in files.items()}


async def test_containers_that_a_selector_chooses_get_the_whole_tree_and_then_what_changes() -> None:
    here = session(CHOSEN)
    here.cluster.let_run("front-1", "nginx", app="front", tier="web")
    here.cluster.let_run("other-1", "nginx", app="other")
    async with here.running():
        await here.settled()
        assert held("front-1", here) == {"/www/index.html": "one", "/www/more/page.html": "one"}

        here.write("site/index.html", "two")
        await here.settled()
        here.cluster.let_run("front-2", "nginx", app="front")
        await here.settled()

        assert held("front-1", here) == held("front-2", here)
        assert held("front-1", here)["/www/index.html"] == "two"
        assert [len(changes) for _, changes in here.syncer.sends] == [2, 1, 2]
        assert {each.pod for each, _ in here.syncer.sends} == {"front-1", "front-2"}
        assert here.cluster.applies == []


async def test_a_second_session_sends_only_what_changed_meanwhile() -> None:
    here = session(CHOSEN)
    here.cluster.let_run("front-1", "nginx", app="front")
    async with here.running():
        await here.settled()
    here.write("site/index.html", "two")
    here.syncer.sends.clear()

    async with here.running():
        await here.next(Settled, lambda event: bool(here.syncer.sends))

    assert [[change.source for change in changes] for _, changes in here.syncer.sends] == [["site/index.html"]]


async def test_containers_of_an_image_get_its_files_whoever_built_it() -> None:
    files = {"api/Dockerfile": "FROM scratch\nCOPY src /app\nCOPY lib /lib\n", "api/src/a.py": "a", "api/lib/b.py": "b"}
    here = session(BUILT, files)
    here.cluster.let_run("api-1", "registry.example.com/api:1.7", app="api")
    here.cluster.let_run("api-2", "registry.example.com/other:1.7", app="api")
    async with here.running():
        await here.settled()

        assert held("api-1", here) == {"/app/a.py": "a"}
        assert here.builder.requests == []
        assert [each.pod for each, _ in here.syncer.sends] == ["api-1"]


async def test_once_ends_when_everything_is_there() -> None:
    here = session(CHOSEN, once=True)
    here.cluster.let_run("front-1", "nginx", app="front")

    assert await here.run()
    assert len(here.syncer.sends[0][1]) == 2


async def test_once_is_not_well_when_nothing_runs_that_it_could_copy_into() -> None:
    here = session(CHOSEN, once=True)
    here.cluster.let_run("other-1", "nginx", app="other")

    assert not await here.run()
    assert [event.reason for event in here.told(Held)] == ["no container runs that it could copy into"]


async def test_a_container_that_takes_no_files_is_a_failure_where_nothing_can_be_built() -> None:
    here = session(CHOSEN)
    here.cluster.let_run("front-1", "nginx", app="front")
    async with here.running():
        await here.settled()
        here.syncer.container(target("front-1", here)).refusal = "it has no shell"
        here.write("site/index.html", "two")
        failed = await here.next(RunFailed)
        settled = await here.settled()

    assert failed.problems[0].message == "it has no shell"
    assert not settled.ok


async def test_a_service_of_a_public_image_is_fed_in_the_ordinary_loop() -> None:
    here = FakeSession({"devfile.py": SERVED, **SITE, "front.yaml": ONE})
    async with here.running():
        await here.next(Settled, lambda _: bool(here.syncer.sends))

        assert held(here.cluster.pod("front").name, here) == {"/www/index.html": "one", "/www/more/page.html": "one"}
        assert [event.action for event in here.told(RunStarted)] == ["deploy", "sync"]


@pytest.mark.parametrize(
    ("devfile", "message"),
    [
        pytest.param(SERVED, "sync `pages` feeds service:front, which has several containers", id="containers"),
        pytest.param(
            CHOSEN.replace("app=front", "app in (front)"),
            "the selector `app in (front)` is not of the form `label=value,label=value`",
            id="selector",
        ),
        pytest.param(
            CHOSEN.replace('"site", "/www", ', ""),
            "sync `pages` does not say what goes where, and has no image whose Dockerfile does",
            id="paths",
        ),
        pytest.param(
            CHOSEN.replace("...", "yield restart()").replace("import sync", "import restart, sync"),
            "sync `pages` restarts a process, which takes an image that the project builds",
            id="restart",
        ),
    ],
)
async def test_what_cannot_be_is_told(devfile: str, message: str) -> None:
    here = session(devfile, {"front.yaml": TWO}, once=True)

    with pytest.RaisesGroup(pytest.RaisesExc(InputErrors, match=re.escape(message))):
        await here.run()
