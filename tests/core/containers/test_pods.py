"""What a pod's containers are created with, when they start, and what the pod is called meanwhile."""

from decimal import Decimal
from typing import Any

import pytest

from devloop.core.cluster.pods import Terminated, Waiting
from devloop.core.containers.creation import Network, container, needs_sandbox, sandbox
from devloop.core.containers.environment import ConfigurationError, Surroundings, environment, expanded
from devloop.core.containers.identity import Identity, Role, decoded, labels
from devloop.core.containers.lifecycle import Sandbox, Start, pause, steps
from devloop.core.containers.observed import Known, Run, Seen, Trouble, pod_of
from devloop.core.containers.probes import ExecCheck, HttpCheck, TcpCheck, Verdict, probe_of
from devloop.core.containers.quantities import divided, number
from devloop.core.containers.services import aliases, lines, names, relay
from devloop.core.containers.shape import misshapen
from devloop.core.containers.support import not_carried
from devloop.core.containers.volumes import files, volumes
from devloop.core.manifest import parse
from devloop.core.yaml.documents import parse_documents
from devloop.model import ObjectKey

KEY = ObjectKey(group="apps", kind="Deployment", namespace="default", name="web")


def yaml(text: str) -> Any:
    return parse_documents(text)[0].value


def pod(spec: str = "containers: [{name: app, image: web}]", **more: Any) -> Identity:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": yaml(spec)}
    given: dict[str, Any] = {"name": "web-0", "uid": "12345678-9", "owner": KEY, "revision": "r", "ordinal": 0}
    return Identity(project="shop", service="web", namespace="default", template=template, **(given | more))


def around(*documents: str) -> Surroundings:
    found = {}
    for text in documents:
        document = yaml(text)
        found[document["kind"], "default", document["metadata"]["name"]] = document
    return Surroundings(objects=found, address="10.0.0.9", capacity={"cpu": Decimal(4), "memory": Decimal(2**30)})


def body(spec: str, *, image_user: str = "") -> Any:
    identity = pod(spec)
    return container(identity, identity.spec["containers"][0], 0, Network(), around(), image_user=image_user).body


# --- quantities and environment ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("2", "2"), ("1Ki", "1024"), ("1.5Gi", "1610612736"), ("1e3", "1000"), ("100M", "100000000")],
)
def test_quantities_are_numbers(text: str, value: str) -> None:
    assert number(text) == Decimal(value)


def test_what_is_no_quantity_is_none_and_divisions_are_rounded_up() -> None:
    assert number("much") is None
    assert divided(Decimal("0.3"), "1") == "1"
    assert divided(Decimal(2**26), "1Mi") == "64"


def test_references_are_replaced_once_and_unknown_ones_stay() -> None:
    assert expanded("$(A)-$$(A)-$(B)", {"A": "$(B)"}) == "$(B)-$(A)-$(B)"


def test_variables_see_those_before_them_and_override_what_comes_from_config_maps() -> None:
    identity = pod(
        "containers: [{name: app, image: web, envFrom: [{configMapRef: {name: c}}],"
        " env: [{name: A, value: own}, {name: B, value: '$(A)-$(K)'}]}]"
    )
    given = around("{kind: ConfigMap, metadata: {name: c}, data: {A: theirs, K: k}}")
    assert environment(identity, identity.spec["containers"][0], given) == {"A": "own", "K": "k", "B": "own-k"}


@pytest.mark.parametrize(
    "source",
    [
        "configMapKeyRef: {name: c, key: x}",
        "secretKeyRef: {name: no, key: x}",
        "fieldRef: {fieldPath: spec.nothing}",
        "resourceFieldRef: {resource: nothing.cpu}",
        "unheardOf: {}",
    ],
)
def test_a_variable_that_refers_to_nothing_is_a_mistake(source: str) -> None:
    identity = pod(f"containers: [{{name: app, image: web, env: [{{name: A, valueFrom: {{{source}}}}}]}}]")
    with pytest.raises(ConfigurationError):
        environment(identity, identity.spec["containers"][0], around("{kind: ConfigMap, metadata: {name: c}}"))


def test_services_are_told_by_their_names() -> None:
    identity = pod()
    given = around("{kind: Service, metadata: {name: my-db}, spec: {ports: [{port: 5432}]}}")
    found = environment(identity, identity.spec["containers"][0], given)
    assert found == {"MY_DB_SERVICE_HOST": "my-db", "MY_DB_SERVICE_PORT": "5432"}


# --- volumes -----------------------------------------------------------------------------------------------------


