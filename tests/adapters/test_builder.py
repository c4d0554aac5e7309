"""What every `Builder` does: one suite for the fake and for the real engine."""

import shlex
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from devloop.adapters.docker import DockerBuilder
from devloop.adapters.docker.buildx import find_buildx
from devloop.errors import ToolError
from devloop.model import Digest, ImageRef
from devloop.runtime.ports import Builder, BuildLog, BuildProgress, BuildRequest, BuildStep, ImageConfig
from tests.fakes.builder import FakeBuilder
from tests.outside import output

pytestmark = pytest.mark.anyio

Make = Callable[..., BuildRequest]


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
async def builder(request: pytest.FixtureRequest, unique_name: str) -> AsyncIterator[Builder]:
    if request.param == "fake":
        yield FakeBuilder()
        return
    async with DockerBuilder() as real:
        yield real
    await anyio.to_thread.run_sync(remove_images, unique_name)


def remove_images(label: str) -> None:
    if images := output("docker", "image", "ls", "--quiet", "--no-trunc", f"--filter=label=devloop.test={label}"):
        output("docker", "image", "rm", "--force", *sorted(set(images.split())))


@pytest.fixture
def make(tmp_path: Path, unique_name: str) -> Make:
    """Return a function that writes a Dockerfile and makes the request to build it."""

    def build_request(dockerfile: str, *, name: str = "app", **more: Any) -> BuildRequest:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(dockerfile)
        return BuildRequest(
            name=name,
            context=str(folder),
            dockerfile=str(folder / "Dockerfile"),
            labels={"devloop.test": unique_name},
            **more,
        )

    return build_request


def ignore(_: BuildProgress) -> None:
    pass


COPIES = 'FROM busybox\nCOPY file /file\nCMD ["cat", "/file"]\n'


async def test_the_result_is_an_image_that_the_engine_knows_by_its_id(builder: Builder, make: Make) -> None:
    image = await builder.build(make("FROM busybox\n"), ignore)
    assert image.startswith("sha256:")
    assert await builder.resolve(image) == image


async def test_building_the_same_again_gives_the_same_image(builder: Builder, make: Make, tmp_path: Path) -> None:
    request = make("FROM busybox\nCOPY file /file\nRUN echo built\n")
    (tmp_path / "app/file").write_text("1")
    assert await builder.build(request, ignore) == await builder.build(request, ignore)


async def test_a_comment_in_the_dockerfile_changes_nothing(builder: Builder, make: Make) -> None:
    first = await builder.build(make("FROM busybox\nRUN echo built\n"), ignore)
    assert await builder.build(make("# why\nFROM busybox\nRUN echo built\n"), ignore) == first


async def test_another_content_of_a_copied_file_gives_another_image(
    builder: Builder, make: Make, tmp_path: Path
) -> None:
    request = make(COPIES)
    (tmp_path / "app/file").write_text("1")
    first = await builder.build(request, ignore)
    (tmp_path / "app/file").write_text("2")
    second = await builder.build(request, ignore)
    (tmp_path / "app/file").write_text("1")
    assert first != second
    assert await builder.build(request, ignore) == first


async def test_another_build_argument_gives_another_image(builder: Builder, make: Make) -> None:
    dockerfile = "FROM busybox\nARG WHO\nENV WHO=$WHO\n"
    images = {await builder.build(make(dockerfile, args={"WHO": who}), ignore) for who in ("a", "b", "a")}
    assert len(images) == 2


async def test_an_image_has_the_names_it_was_given(builder: Builder, make: Make, unique_name: str) -> None:
    image = await builder.build(make("FROM busybox\n"), ignore)
    await builder.tag(image, ImageRef(path=unique_name, tag="dev-1"))
    await builder.tag(image, ImageRef(domain="registry.example.com:5000", path=f"team/{unique_name}", tag="dev-1"))
    assert await builder.resolve(f"{unique_name}:dev-1") == image
    assert await builder.resolve(f"registry.example.com:5000/team/{unique_name}:dev-1") == image


async def test_a_name_can_move_to_another_image(builder: Builder, make: Make, unique_name: str) -> None:
    first = await builder.build(make("FROM busybox\nENV N=1\n"), ignore)
    second = await builder.build(make("FROM busybox\nENV N=2\n"), ignore)
    ref = ImageRef(path=unique_name, tag="dev")
    await builder.tag(first, ref)
    await builder.tag(second, ref)
    assert await builder.resolve(str(ref)) == second


async def test_what_the_engine_does_not_hold_resolves_to_none(builder: Builder, unique_name: str) -> None:
    assert await builder.resolve(f"{unique_name}:no-such-tag") is None
    assert await builder.resolve("sha256:" + "0" * 64) is None


async def test_an_image_that_is_not_there_cannot_be_named(builder: Builder, unique_name: str) -> None:
    with pytest.raises(ToolError):
        await builder.tag(Digest("sha256:" + "0" * 64), ImageRef(path=unique_name, tag="dev-1"))


async def test_the_configuration_says_what_the_image_runs(builder: Builder, make: Make) -> None:
    dockerfile = 'FROM busybox\nWORKDIR /srv\nUSER 1000\nENTRYPOINT ["tini", "--"]\nCMD ["serve", "-v"]\n'
    assert await builder.configuration(await builder.build(make(dockerfile), ignore)) == ImageConfig(
        entrypoint=("tini", "--"), command=("serve", "-v"), workdir="/srv", user="1000"
    )


