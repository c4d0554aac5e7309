"""What every `Delivery` does: one suite for the fake, the shared engine, the loaders and the registry.

kind, k3d, minikube and docker are stand-ins on the PATH: they write down how they were called, and keep a list of the
images that they were given.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from devloop.adapters.delivery import delivery_for
from devloop.core.delivery import DeliveryPlan, Loader, LoadImages, PushImages, RegistryFacts, SharedEngine
from devloop.core.reference import parse
from devloop.errors import ToolError
from devloop.model import Digest
from devloop.runtime.ports import BuildRequest, Delivery
from tests.fakes.builder import FakeBuilder, FakeDelivery

pytestmark = pytest.mark.anyio

REF = parse("api:dev-0123456789ab")
REGISTRY = RegistryFacts(host="localhost:5001", runtime_host="registry:5000")

STAND_IN = """#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$STANDINS/calls"
[ ! -e "$STANDINS/broken" ] || { echo "cannot $1 this" >&2; exit 4; }
case "$name $*" in
"docker push "*|*" load "*|*" import "*)
    for word; do case $word in *:dev-*) echo "$word" >>"$STANDINS/images"; echo "took $word";; esac; done;;
"docker buildx imagetools inspect --raw "*) grep -qxF "$5" "$STANDINS/images";;
*" exec "*" crictl inspecti --quiet docker.io/library/"*)
    for word; do last=${word#docker.io/library/}; done; grep -qxF "$last" "$STANDINS/images";;
"minikube image ls "*) sed 's#^#docker.io/library/#' "$STANDINS/images";;
*) echo "unexpected: $name $*" >&2; exit 64;;
esac
"""


@dataclass(kw_only=True)
class World:
    """A delivery with its surroundings, as a test sees them."""

    make: Callable[[], Delivery]
    image: Digest
    carries: int
    folder: Path
    told: list[str] = field(default_factory=list)

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def carried(self) -> int:
        return sum(word in call for call in self.calls() for word in (" load ", " import ", " push "))


def load(loader: Loader) -> LoadImages:
    return LoadImages(loader=loader, cluster="dev", nodes=("node-a", "node-b"), reason="a test")


PLANS: dict[str, DeliveryPlan] = {
    "shared": SharedEngine(reason="a test"),
    "kind": load(Loader.KIND),
    "k3d": load(Loader.K3D),
    "minikube": load(Loader.MINIKUBE),
    "registry": PushImages(registry=REGISTRY, reason="a test"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("docker", "kind", "k3d", "minikube"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "images").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STANDINS", str(tmp_path))
    monkeypatch.delenv("KIND_EXPERIMENTAL_PROVIDER", raising=False)
    return tmp_path


@pytest.fixture
async def builder() -> FakeBuilder:
    fake = FakeBuilder(content=lambda request: request.name)
    image = await fake.build(BuildRequest(name="api", context="/api", dockerfile="/api/Dockerfile"), lambda _: None)
    await fake.tag(image, REF)
    return fake


@pytest.fixture(params=["fake", *PLANS])
def world(request: pytest.FixtureRequest, folder: Path, builder: FakeBuilder) -> World:
    image = next(iter(builder.images))
    if request.param == "fake":
        fake = FakeDelivery()
        return World(make=lambda: fake, image=image, carries=0, folder=folder)
    plan = PLANS[request.param]
    carries = 0 if request.param == "shared" else 1
    return World(make=lambda: delivery_for(plan, builder), image=image, carries=carries, folder=folder)


async def test_what_was_delivered_is_there_under_the_reference_that_came_back(world: World) -> None:
    delivery = world.make()
    there = await delivery.deliver(world.image, REF, world.told.append)
    assert there.tag == REF.tag
    assert await delivery.has(world.image, there)
    assert world.carried() == world.carries


async def test_an_image_travels_once(world: World) -> None:
    delivery = world.make()
    first = await delivery.deliver(world.image, REF, world.told.append)
    assert await delivery.deliver(world.image, REF, world.told.append) == first
    assert world.carried() == world.carries


async def test_two_at_once_carry_it_once(world: World) -> None:
    delivery = world.make()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(delivery.deliver, world.image, REF, world.told.append)
    assert world.carried() == world.carries


async def test_a_later_session_sees_that_the_image_is_there(world: World) -> None:
    there = await world.make().deliver(world.image, REF, world.told.append)
    assert await world.make().has(world.image, there)


async def test_what_was_never_delivered_is_not_there(world: World) -> None:
    assert not await world.make().has(Digest("sha256:" + "0" * 64), parse("other:dev-000000000000"))


# --- one by one ---


@pytest.fixture
def image(builder: FakeBuilder) -> Digest:
    return next(iter(builder.images))


def ignore(_: str) -> None:
    pass


async def test_with_a_shared_engine_nothing_runs(folder: Path, builder: FakeBuilder, image: Digest) -> None:
    delivery = delivery_for(PLANS["shared"], builder)
    assert await delivery.deliver(image, REF, ignore) == REF
    assert not (folder / "calls").exists()


async def test_with_a_shared_engine_a_name_that_moved_on_is_not_there(builder: FakeBuilder) -> None:
    assert not await delivery_for(PLANS["shared"], builder).has(Digest("sha256:" + "0" * 64), REF)


@pytest.mark.parametrize(
    ("plan", "command"),
    [
        ("kind", f"kind load docker-image {REF} --name dev"),
        ("k3d", f"k3d image import {REF} --cluster dev"),
        ("minikube", f"minikube image load {REF} --profile dev"),
        ("registry", f"docker push localhost:5001/{REF}"),
    ],
)
async def test_the_products_own_command_is_run_and_its_output_told(
    plan: str, command: str, folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    told: list[str] = []
    await delivery_for(PLANS[plan], builder).deliver(image, REF, told.append)
    assert (folder / "calls").read_text().splitlines() == [command]
    assert [line for line in told if line.startswith("took ")]


async def test_manifests_get_the_name_by_which_nodes_know_the_registry(
    folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    delivery = delivery_for(PLANS["registry"], builder)
    assert str(await delivery.deliver(image, REF, ignore)) == f"registry:5000/{REF}"
    assert builder.tags[f"localhost:5001/{REF}"] == image


async def test_without_a_registry_an_image_goes_where_its_own_name_says(
    folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    ref = parse("ghcr.io/team/api:dev-1")
    await builder.tag(image, ref)
    delivery = delivery_for(PushImages(registry=None, reason="a test"), builder)
    assert await delivery.deliver(image, ref, ignore) == ref
    assert (folder / "calls").read_text() == "docker push ghcr.io/team/api:dev-1\n"


async def test_without_any_registry_the_error_says_what_to_do(
    folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    delivery = delivery_for(PushImages(registry=None, reason="the cluster is far away"), builder)
    with pytest.raises(
        ToolError, match="the cluster is far away, and nothing says from where it could pull `api`"
    ) as e:
        await delivery.deliver(image, REF, ignore)
    assert "project(registry=" in (e.value.hint or "")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("kind", f"loading `{REF}` into the kind cluster `dev` failed"),
        ("registry", f"pushing `localhost:5001/{REF}` failed"),
    ],
)
async def test_a_failure_has_the_commands_last_words_and_is_tried_again(
    plan: str, message: str, folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    delivery = delivery_for(PLANS[plan], builder)
    (folder / "broken").touch()
    with pytest.raises(ToolError) as caught:
        await delivery.deliver(image, REF, ignore)
    assert (str(caught.value), caught.value.exit_code) == (message, 4)
    assert caught.value.tail[-1].startswith("cannot ")
    (folder / "broken").unlink()
    await delivery.deliver(image, REF, ignore)


async def test_a_loader_that_is_not_installed_is_an_error_with_a_hint(
    tmp_path: Path, builder: FakeBuilder, image: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    delivery = delivery_for(PLANS["kind"], builder)
    assert not await delivery.has(image, REF)
    with pytest.raises(ToolError, match="`kind` cannot be started") as caught:
        await delivery.deliver(image, REF, ignore)
    assert "installed" in (caught.value.hint or "")


async def test_kinds_nodes_may_run_in_podman(
    folder: Path, builder: FakeBuilder, image: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "podman").symlink_to(folder / "docker")
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    assert not await delivery_for(PLANS["kind"], builder).has(image, REF)
    assert all(call.startswith("podman exec node-") for call in (folder / "calls").read_text().splitlines())


async def test_commands_are_told_where_the_engine_is(folder: Path, builder: FakeBuilder, image: Digest) -> None:
    (folder / "kind").write_text('#!/bin/sh\necho "$DOCKER_HOST"\n')
    told: list[str] = []
    delivery = delivery_for(PLANS["kind"], builder, {"DOCKER_HOST": "unix:///mine.sock"})
    await delivery.deliver(image, REF, told.append)
    assert told == ["unix:///mine.sock"]


async def test_a_cancelled_load_counts_for_nothing(folder: Path, builder: FakeBuilder, image: Digest) -> None:
    (folder / "kind").write_text("#!/bin/sh\necho begun\nexec sleep 60\n")
    delivery, begun = delivery_for(PLANS["kind"], builder), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delivery.deliver, image, REF, lambda _: begun.set())
        await begun.wait()
        tasks.cancel_scope.cancel()
    assert not await delivery.has(image, REF)
    (folder / "kind").write_text(STAND_IN)
    await delivery.deliver(image, REF, ignore)
    assert await delivery.has(image, REF)
