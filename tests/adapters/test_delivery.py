"""What every `Delivery` does: one suite for the fake, the shared engine, the loaders and the registry.

docker and the tools of local clusters are stand-ins on the PATH (`image_tools.py`).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest

from devloop.adapters.delivery import delivery_for
from devloop.core.delivery.plans import DeliveryPlan, Loader, LoadImages, PushImages, RegistryFacts, SharedEngine
from devloop.core.reference import parse
from devloop.errors import ToolError
from devloop.model import Digest, ImageRef
from devloop.runtime.ports import BuildRequest, Delivery
from tests.adapters.image_tools import brought, install
from tests.fakes.builder import FakeBuilder, FakeDelivery

pytestmark = pytest.mark.anyio

REF = parse("api:dev-0123456789ab")
REGISTRY = RegistryFacts(host="localhost:5001", runtime_host="registry:5000")


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
        return sum(" images import" in call or call.endswith(" load") or self._by_name(call) for call in self.calls())

    def _by_name(self, call: str) -> bool:
        return any(word in call for word in (" load --daemon ", " push ", "load docker-image", "image import "))


def load(loader: Loader, *nodes: str) -> LoadImages:
    return LoadImages(loader=loader, cluster="dev", nodes=nodes or ("node-a", "node-b"), reason="a test")


PLANS: dict[str, DeliveryPlan] = {
    "shared": SharedEngine(reason="a test"),
    "kind": load(Loader.KIND),
    "k3d": load(Loader.K3D),
    "minikube": load(Loader.MINIKUBE),
    "devloop": load(Loader.DEVLOOP, "node-a"),
    "k3s": load(Loader.K3S, "node-a"),
    "microk8s": load(Loader.MICROK8S, "node-a"),
    "rancher desktop": load(Loader.RANCHER_DESKTOP, "node-a"),
    "colima": load(Loader.COLIMA, "node-a"),
    "registry": PushImages(registry=REGISTRY, reason="a test"),
}
ALL_NODES = ("kind", "k3d")
"""Those that are sent to each node by itself."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path, "node-a", "node-b")
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
    carries = 0 if request.param == "shared" else 2 if request.param in ALL_NODES else 1
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
        ("devloop", "docker exec --interactive node-a ctr --namespace=k8s.io images import -"),
        ("kind", "docker exec --interactive node-b ctr --namespace=k8s.io images import -"),
        ("k3s", "k3s ctr --namespace=k8s.io images import -"),
        ("microk8s", "microk8s ctr --namespace=k8s.io images import -"),
        ("minikube", f"minikube image load --daemon {REF} --profile dev"),
        ("rancher desktop", "nerdctl --namespace=k8s.io load"),
        ("colima", "colima nerdctl --profile dev -- --namespace=k8s.io load"),
        ("registry", f"docker push localhost:5001/{REF}"),
    ],
)
async def test_the_products_own_command_is_run_and_its_output_told(
    plan: str, command: str, folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    told: list[str] = []
    await delivery_for(PLANS[plan], builder).deliver(image, REF, told.append)
    assert command in (folder / "calls").read_text().splitlines()
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
        ("kind", f"saving `{REF}` failed"),
        ("minikube", f"loading `{REF}` into the minikube cluster `dev` failed"),
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
    delivery = delivery_for(PLANS["minikube"], builder)
    assert not await delivery.has(image, REF)
    with pytest.raises(ToolError, match="`minikube` cannot be started") as caught:
        await delivery.deliver(image, REF, ignore)
    assert "installed" in (caught.value.hint or "")


async def test_kinds_nodes_may_run_in_podman(
    folder: Path, builder: FakeBuilder, image: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    assert not await delivery_for(PLANS["kind"], builder).has(image, REF)
    assert all(call.startswith("podman exec ") for call in (folder / "calls").read_text().splitlines())


async def test_commands_are_told_where_the_engine_is(folder: Path, builder: FakeBuilder, image: Digest) -> None:
    (folder / "minikube").write_text('#!/bin/sh\ncase $* in ssh*) exit 1;; esac\necho "$DOCKER_HOST"\n')
    told: list[str] = []
    delivery = delivery_for(PLANS["minikube"], builder, {"DOCKER_HOST": "unix:///mine.sock"})
    await delivery.deliver(image, REF, told.append)
    assert told == ["unix:///mine.sock"]


async def test_a_cancelled_load_counts_for_nothing(folder: Path, builder: FakeBuilder, image: Digest) -> None:
    real = (folder / "minikube").read_text()
    (folder / "minikube").write_text("#!/bin/sh\ncase $* in ssh*) exit 1;; esac\necho begun\nexec sleep 60\n")
    delivery, begun = delivery_for(PLANS["minikube"], builder), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delivery.deliver, image, REF, lambda _: begun.set())
        await begun.wait()
        tasks.cancel_scope.cancel()
    assert not await delivery.has(image, REF)
    (folder / "minikube").write_text(real)
    await delivery.deliver(image, REF, ignore)
    assert await delivery.has(image, REF)


# --- into nodes ---


OTHER = parse("api:dev-ba9876543210")


@pytest.mark.parametrize("plan", ["kind", "k3d", "devloop", "k3s", "microk8s"])
async def test_of_the_next_image_only_the_new_layer_travels(
    plan: str, folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    told: list[str] = []
    delivery = delivery_for(PLANS[plan], builder)
    await delivery.deliver(image, REF, told.append)
    await delivery.deliver(image, OTHER, told.append)
    assert brought(folder, "node-a") == [3, 2]  # two layers and a manifest, then one layer less
    assert any(line.endswith("(2 of 2 layers)") for line in told)
    assert any(line.endswith("(1 of 2 layers)") for line in told)


async def test_a_node_that_joined_later_gets_what_the_others_have_and_they_get_nothing(
    folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    await delivery_for(load(Loader.KIND, "node-a"), builder).deliver(image, REF, ignore)
    later = delivery_for(load(Loader.KIND, "node-a", "node-b"), builder)
    assert not await later.has(image, REF)
    await later.deliver(image, REF, ignore)
    assert (brought(folder, "node-a"), brought(folder, "node-b")) == ([3], [3])
    assert await delivery_for(load(Loader.KIND, "node-a", "node-b"), builder).has(image, REF)


async def test_many_images_are_asked_for_by_one_or_two_questions_a_node(
    folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    delivery, there = delivery_for(PLANS["kind"], builder), []
    await delivery_for(PLANS["kind"], builder).deliver(image, REF, ignore)
    (folder / "calls").unlink()

    async def ask(ref: ImageRef) -> None:
        there.append((ref, await delivery.has(image, ref)))

    refs = [REF, *(parse(f"api:dev-{number}") for number in range(20))]
    async with anyio.create_task_group() as tasks:
        for ref in refs:
            tasks.start_soon(ask, ref)
    assert sorted(str(ref) for ref, held in there if held) == [str(REF)]
    assert len((folder / "calls").read_text().splitlines()) <= 4


async def test_of_minikubes_nodes_each_must_hold_it(folder: Path, builder: FakeBuilder, image: Digest) -> None:
    (folder / "nodes/node-a/images").write_text(f"docker.io/library/{REF}\n")
    assert not await delivery_for(PLANS["minikube"], builder).has(image, REF)
    assert await delivery_for(load(Loader.MINIKUBE, "node-a"), builder).has(image, REF)


@pytest.mark.parametrize("runtime", ["docker", "containerd"])
async def test_minikubes_nodes_that_are_containers_get_it_without_minikube(
    runtime: str, folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    (folder / "containers").touch()
    plan = replace(load(Loader.MINIKUBE), runtime=runtime)
    delivery = delivery_for(plan, builder)
    await delivery.deliver(image, REF, ignore)
    await delivery.deliver(image, OTHER, ignore)
    assert (brought(folder, "node-a"), brought(folder, "node-b")) == ([3, 2], [3, 2])
    assert await delivery_for(plan, builder).has(image, REF)
    assert "minikube image" not in (folder / "calls").read_text()


async def test_minikubes_nodes_that_are_machines_get_it_by_minikube(
    folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    await delivery_for(replace(load(Loader.MINIKUBE), runtime="docker"), builder).deliver(image, REF, ignore)
    assert f"minikube image load --daemon {REF} --profile dev" in (folder / "calls").read_text()


async def test_several_nodes_of_microk8s_get_it_at_once(folder: Path, builder: FakeBuilder, image: Digest) -> None:
    plan = load(Loader.MICROK8S)
    await delivery_for(plan, builder).deliver(image, REF, ignore)
    assert (brought(folder, "node-a"), brought(folder, "node-b")) == ([3], [3])
    assert not await delivery_for(plan, builder).has(image, REF)
    reported = replace(plan, reported=frozenset({f"docker.io/library/{REF}"}))
    assert await delivery_for(reported, builder).has(image, REF)


async def test_an_import_that_misses_a_layer_after_all_is_done_again_with_the_whole(
    folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    delivery = delivery_for(PLANS["devloop"], builder)
    await delivery.deliver(image, REF, ignore)
    lying = (folder / "docker").read_text().replace('print("\\n".join(held(node, "blobs")))', "forget(node)")
    lying = lying.replace("def all_nodes", FORGET)
    (folder / "docker").write_text(lying)
    await delivery.deliver(image, OTHER, ignore)
    assert brought(folder, "node-a") == [3, 3]
    assert "docker exec --interactive node-a ctr --namespace=k8s.io images import --all-platforms -" in (
        (folder / "calls").read_text()
    )


FORGET = '''def forget(node):
    """Say what is held, and collect it before it is used, as containerd may."""
    print("\\n".join(held(node, "blobs")))
    open(file_of(node, "blobs"), "w").close()


def all_nodes'''


async def test_where_its_nodes_may_not_be_listed_the_products_tool_is_asked_to_load(
    folder: Path, builder: FakeBuilder, image: Digest
) -> None:
    plan = LoadImages(loader=Loader.KIND, cluster="dev", nodes=(), reason="a test")
    await delivery_for(plan, builder).deliver(image, REF, ignore)
    assert (folder / "calls").read_text() == f"kind load docker-image {REF} --name dev\n"
