"""How images get to a cluster: facts in, plan and commands out."""

from dataclasses import replace

import pytest

from devloop.core.delivery.plans import (
    EngineFacts,
    Loader,
    LoadImages,
    NodeFacts,
    PushImages,
    RegistryFacts,
    SharedEngine,
    announced_registry,
    choose,
    named_registry,
    node_facts,
    platforms_of,
    pulled_from,
    pushed_by_builders,
    pushed_to,
    seen_from_here,
)
from devloop.core.reference import parse

LAPTOP = EngineFacts(name="laptop", system="Ubuntu 24.04")
ANNOUNCED = RegistryFacts(host="localhost:5001")
NAMED = named_registry("registry.example.com/team")
KIND_NODE = NodeFacts(
    name="dev-control-plane", runtime="containerd://1.7.1", provider="kind://docker/dev/dev-control-plane"
)
MINIKUBE_NODE = NodeFacts(name="work", runtime="docker://27.0.0", labels={"minikube.k8s.io/name": "work"})


def node(name: str = "node", runtime: str = "containerd://1.7.1", *addresses: str) -> NodeFacts:
    return NodeFacts(name=name, runtime=runtime, addresses=frozenset(addresses))


# --- the engine is the cluster's ---


def test_nodes_that_run_docker_under_the_engines_name_share_it() -> None:
    engine = EngineFacts(name="docker-desktop", system="Docker Desktop")
    plan = choose("docker-desktop", [node("docker-desktop", "docker://27.0.0")], engine, None)
    assert plan == SharedEngine(reason="the cluster runs its containers in the engine `docker-desktop`")


def test_nodes_that_run_docker_on_the_engines_machine_share_it() -> None:
    engine = EngineFacts(name="vm", addresses=frozenset({"172.17.0.1"}))
    assert isinstance(
        choose("any", [node("devloop-node", "docker://26.1.5", "172.17.0.1")], engine, None), SharedEngine
    )


def test_the_engine_inside_minikube_is_shared_when_docker_env_points_to_it() -> None:
    assert isinstance(choose("work", [MINIKUBE_NODE], EngineFacts(name="work"), None), SharedEngine)


def test_a_containerd_node_on_the_same_machine_does_not_share_the_engine() -> None:
    engine = EngineFacts(name="laptop", addresses=frozenset({"10.0.0.1"}))
    assert not isinstance(choose("default", [node("laptop", "containerd://1", "10.0.0.1")], engine, None), SharedEngine)


def test_all_nodes_must_share_it() -> None:
    nodes = [node("work", "docker://27.0.0"), node("work-m02", "docker://27.0.0")]
    assert not isinstance(choose("work", nodes, EngineFacts(name="work"), None), SharedEngine)


@pytest.mark.parametrize(
    ("context", "engine"),
    [
        ("docker-desktop", EngineFacts(name="docker-desktop", system="Docker Desktop")),
        ("orbstack", EngineFacts(name="orbstack", system="OrbStack")),
        ("rancher-desktop", EngineFacts(name="lima-rancher-desktop", system="Alpine Linux v3.20")),
        ("rancher-desktop", EngineFacts(name="DESKTOP", system="Rancher Desktop WSL Distribution")),
        ("colima", EngineFacts(name="colima", system="Ubuntu 24.04")),
        ("colima-work", EngineFacts(name="colima-work", system="Ubuntu 24.04")),
    ],
)
def test_products_whose_cluster_uses_their_engine_share_it_whatever_the_nodes_runtime(
    context: str, engine: EngineFacts
) -> None:
    assert isinstance(choose(context, [KIND_NODE], engine, None), SharedEngine)


def test_the_engine_of_another_product_is_not_shared() -> None:
    plan = choose("docker-desktop", [node("docker-desktop", "docker://27")], EngineFacts(name="colima"), None)
    assert plan == PushImages(
        registry=None, reason="the cluster of `docker-desktop` does not use the engine that builds"
    )


def test_where_nodes_may_not_be_listed_the_products_usual_way_is_taken() -> None:
    assert isinstance(choose("docker-desktop", [], LAPTOP, None), SharedEngine)
    assert isinstance(choose("kind-dev", [], LAPTOP, None), LoadImages)


def test_a_shared_engine_needs_no_registry_even_when_one_is_named() -> None:
    engine = EngineFacts(name="docker-desktop", system="Docker Desktop")
    assert isinstance(choose("docker-desktop", [], engine, NAMED), SharedEngine)


# --- loaders and registries ---

K3S = NodeFacts(
    name="box", runtime="containerd://1.7.1-k3s1", provider="k3s://box", addresses=frozenset({"192.168.1.5"})
)
OWN = NodeFacts(name="devloop-cluster", runtime="containerd://1.7.1-k3s1", provider="k3s://devloop-cluster")
MICROK8S = NodeFacts(name="box", runtime="containerd://1.6.2", labels={"microk8s.io/cluster": "true"})


