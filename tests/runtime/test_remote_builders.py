"""Builds by another builder than the engine's own: what it is asked for, and where its images are found."""

from dataclasses import replace

import pytest

from devloop.core.manifest import parse
from devloop.core.plan import Mode
from devloop.events import Noted
from devloop.model import ImageRef, Kind, NodeId
from devloop.runtime.render import with_images
from tests.fakes.session import FakeSession

pytestmark = pytest.mark.anyio

DEVFILE = """
from devloop import Image, image, service

@image("base")
def base_image(): ...

@image("api"OPTIONS)
def api_image(base_image: Image): ...

@service("k8s/api.yaml")
def api(api_image: Image): ...
"""

PROJECT = {
    "devfile.py": DEVFILE.replace("OPTIONS", ""),
    "base/Dockerfile": "FROM scratch\n",
    "api/Dockerfile": "FROM base\n",
    "k8s/api.yaml": "{apiVersion: v1, kind: Pod, metadata: {name: api}, spec: {containers: [{name: a, image: api}]}}",
}


def project(options: str) -> dict[str, str]:
    return {**PROJECT, "devfile.py": DEVFILE.replace("OPTIONS", options)}


async def test_a_builder_with_a_registry_pushes_and_the_engine_carries_nothing() -> None:
    session = FakeSession(PROJECT)
    session.project = replace(session.project, builder="team")
    session.delivery.registry = "registry.example.com"
    async with session.running():
        assert (await session.settled()).ok

        base, api = session.builder.requests
        assert [(each.builder, each.push) for each in (base, api)] == [
            ("team", "registry.example.com/base"),
            ("team", "registry.example.com/api"),
        ]
        assert session.delivery.delivered == []
        assert session.image("api").startswith("registry.example.com/api:dev-")
        assert api.contexts["base"].startswith("docker-image://registry.example.com/base:dev-")


async def test_without_a_registry_its_images_are_loaded_and_carried_like_others() -> None:
    session = FakeSession(PROJECT)
    session.project = replace(session.project, builder="team")
    async with session.running():
        assert (await session.settled()).ok

        assert [(each.builder, each.push) for each in session.builder.requests] == [("team", None), ("team", None)]
        assert [each.path for each in session.delivery.delivered] == ["base", "api"]


async def test_the_engines_own_builder_loads_and_the_engine_pushes() -> None:
    session = FakeSession(PROJECT)
    session.project = replace(session.project, builder="default")
    session.delivery.registry = "registry.example.com"
    async with session.running():
        await session.settled()
        assert [each.push for each in session.builder.requests] == [None, None]


async def test_an_images_own_builder_goes_before_the_projects() -> None:
    session = FakeSession(project(', builder="arm"'))
    session.project = replace(session.project, builder="team")
    async with session.running():
        await session.settled()
        assert {each.name: each.builder for each in session.builder.requests} == {"base": "team", "api": "arm"}


async def test_a_base_that_a_build_argument_names_is_handed_to_the_builder_too() -> None:
    files = project(', builder="team"') | {"api/Dockerfile": "ARG BASE\nFROM $BASE\n"}
    files["devfile.py"] = files["devfile.py"].replace(
        "def api_image(base_image: Image): ...", "def api_image(base_image: Image): return {'BASE': base_image}"
    )
    session = FakeSession(files)
    async with session.running():
        await session.settled()
        (api,) = [each for each in session.builder.requests if each.name == "api"]
        assert api.contexts == {api.args["BASE"]: f"docker-image://{api.args['BASE']}"}


async def test_the_projects_cache_is_read_by_all_and_written_by_builders_of_their_own() -> None:
    session = FakeSession(project(', builder="team"'))
    session.project = replace(session.project, cache=("type=registry,ref=r.example.com/cache/{image}",))
    async with session.running():
        await session.settled()
        base, api = session.builder.requests
        assert (base.cache_from, base.cache_to) == (("type=registry,ref=r.example.com/cache/base",), ())
        assert api.cache_to == ("type=registry,ref=r.example.com/cache/api,mode=max,ignore-error=true",)


async def test_the_platforms_of_the_nodes_are_asked_for_where_they_are_known() -> None:
    session = FakeSession(project(', platforms="nodes"'))
    async with session.running():
        await session.settled()
        assert session.builder.requests[1].platforms == ()
    session = FakeSession(project(', platforms="nodes"'))
    session.delivery.platforms = ("linux/amd64", "linux/arm64")
    async with session.running():
        await session.settled()
        assert session.builder.requests[1].platforms == ("linux/amd64", "linux/arm64")


async def test_a_second_session_builds_nothing_again() -> None:
    session = FakeSession(PROJECT, mode=Mode(kinds=frozenset({Kind.IMAGE, Kind.SERVICE}), once=True))
    session.project = replace(session.project, builder="team")
    session.delivery.registry = "registry.example.com"
    assert await session.run()
    assert await session.run()
    assert len(session.builder.requests) == 2


# --- what the nodes pull ---


@pytest.mark.parametrize(("pulled", "policy"), [(False, "IfNotPresent"), (True, "Always")])
async def test_always_pulling_stays_only_where_there_is_something_to_pull_from(pulled: bool, policy: str) -> None:
    node, text = NodeId(Kind.IMAGE, "api"), PROJECT["k8s/api.yaml"]
    manifests = parse(text.replace("image: api", "image: api, imagePullPolicy: Always"), path="api.yaml")
    built = {node: (ImageRef(path="api"), "api:dev-1")}
    (pod,) = with_images(manifests, built, {node} if pulled else ())
    assert pod.document["spec"]["containers"] == [{"name": "a", "image": "api:dev-1", "imagePullPolicy": policy}]


async def test_a_missing_pull_secret_is_noted_while_the_rollout_begins() -> None:
    manifest = PROJECT["k8s/api.yaml"].replace("spec: {", "spec: {imagePullSecrets: [{name: regcred}], ")
    session = FakeSession({**PROJECT, "k8s/api.yaml": manifest})
    session.delivery.registry = "registry.example.com"
    session.project = replace(session.project, builder="team")
    async with session.running():
        noted = await session.next(Noted)
        assert "the pull secret `regcred`" in noted.message
        assert "kubectl create secret docker-registry regcred" in (noted.hint or "")


async def test_a_build_by_the_engine_does_not_wait_for_what_the_cluster_says() -> None:
    session = FakeSession(PROJECT)
    async with session.running():
        await session.settled()
        assert [each.path for each in session.delivery.asked] == ["api"]  # by the deploy, for its pull policies