async def test_it_is_known_whether_an_image_has_a_shell(builder: Builder, make: Make) -> None:
    bare = await builder.build(make('FROM scratch\nCMD ["/serve"]\n'), ignore)
    for dockerfile in ("FROM busybox\n", 'FROM busybox\nCMD ["serve"]\n'):
        assert await builder.has_shell(await builder.build(make(dockerfile), ignore))
    assert not await builder.has_shell(bare)
    assert not await builder.has_shell(bare)


async def test_a_failing_step_is_a_tool_error_with_the_steps_name_code_and_output(builder: Builder, make: Make) -> None:
    with pytest.raises(ToolError, match=r"RUN echo one; echo two; exit 3` failed with exit code 3") as caught:
        await builder.build(make("FROM busybox\nRUN echo one; echo two; exit 3\n"), ignore)
    assert caught.value.exit_code == 3
    assert caught.value.tail == ("one", "two")


async def test_steps_and_their_output_are_reported(builder: Builder, make: Make, unique_name: str) -> None:
    told: list[BuildProgress] = []
    await builder.build(make(f"FROM busybox\nRUN echo {unique_name}; echo second\n"), told.append)
    steps = [each for each in told if isinstance(each, BuildStep) and "RUN" in each.name]
    assert [step.done for step in steps] == [False, True]
    assert steps[0].index == steps[1].index > 0
    assert steps[1].seconds is not None
    assert steps[1].error is None
    lines = [each.line for each in told if isinstance(each, BuildLog) and each.step == steps[0].name]
    assert lines == [unique_name, "second"]


async def test_a_failing_step_is_reported_as_such(builder: Builder, make: Make) -> None:
    told: list[BuildProgress] = []
    with pytest.raises(ToolError):
        await builder.build(make("FROM busybox\nRUN exit 3\n"), told.append)
    assert [each.error is not None for each in told if isinstance(each, BuildStep) and "RUN" in each.name] == [
        False,
        True,
    ]


async def test_a_cancelled_build_does_not_wait_for_its_step(builder: Builder, make: Make) -> None:
    begun = anyio.Event()

    def report(told: BuildProgress) -> None:
        if isinstance(told, BuildLog):
            begun.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(builder.build, make("FROM busybox\nRUN echo begun; sleep 3600\n", no_cache=True), report)
        await begun.wait()
        tasks.cancel_scope.cancel()  # waited for, the step would take more time than the test has


async def test_an_image_is_built_on_one_that_was_just_built(
    builder: Builder, make: Make, tmp_path: Path, unique_name: str
) -> None:
    derived, images = make("FROM base\nRUN echo built\n", name="derived"), set[Digest]()
    for number in ("1", "2", "1"):
        base = await builder.build(make(f"FROM busybox\nENV NUMBER={number}\n", name="base"), ignore)
        ref = ImageRef(path=unique_name, tag=f"dev-{base.removeprefix('sha256:')[:12]}")
        await builder.tag(base, ref)
        on_base = BuildRequest(
            name="derived",
            context=derived.context,
            dockerfile=derived.dockerfile,
            labels=derived.labels,
            contexts={"base": f"docker-image://{ref}"},
        )
        images.add(await builder.build(on_base, ignore))
    assert len(images) == 2


@pytest.mark.docker
async def test_a_step_whose_layer_the_cache_has_lost_is_run_again(
    make: Make, tmp_path: Path, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "buildx"
    program.write_text(
        f"""#!/bin/sh
case " $* " in
  *" --no-cache "*) ;;
  *" --metadata-file="*) echo 'ERROR: failed to solve: layer does not exist' >&2; exit 1 ;;
esac
exec {shlex.join(find_buildx())} "$@"
"""
    )
    program.chmod(0o755)
    monkeypatch.setattr("devloop.adapters.docker.builder.find_buildx", lambda: (str(program),))
    told: list[BuildProgress] = []
    async with DockerBuilder() as builder:
        image = await builder.build(make("FROM busybox\nENV N=1\n"), told.append)
        assert await builder.resolve(image) == image
    assert any(isinstance(each, BuildLog) and "has lost a layer" in each.line for each in told)
    await anyio.to_thread.run_sync(remove_images, unique_name)


async def test_pruning_removes_devloops_tags_but_those_to_keep(builder: Builder, make: Make, unique_name: str) -> None:
    first = await builder.build(make("FROM busybox\nENV N=1\n"), ignore)
    second = await builder.build(make("FROM busybox\nENV N=2\n"), ignore)
    for image, tag in ((first, "dev-1"), (second, "dev-2"), (second, "release")):
        await builder.tag(image, ImageRef(path=unique_name, tag=tag))
    await builder.tag(second, ImageRef(path=f"{unique_name}-other", tag="dev-2"))
    assert await builder.prune(unique_name, {first}) == 1
    names = [f"{unique_name}:dev-1", f"{unique_name}:dev-2", f"{unique_name}:release", f"{unique_name}-other:dev-2"]
    assert [await builder.resolve(name) for name in names] == [first, None, second, second]


async def test_pruning_where_there_is_nothing_removes_nothing(builder: Builder, unique_name: str) -> None:
    assert await builder.prune(unique_name, ()) == 0


async def test_the_engines_own_builder_is_not_apart_from_it(builder: Builder) -> None:
    assert not await builder.is_apart("default")


async def test_a_builder_that_is_named_builds(builder: Builder, make: Make) -> None:
    image = await builder.build(make("FROM busybox\n", builder="default"), ignore)
    assert await builder.resolve(image) == image
