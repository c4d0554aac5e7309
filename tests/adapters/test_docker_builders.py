"""Builders of other drivers, which cannot run here: buildx is a stand-in that records what it is asked for.

It answers `inspect` as buildx does, and a build with the metadata that a push or a load leaves. The engine is real.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from devloop.adapters.docker import DockerBuilder
from devloop.core.reference import parse
from devloop.errors import InputError, ToolError
from devloop.model import Digest
from devloop.runtime.ports import BuildProgress, BuildRequest

pytestmark = pytest.mark.anyio

PUSHED = "sha256:" + "ab" * 32

BUILDX = r"""#!/usr/bin/env python3
import json, pathlib, sys
folder, arguments = pathlib.Path(__file__).parent, sys.argv[1:]
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(arguments) + "\n")
options = dict(each.removeprefix("--").split("=", 1) for each in arguments if each.startswith("--") and "=" in each)
if arguments[0] == "inspect":
    drivers = {"default": "docker", "team": "kubernetes", "own": "docker-container"}
    if arguments[1] not in drivers:
        sys.exit(f'ERROR: no builder "{arguments[1]}" found')
    print(f"Name:          {arguments[1]}\nDriver:        {drivers[arguments[1]]}\n\nNodes:\nName: x\nDriver: no")
elif arguments[0] == "build":
    layouts = [value.split("=", 1)[1] for value in arguments if "oci-layout://" in value]
    for each in layouts:
        path, _, digest = each.partition("oci-layout://")[2].partition("@")
        assert (pathlib.Path(path) / "blobs/sha256" / digest.partition(":")[2]).is_file(), each
    pathlib.Path(options["metadata-file"]).write_text(json.dumps({"containerimage.digest": "PUSHED"}))
elif arguments[0] == "imagetools" and "--prefer-index=false" in arguments and (folder / "old").exists():
    sys.exit("unknown flag: --prefer-index")
elif arguments[0] == "imagetools" and (folder / "refusing").exists():
    sys.exit("ERROR: denied: requested access to the resource is denied")
""".replace("PUSHED", PUSHED)


@pytest.fixture
async def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DockerBuilder]:
    program = tmp_path / "buildx"
    program.write_text(BUILDX)
    program.chmod(0o755)
    monkeypatch.setattr("devloop.adapters.docker.builder.find_buildx", lambda: (str(program),))
    async with DockerBuilder(str(tmp_path)) as found:
        yield found


def calls(folder: Path, command: str) -> list[list[str]]:
    said = [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
    return [each for each in said if each[0] == command]


def request(**more: Any) -> BuildRequest:
    return BuildRequest(name="api", context="/api", dockerfile="/api/Dockerfile", **more)


def ignore(_: BuildProgress) -> None:
    pass


@pytest.mark.parametrize(("name", "apart"), [("default", False), ("team", True), ("own", True)])
async def test_only_the_engines_own_driver_is_not_apart(name: str, apart: bool, builder: DockerBuilder) -> None:
    assert await builder.is_apart(name) is apart


async def test_a_builder_is_asked_about_once(builder: DockerBuilder, tmp_path: Path) -> None:
    for _ in range(3):
        await builder.is_apart("team")
    assert len(calls(tmp_path, "inspect")) == 1


async def test_a_builder_that_is_not_there_is_an_error_that_says_how_to_make_it(builder: DockerBuilder) -> None:
    with pytest.raises(InputError, match="buildx has no builder `taem`") as caught:
        await builder.build(request(builder="taem"), ignore)
    assert "devloop builder create --kubernetes --name taem" in (caught.value.hint or "")


async def test_a_push_goes_by_digest_and_loads_nothing(builder: DockerBuilder, tmp_path: Path) -> None:
    image = await builder.build(request(builder="team", push="r.example.com/api"), ignore)
    (call,) = calls(tmp_path, "build")
    assert image == PUSHED
    assert "--builder=team" in call
    assert "--output=type=image,name=r.example.com/api,push-by-digest=true,name-canonical=true,push=true" in call
    assert "--load" not in call


async def test_what_was_pushed_is_named_afterwards(builder: DockerBuilder, tmp_path: Path) -> None:
    await builder.publish(Digest(PUSHED), parse("r.example.com/api:dev-1"))
    (call,) = calls(tmp_path, "imagetools")
    assert call[-2:] == ["--tag=r.example.com/api:dev-1", f"r.example.com/api@{PUSHED}"]


async def test_an_older_buildx_names_it_as_well_as_it_can(builder: DockerBuilder, tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    await builder.publish(Digest(PUSHED), parse("r.example.com/api:dev-1"))
    assert "--prefer-index=false" not in calls(tmp_path, "imagetools")[-1]


async def test_a_registry_that_refuses_the_name_is_an_error_in_its_words(
    builder: DockerBuilder, tmp_path: Path
) -> None:
    (tmp_path / "refusing").touch()
    with pytest.raises(ToolError, match=r"naming `r.example.com/api:dev-1` failed") as caught:
        await builder.publish(Digest(PUSHED), parse("r.example.com/api:dev-1"))
    assert "denied" in caught.value.tail[-1]


@pytest.mark.docker
async def test_a_base_that_only_the_engine_holds_is_handed_over_as_a_layout_once(
    builder: DockerBuilder, tmp_path: Path
) -> None:
    contexts = {"base": "docker-image://busybox", "far": "docker-image://r.example.com/far:1", "src": "/src"}
    for _ in range(2):
        await builder.build(request(builder="own", push="r.example.com/api", contexts=contexts), ignore)
    first, second = calls(tmp_path, "build")
    (layout,) = [each for each in first if each.startswith("--build-context=base=oci-layout:///")]
    assert layout in second
    assert "--build-context=far=docker-image://r.example.com/far:1" in first
    assert "--build-context=src=/src" in first


@pytest.mark.docker
async def test_layouts_are_gone_with_the_session(
    tmp_path: Path, builder: DockerBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    async with DockerBuilder(str(tmp_path)) as own:
        contexts = {"base": "docker-image://busybox"}
        await own.build(request(builder="own", push="r.example.com/api", contexts=contexts), ignore)
        assert list((tmp_path / "tmp").iterdir())
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.docker
async def test_the_engines_own_builder_needs_no_layout(builder: DockerBuilder, tmp_path: Path) -> None:
    with pytest.raises(ToolError):  # nothing was built: the engine does not hold it
        await builder.build(request(builder="default", contexts={"base": "docker-image://busybox"}), ignore)
    (call,) = calls(tmp_path, "build")
    assert {"--builder=default", "--load", "--build-context=base=docker-image://busybox"} <= {*call}
