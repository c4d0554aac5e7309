"""What only a real engine can show: processes that are gone, BuildKit's features, and its many ways to fail."""

import json
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest

from devloop.adapters.docker import DockerBuilder, Endpoint, Engine
from devloop.adapters.docker.buildx import find_buildx
from devloop.errors import ToolError, UnreachableError
from devloop.model import ImageRef
from devloop.runtime.ports import BuildLog, BuildProgress, BuildRequest, BuildStep
from tests.outside import eventually, output

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

Make = Callable[..., BuildRequest]


@pytest.fixture
async def builder(tmp_path: Path, unique_name: str) -> AsyncIterator[DockerBuilder]:
    async with DockerBuilder(str(tmp_path)) as real:
        yield real
    await anyio.to_thread.run_sync(remove_images, unique_name)


def remove_images(label: str) -> None:
    if images := output("docker", "image", "ls", "--quiet", "--no-trunc", f"--filter=label=devloop.test={label}"):
        output("docker", "image", "rm", "--force", *sorted(set(images.split())))


@pytest.fixture
def make(tmp_path: Path, unique_name: str) -> Make:
    def build_request(text: str, **more: Any) -> BuildRequest:
        folder = tmp_path / "app"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(text)
        standard = {"context": str(folder), "dockerfile": str(folder / "Dockerfile")}
        return BuildRequest(name="app", labels={"devloop.test": unique_name}, **{**standard, **more})

    return build_request


def ignore(_: BuildProgress) -> None:
    pass


def lines(told: list[BuildProgress], step: str) -> list[str]:
    return [each.line for each in told if isinstance(each, BuildLog) and step in each.step]


def shown(image: str, *command: str) -> str:
    return output("docker", "run", "--rm", "--network=none", image, *command)


def processes(word: str) -> list[int]:
    """The processes of the machine, those in containers included, that have the word as an argument."""
    return [each.pid for each in psutil.process_iter(["cmdline"]) if word in (each.info["cmdline"] or ())]


async def test_the_id_is_the_one_that_docker_shows(builder: DockerBuilder, make: Make, unique_name: str) -> None:
    image = await builder.build(make("FROM busybox\n"), ignore)
    await builder.tag(image, ImageRef(path=unique_name, tag="dev-1"))
    assert output("docker", "image", "inspect", f"{unique_name}:dev-1", "--format={{.Id}}").strip() == image


async def test_cancelling_ends_the_processes_of_a_run_step_whatever_they_ignore(
    builder: DockerBuilder, make: Make
) -> None:
    marker = str(random.randint(10_000_000, 90_000_000))
    begun = anyio.Event()

    def report(told: BuildProgress) -> None:
        if isinstance(told, BuildLog):
            begun.set()

    dockerfile = f"FROM busybox\nRUN (sleep {marker} & echo begun; trap '' TERM INT; sleep {marker})\n"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(builder.build, make(dockerfile), report)
        await begun.wait()
        eventually(lambda: len(processes(marker)) == 2)
        tasks.cancel_scope.cancel()
    eventually(lambda: not processes(marker), within=30)
    assert not processes(str(make(dockerfile).context))  # buildx itself


async def test_a_newer_build_of_the_same_image_works_at_once_after_a_cancelled_one(
    builder: DockerBuilder, make: Make, tmp_path: Path
) -> None:
    request = make("FROM busybox\nCOPY Dockerfile file* /\nRUN grep -q fast /file || sleep 3600\n")
    (tmp_path / "app/file").write_text("slow")
    with anyio.move_on_after(0.6):
        await builder.build(request, ignore)
    (tmp_path / "app/file").write_text("fast")
    image = await builder.build(request, ignore)
    assert shown(image, "cat", "/file") == "fast"


async def test_two_builds_at_once_do_not_disturb_each_other(builder: DockerBuilder, make: Make) -> None:
    images: dict[str, str] = {}

    async def build(who: str) -> None:
        images[who] = await builder.build(make("FROM busybox\nARG WHO\nENV WHO=$WHO\n", args={"WHO": who}), ignore)

    async with anyio.create_task_group() as tasks:
        for who in "abcd":
            tasks.start_soon(build, who)
    assert {who: shown(image, "sh", "-c", "echo $WHO").strip() for who, image in images.items()} == {
        "a": "a",
        "b": "b",
        "c": "c",
        "d": "d",
    }