@pytest.mark.parametrize(
    ("context", "nodes", "loader", "cluster"),
    [
        ("kind-dev", [KIND_NODE], Loader.KIND, "dev"),
        ("renamed", [KIND_NODE], Loader.KIND, "dev"),
        ("kind-other", [], Loader.KIND, "other"),
        ("k3d-dev", [node("k3d-dev-server-0")], Loader.K3D, "dev"),
        ("minikube", [], Loader.MINIKUBE, "minikube"),
        ("work", [MINIKUBE_NODE], Loader.MINIKUBE, "work"),
        ("renamed", [node("k3d-my-dev-server-0"), node("k3d-my-dev-agent-12")], Loader.K3D, "my-dev"),
        ("devloop", [OWN], Loader.DEVLOOP, "devloop-cluster"),
        ("devloop", [], Loader.DEVLOOP, "devloop-cluster"),
        ("microk8s", [node("box")], Loader.MICROK8S, "microk8s"),
        ("renamed", [MICROK8S, MICROK8S], Loader.MICROK8S, "microk8s"),
        ("rancher-desktop", [node("lima-rancher-desktop")], Loader.RANCHER_DESKTOP, "rancher-desktop"),
        ("colima", [node("colima")], Loader.COLIMA, "default"),
        ("colima-work", [node("colima-work")], Loader.COLIMA, "work"),
    ],
)
def test_a_products_own_loader_is_used(context: str, nodes: list[NodeFacts], loader: Loader, cluster: str) -> None:
    plan = choose(context, nodes, LAPTOP, None)
    assert isinstance(plan, LoadImages)
    assert (plan.loader, plan.cluster, plan.nodes) == (loader, cluster, tuple(each.name for each in nodes))


def test_k3s_on_the_engines_machine_is_given_images_there() -> None:
    engine = EngineFacts(name="box", addresses=frozenset({"192.168.1.5"}))
    plan = choose("default", [K3S], engine, None)
    assert isinstance(plan, LoadImages)
    assert (plan.loader, plan.cluster) == (Loader.K3S, "box")


@pytest.mark.parametrize("nodes", [[K3S], [K3S, replace(K3S, name="far", addresses=frozenset())]])
def test_k3s_elsewhere_or_with_nodes_elsewhere_needs_a_registry(nodes: list[NodeFacts]) -> None:
    engine = EngineFacts(name="box", addresses=frozenset({"192.168.1.5"} if len(nodes) > 1 else ()))
    assert choose("default", nodes, engine, None) == PushImages(
        registry=None, reason="the cluster of `default` does not use the engine that builds"
    )


def test_a_cluster_of_another_that_is_called_devloop_is_not_given_images_as_ones_own() -> None:
    assert isinstance(choose("devloop", [node("gke-pool-1")], LAPTOP, None), PushImages)


def test_minikube_without_a_driver_runs_in_the_engine_of_this_machine() -> None:
    here = replace(MINIKUBE_NODE, name="laptop")
    assert isinstance(choose("minikube", [here], LAPTOP, None), SharedEngine)


def test_what_all_nodes_report_to_hold_is_known() -> None:
    nodes = [
        replace(MICROK8S, images=frozenset({"docker.io/library/a:1", "b:1"})),
        replace(MICROK8S, images=frozenset({"b:1"})),
    ]
    plan = choose("microk8s", nodes, LAPTOP, None)
    assert isinstance(plan, LoadImages)
    assert plan.reported == {"b:1"}


@pytest.mark.parametrize("registry", [ANNOUNCED, NAMED])
def test_a_registry_is_better_than_a_loader(registry: RegistryFacts) -> None:
    plan = choose("kind-dev", [KIND_NODE], LAPTOP, registry)
    assert isinstance(plan, PushImages)
    assert plan.registry == registry
    assert registry.host in plan.reason


def test_elsewhere_images_are_pushed_to_where_their_own_names_say() -> None:
    assert choose("prod", [node()], LAPTOP, None) == PushImages(
        registry=None, reason="the cluster of `prod` does not use the engine that builds"
    )


# --- references ---


