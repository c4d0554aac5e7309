"""The pods that a workload should have against those that it has, step by step."""

from typing import Any

import pytest

from devloop.core.cluster.pods import Pod
from devloop.core.containers.controllers import Change, Having, Workload, changes, workload
from devloop.core.containers.identity import Identity
from devloop.core.manifest import parse

TEXT = """
apiVersion: apps/v1
kind: {kind}
metadata: {{name: web}}
spec:
  {spec}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: app, image: "web:{version}"}}]}}
"""


def wanted(kind: str = "Deployment", spec: str = "replicas: 1", version: str = "1") -> Workload:
    text = TEXT.format(kind=kind, spec=spec, version=version).replace(
        "apps/v1", "batch/v1" if kind == "Job" else "apps/v1"
    )
    made = workload(parse(text, path="web.yaml")[0].in_namespace("default"), "shop", "web")
    assert made is not None
    return made


def having(owner: Workload, name: str, *, ordinal: int = 0, ready: bool = True, **pod: Any) -> Having:
    """Return a pod of the owner as it is now."""
    identity = Identity(
        project="shop",
        service="web",
        namespace="default",
        name=name,
        uid=f"uid-{name}",
        owner=owner.key,
        revision=owner.revision,
        ordinal=ordinal,
        template=owner.template,
    )
    phase = pod.pop("phase", "Running")
    return Having(identity=identity, pod=Pod(name=name, ready=ready, phase=phase, **pod))


def made(change: Change) -> list[str]:
    return [plan.name for plan in change.make]


# --- Deployments -------------------------------------------------------------------------------------------------


def test_a_deployment_makes_as_many_pods_as_it_wants_and_then_none() -> None:
    owner = wanted(spec="replicas: 2")
    first = changes(owner, [])
    assert made(first) == [f"web-{owner.revision}-0", f"web-{owner.revision}-1"]
    assert changes(owner, [having(owner, name) for name in made(first)]) == Change()


def test_a_new_pod_is_ready_before_the_old_one_goes() -> None:
    old, new = wanted(), wanted(version="2")
    before = having(old, "old")
    change = changes(new, [before])
    assert (made(change), change.end) == ([f"web-{new.revision}-0"], ())
    assert changes(new, [before, having(new, "new", ready=False)]) == Change()
    assert changes(new, [before, having(new, "new")]) == Change(end=("uid-old",))


def test_an_old_pod_that_does_not_serve_goes_at_once() -> None:
    old, new = wanted(), wanted(version="2")
    assert changes(new, [having(old, "old", ready=False), having(new, "new", ready=False)]).end == ("uid-old",)


def test_recreate_makes_the_new_pod_when_the_old_one_is_gone() -> None:
    old, new = (wanted(spec="strategy: {type: Recreate}", version=each) for each in "12")
    before = having(old, "old")
    assert changes(new, [before]) == Change(end=("uid-old",))
    assert changes(new, [having(old, "old", deleting=True)]) == Change()
    assert made(changes(new, [])) == [f"web-{new.revision}-0"]


def test_a_rollout_of_four_adds_one_and_takes_one_away() -> None:
    old, new = wanted(spec="replicas: 4"), wanted(spec="replicas: 4", version="2")
    change = changes(new, [having(old, f"old-{number}") for number in range(4)])
    assert (len(change.make), len(change.end)) == (1, 1)


def test_fewer_replicas_end_the_pods_that_do_not_serve_first() -> None:
    owner = wanted()
    assert changes(owner, [having(owner, "a"), having(owner, "b", ready=False)]).end == ("uid-b",)


def test_devloops_own_labels_make_no_new_revision() -> None:
    text = TEXT.format(kind="Deployment", spec="replicas: 1", version="1")
    labelled = text.replace("labels: {app: web}}\n    spec", 'labels: {app: web, devloop.dev/project: "x"}}\n    spec')
    found = workload(parse(labelled, path="web.yaml")[0].in_namespace("default"), "shop", "web")
    assert found is not None
    assert found.revision == wanted().revision


# --- StatefulSets ------------------------------------------------------------------------------------------------


def test_a_stateful_set_makes_its_pods_one_after_the_other_with_claims_of_their_own() -> None:
    claims = "replicas: 2\n  volumeClaimTemplates: [{metadata: {name: data}}]"
    owner = wanted("StatefulSet", claims)
    first = changes(owner, [])
    assert made(first) == ["web-0"]
    assert first.make[0].template["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}
    ]
    assert changes(owner, [having(owner, "web-0", ready=False)]) == Change()
    assert made(changes(owner, [having(owner, "web-0")])) == ["web-1"]


def test_a_stateful_set_is_updated_from_its_last_pod_to_its_first() -> None:
    old, new = wanted("StatefulSet", "replicas: 2"), wanted("StatefulSet", "replicas: 2", version="2")
    first, second = having(old, "web-0"), having(old, "web-1", ordinal=1)
    assert changes(new, [first, second]) == Change(end=("uid-web-1",))
    assert changes(new, [first, having(new, "web-1", ordinal=1, ready=False)]) == Change()
    assert changes(new, [first, having(new, "web-1", ordinal=1)]) == Change(end=("uid-web-0",))


def test_a_partition_keeps_the_first_pods_as_they_are() -> None:
    spec = "replicas: 2\n  updateStrategy: {rollingUpdate: {partition: 1}}"
    old, new = wanted("StatefulSet", spec), wanted("StatefulSet", spec, version="2")
    assert changes(new, [having(old, "web-0"), having(new, "web-1", ordinal=1)]) == Change()


def test_parallel_pods_are_made_at_once_and_surplus_ones_end() -> None:
    owner = wanted("StatefulSet", "replicas: 2\n  podManagementPolicy: Parallel")
    assert made(changes(owner, [])) == ["web-0", "web-1"]
    there = [having(owner, f"web-{number}", ordinal=number) for number in range(4)]
    assert changes(owner, there).end == ("uid-web-3", "uid-web-2")


# --- the others --------------------------------------------------------------------------------------------------


def test_a_daemon_set_has_one_pod_and_replaces_it() -> None:
    old, new = wanted("DaemonSet", "minReadySeconds: 0"), wanted("DaemonSet", "minReadySeconds: 0", version="2")
    assert made(changes(old, [])) == [f"web-{old.revision}-0"]
    assert changes(new, [having(old, "old")]) == Change(end=("uid-old",))


@pytest.mark.parametrize(
    ("there", "made_now"),
    [([], ["web-0", "web-1"]), ([(0, "Running")], ["web-1"]), ([(0, "Succeeded"), (1, "Succeeded")], ["web-2"])],
)
def test_a_job_runs_so_many_at_once_until_so_many_have_succeeded(there: list[tuple[int, str]], made_now: Any) -> None:
    owner = wanted("Job", "completions: 3\n  parallelism: 2")
    pods = [having(owner, f"web-{number}", ordinal=number, phase=phase, ready=False) for number, phase in there]
    assert made(changes(owner, pods)) == made_now


def test_a_job_gives_up_after_its_limit() -> None:
    owner = wanted("Job", "backoffLimit: 1")
    failed = [having(owner, f"web-{number}", ordinal=number, phase="Failed", ready=False) for number in range(2)]
    assert made(changes(owner, failed[:1])) == ["web-1"]
    assert changes(owner, failed) == Change()


def test_an_indexed_job_tells_each_pod_its_index() -> None:
    owner = wanted("Job", "completions: 2\n  parallelism: 2\n  completionMode: Indexed")
    indexes = [plan.template["spec"]["containers"][0]["env"][0]["value"] for plan in changes(owner, []).make]
    assert indexes == ["0", "1"]
