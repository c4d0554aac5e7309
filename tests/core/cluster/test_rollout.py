"""Rollouts: ready, on their way, or failing for a reason that a user can act on."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from devloop.core.cluster import pods
from devloop.core.cluster.pods import Container, Owner, Pod, Running, Terminated, Waiting
from devloop.core.cluster.rollout import Failing, FailureReason, Progressing, Ready, Rollout, rollout
from devloop.core.manifest import manifest_of
from tests.core.cluster.recorded import recorded

_REST = recorded("cluster_at_rest")
_ROLLING = recorded("cluster_in_rollout")


@pytest.mark.parametrize("name", ["good", "sts", "ds", "jobok", "bare"])
def test_what_is_up_is_ready(name: str) -> None:
    assert _REST.state(name) == Ready()


@pytest.mark.parametrize(
    ("name", "reason", "message", "container", "exit_code"),
    [
        (
            "pull",
            "image-pull",
            'cannot pull image `localhost:1/nope:1`: Get "http://localhost:1/v2/": dial tcp ',
            "c",
            None,
        ),
        ("never", "image-pull", "image `nope:1` is not on the node, and its pull policy is `Never`", "c", None),
        ("badname", "image-pull", "`Bad Name` is not an image reference", "c", None),
        ("crash", "crash", "container `c` ends with exit code 3 (4 restarts)", "c", 3),
        ("init", "crash", "init container `setup` ends with exit code 7 (4 restarts)", "setup", 7),
        ("oom", "out-of-memory", "container `c` was ended because it used more memory than its limit (", "c", 137),
        (
            "nocmd",
            "start",
            'container `c` cannot be started: exec: "nosuchprogram": executable file not found',
            "c",
            127,
        ),
        ("config", "config", 'container `c` cannot be set up: secret "nosecret" not found', "c", None),
        ("mount", "volume", 'a volume cannot be mounted: "v": configmap "nomap" not found', None, None),
        ("probe", "probe", "container `c` does not get ready: its readiness probe fails (not yet)", "c", None),
        ("live", "probe", "container `c` is ended by the cluster: its liveness probe fails (", "c", 137),
        (
            "sched",
            "unschedulable",
            "no node can take the pod: 0/1 nodes are available: 1 node(s) didn't match",
            None,
            None,
        ),
        (
            "quota",
            "not-created",
            'no pod can be created: pods "quota-6768bff987-" is forbidden: error looking up',
            None,
            None,
        ),
        ("jobbad", "crash", "container `c` ends with exit code 4", "c", 4),
        ("barebad", "crash", "container `c` ends with exit code 5", "c", 5),
    ],
)
def test_a_failure_has_the_reason_that_a_user_needs(
    name: str, reason: str, message: str, container: str | None, exit_code: int | None
) -> None:
    state = _REST.state(name)
    assert isinstance(state, Failing)
    assert (state.reason, state.container, state.exit_code) == (reason, container, exit_code)
    assert state.message.startswith(message)
    assert state.object == _REST.manifest(name).key
    assert (state.pod or name).startswith(name)


def test_an_old_crashing_pod_does_not_fail_the_rollout_that_mends_it() -> None:
    expected = Progressing(message="deployment/crash: 0 of 1 pods are available", object=_ROLLING.manifest("crash").key)
    assert _ROLLING.state("crash") == expected
    assert _ROLLING.without("ReplicaSet").state("crash") == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("good", "cannot pull image `nope:2`"),
        ("sts", "container `c` ends with exit code 9 (1 restart)"),
        ("ds", "cannot pull image `nope:3`"),
    ],
)
def test_a_new_failing_pod_fails_the_rollout_though_old_ones_serve(name: str, message: str) -> None:
    for seen in (_ROLLING, _ROLLING.without("ReplicaSet", "ControllerRevision")):
        state = seen.state(name)
        assert isinstance(state, Failing)
        assert state.message.startswith(message)


def test_a_failure_comes_before_a_wait_and_a_wait_before_readiness() -> None:
    assert isinstance(_ROLLING.state("crash", "good"), Failing)
    assert isinstance(_REST.state("good", "sts", "crash"), Failing)
    assert _REST.state("good", "sts", "bare") == Ready()


def test_an_object_that_is_not_there_yet_is_waited_for() -> None:
    manifest = manifest_of({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}, path="x")
    assert rollout([manifest], {}, []) == Progressing(message="waiting for service/a to appear", object=manifest.key)


# --- kubectl's own rules, on made-up statuses ---------------------------------------------------------------


def _state(kind: str, version: str, live: dict[str, Any], *found: Pod, events: Any = ()) -> Rollout:
    document = {"apiVersion": version, "kind": kind, **live}
    document["metadata"] = {"name": "a", "uid": "u1", "generation": 2, **live.get("metadata", {})}
    manifest = manifest_of(document, path="x")
    return rollout([manifest], {manifest.key: document}, found, events)


def _waits(state: Rollout) -> str:
    assert isinstance(state, Progressing)
    return state.message.partition(": ")[2]


@pytest.mark.parametrize(
    ("status", "waits"),
    [
        ({"observedGeneration": 1, "updatedReplicas": 3, "availableReplicas": 3}, "waiting for the cluster to take up"),
        ({"observedGeneration": 2}, "0 of 3 pods are made anew"),
        ({"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2}, "2 of 3 pods are made anew"),
        ({"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 1}, "1 of 3 pods are available"),
        (
            {"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 4, "replicas": 4},
            "1 old pods are still there",
        ),
        ({"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 3, "replicas": 3}, None),
    ],
)
def test_a_deployment_is_up_when_all_its_pods_are_new_and_available(status: dict[str, int], waits: str | None) -> None:
    state = _state("Deployment", "apps/v1", {"spec": {"replicas": 3}, "status": status})
    assert state == Ready() if waits is None else _waits(state).startswith(waits)


def test_a_deployment_without_pods_and_a_paused_one_are_up() -> None:
    status = {"observedGeneration": 2}
    assert _state("Deployment", "apps/v1", {"spec": {"replicas": 0}, "status": status}) == Ready()
    assert _state("Deployment", "apps/v1", {"spec": {"paused": True}, "status": status}) == Ready()


def test_a_deployment_past_its_deadline_fails() -> None:
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    state = _state(
        "Deployment", "apps/v1", {"spec": {}, "status": {"observedGeneration": 2, "conditions": [condition]}}
    )
    assert isinstance(state, Failing)
    assert state.reason == FailureReason.DEADLINE


@pytest.mark.parametrize(
    ("spec", "status", "waits"),
    [
        ({"replicas": 2}, {"updatedReplicas": 1, "readyReplicas": 2}, "1 of 2 pods are made anew"),
        ({"replicas": 2}, {"updatedReplicas": 2, "readyReplicas": 1}, "1 of 2 pods are ready"),
        (
            {"replicas": 2},
            {"updatedReplicas": 2, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "a"},
            "the update is being finished",
        ),
        (
            {"replicas": 2},
            {"updatedReplicas": 2, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "b"},
            None,
        ),
        (
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {"updatedReplicas": 1, "readyReplicas": 3, "updateRevision": "b", "currentRevision": "a"},
            None,
        ),
        ({"replicas": 1, "updateStrategy": {"type": "OnDelete"}}, {"readyReplicas": 1, "updateRevision": "b"}, None),
    ],
)
def test_a_stateful_set_is_up_when_its_update_is_through(spec: Any, status: Any, waits: str | None) -> None:
    state = _state("StatefulSet", "apps/v1", {"spec": spec, "status": {"observedGeneration": 2, **status}})
    assert state == Ready() if waits is None else _waits(state).startswith(waits)


@pytest.mark.parametrize(
    ("status", "waits"),
    [
        ({"desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2}, "1 of 2 pods are made anew"),
        ({"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}, "1 of 2 pods are available"),
        ({"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}, None),
        ({"desiredNumberScheduled": 0}, None),
    ],
)
def test_a_daemon_set_is_up_when_every_node_has_its_new_pod(status: Any, waits: str | None) -> None:
    state = _state("DaemonSet", "apps/v1", {"status": {"observedGeneration": 2, **status}})
    assert state == Ready() if waits is None else _waits(state).startswith(waits)


def test_a_job_is_up_when_it_is_complete_and_waited_for_before() -> None:
    assert (
        _waits(_state("Job", "batch/v1", {"spec": {"completions": 3}, "status": {"succeeded": 1}}))
        == "1 of 3 runs are done"
    )
    complete = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert _state("Job", "batch/v1", {"status": complete}) == Ready()
    failed = {"conditions": [{"type": "Failed", "status": "True", "message": "it was too slow"}]}
    state = _state("Job", "batch/v1", {"status": failed})
    assert isinstance(state, Failing)
    assert state.message == "the job has failed: it was too slow"


def test_a_job_that_tries_again_is_not_judged_by_its_first_try() -> None:
    owner = Owner(kind="Job", name="a", uid="u1")
    ended = Terminated(exit_code=1, reason="Error")
    first = Pod(
        name="a-1",
        owner=owner,
        phase="Failed",
        restart_policy="Never",
        created_at="2026-01-01T00:00:01Z",
        containers=(Container(name="c", state=ended),),
    )
    second = replace(
        first,
        name="a-2",
        phase="Running",
        created_at="2026-01-01T00:00:02Z",
        containers=(Container(name="c", state=Running()),),
    )
    assert isinstance(_state("Job", "batch/v1", {}, first), Failing)
    assert isinstance(_state("Job", "batch/v1", {}, first, second), Progressing)


def test_other_kinds_are_up_when_they_exist() -> None:
    assert _state("Service", "v1", {}) == Ready()
    assert _state("PersistentVolumeClaim", "v1", {"status": {"phase": "Pending"}}) == Ready()
    assert _state("Certificate", "cert-manager.io/v1", {}) == Ready()
    assert isinstance(_state("CustomResourceDefinition", "apiextensions.k8s.io/v1", {}), Progressing)
    established = {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
    assert _state("CustomResourceDefinition", "apiextensions.k8s.io/v1", established) == Ready()
    assert isinstance(_state("Namespace", "v1", {"status": {"phase": "Terminating"}}), Progressing)


def test_a_pod_that_is_being_removed_fails_nothing() -> None:
    pod = Pod(
        name="a",
        uid="u1",
        deleting=True,
        containers=(Container(name="c", state=Waiting(reason="ErrImagePull"), image="x"),),
    )
    assert isinstance(_state("Pod", "v1", {}, pod), Progressing)


def test_an_evicted_pod_is_told_as_lost() -> None:
    pod = Pod(name="a", uid="u1", phase="Failed", reason="Evicted", message="the node was low on memory")
    state = _state("Pod", "v1", {}, pod)
    assert isinstance(state, Failing)
    assert state.message == "the pod was ended by the cluster (Evicted): the node was low on memory"


def test_a_container_that_should_run_but_ends_well_is_failing_too() -> None:
    ended = Terminated(exit_code=0, reason="Completed")
    pod = Pod(name="a", uid="u1", containers=(Container(name="c", state=ended, restarts=1),))
    state = _state("Pod", "v1", {}, pod)
    assert isinstance(state, Failing)
    assert state.message == "container `c` ends with exit code 0, but should keep running (1 restart)"
    done = replace(pod, containers=(Container(name="i", init=True, state=ended), Container(name="c")))
    assert isinstance(_state("Pod", "v1", {}, done), Progressing)


def _event(reason: str, message: str, **more: Any) -> dict[str, Any]:
    about = {"kind": "Pod", "name": "a", "uid": "u1", "fieldPath": "spec.containers{c}"}
    return {"involvedObject": about, "reason": reason, "message": message, **more}


def test_a_pull_under_way_is_what_it_waits_for() -> None:
    pod = Pod(
        name="a", uid="u1", containers=(Container(name="c", image="big:1", state=Waiting(reason="ContainerCreating")),)
    )
    pulling = _event("Pulling", 'Pulling image "big:1"')
    assert _waits(_state("Pod", "v1", {}, pod, events=[pulling])) == "pulling `big:1`"
    pulled = _event("Pulled", "Successfully pulled")
    assert _waits(_state("Pod", "v1", {}, pod, events=[pulling, pulled])) == "the pod is not ready"


@pytest.mark.parametrize(("count", "period", "fails"), [(2, 10, False), (3, 10, True), (19, 1, False), (20, 1, True)])
def test_a_probe_fails_the_rollout_only_after_a_while(count: int, period: int, fails: bool) -> None:
    pod = Pod(name="a", uid="u1", containers=(Container(name="c", state=Running()),))
    live = {"spec": {"containers": [{"name": "c", "readinessProbe": {"periodSeconds": period}}]}}
    event = _event("Unhealthy", "Readiness probe failed: HTTP 503", count=count)
    assert isinstance(_state("Pod", "v1", live, pod, events=[event]), Failing) == fails


def test_events_of_the_newer_api_are_understood() -> None:
    pod = Pod(name="a", uid="u1", containers=(Container(name="c", state=Running()),))
    event = {
        "regarding": {"kind": "Pod", "name": "a", "uid": "u1", "fieldPath": "spec.containers{c}"},
        "reason": "Unhealthy",
        "note": "Readiness probe failed: HTTP 503",
        "series": {"count": 9},
    }
    assert isinstance(_state("Pod", "v1", {}, pod, events=[event]), Failing)


def test_nothing_that_a_rollout_is_given_is_changed() -> None:
    live = copy.deepcopy(_ROLLING.live)
    _ROLLING.state("crash", "good", "sts", "ds")
    assert live == _ROLLING.live


def test_statuses_with_parts_missing_are_only_not_ready() -> None:
    for kind, version in (
        ("Deployment", "apps/v1"),
        ("StatefulSet", "apps/v1"),
        ("DaemonSet", "apps/v1"),
        ("Job", "batch/v1"),
    ):
        for part in ({}, {"status": None}, {"spec": None}, {"status": {"conditions": None}}):
            assert not isinstance(_state(kind, version, {"spec": {}, **part}, pods.read({})), Failing)