async def test_a_cached_step_is_reported_as_cached(builder: DockerBuilder, make: Make, unique_name: str) -> None:
    request = make(f"FROM busybox\nRUN echo {unique_name}\n")
    await builder.build(request, ignore)
    told: list[BuildProgress] = []
    await builder.build(request, told.append)
    *_, step = [each for each in told if isinstance(each, BuildStep) and "RUN" in each.name]  # it may be told to begin
    assert (step.done, step.cached) == (True, True)


async def test_steps_are_numbered_in_the_order_in_which_they_begin(builder: DockerBuilder, make: Make) -> None:
    told: list[BuildProgress] = []
    await builder.build(make("FROM busybox\nRUN echo 1\nRUN echo 2\n"), told.append)
    numbers = {each.name: each.index for each in told if isinstance(each, BuildStep)}
    assert list(numbers.values()) == list(range(1, len(numbers) + 1))
    assert numbers["[2/3] RUN echo 1"] < numbers["[3/3] RUN echo 2"]


async def test_the_target_is_the_stage_that_is_built(builder: DockerBuilder, make: Make) -> None:
    dockerfile = "FROM busybox AS first\nENV STAGE=first\nFROM first\nENV STAGE=last\n"
    image = await builder.build(make(dockerfile, target="first"), ignore)
    assert shown(image, "sh", "-c", "echo $STAGE") == "first\n"


async def test_a_secret_reaches_the_step_from_a_path_relative_to_the_project(
    builder: DockerBuilder, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("hush")
    monkeypatch.setenv("DEVLOOP_TEST_SECRET", "psst")
    dockerfile = "FROM busybox\nRUN --mount=type=secret,id=a --mount=type=secret,id=b cat /run/secrets/* > /seen\n"
    image = await builder.build(make(dockerfile, secrets=("id=a,src=token", "id=b,env=DEVLOOP_TEST_SECRET")), ignore)
    assert shown(image, "cat", "/seen") == "hushpsst"


@pytest.fixture
def ssh_agent(tmp_path: Path) -> Iterator[Path]:
    socket = tmp_path / "agent.sock"
    try:
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("no ssh-agent here")
    try:
        eventually(socket.exists)
        yield socket
    finally:
        agent.terminate()
        agent.wait()


async def test_an_ssh_agent_is_forwarded(
    builder: DockerBuilder, make: Make, ssh_agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh_agent))
    dockerfile = "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK > /seen\n"
    image = await builder.build(make(dockerfile, ssh=("default",)), ignore)
    assert shown(image, "cat", "/seen").startswith("/run/")


async def test_the_builders_own_platform_can_be_asked_for(builder: DockerBuilder, make: Make) -> None:
    info = await builder.engine.get("/info")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[info["Architecture"]]
    dockerfile = "FROM busybox\nARG TARGETPLATFORM\nENV P=$TARGETPLATFORM\n"
    image = await builder.build(make(dockerfile, platforms=(f"linux/{architecture}",)), ignore)
    assert shown(image, "sh", "-c", "echo $P") == f"linux/{architecture}\n"


async def test_a_cache_that_is_not_there_yet_is_no_error(builder: DockerBuilder, make: Make) -> None:
    assert await builder.build(make("FROM busybox\n", cache_from=("type=local,src=no-such-cache",)), ignore)


async def test_what_the_builder_cannot_do_is_told_in_its_own_words(builder: DockerBuilder, make: Make) -> None:
    request = make("FROM busybox\n", cache_to=("type=no-such-cache",))
    with pytest.raises(ToolError, match=r"the build of `app` failed: .*[Cc]ache export"):
        await builder.build(request, ignore)


