"""The commands that put images into nodes: by each product's real ones."""

from dataclasses import replace

import pytest

from devloop.core.delivery.loading import Store, containers_of, stores
from devloop.core.delivery.plans import Loader, LoadImages
from devloop.core.reference import parse

REF = parse("api:dev-1")
NAME = "docker.io/library/api:dev-1"


def plan(loader: Loader, *nodes: str, cluster: str = "dev", reported: frozenset[str] = frozenset()) -> LoadImages:
    return LoadImages(loader=loader, cluster=cluster, nodes=nodes, reason="", reported=reported)


def only(found: tuple[Store, ...]) -> Store:
    (store,) = found
    return store


@pytest.mark.parametrize("loader", [Loader.KIND, Loader.K3D, Loader.DEVLOOP])
def test_nodes_that_are_containers_are_given_the_archive_one_by_one(loader: Loader) -> None:
    one, two = stores(plan(loader, "a", "b"), REF)
    assert (one.name, two.name) == ("node `a`", "node `b`")
    assert " ".join(one.takes) == "docker exec --interactive a ctr --namespace=k8s.io images import -"
    assert [" ".join(each) for each in two.asks] == [
        "docker exec --interactive b ctr --namespace=k8s.io images list --quiet"
    ]
    assert " ".join(one.blobs or ()) == "docker exec --interactive a ctr --namespace=k8s.io content list --quiet"
    assert one.archive


def test_kinds_nodes_may_run_in_another_program() -> None:
    assert only(stores(plan(Loader.KIND, "a"), REF, containers="podman")).takes[:2] == ("podman", "exec")


@pytest.mark.parametrize(
    ("loader", "command"),
    [
        (Loader.KIND, "kind load docker-image api:dev-1 --name dev"),
        (Loader.K3D, "k3d image import api:dev-1 --cluster dev"),
    ],
)
def test_where_nodes_may_not_be_listed_the_products_tool_finds_them(loader: Loader, command: str) -> None:
    store = only(stores(plan(loader), REF))
    assert (" ".join(store.takes), store.archive, store.asks) == (command, False, ())


def test_ones_own_cluster_has_one_node_that_is_known() -> None:
    store = only(stores(plan(Loader.DEVLOOP, cluster="devloop-cluster"), REF))
    assert store.takes[:4] == ("docker", "exec", "--interactive", "devloop-cluster")


@pytest.mark.parametrize(("root", "program"), [(True, "k3s ctr"), (False, "sudo --non-interactive k3s ctr")])
def test_k3s_obeys_root_alone(root: bool, program: str) -> None:
    store = only(stores(plan(Loader.K3S, "box", cluster="box"), REF, privileged=root))
    assert " ".join(store.takes) == f"{program} --namespace=k8s.io images import -"


def test_microk8s_has_its_own_ctr() -> None:
    store = only(stores(plan(Loader.MICROK8S, "box"), REF))
    assert " ".join(store.takes) == "microk8s ctr --namespace=k8s.io images import -"


def test_several_nodes_of_microk8s_are_filled_by_one_import_and_asked_what_they_report() -> None:
    store = only(stores(plan(Loader.MICROK8S, "a", "b"), REF))
    assert (" ".join(store.takes), store.asks, store.held) == ("microk8s images import", (), False)
    assert only(stores(plan(Loader.MICROK8S, "a", "b", reported=frozenset({NAME})), REF)).held


def test_minikube_loads_into_all_nodes_and_each_is_asked() -> None:
    store = only(stores(plan(Loader.MINIKUBE, "dev", "dev-m02"), REF))
    assert " ".join(store.takes) == "minikube image load --daemon api:dev-1 --profile dev"
    assert [" ".join(each) for each in store.asks] == [
        f"minikube ssh --profile dev --node {node} -- sudo crictl images --output=json" for node in ("dev", "dev-m02")
    ]


def test_minikubes_nodes_that_are_containers_are_reached_as_such() -> None:
    engines = replace(plan(Loader.MINIKUBE, "dev", "dev-m02"), runtime="docker")
    one, two = stores(engines, REF, inside=True)
    assert " ".join(one.takes) == "docker exec --interactive dev docker load"
    assert " ".join(two.asks[0]).startswith("docker exec --interactive dev-m02 docker image list --format=")
    assert (one.image, one.archive) == ("api:dev-1", True)
    one, _ = stores(replace(engines, runtime="containerd"), REF, inside=True)
    assert " ".join(one.takes) == "docker exec --interactive dev ctr --namespace=k8s.io images import -"


def test_whether_they_are_is_asked_of_their_labels() -> None:
    asked = containers_of(replace(plan(Loader.MINIKUBE, "dev"), runtime="docker"))
    assert asked is not None
    assert asked[3:] == ('--format={{index .Config.Labels "name.minikube.sigs.k8s.io"}}', "dev")
    assert containers_of(replace(plan(Loader.MINIKUBE, "dev"), runtime="cri-o")) is None
    assert containers_of(replace(plan(Loader.KIND, "dev"), runtime="containerd")) is None


def test_minikube_lists_its_images_where_its_nodes_are_not_known() -> None:
    store = only(stores(plan(Loader.MINIKUBE), REF))
    assert (store.asks, store.named) == ((("minikube", "image", "ls", "--profile", "dev"),), True)


@pytest.mark.parametrize(
    ("loader", "program"),
    [(Loader.RANCHER_DESKTOP, "nerdctl"), (Loader.COLIMA, "colima nerdctl --profile work --")],
)
def test_containerd_in_a_products_machine_is_reached_by_nerdctl(loader: Loader, program: str) -> None:
    store = only(stores(plan(loader, "vm", cluster="work"), REF))
    assert " ".join(store.takes) == f"{program} --namespace=k8s.io load"
    assert [" ".join(each) for each in store.asks] == [
        f"{program} --namespace=k8s.io image inspect --format={{{{.Id}}}} {NAME}"
    ]