def test_files_come_from_all_sources_of_a_projected_volume() -> None:
    identity = pod(
        "{containers: [], volumes: [{name: v, projected: {defaultMode: 384, sources: ["
        "{configMap: {name: c, items: [{key: a, path: x/a, mode: 292}]}}, {secret: {name: s}},"
        " {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}]}}]}"
    )
    given = around(
        "{kind: ConfigMap, metadata: {name: c}, data: {a: A, b: B}}",
        "{kind: Secret, metadata: {name: s}, data: {k: Sw==}}",
    )
    found = files(identity, volumes(identity)[0].source, given)
    assert [(file.path, file.content, file.mode) for file in found] == [
        ("k", b"K", 0o600),
        ("name", b"web-0", 0o600),
        ("x/a", b"A", 0o444),
    ]


def test_volumes_of_config_are_shared_and_empty_directories_are_the_pods_own() -> None:
    spec = "{containers: [], volumes: [{name: c, configMap: {name: c}}, {name: e, emptyDir: {}}]}"
    first, second = volumes(pod(spec)), volumes(pod(spec, name="web-1", uid="99999999-9"))
    assert first[0].engine_name == second[0].engine_name
    assert first[1].engine_name != second[1].engine_name
    assert [volume.role for volume in first] == [Role.FILES, Role.EMPTY]


# --- what is created ---------------------------------------------------------------------------------------------


def test_command_and_args_take_the_place_of_the_images_as_in_kubernetes() -> None:
    with_command = body("containers: [{name: app, image: web, command: [run, $(A)], env: [{name: A, value: x}]}]")
    assert (with_command["Entrypoint"], with_command["Cmd"]) == (["run", "x"], [])
    with_args = body("containers: [{name: app, image: web, args: [more]}]")
    assert ("Entrypoint" in with_args, with_args["Cmd"]) == (False, ["more"])


def test_a_lone_container_holds_its_network_itself_and_has_the_pods_name() -> None:
    found = body("containers: [{name: app, image: web}]")
    assert found["Hostname"] == "web-0"
    assert found["HostConfig"]["NetworkMode"] == "devloop_shop_default"
    assert found["NetworkingConfig"]["EndpointsConfig"]["devloop_shop_default"]["Aliases"] == ["web-0"]


@pytest.mark.parametrize(
    ("spec", "needs"),
    [
        ("containers: [{name: a}]", False),
        ("{containers: [{name: a}], initContainers: [{name: i}]}", False),
        ("containers: [{name: a}, {name: b}]", True),
        ("{containers: [{name: a}], initContainers: [{name: i, restartPolicy: Always}]}", True),
        ("containers: [{name: a, env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}]", True),
    ],
)
def test_a_network_of_its_own_is_for_pods_that_share_it_or_must_know_its_address(spec: str, needs: bool) -> None:
    assert needs_sandbox(pod(spec).template) is needs


def test_containers_of_several_join_the_pods_network() -> None:
    identity = pod("containers: [{name: a, image: web}, {name: b, image: web}]")
    made = container(identity, identity.spec["containers"][0], 0, Network(sandbox="abc"), around()).body
    assert made["HostConfig"]["NetworkMode"] == "container:abc"
    assert made["Hostname"] == "web-0"  # an engine that gives it the network's own name is not told
    assert sandbox(identity, "helper", Network(aliases=("x",))).body["NetworkingConfig"]


@pytest.mark.parametrize(
    ("context", "image_user", "user"),
    [
        ("{}", "app", None),
        ("{runAsUser: 5}", "app", "5"),
        ("{runAsUser: 5, runAsGroup: 6}", "", "5:6"),
        ("{runAsGroup: 6}", "app:staff", "app:6"),
        ("{runAsNonRoot: true}", "1000", None),
    ],
)
def test_users_are_those_of_the_manifest_else_of_the_image(context: str, image_user: str, user: str | None) -> None:
    spec = f"containers: [{{name: app, image: web, securityContext: {context}}}]"
    assert body(spec, image_user=image_user).get("User") == user


def test_a_container_that_must_not_be_root_is_not_started_as_root() -> None:
    with pytest.raises(ConfigurationError, match="root"):
        body("{securityContext: {runAsNonRoot: true}, containers: [{name: app, image: web}]}")


def test_a_pod_is_read_back_from_its_labels() -> None:
    identity = pod()
    made = container(identity, identity.spec["containers"][0], 3, Network(), around())
    assert decoded(made.body["Labels"]) == identity
    assert made.name == "devloop_shop_default_web-0_app_3"
    assert labels("shop", Role.CONTAINER).items() <= made.body["Labels"].items()


# --- the life of a pod -------------------------------------------------------------------------------------------


