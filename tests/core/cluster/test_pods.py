"""Pods as values."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.cluster.pods import Container, Owner, Pod, Running, Terminated, Waiting, read

_RAW = {
    pod["metadata"]["name"].rpartition("-")[0].rpartition("-")[0] or pod["metadata"]["name"]: pod
    for pod in json.loads((Path(__file__).parent / "data" / "cluster_at_rest.json").read_text())["pods"]
}


def test_a_running_pod_is_read_whole() -> None:
    pod = read(_RAW["good"])
    assert pod.name.startswith("good-")
    assert (pod.namespace, pod.service, pod.project) == ("mani-rec", "good", "rec")
    assert (pod.phase, pod.ready, pod.deleting, pod.restart_policy) == ("Running", True, False, "Always")
    assert pod.owner == Owner(
        kind="ReplicaSet", name=pod.name.rpartition("-")[0], uid=pod.owner.uid if pod.owner else ""
    )
    assert pod.ip
    assert pod.host_ip
    assert pod.created_at.startswith("2026-11-23T08:50:5")
    (container,) = pod.containers
    assert (container.name, container.image, container.ready, container.running) == ("c", "busybox", True, True)
    assert container.container_id.startswith("docker://")
    assert container.image_id.startswith("docker://sha256:")
    assert isinstance(container.state, Running)
    assert {condition.type for condition in pod.conditions} >= {"Ready", "PodScheduled"}


def test_a_crashing_container_tells_how_it_ended_the_last_time() -> None:
    container = read(_RAW["crash"]).container("c")
    assert container is not None
    assert isinstance(container.state, Waiting)
    assert container.state.reason == "CrashLoopBackOff"
    assert isinstance(container.last, Terminated)
    assert (container.last.exit_code, container.last.reason, container.restarts) == (3, "Error", 4)


def test_init_containers_come_first() -> None:
    pod = read(_RAW["init"])
    assert [(container.name, container.init) for container in pod.containers] == [("setup", True), ("c", False)]


def test_a_pod_without_status_waits() -> None:
    pod = read({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
    assert pod == Pod(name="a", containers=(Container(name="c", image="x"),))
    assert (pod.service, pod.owner, pod.ip) == (None, None, None)
    assert read({}) == Pod(name="")


def test_a_pod_that_is_being_removed_says_so() -> None:
    assert read({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}).deleting


@pytest.mark.parametrize("part", ["metadata", "spec", "status"])
def test_parts_that_are_null_are_as_good_as_missing(part: str) -> None:
    read({**_RAW["good"], part: None})


def _emptied(value: Any, drop: set[int], counter: list[int]) -> Any:
    """Return the value with some of its parts made null, as an API server leaves them out."""
    counter[0] += 1
    if counter[0] in drop:
        return None
    match value:
        case dict():
            return {key: _emptied(item, drop, counter) for key, item in value.items()}
        case _:
            return value


@given(st.sampled_from(sorted(_RAW)), st.sets(st.integers(2, 80), max_size=10))
def test_any_part_of_a_pod_may_be_missing(name: str, drop: set[int]) -> None:
    assert isinstance(read(_emptied(_RAW[name], drop, [0])), Pod)
