"""Which local port leads where, as the user asks for it or the manifests declare it."""

import textwrap
from dataclasses import replace

import pytest

from devloop.core.cluster.forwarding import Asked, rules, settle, targets
from devloop.core.cluster.pods import Container, Pod
from devloop.core.manifest import parse
from devloop.core.manifest.workloads import ServiceFacts, facts
from devloop.errors import InputErrors, Where
from devloop.model import ForwardRule

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api, tier: back}}
    spec:
      initContainers: [{name: setup, image: api, ports: [{containerPort: 9999}]}]
      containers:
        - name: api
          image: api
          ports:
            - {containerPort: 8000, name: web}
            - {containerPort: 9090, name: metrics}
            - {containerPort: 53, protocol: UDP}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: api}
spec:
  selector: {app: api}
  ports:
    - {port: 80, targetPort: web, name: http}
    - {port: 5353, protocol: UDP}
"""
HEADLESS = """
apiVersion: v1
kind: Service
metadata: {name: api-pods}
spec:
  clusterIP: None
  selector: {app: api}
  ports: [{port: 80, targetPort: web}]
"""
OTHER = """
apiVersion: v1
kind: Service
metadata: {name: admin}
spec:
  selector: {app: admin}
  ports: [{port: 80, targetPort: 8080}, {port: 5432}]
