"""Which contexts devloop deploys to."""

from typing import Any

import pytest

from devloop.core.cluster.contexts import Context, Contexts, choose, is_local, merge
from devloop.errors import InputError


def contexts(*names: str, current: str | None = None) -> Contexts:
    return merge([{"current-context": current, "contexts": [{"name": name, "context": {}} for name in names]}])


def context(name: str, **cluster: Any) -> Context:
    return Context(name=name, namespace=None, cluster=cluster, user={})


@pytest.mark.parametrize(
    "name",
    [
        "docker-desktop",
        "docker-for-desktop",
        "minikube",
        "kind-dev",
        "k3d-x",
        "rancher-desktop",
        "orbstack",
        "microk8s",
    ],
)
def test_contexts_of_local_products_are_local(name: str) -> None:
    assert is_local(context(name))


@pytest.mark.parametrize("name", ["production", "kind", "gke_minikube", "my-docker-desktop", "colimax", "default", ""])
def test_other_contexts_are_not(name: str) -> None:
    assert not is_local(context(name))


def test_a_minikube_profile_is_known_by_its_cluster() -> None:
    extensions = [{"name": "cluster_info", "extension": {"provider": "minikube.sigs.k8s.io", "version": "v1.33"}}]
    assert is_local(context("my-profile", extensions=extensions))
    assert not is_local(context("my-profile", extensions=[{"name": "cluster_info", "extension": {"provider": "x"}}]))


def test_the_current_context_is_chosen_where_it_is_local() -> None:
    assert choose(contexts("kind-a", "kind-b", current="kind-b")).name == "kind-b"


def test_a_remote_context_is_refused_and_the_ways_out_are_named() -> None:
    with pytest.raises(InputError, match="`prod` is not a local cluster") as error:
        choose(contexts("prod", current="prod"))
    assert error.value.hint == (
        'switch to a local context, pass `--context prod`, or allow it: project(contexts=["prod"])'
    )


@pytest.mark.parametrize("allowed", ["prod-eu", "prod-*"])
def test_a_remote_context_is_taken_where_the_project_allows_it(allowed: str) -> None:
    assert choose(contexts("prod-eu", current="prod-eu"), allowed=[allowed]).name == "prod-eu"


def test_a_remote_context_is_taken_where_the_user_names_it() -> None:
    assert choose(contexts("prod", "minikube", current="minikube"), named="prod").name == "prod"


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match="there is no Kubernetes context `x`") as error:
        choose(contexts("minikube", "prod"), named="x")
    assert error.value.hint == "choose one; known: `minikube`, `prod`"


def test_where_no_context_is_known_the_way_to_one_is_told() -> None:
    with pytest.raises(InputError) as error:
        choose(Contexts(known=(), current=None), named="prod")
    assert error.value.message == "there is no Kubernetes context `prod`"
    assert error.value.hint == "make one in Docker: `devloop cluster start`; or set `KUBECONFIG`"


def test_no_choice_is_told() -> None:
    with pytest.raises(InputError, match="no Kubernetes context is chosen"):
        choose(contexts("minikube"))
    with pytest.raises(InputError, match="no Kubernetes context is known"):
        choose(contexts())


def test_of_several_files_the_first_that_says_a_thing_wins() -> None:
    first = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "users": [{"name": "u", "user": {"token": "1"}}],
    }
    second = {
        "current-context": "b",
        "contexts": [{"name": "a", "context": {}}, {"name": "b", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://x"}}],
        "users": [{"name": "u", "user": {"token": "2"}}],
    }
    merged = merge([first, second, {"contexts": None}])
    assert merged.current == "a"
    assert merged.known == (
        Context(name="a", namespace="n", cluster={"server": "https://x"}, user={"token": "1"}),
        Context(name="b", namespace=None, cluster={"server": "https://x"}, user={}),
    )


def test_a_cluster_that_this_machine_runs_itself_is_local_whatever_its_name() -> None:
    own = {"server": "https://127.0.0.1:6443", "certificate-authority-data": "b3du"}
    config = {
        "clusters": [{"name": "default", "cluster": own}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
    }
    assert is_local(merge([config], here=["b3du"]).known[0])
    assert not is_local(merge([config], here=["b3RoZXI="]).known[0])
    assert not is_local(merge([config]).known[0])


def test_the_cluster_that_devloop_makes_is_local() -> None:
    assert is_local(Context(name="devloop", namespace=None, cluster={}, user={}))


def test_without_any_context_the_error_says_how_to_get_a_cluster() -> None:
    with pytest.raises(InputError) as caught:
        choose(Contexts(current=None, known=()))
    assert "devloop cluster start" in (caught.value.hint or "")