def run(name: str, status: str = "running", *, attempt: int = 0, code: int = 0, **more: Any) -> Run:
    return Run(id=f"{name}-{attempt}", container=name, attempt=attempt, status=status, exit_code=code, **more)


def seen(spec: str, *runs: Run, sandboxed: bool = False) -> Seen:
    by_name: dict[str, tuple[Run, ...]] = {}
    for each in runs:
        by_name[each.container] = (*by_name.get(each.container, ()), each)
    held = run("", address="10.0.0.9") if sandboxed else None
    return Seen(identity=pod(spec), runs=by_name, sandbox=held)


def starts(found: Seen, known: Known | None = None) -> list[tuple[str, int]]:
    taken = steps(found, known or Known())
    return [(str(step.container["name"]), step.attempt) for step in taken if isinstance(step, Start)]


def test_init_containers_run_one_after_another_before_the_rest() -> None:
    spec = "{initContainers: [{name: i}, {name: j}], containers: [{name: a}]}"
    assert starts(seen(spec)) == [("i", 0)]
    assert starts(seen(spec, run("i"))) == []
    assert starts(seen(spec, run("i", "exited"))) == [("j", 0)]
    assert starts(seen(spec, run("i", "exited", code=1))) == [("i", 1)]
    assert starts(seen(spec, run("i", "exited"), run("j", "exited"))) == [("a", 0)]


def test_a_sidecar_is_started_before_the_rest_and_kept() -> None:
    spec = "{initContainers: [{name: s, restartPolicy: Always}], containers: [{name: a}]}"
    assert steps(seen(spec), Known()) == (Sandbox(),)
    assert starts(seen(spec, sandboxed=True)) == [("s", 0)]
    assert starts(seen(spec, run("s"), sandboxed=True)) == []
    assert starts(seen(spec, run("s"), sandboxed=True), Known(started=frozenset({"s-0"}))) == [("a", 0)]
    assert starts(seen(spec, run("s", "exited"), run("a"), sandboxed=True)) == [("s", 1)]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_says_what_starts_again(policy: str, code: int, again: bool) -> None:
    spec = f"{{restartPolicy: {policy}, containers: [{{name: a}}]}}"
    assert starts(seen(spec, run("a", "exited", code=code))) == ([("a", 1)] if again else [])


def test_nothing_starts_in_a_pod_that_ends() -> None:
    assert starts(seen("containers: [{name: a}]"), Known(ending=True)) == []


def test_pauses_grow_to_a_minute_and_a_long_good_run_forgives() -> None:
    assert [pause(attempt, 0) for attempt in (1, 2, 3, 4, 9, 50)] == [0, 1, 2, 4, 60, 60]
    assert pause(9, 700) == 0


def test_a_pod_is_ready_when_all_its_containers_are() -> None:
    found = seen("containers: [{name: a}, {name: b}]", run("a"), run("b"), sandboxed=True)
    assert not pod_of(found, Known(ready=frozenset({"a-0"}))).ready
    ready = pod_of(found, Known(ready=frozenset({"a-0", "b-0"})))
    assert (ready.ready, ready.phase, ready.ip) == (True, "Running", "10.0.0.9")


def test_a_container_that_waits_to_start_again_says_so_with_how_it_ended() -> None:
    found = seen("containers: [{name: a}]", run("a", "exited", code=3))
    known = Known(troubles={"a": Trouble(reason="CrashLoopBackOff", message="back-off")})
    state = pod_of(found, known).containers[0]
    assert state.state == Waiting(reason="CrashLoopBackOff", message="back-off")
    assert state.last is not None
    assert state.last.exit_code == 3


def test_a_pod_whose_work_is_done_has_succeeded_or_failed() -> None:
    spec = "{restartPolicy: Never, containers: [{name: a}]}"
    assert pod_of(seen(spec, run("a", "exited")), Known()).phase == "Succeeded"
    failed = pod_of(seen(spec, run("a", "exited", code=1, out_of_memory=True)), Known())
    assert failed.phase == "Failed"
    assert isinstance(failed.containers[0].state, Terminated)
    assert failed.containers[0].state.reason == "OOMKilled"


# --- probes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "check"),
    [
        ("{exec: {command: [cat, x]}}", ExecCheck(command=("cat", "x"))),
        ("{httpGet: {port: http, path: /up}}", HttpCheck(port=8080, path="/up")),
        ("{httpGet: {port: 1, scheme: HTTPS}}", HttpCheck(port=1, path="/", secure=True)),
        ("{tcpSocket: {port: '5'}}", TcpCheck(port=5)),
        ("{grpc: {port: 7}}", TcpCheck(port=7)),
    ],
)
def test_probes_ask_what_the_manifest_says(said: str, check: object) -> None:
    found = probe_of(yaml(f"{{ports: [{{name: http, containerPort: 8080}}], readinessProbe: {said}}}"), "readiness")
    assert found is not None
    assert found.check == check