@pytest.mark.parametrize(
    ("ref", "registry", "pushed"),
    [
        ("api:dev-1", ANNOUNCED, "localhost:5001/api:dev-1"),
        ("team/api:dev-1", ANNOUNCED, "localhost:5001/team/api:dev-1"),
        ("localhost:5001/api:dev-1", ANNOUNCED, "localhost:5001/api:dev-1"),
        ("ghcr.io/team/api:dev-1", ANNOUNCED, "localhost:5001/ghcr.io/team/api:dev-1"),
        ("host:5000/api:dev-1", ANNOUNCED, "localhost:5001/host-5000/api:dev-1"),
        ("api:dev-1", NAMED, "registry.example.com/team/api:dev-1"),
        ("registry.example.com/team/api:dev-1", NAMED, "registry.example.com/team/api:dev-1"),
        ("api:dev-1", named_registry("someone"), "someone/api:dev-1"),
        ("ghcr.io/team/api:dev-1", None, "ghcr.io/team/api:dev-1"),
    ],
)
def test_an_image_is_pushed_below_the_registry(ref: str, registry: RegistryFacts | None, pushed: str) -> None:
    assert str(pushed_to(registry, parse(ref))) == pushed
    assert pulled_from(registry, parse(ref)) == parse(pushed)


def test_an_image_without_a_registry_of_its_own_can_be_pushed_nowhere() -> None:
    assert pushed_to(None, parse("api:dev-1")) is None
    assert pulled_from(None, parse("api:dev-1")) is None


def test_manifests_use_the_nodes_name_of_the_registry() -> None:
    registry = RegistryFacts(host="localhost:5001", runtime_host="registry:5000")
    assert str(pushed_to(registry, parse("api:dev-1"))) == "localhost:5001/api:dev-1"
    there = pulled_from(registry, parse("api:dev-1"))
    assert str(there) == "registry:5000/api:dev-1"
    assert there is not None
    assert str(seen_from_here(registry, there)) == "localhost:5001/api:dev-1"


def test_a_registry_may_be_named_as_an_address() -> None:
    assert named_registry("https://registry.example.com/team/").host == "registry.example.com/team"


# --- what the cluster says ---


def test_the_announced_registry_is_read() -> None:
    text = 'host: "localhost:5001"\nhostFromContainerRuntime: "registry:5000"\nhelp: "https://kind.sigs.k8s.io"\n'
    assert announced_registry(text) == RegistryFacts(host="localhost:5001", runtime_host="registry:5000")
    assert announced_registry('host: "localhost:5001"') == RegistryFacts(host="localhost:5001")


@pytest.mark.parametrize("text", ["", "help: x", "host: 5", "host: ''", "- a", "{", "text"])
def test_a_text_that_announces_none_is_none(text: str) -> None:
    assert announced_registry(text) is None


def test_a_nodes_facts_are_read_from_the_object() -> None:
    facts = node_facts(
        {
            "metadata": {"name": "n", "labels": {"a": "b"}},
            "spec": {"providerID": "kind://docker/dev/n"},
            "status": {
                "nodeInfo": {"containerRuntimeVersion": "docker://26.1.5"},
                "addresses": [
                    {"type": "InternalIP", "address": "10.0.0.1"},
                    {"type": "ExternalIP", "address": "1.2.3.4"},
                    {"type": "Hostname", "address": "host"},
                ],
                "images": [{"names": ["a@sha256:1", "a:1"]}, {"sizeBytes": 1}, {"names": None}],
            },
        }
    )
    assert facts == NodeFacts(
        name="n",
        runtime="docker://26.1.5",
        hostname="host",
        addresses=frozenset({"10.0.0.1", "1.2.3.4"}),
        provider="kind://docker/dev/n",
        labels={"a": "b"},
        images=frozenset({"a@sha256:1", "a:1"}),
    )


def test_a_node_that_says_nothing_has_no_facts() -> None:
    assert node_facts({"metadata": {"name": "n"}}) == NodeFacts(name="n")


# --- builders of their own ---


def test_a_builder_of_its_own_pushes_to_the_registry_that_the_project_names() -> None:
    plan = PushImages(registry=NAMED, reason="a test")
    there = parse("registry.example.com/team/api")
    assert pushed_by_builders(plan, parse("api")) == (there, there)


def test_without_a_named_registry_it_pushes_where_the_images_own_name_says() -> None:
    plan = PushImages(registry=None, reason="a test")
    there = parse("ghcr.io/team/api")
    assert pushed_by_builders(plan, there) == (there, there)
    assert pushed_by_builders(plan, parse("api")) is None


def test_a_registry_on_the_developers_machine_is_out_of_its_reach() -> None:
    assert pushed_by_builders(PushImages(registry=ANNOUNCED, reason="a test"), parse("api")) is None


def test_what_is_shared_or_loaded_comes_by_the_engine() -> None:
    assert pushed_by_builders(SharedEngine(reason="a test"), parse("ghcr.io/team/api")) is None


def test_the_platforms_of_a_mixed_cluster_are_those_of_its_nodes() -> None:
    labels = [{"kubernetes.io/os": "linux", "kubernetes.io/arch": machine} for machine in ("arm64", "amd64", "arm64")]
    nodes = [replace(node(), labels=each) for each in (*labels, {})]
    assert platforms_of(nodes) == ("linux/amd64", "linux/arm64")