async def test_a_directory_can_be_a_named_context(builder: DockerBuilder, make: Make, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/lib").write_text("shared code")
    request = make("FROM busybox\nCOPY --from=shared lib /lib.txt\n", contexts={"shared": str(tmp_path / "shared")})
    assert shown(await builder.build(request, ignore), "cat", "/lib.txt") == "shared code"


async def test_the_dockerfile_may_be_outside_of_its_context(builder: DockerBuilder, make: Make, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context/file").write_text("here")
    request = make("FROM busybox\nCOPY file /file\n", context=str(tmp_path / "context"))
    assert shown(await builder.build(request, ignore), "cat", "/file") == "here"


async def test_an_argument_may_hold_any_character(builder: DockerBuilder, make: Make) -> None:
    value = "a b='c\"$d\n%s,ü"
    image = await builder.build(make("FROM busybox\nARG VALUE\nENV VALUE=$VALUE\n", args={"VALUE": value}), ignore)
    assert shown(image, "sh", "-c", 'printf "%s" "$VALUE"') == value


async def test_pull_does_not_ask_a_registry_for_a_base_that_was_just_built(
    builder: DockerBuilder, make: Make, unique_name: str
) -> None:
    base = await builder.build(make("FROM busybox\n"), ignore)
    await builder.tag(base, ImageRef(path=unique_name, tag="dev-1"))
    contexts = {"base": f"docker-image://{unique_name}:dev-1"}
    assert await builder.build(make("FROM base\n", contexts=contexts, pull=True), ignore)


async def test_a_failing_step_names_the_line_of_the_dockerfile(
    builder: DockerBuilder, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolError) as caught:
        await builder.build(make("FROM busybox\n\nRUN echo why && \\\n    exit 7\n"), ignore)
    assert str(caught.value) == "`[2/2] RUN echo why &&     exit 7` failed with exit code 7 (app/Dockerfile:3)"
    assert caught.value.tail == ("why",)
    assert caught.value.command[:3] == ("docker", "buildx", "build")


async def test_of_steps_in_parallel_the_one_that_failed_is_named(builder: DockerBuilder, make: Make) -> None:
    dockerfile = (
        "FROM busybox AS a\nRUN echo waits; sleep 3600\nFROM busybox AS b\nRUN sleep 0.2; echo boom; exit 9\n"
        "FROM busybox\nCOPY --from=a /bin/sh /a\nCOPY --from=b /bin/sh /b\n"
    )
    with pytest.raises(ToolError, match=r"`\[b 2/2\] RUN .*` failed with exit code 9 \(.*Dockerfile:4\)") as caught:
        await builder.build(make(dockerfile), ignore)
    assert caught.value.tail == ("boom",)


async def test_a_missing_source_is_named(builder: DockerBuilder, make: Make) -> None:
    with pytest.raises(ToolError, match=r'`\[2/2\] COPY nothing /` failed: "/nothing": not found \(.*:2\)') as caught:
        await builder.build(make("FROM busybox\nCOPY nothing /\n"), ignore)
    assert any(">>> COPY nothing /" in line for line in caught.value.tail)


async def test_a_mistake_in_the_dockerfile_is_named_with_its_line(builder: DockerBuilder, make: Make) -> None:
    with pytest.raises(ToolError, match=r"the build of `app` failed: .*unknown instruction: RUNN.*Dockerfile:2\)"):
        await builder.build(make("FROM busybox\nRUNN true\n"), ignore)


async def test_a_missing_dockerfile_is_named(builder: DockerBuilder, make: Make, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"the build of `app` failed: .*Dockerfile\.no"):
        await builder.build(make("", dockerfile=str(tmp_path / "app/Dockerfile.no")), ignore)


async def test_a_huge_output_arrives_whole_and_in_order(builder: DockerBuilder, make: Make) -> None:
    told: list[BuildProgress] = []
    await builder.build(make("FROM busybox\nRUN seq 100000\n", no_cache=True), told.append)
    printed = lines(told, "RUN")
    clipped = [line for line in printed if "output clipped" in line]  # BuildKit's own limit, 200 KiB/s and 2 MiB
    assert printed[:1000] == [str(number) for number in range(1, 1001)]
    assert len(printed) >= 30_000 if clipped else len(printed) == 100_000


async def test_output_of_any_bytes_does_no_harm(builder: DockerBuilder, make: Make) -> None:
    told: list[BuildProgress] = []
    dockerfile = "FROM busybox\nRUN printf '\\377\\000\\033[31mred\\n10%%\\r20%%\\nno newline'\n"
    await builder.build(make(dockerfile, no_cache=True), told.append)
    assert lines(told, "RUN") == ["\ufffd\x00\x1b[31mred", "20%", "no newline"]


async def test_without_an_engine_the_error_says_where_it_was_looked_for(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    async with DockerBuilder() as builder:
        with pytest.raises(UnreachableError, match=rf"the Docker engine at `unix://{tmp_path}/no.sock`") as caught:
            await builder.build(make("FROM busybox\n"), ignore)
        assert caught.value.hint
        with pytest.raises(UnreachableError, match="from DOCKER_HOST"):
            await builder.resolve("busybox")


async def test_the_current_docker_context_is_honoured(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = find_buildx()
    monkeypatch.setattr("devloop.adapters.docker.builder.find_buildx", lambda: plugin)  # it may be in the user's folder
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    output("docker", "context", "create", "elsewhere", f"--docker=host=unix://{tmp_path}/no.sock")
    output("docker", "context", "use", "elsewhere")
    async with DockerBuilder() as builder:
        with pytest.raises(UnreachableError, match="from docker context `elsewhere`"):
            await builder.build(make("FROM busybox\n"), ignore)


async def test_where_the_plugin_is_not_found_docker_finds_it(
    builder: DockerBuilder, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devloop.adapters.docker.builder.find_buildx", lambda: ("docker", "buildx"))
    assert await builder.build(make("FROM busybox\n"), ignore)


async def test_a_buildx_without_json_progress_is_read_in_plain(
    builder: DockerBuilder, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old-buildx"
    old.write_text(
        '#!/bin/sh\n[ "$1" != version ] || { echo "github.com/docker/buildx v0.12.1 30feaa1"; exit; }\n'
        'case "$*" in *rawjson*) echo "ERROR: invalid progress mode rawjson" >&2; exit 1;; esac\n'
        'exec docker buildx "$@"\n'
    )
    old.chmod(0o755)
    monkeypatch.setattr("devloop.adapters.docker.builder.find_buildx", lambda: (str(old),))
    told: list[BuildProgress] = []
    assert await builder.build(make("FROM busybox\nRUN echo one; echo two\n", no_cache=True), told.append)
    assert lines(told, "RUN") == ["one", "two"]
    with pytest.raises(ToolError, match=r"`\[2/2\] RUN echo boom; exit 3` failed with exit code 3 \(.*:2\)") as caught:
        await builder.build(make("FROM busybox\nRUN echo boom; exit 3\n"), ignore)
    assert caught.value.tail == ("boom",)


async def test_a_docker_without_buildx_is_an_error_that_says_what_to_install(
    builder: DockerBuilder, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "docker"
    bare.write_text("#!/bin/sh\necho \"docker: '$1' is not a docker command.\" >&2\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr("devloop.adapters.docker.builder.find_buildx", lambda: (str(bare), "buildx"))
    with pytest.raises(ToolError, match="docker has no buildx") as caught:
        await builder.build(make("FROM busybox\n"), ignore)
    assert "install" in (caught.value.hint or "")


async def test_an_image_that_a_container_uses_survives_pruning(
    builder: DockerBuilder, make: Make, unique_name: str
) -> None:
    image = await builder.build(make('FROM busybox\nCMD ["sleep", "3600"]\n'), ignore)
    await builder.tag(image, ImageRef(path=unique_name, tag="dev-1"))
    container = output("docker", "run", "--detach", f"{unique_name}:dev-1").strip()
    try:
        assert await builder.prune(unique_name, ()) == 0
        assert await builder.resolve(f"{unique_name}:dev-1") == image
    finally:
        output("docker", "rm", "--force", container)
    assert await builder.prune(unique_name, ()) == 1


async def test_nothing_is_left_in_the_temporary_folder(
    builder: DockerBuilder, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    await builder.build(make("FROM busybox\n"), ignore)
    with anyio.move_on_after(0.05):
        await builder.build(make("FROM busybox\nRUN sleep 3600\n"), ignore)
    assert os.listdir(tmp_path / "tmp") == []  # noqa: PTH208 - names


async def test_an_engine_behind_the_docker_cli_answers_as_well(tmp_path: Path, unique_name: str) -> None:
    """As with ssh: `docker system dial-stdio` carries the API. The stand-in takes the way to the local engine."""
    usual = json.loads(output("docker", "context", "inspect"))[0]["Endpoints"]["docker"]["Host"]
    endpoint = Endpoint(host="ssh://far.example.com", origin="a test", environment=(("DOCKER_HOST", usual),))
    async with Engine(endpoint) as engine:
        assert await engine.answers()
        assert await engine.image(f"{unique_name}:none") is None
        found = await engine.image("busybox")
        assert found is not None
    expected = output("docker", "image", "inspect", "busybox", "--format={{.Id}}").strip()
    assert found["Id"] == expected
    eventually(lambda: not processes("dial-stdio"))
