"""The loop on fakes: what is built, deployed and copied when files, pods and people do something."""

import pytest

from devloop.core.engine.state import Requested
from devloop.core.plan import Mode
from devloop.errors import InputErrors
from devloop.events import (
    FilesChanged,
    Held,
    ProjectLoaded,
    ProjectRejected,
    RunCancelled,
    RunFailed,
    RunProgressed,
    RunStarted,
    RunSucceeded,
    Settled,
    Skipped,
)
from devloop.model import Kind, NodeId
from tests.fakes.session import FakeSession

pytestmark = pytest.mark.anyio

DEVFILE = """
from devloop import Image, image, ignore, restart, run, service, sync

@image("api")
def api_image(): ...

@service("k8s/api.yaml", ports={8000: 80})
def api(api_image: Image): ...

@sync("api/src", "/app/src")
def api_code(api_image: Image): ...
"""

DOCKERFILE = "FROM scratch\nCOPY src /app/src\nCOPY lib /app/lib\n"

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: app, image: IMAGE, ports: [{containerPort: 80}]}]}
"""

PROJECT = {
    "devfile.py": DEVFILE,
    "api/Dockerfile": DOCKERFILE,
    "api/src/app.py": "one",
    "api/lib/lib.py": "one",
    "k8s/api.yaml": MANIFEST.replace("NAME", "api").replace("IMAGE", "api"),
}

CI = Mode(kinds=frozenset({Kind.IMAGE, Kind.SERVICE, Kind.TASK, Kind.CHECK}), sync=False, once=True)


def manifest(name: str, image: str | None = None) -> str:
    return MANIFEST.replace("NAME", name).replace("IMAGE", image or name)


def with_more(**more: str) -> dict[str, str]:
    """Return the project with more lines in its devfile."""
    return {**PROJECT, "devfile.py": DEVFILE + "\n".join(more.values())}


def runs(session: FakeSession) -> list[str]:
    return [f"{event.action} {event.node.name}" for event in session.told(RunStarted) if event.node]


# --- the first pass --------------------------------------------------------------------------------------------------


async def test_the_first_pass_builds_and_deploys_in_order_of_dependency() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        settled = await session.settled()

    assert settled.ok
    assert runs(session) == ["build api", "deploy api"]
    assert session.image("api") == session.delivery.delivered[0].__str__()


async def test_images_that_need_nothing_of_one_another_are_built_side_by_side() -> None:
    session = FakeSession(
        {
            "devfile.py": "from devloop import image\n@image('a')\ndef a(): ...\n@image('b')\ndef b(): ...\n",
            "a/Dockerfile": "FROM scratch",
            "b/Dockerfile": "FROM scratch",
        }
    )
    session.builder.hold("a")
    session.builder.hold("b")
    async with session.running():
        await session.builder.until(lambda builder: len(builder.running) == 2)


async def test_an_image_is_built_on_the_base_that_was_just_built() -> None:
    session = FakeSession(
        {
            "devfile.py": "from devloop import image\n@image('app')\ndef app(): ...\n@image('base')\ndef base(): ...\n",
            "base/Dockerfile": "FROM scratch",
            "app/Dockerfile": "FROM base",
        }
    )
    async with session.running():
        await session.settled()

        assert [request.name for request in session.builder.requests] == ["base", "app"]
        base = session.delivery.delivered[0]
        assert session.builder.requests[1].contexts == {"base": f"docker-image://{base}"}


async def test_a_second_session_builds_nothing_and_says_so() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
    session.forget()

    async with session.running():
        await session.settled()

    assert runs(session) == ["deploy api"]
    assert [event.reason for event in session.told(Skipped)] == [f"nothing changed since {session.image('api')}"]
    assert not session.told(RunSucceeded)[0].changed


async def test_an_edit_during_the_first_build_is_not_missed() -> None:
    session = FakeSession(PROJECT)
    session.builder.hold("api")
    async with session.running():
        await session.builder.until(lambda builder: bool(builder.running))

        session.write("api/lib/lib.py", "two")
        await session.next(RunCancelled)
        session.builder.release("api")
        await session.settled()

        assert len(session.builder.cancelled) == 1
        assert session.cluster.applies == ["api"]


async def test_a_first_pass_that_fails_does_not_end_the_loop() -> None:
    session = FakeSession(PROJECT)
    session.builder.fail("api")
    async with session.running():
        first = await session.settled()
        session.builder.mend("api")
        session.write("api/lib/lib.py", "two")
        second = await session.settled()

    assert (first.ok, second.ok) == (False, True)


# --- edits -----------------------------------------------------------------------------------------------------------


async def test_a_synced_file_is_copied_and_nothing_is_built() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.forget()

        session.write("api/src/app.py", "two")
        await session.settled()

        assert runs(session) == ["sync api-code"]
        assert session.held("api") == {"/app/src/app.py": "two"}


async def test_a_deleted_synced_file_is_deleted_in_the_container() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.write("api/src/app.py", "two")
        await session.settled()

        session.files.delete("api/src/app.py")
        await session.settled()

        assert session.held("api") == {}


async def test_a_file_that_no_sync_covers_is_built_and_deployed() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        before = session.image("api")
        session.forget()

        session.write("api/lib/lib.py", "two")
        await session.settled()

        assert runs(session) == ["build api", "deploy api"]
        assert session.image("api") != before


async def test_a_manifest_is_deployed_without_a_build() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.forget()

        session.write("k8s/api.yaml", PROJECT["k8s/api.yaml"] + "  replicas: 1\n")
        await session.settled()

    assert runs(session) == ["deploy api"]
    assert session.told(RunStarted)[0].reasons == ("k8s/api.yaml changed",)


async def test_saving_the_same_bytes_does_nothing() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.forget()

        session.write("api/lib/lib.py", "one")
        session.write("k8s/api.yaml", PROJECT["k8s/api.yaml"])
        session.write("api/src/app.py", "two")  # so that there is something to wait for
        await session.settled()

    assert runs(session) == ["sync api-code"]
    assert [event.paths for event in session.told(FilesChanged)] == [("api/src/app.py",)]


async def test_an_edit_during_a_build_cancels_it_and_builds_the_new_content() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.builder.hold("api")
        session.write("api/lib/lib.py", "two")
        await session.builder.until(lambda builder: bool(builder.running))

        session.write("api/lib/lib.py", "three")
        cancelled = await session.next(RunCancelled)
        session.builder.release("api")
        await session.settled()

        assert cancelled.reason == "newer content: api/lib/lib.py changed"
        assert len(session.builder.cancelled) == 1
        assert session.builder.built("api") == 3


async def test_a_build_starts_only_when_all_earlier_ones_of_the_image_are_gone() -> None:
    session = FakeSession(PROJECT)
    session.builder.lingering = True
    session.builder.hold("api")
    async with session.running():
        await session.builder.until(lambda builder: bool(builder.running))
        for text in ("two", "three", "four"):
            session.write("api/lib/lib.py", text)
            await session.next(RunCancelled)

        assert session.builder.built("api") == 1
        session.builder.release("api")
        session.builder.let_go()
        await session.settled()

        assert (session.builder.built("api"), session.builder.most) == (2, 1)


async def test_an_image_that_comes_out_the_same_restarts_nothing() -> None:
    session = FakeSession({**PROJECT, "api/Dockerfile": DOCKERFILE + "COPY notes /notes\n", "api/notes/x": "one"})
    session.inert = ("api/notes/",)
    async with session.running():
        await session.settled()
        pod = session.cluster.pod("api").uid
        session.forget()

        session.write("api/notes/x", "two")
        await session.settled()

        assert runs(session) == ["build api"]
        assert session.told(RunSucceeded)[0].changed is False
        assert session.cluster.pod("api").uid == pod


async def test_when_two_changed_and_one_fails_the_other_is_not_forgotten() -> None:
    more = "@image('web')\ndef web_image(): ...\n@service('k8s/web.yaml')\ndef web(web_image): ...\n"
    session = FakeSession(
        {
            **PROJECT,
            "devfile.py": DEVFILE + more,
            "web/Dockerfile": "FROM scratch\nCOPY . /",
            "web/page": "one",
            "k8s/web.yaml": manifest("web"),
        }
    )
    async with session.running():
        await session.settled()
        before = session.image("web")
        session.builder.fail("api")

        session.write("api/lib/lib.py", "two")
        session.write("web/page", "two")
        settled = await session.settled()

        assert settled.failed == (NodeId(Kind.IMAGE, "api"), NodeId(Kind.SERVICE, "api"))
        assert session.image("web") != before
        assert [event.reason for event in session.told(Held)][-1] == "waits for image:api: its last build failed"


# --- mistakes in the project's files ---------------------------------------------------------------------------------


async def test_a_broken_devfile_keeps_what_was_good_and_recovers() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.write("devfile.py", DEVFILE + "1 / 0\n")
        rejected = await session.next(ProjectRejected)
        assert "ZeroDivisionError" in rejected.problems[0].message
        assert not (await session.settled()).ok

        session.write("api/src/app.py", "two")
        await session.settled()
        assert session.held("api") == {"/app/src/app.py": "two"}

        session.forget()
        session.write("devfile.py", DEVFILE)
        assert (await session.settled()).ok
        assert session.told(ProjectLoaded)
        assert runs(session) == []


async def test_a_devfile_that_is_broken_from_the_start_is_waited_for() -> None:
    session = FakeSession({**PROJECT, "devfile.py": "nonsense("})
    async with session.running():
        await session.next(ProjectRejected)
        assert not session.told(RunStarted)

        session.write("devfile.py", DEVFILE)
        assert (await session.settled()).ok
        assert runs(session) == ["build api", "deploy api"]


@pytest.mark.parametrize(
    ("path", "broken", "node"),
    [
        ("api/Dockerfile", "FRM scratch\n", NodeId(Kind.IMAGE, "api")),
        ("k8s/api.yaml", "kind: [Deployment\n", NodeId(Kind.SERVICE, "api")),
    ],
)
async def test_a_broken_definition_concerns_its_node_and_is_over_when_it_is_mended(
    path: str, broken: str, node: NodeId
) -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        pod = session.cluster.pod("api").uid

        session.write(path, broken)
        rejected = await session.next(ProjectRejected)
        settled = await session.settled()
        assert (rejected.node, settled.ok) == (node, False)

        session.forget()
        session.write(path, PROJECT[path])
        assert (await session.settled()).ok
        assert session.cluster.pod("api").uid == pod
        assert "build api" not in runs(session)


async def test_a_node_that_is_new_in_the_devfile_is_built_and_watched() -> None:
    session = FakeSession({**PROJECT, "web/Dockerfile": "FROM scratch\nCOPY . /\n", "web/page": "one"})
    async with session.running():
        await session.settled()

        session.write("devfile.py", DEVFILE + "@image('web')\ndef web_image(): ...\n")
        await session.settled()
        session.write("web/page", "two")
        await session.settled()

        assert session.builder.built("web") == 2


async def test_a_missing_dockerfile_that_appears_is_built() -> None:
    session = FakeSession({path: text for path, text in PROJECT.items() if path != "api/Dockerfile"})
    async with session.running():
        assert not (await session.settled()).ok

        session.write("api/Dockerfile", DOCKERFILE)
        assert (await session.settled()).ok


# --- pods ------------------------------------------------------------------------------------------------------------


async def test_a_restarted_container_gets_what_was_synced() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.write("api/src/app.py", "two")
        await session.settled()

        session.cluster.restart(session.cluster.pod("api").name)
        await session.next(RunSucceeded, lambda event: event.action == "sync")

        assert session.held("api") == {"/app/src/app.py": "two"}


async def test_a_new_pod_gets_what_was_synced() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.write("api/src/app.py", "two")
        await session.settled()

        session.cluster.kill(session.cluster.pod("api").name)
        await session.next(RunSucceeded, lambda event: event.action == "sync")

        assert session.held("api") == {"/app/src/app.py": "two"}


async def test_connections_are_kept_to_the_containers_of_synced_images_only() -> None:
    more = "@image('web')\ndef web_image(): ...\n@service('k8s/web.yaml')\ndef web(web_image): ...\n"
    files = {**PROJECT, "devfile.py": DEVFILE + more, "web/Dockerfile": "FROM scratch", "k8s/web.yaml": manifest("web")}
    session = FakeSession(files)
    async with session.running():
        await session.settled()

        assert [target.pod for target in session.syncer.attended] == [session.cluster.pod("api").name]


async def test_logs_and_forwards_are_told_of_pods() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()

        assert [pod.service for pod in session.tailer.pods] == ["api"]
        assert [pod.service for pod in session.forwarder.pods] == ["api"]
        assert [(rule.service, rule.local) for rule in session.forwarder.rules] == [("api", 8000)]
        assert [state.rule.local for state in session.ports] == [8000]


async def test_a_failed_service_is_deployed_again_when_its_pods_become_ready() -> None:
    session = FakeSession(PROJECT)
    session.cluster.hold("api")
    session.cluster.fail("api", "container `app` crashes")
    async with session.running():
        assert not (await session.settled()).ok

        session.cluster.mend("api")
        session.cluster.roll_out("api")
        await session.next(RunSucceeded, lambda event: event.action == "deploy")
        await session.next(Settled, lambda event: event.ok)


async def test_a_container_that_takes_no_files_is_built_anew() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        session.syncer.container(session.container("api")).refusal = "it has no shell"
        before = session.image("api")

        session.write("api/src/app.py", "two")
        await session.next(RunSucceeded, lambda event: event.action == "deploy")

        assert session.image("api") != before


# --- what follows a copy ---------------------------------------------------------------------------------------------

RULES = DEVFILE.replace(
    "def api_code(api_image: Image): ...",
    "def api_code(api_image: Image):\n"
    "    yield run('compile', on='api/src/*.c')\n"
    "    yield restart(on='api/src/boot.py')\n"
    "    yield ignore('api/src/*.md')\n",
)


async def test_rules_are_followed_after_a_copy() -> None:
    session = FakeSession({**PROJECT, "devfile.py": RULES, "api/src/boot.py": "one"})
    async with session.running():
        await session.settled()
        container = session.syncer.container(session.container("api"))

        session.write("api/src/x.c", "one")
        await session.next(RunSucceeded, lambda event: event.action == "follow-up")
        assert (container.commands, container.restarts) == (["compile"], 0)

        session.write("api/src/boot.py", "two")
        await session.next(RunSucceeded, lambda event: event.action == "follow-up")
        assert (container.commands, container.restarts) == (["compile"], 1)


async def test_a_command_that_fails_is_told_and_the_files_stay() -> None:
    session = FakeSession({**PROJECT, "devfile.py": RULES})
    async with session.running():
        await session.settled()
        session.syncer.container(session.container("api")).answer = lambda _: (["x.c:1: no"], 2)

        session.write("api/src/x.c", "one")
        failed = await session.next(RunFailed)
        settled = await session.settled()

        assert "`compile` failed with exit code 2" in failed.problems[0].message
        assert settled.failed == (NodeId(Kind.SYNC, "api-code"),)
        assert session.held("api") == {"/app/src/x.c": "one"}


async def test_an_ignored_file_is_neither_copied_nor_built() -> None:
    session = FakeSession({**PROJECT, "devfile.py": RULES})
    async with session.running():
        await session.settled()
        session.forget()

        session.write("api/src/readme.md", "one")
        await session.settled()

    assert runs(session) == []


# --- sessions that end by themselves ---------------------------------------------------------------------------------


async def test_a_session_of_one_pass_says_that_all_was_well() -> None:
    assert await FakeSession(PROJECT, mode=CI).run() is True


async def test_a_session_of_one_pass_says_that_something_failed() -> None:
    session = FakeSession(PROJECT, mode=CI)
    session.builder.fail("api")

    assert await session.run() is False


async def test_a_session_of_one_pass_refuses_mistakes() -> None:
    session = FakeSession({**PROJECT, "k8s/api.yaml": "kind: ["}, mode=CI)

    with pytest.RaisesGroup(InputErrors):
        await session.run()


async def test_a_check_decides() -> None:
    more = "from devloop import Service, check\n@check\ndef smoke(api: Service):\n    assert api.url == '{}'\n"
    good = FakeSession(with_more(more=more.format("http://localhost:8000")), mode=CI)
    bad = FakeSession(with_more(more=more.format("elsewhere")), mode=CI)

    assert await good.run() is True
    assert await bad.run() is False
    assert "check `smoke` raises AssertionError" in bad.told(RunFailed)[0].problems[0].message


# --- tasks and custom builders ---------------------------------------------------------------------------------------


async def test_a_task_with_inputs_runs_when_one_of_them_changed() -> None:
    more = "from devloop import task\n@task(inputs='docs/*.md')\ndef spell(): ...\n"
    session = FakeSession({**with_more(more=more), "docs/index.md": "one"})
    async with session.running():
        await session.settled()
        session.forget()

        session.write("docs/index.md", "two")
        await session.settled()

    assert runs(session) == ["task spell"]


async def test_a_task_runs_when_it_is_asked_for() -> None:
    more = "from devloop import task\n@task\ndef seed(): ...\n"
    session = FakeSession(with_more(more=more))
    async with session.running():
        await session.settled()
        session.forget()

        session.loop.submit(Requested(nodes=frozenset({NodeId(Kind.TASK, "seed")})))
        await session.settled()

    assert runs(session) == ["task seed"]


async def test_an_exception_in_a_task_is_told_with_the_users_line() -> None:
    more = "from devloop import task\n@task(inputs='docs')\ndef spell():\n    raise ValueError('no dictionary')\n"
    session = FakeSession({**with_more(more=more), "docs/x": "one"})
    async with session.running():
        failed = await session.next(RunFailed)

    (problem,) = failed.problems
    assert problem.message == "task `spell` raises ValueError: no dictionary"
    assert problem.where is not None
    assert problem.where.text == "raise ValueError('no dictionary')"


async def test_a_custom_builder_must_leave_its_image_under_the_reference() -> None:
    devfile = "from devloop import image\n@image(inputs='tools/**')\ndef tools_image(ref): ...\n"
    session = FakeSession({"devfile.py": devfile, "tools/x": "one"})
    async with session.running():
        failed = await session.next(RunFailed)

    assert failed.problems[0].message == "image `tools` was not left under `tools:dev` by its function"


async def test_cancelling_a_session_ends_what_it_runs() -> None:
    session = FakeSession(PROJECT)
    session.builder.hold("api")
    async with session.running():
        await session.builder.until(lambda builder: bool(builder.running))

    assert not session.builder.running
    assert len(session.builder.cancelled) == 1


async def test_what_was_found_out_is_kept_even_when_the_session_is_cancelled() -> None:
    session = FakeSession(PROJECT)
    session.cluster.hold("api")
    async with session.running():
        await session.next(RunSucceeded, lambda event: event.action == "build")

    assert list(session.store.saved.traces) == [NodeId(Kind.IMAGE, "api")]


# --- outages -----------------------------------------------------------------------------------------------------


async def test_an_engine_or_a_cluster_that_does_not_answer_is_waited_for() -> None:
    session = FakeSession(PROJECT)
    session.builder.reachable = session.cluster.reachable = False
    async with session.running():
        waiting = await session.next(RunProgressed)
        assert waiting.message == "the engine does not answer; trying again"
        session.builder.reachable = True
        waiting = await session.next(RunProgressed, lambda event: event.node == NodeId(Kind.SERVICE, "api"))
        assert waiting.message == "the cluster does not answer; trying again"
        session.cluster.reachable = True
        assert (await session.settled()).failed == ()
    assert session.told(RunFailed) == []


async def test_a_session_that_ends_by_itself_does_not_wait_for_an_engine() -> None:
    session = FakeSession(PROJECT, mode=CI)
    session.builder.reachable = False
    assert not await session.run()
    (failed,) = session.told(RunFailed)
    assert failed.problems[0].message == "the engine does not answer"