"""
WHERE = Where(path="devfile.py", line=3)


def _facts(*texts: str) -> ServiceFacts:
    return facts(parse("---".join(texts), path="k8s.yaml"), namespace="dev")


def _rule(local: int, port: int | str, remote: int | str, app: str = "api", service: str = "api") -> ForwardRule:
    return ForwardRule(service=service, local=local, selector={"app": app}, namespace="dev", port=port, remote=remote)


def _message(error: pytest.ExceptionInfo[InputErrors]) -> str:
    return "\n".join(
        f"{one.message} | {one.hint} | {one.where} | {' '.join(map(str, one.chain))}" for one in error.value.errors
    )


# --- one service ---------------------------------------------------------------------------------------------


def test_a_services_port_leads_to_the_port_behind_it() -> None:
    assert rules("api", {8000: 80}, _facts(WORKLOAD, SERVICE)) == (_rule(8000, "web", 80),)


def test_a_port_can_be_named() -> None:
    assert rules("api", {8000: "http"}, _facts(WORKLOAD, SERVICE)) == (_rule(8000, "web", "http"),)


def test_a_containers_port_needs_no_service() -> None:
    assert rules("api", {9000: 9090, 9001: "web"}, _facts(WORKLOAD, SERVICE)) == (
        _rule(9000, 9090, 9090),
        _rule(9001, 8000, "web"),
    )


def test_a_port_that_nothing_declares_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(InputErrors) as error:
        rules("api", {8000: 81, 8001: "htpp"}, _facts(WORKLOAD, SERVICE), where=WHERE)

    declared = "declared: 80 (http) of Service `api`, 8000 (web) of workload `api`, 9090 (metrics) of workload `api`"
    assert _message(error) == textwrap.dedent(
        f"""\
        `api` forwards port 8000 to 81, which its manifests do not declare | {declared} | devfile.py:3 |\x20
        `api` forwards port 8001 to "htpp", which its manifests do not declare | {declared} | devfile.py:3 | """
    )


def test_where_nothing_is_declared_the_error_says_how() -> None:
    with pytest.raises(InputErrors) as error:
        rules("api", {8000: 80}, _facts())

    assert "declare it: a Service's `port`, or a container's `containerPort`" in _message(error)


def test_ports_of_init_containers_and_of_udp_cannot_be_forwarded() -> None:
    with pytest.raises(InputErrors) as error:
        rules("api", {1: 9999, 2: 53, 3: 5353}, _facts(WORKLOAD, SERVICE))

    assert len(error.value.errors) == 3


def test_a_port_of_several_services_must_say_whose() -> None:
    declared = _facts(WORKLOAD, SERVICE, OTHER)
    with pytest.raises(InputErrors) as error:
        rules("api", {8000: 80}, declared)

    assert 'say which: `"api:http"`, `"admin:80"`' in _message(error)
    assert rules("api", {8000: "admin:80", 8001: "api:http"}, declared) == (
        _rule(8000, 8080, "admin:80", "admin"),
        _rule(8001, "web", "api:http"),
    )


def test_several_services_that_lead_to_the_same_port_are_one() -> None:
    assert rules("api", {8000: 80}, _facts(WORKLOAD, SERVICE, HEADLESS)) == (_rule(8000, "web", 80),)


def test_without_ports_those_of_the_services_are_forwarded_raised_where_privileged() -> None:
    assert rules("api", None, _facts(WORKLOAD, OTHER)) == (
        _rule(8080, 8080, 80, "admin"),
        _rule(5432, 5432, 5432, "admin"),
    )


def test_without_ports_a_headless_twin_adds_nothing() -> None:
    assert rules("api", None, _facts(WORKLOAD, SERVICE, HEADLESS)) == (_rule(8080, "web", 80),)


def test_no_ports_forward_nothing() -> None:
    assert rules("api", {}, _facts(WORKLOAD, SERVICE)) == ()


# --- all services --------------------------------------------------------------------------------------------


def _asked(service: str, *locals_: int, explicit: bool = True, line: int = 1) -> Asked:
    return Asked(
        service=service,
        rules=tuple(_rule(local, 80, 80, service, service) for local in locals_),
        explicit=explicit,
        where=Where(path="devfile.py", line=line),
    )


def test_services_with_ports_of_their_own_keep_them_in_order() -> None:
    web, api = _asked("web", 8080, 8081), _asked("api", 9000)

    assert settle([web, api]).rules == (*web.rules, *api.rules)


def test_two_services_that_name_one_local_port_are_an_error() -> None:
    with pytest.raises(InputErrors) as error:
        settle([_asked("web", 8080, line=4), _asked("api", 8080, line=9)])

    assert _message(error) == (
        "`api` and `web` both ask for the local port 8080"
        " | give one of them another, for example `ports={8081: 80}` | devfile.py:9 | devfile.py:4"
    )


def test_a_derived_port_gives_way_to_a_named_one_and_says_so() -> None:
    settled = settle([_asked("web", 8080, explicit=False), _asked("api", 8080)])

    assert [rule.service for rule in settled.rules] == ["api"]
    (note,) = settled.notes
    assert note.message == (
        "port 80 of `web` is not forwarded: `api` has the local port 8080; "
        "give it another one, for example `ports={8081: 80}`"
    )


def test_of_two_derived_ports_the_first_service_gets_it() -> None:
    settled = settle([_asked("web", 8080, explicit=False), _asked("api", 8080, 9090, explicit=False)])

    assert [(rule.service, rule.local) for rule in settled.rules] == [("web", 8080), ("api", 9090)]
    assert [note.rule.service for note in settled.notes] == ["api"]


# --- the pods behind a rule ----------------------------------------------------------------------------------


def _pod(name: str, *, ready: bool = True, deleting: bool = False, created: int = 0, **labels: str) -> Pod:
    return Pod(
        name=name,
        uid=name,
        namespace="dev",
        ready=ready,
        deleting=deleting,
        created_at=f"2026-11-23T08:00:{created:02}Z",
        labels={"app": "api", **{label.replace("_", "-"): value for label, value in labels.items()}},
        containers=(
            Container(name="setup", init=True, ports={"web": 1}),
            Container(name="proxy", ports={"admin": 9000}),
            Container(name="api", ports={"web": 8000}),
        ),
    )


def _names(rule: ForwardRule, *pods: Pod) -> list[list[str]]:
    return [[target.pod.name for target in tier] for tier in targets(rule, pods)]


def test_a_named_port_is_looked_up_in_each_pod() -> None:
    (tier,) = targets(_rule(8000, "web", 80), [_pod("a")])

    assert [target.port for target in tier] == [8000]


def test_a_pod_without_that_named_port_is_none_of_the_forwards() -> None:
    assert _names(_rule(8000, "grpc", 80), _pod("a")) == []


def test_only_ready_pods_that_stay_are_used() -> None:
    assert _names(_rule(8000, 80, 80), _pod("a"), _pod("b", ready=False), _pod("c", deleting=True)) == [["a"]]


def test_only_pods_of_the_selector_and_the_namespace_are_used() -> None:
    assert _names(_rule(8000, 80, 80, app="web"), _pod("a")) == []
    assert _names(replace(_rule(8000, 80, 80), namespace="other"), _pod("a")) == []


def test_a_rule_without_a_selector_leads_nowhere() -> None:
    assert _names(replace(_rule(8000, 80, 80), selector={}), _pod("a")) == []


def test_the_newest_revision_comes_first() -> None:
    old = _pod("old", created=1, pod_template_hash="1")
    new, more = _pod("new", created=2, pod_template_hash="2"), _pod("more", created=0, pod_template_hash="2")

    assert _names(_rule(8000, 80, 80), old, new, more) == [["new", "more"], ["old"]]