def test_a_verdict_needs_its_threshold_in_a_row() -> None:
    probe = probe_of(yaml("{livenessProbe: {tcpSocket: {port: 1}, failureThreshold: 2}}"), "liveness")
    assert probe is not None
    verdict, said = Verdict(), []
    for passed in (False, True, False, False, True):
        verdict = verdict.after(passed, probe)
        said.append(verdict.good)
    assert said == [None, True, True, False, True]


# --- Services ----------------------------------------------------------------------------------------------------

SERVICE = "{kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}}"


def test_a_relay_leads_each_port_to_the_ready_pods() -> None:
    identity = pod("containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]")
    running = seen("containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]", run("a", address="10.0.0.9"))
    ready = pod_of(running, Known(ready=frozenset({"a-0"})))
    assert lines(yaml(SERVICE), "default", [(identity, ready)]) == ("80 web-0:8080",)
    assert lines(yaml(SERVICE), "default", [(identity, pod_of(running, Known()))]) == ("80",)
    assert lines(yaml(SERVICE), "other", [(identity, ready)]) == ("80",)


def test_a_relay_has_all_names_of_its_service() -> None:
    made = relay(yaml(SERVICE), "shop", "web", "default", "helper:1")
    assert made is not None
    assert made.body["Cmd"] == ["80"]
    assert made.body["NetworkingConfig"]["EndpointsConfig"]["devloop_shop_default"]["Aliases"] == list(
        names("web", "default")
    )


@pytest.mark.parametrize("spec", ["clusterIP: None, ports: [{port: 80}]", "ports: [{port: 53, protocol: UDP}]"])
def test_a_service_without_a_relay_gives_its_names_to_the_pods(spec: str) -> None:
    document = yaml(f"{{kind: Service, metadata: {{name: web}}, spec: {{selector: {{app: web}}, {spec}}}}}")
    assert relay(document, "shop", "web", "default", "helper:1") is None
    assert aliases(pod(), [("default", document)]) == names("web", "default")


# --- what has no meaning -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{apiVersion: batch/v1, kind: CronJob, metadata: {name: x}}", ""),
        ("{apiVersion: example.org/v1, kind: Widget, metadata: {name: x}}", ""),
        ("{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {type: ExternalName}}", ""),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {type: NodePort, selector: {a: b}}}",
            "type: NodePort",
        ),
        ("{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {affinity: {a: b}}}", "affinity"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {volumes: [{name: v, nfs: {}}]}}", "volumes: nfs"),
        (
            """{apiVersion: v1, kind: Pod, metadata: {name: x},
                spec: {containers: [{name: c, resources: {limits: {nvidia.com/gpu: 1}}}]}}""",
            "limits: nvidia.com/gpu of c",
        ),
    ],
)
def test_what_has_no_effect_is_named(text: str, field: str) -> None:
    (found,) = not_carried(parse(text, path="x.yaml"))
    assert (found.object.name, found.field) == ("x", field)
    assert "has no effect here: " in found.message


def test_what_is_carried_over_is_not_mentioned() -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}"
    assert not_carried(parse(text, path="x.yaml")) == ()


# --- shape -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("containers: [{name: a, image: b}]", "containers: {a: b}"), "`spec.template.spec.containers` must be a list"),
        (("image: b", "image: 3"), "`spec.template.spec.containers[0].image` must be text"),
        (("image: b", "image: b, env: {A: x}"), "`spec.template.spec.containers[0].env` must be a list of mappings"),
        (("image: b", "image: b, command: run"), "`spec.template.spec.containers[0].command` must be a list"),
        (("matchLabels: {a: b}", "matchLabels: {a: c}"), "`spec.selector` does not match the labels of its own pods"),
        (("containers: [{name: a, image: b}]", "containers: []"), "`spec.template.spec` has no containers"),
    ],
)
def test_a_workload_of_a_wrong_shape_is_refused_with_its_place(change: tuple[str, str], message: str) -> None:
    text = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers: [{name: a, image: b}]
"""
    assert misshapen(parse(text, path="web.yaml")[0]) is None
    error = misshapen(parse(text.replace(*change), path="web.yaml")[0])
    assert error is not None
    assert message in error.message
    assert error.where is not None
    assert error.where.line is not None
