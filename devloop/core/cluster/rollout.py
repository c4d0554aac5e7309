"""Whether what was applied is up: `kubectl rollout status` for a whole service, with the reason where it is not.

Pure: the caller gives what the cluster holds at one moment and asks again when something changes. Only pods of the
newest revision count, so that a crashing old pod does not fail the rollout that mends it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from devloop.core.cluster.failures import Event, Failing, FailureReason, activity, events_of, failure
from devloop.core.cluster.pods import Pod, conditions_of, owner_of
from devloop.core.manifest import Manifest
from devloop.core.manifest.pod_templates import pick, template_pointer
from devloop.model import Document, ObjectKey

__all__ = ["Failing", "FailureReason", "Progressing", "Ready", "Rollout", "rollout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Everything is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressing:
    """It is on its way; the message says what it waits for."""

    message: str
    object: ObjectKey | None = None


Rollout = Ready | Progressing | Failing


def rollout(
    wanted: Iterable[Manifest],
    live: Mapping[ObjectKey, Document],
    pods: Sequence[Pod],
    events: Iterable[Document] = (),
) -> Rollout:
    """Return the state of the rollout of `wanted`: a failure before a wait before readiness.

    Args:
        wanted: What was applied, with keys as in `live` (`Manifest.in_namespace`).
        live: The objects as the cluster has them, at least as new as the answer to the apply. ReplicaSets among them
            tell the newest revision of a Deployment for sure; without them the newest pods do.
        pods: The pods of the service, old ones too.
        events: The cluster's events about them (either API), for reasons that no status has.
    """
    seen = _Seen(live=live, pods=pods, events=events_of(events))
    states = [_state(manifest, seen) for manifest in wanted]
    for kind in (Failing, Progressing):
        for state in states:
            if isinstance(state, kind):
                return state
    return Ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the cluster holds at one moment."""

    live: Mapping[ObjectKey, Document]
    pods: Sequence[Pod]
    events: Sequence[Event] = field(default=())


def _state(manifest: Manifest, seen: _Seen) -> Rollout:
    live = seen.live.get(manifest.key)
    if live is None:
        return Progressing(message=f"waiting for {manifest.key} to appear", object=manifest.key)
    check = _CHECKS.get((manifest.key.group, manifest.key.kind))
    if check is None:
        return Ready()
    waiting = check(live)
    if waiting is None:
        return Ready()
    if template_pointer(live) is None or waiting == _UNSEEN:  # until it is seen, the failing pods are those of before
        return Progressing(message=f"{manifest.key}: {waiting}", object=manifest.key)
    return _reason(manifest, live, seen, waiting)


def _reason(manifest: Manifest, live: Document, seen: _Seen, waiting: str) -> Failing | Progressing:
    """Return why a workload is not up yet: what fails, or what it waits for."""
    pods = [pod for pod in _current_pods(live, seen) if not pod.deleting]

    def period(container: str, probe: str) -> int:
        return _period(live, container, probe)

    for pod in pods:
        if found := failure(pod, seen.events, period):
            return replace(found, object=manifest.key)
    if found := _given_up(live) or (None if pods else _not_created(live, seen)):
        return replace(found, object=manifest.key)
    busy = next((text for pod in pods if (text := activity(pod, seen.events))), None)
    return Progressing(message=f"{manifest.key}: {busy or waiting}", object=manifest.key)


def _period(live: Document, container: str, probe: str) -> int:
    for spec in pick(live, (*(template_pointer(live) or ()), "spec", "containers"), []):
        if spec.get("name") == container:
            period = pick(spec, (f"{probe}Probe", "periodSeconds"), 10)
            return period if isinstance(period, int) else 10
    return 10


def _given_up(live: Document) -> Failing | None:
    """Return that the cluster itself has given up, or None."""
    for condition in conditions_of(live):
        if condition.type == "Progressing" and condition.reason == "ProgressDeadlineExceeded":
            return Failing(reason=FailureReason.DEADLINE, message="it made no progress within its deadline")
        if condition.type == "Failed" and condition.status:
            return Failing(reason=FailureReason.JOB, message=f"the job has failed: {condition.message}")
    return None


def _not_created(live: Document, seen: _Seen) -> Failing | None:
    """Return why a controller cannot make its pods (a quota, a missing account), or None."""
    for condition in conditions_of(live):
        if condition.type == "ReplicaFailure" and condition.status:
            return Failing(reason=FailureReason.NOT_CREATED, message=f"no pod can be created: {condition.message}")
    uid = pick(live, ("metadata", "uid"))
    told = [event.message for event in seen.events if event.uid == uid and event.reason == "FailedCreate"]
    if not told:
        return None
    return Failing(reason=FailureReason.NOT_CREATED, message=f"no pod can be created: {told[-1]}")


# --- is it up? ---------------------------------------------------------------------------------------------

_Check = Callable[[Document], str | None]
"""Returns what the object waits for, or None where it is up."""


def _deployment(live: Document) -> str | None:
    if unseen := _unseen(live):
        return unseen
    if pick(live, ("spec", "paused")):
        return None
    wanted = pick(live, ("spec", "replicas"), 1)
    total, updated, available = (_number(live, name) for name in ("replicas", "updatedReplicas", "availableReplicas"))
    if updated < wanted:
        return f"{updated} of {wanted} pods are made anew"
    if available < updated:
        return f"{available} of {updated} pods are available"
    if total > updated:
        return f"{total - updated} old pods are still there"
    return None


def _stateful_set(live: Document) -> str | None:
    if unseen := _unseen(live):
        return unseen
    wanted = pick(live, ("spec", "replicas"), 1)
    ready, updated = _number(live, "readyReplicas"), _number(live, "updatedReplicas")
    strategy = pick(live, ("spec", "updateStrategy", "type"), "RollingUpdate")
    partition = pick(live, ("spec", "updateStrategy", "rollingUpdate", "partition"), 0)
    if strategy == "RollingUpdate" and updated < wanted - partition:
        return f"{updated} of {wanted - partition} pods are made anew"
    if ready < wanted:
        return f"{ready} of {wanted} pods are ready"
    if (
        strategy == "RollingUpdate"
        and not partition
        and _status(live, "updateRevision") != _status(live, "currentRevision")
    ):
        return "the update is being finished"
    return None


def _daemon_set(live: Document) -> str | None:
    if unseen := _unseen(live):
        return unseen
    wanted, updated = _number(live, "desiredNumberScheduled"), _number(live, "updatedNumberScheduled")
    available = _number(live, "numberAvailable")
    if updated < wanted and pick(live, ("spec", "updateStrategy", "type"), "RollingUpdate") == "RollingUpdate":
        return f"{updated} of {wanted} pods are made anew"
    if available < wanted:
        return f"{available} of {wanted} pods are available"
    return None


def _replica_set(live: Document) -> str | None:
    if unseen := _unseen(live):
        return unseen
    wanted, available = pick(live, ("spec", "replicas"), 1), _number(live, "availableReplicas")
    return None if available >= wanted else f"{available} of {wanted} pods are available"


def _job(live: Document) -> str | None:
    for condition in conditions_of(live):
        if condition.type in ("Complete", "SuccessCriteriaMet") and condition.status:
            return None
    if pick(live, ("spec", "suspend")):
        return None
    wanted, done = pick(live, ("spec", "completions"), 1), _number(live, "succeeded")
    return f"{done} of {wanted} runs are done"


def _pod(live: Document) -> str | None:
    ready = any(condition.type == "Ready" and condition.status for condition in conditions_of(live))
    if ready or pick(live, ("status", "phase")) == "Succeeded":
        return None
    return "the pod is not ready"


def _definition(live: Document) -> str | None:
    established = any(condition.type == "Established" and condition.status for condition in conditions_of(live))
    return None if established else "waiting for the cluster to serve it"


def _namespace(live: Document) -> str | None:
    return "it is being removed" if pick(live, ("status", "phase")) == "Terminating" else None


_CHECKS: Mapping[tuple[str, str], _Check] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "ReplicationController"): _replica_set,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
}


_UNSEEN = "waiting for the cluster to take up the change"


def _unseen(live: Document) -> str | None:
    generation = pick(live, ("metadata", "generation"), 0)
    return None if _number(live, "observedGeneration") >= generation else _UNSEEN


def _number(live: Document, name: str) -> int:
    value = pick(live, ("status", name), 0)
    return value if isinstance(value, int) else 0


def _status(live: Document, name: str) -> Any:
    return pick(live, ("status", name))


# --- which pods are the newest? ----------------------------------------------------------------------------


def _current_pods(live: Document, seen: _Seen) -> list[Pod]:
    """Return the pods of the object's newest revision."""
    uid, name = pick(live, ("metadata", "uid")), pick(live, ("metadata", "name"))
    match live.get("kind"):
        case "Pod":
            return [pod for pod in seen.pods if pod.uid == uid]
        case "Deployment":
            return _of_deployment(live, seen)
        case "StatefulSet":
            revision = _status(live, "updateRevision")
            return [pod for pod in _owned(seen, uid) if pod.labels.get(_REVISION) == revision]
        case "DaemonSet":
            return _of_daemon_set(live, seen)
        case "Job":
            return _of_job(_owned(seen, uid))
        case _:
            return [pod for pod in _owned(seen, uid) if pod.owner and pod.owner.name == name]


_HASH = "pod-template-hash"
_REVISION = "controller-revision-hash"


def _owned(seen: _Seen, uid: str | None) -> list[Pod]:
    return [pod for pod in seen.pods if pod.owner is not None and pod.owner.uid == uid]


def _of_deployment(live: Document, seen: _Seen) -> list[Pod]:
    uid, name = pick(live, ("metadata", "uid")), pick(live, ("metadata", "name"))
    sets = [
        document
        for key, document in seen.live.items()
        if key.kind == "ReplicaSet" and (owner := owner_of(document)) and owner.uid == uid
    ]
    if sets:
        newest = max(sets, key=lambda document: int(_annotation(document, "deployment.kubernetes.io/revision") or 0))
        if _annotation(newest, "deployment.kubernetes.io/revision") != _annotation(
            live, "deployment.kubernetes.io/revision"
        ):
            return []
        return _owned(seen, pick(newest, ("metadata", "uid")))
    pods = [
        pod
        for pod in seen.pods
        if pod.owner and pod.owner.kind == "ReplicaSet" and pod.owner.name == f"{name}-{pod.labels.get(_HASH)}"
    ]
    return _newest(pods, _HASH, _number(live, "updatedReplicas"))


def _of_daemon_set(live: Document, seen: _Seen) -> list[Pod]:
    pods = _owned(seen, pick(live, ("metadata", "uid")))
    generation = _annotation(live, "deprecated.daemonset.template.generation")
    if generation and any("pod-template-generation" in pod.labels for pod in pods):
        return [pod for pod in pods if pod.labels.get("pod-template-generation") == generation]
    return _newest(pods, _REVISION, _number(live, "updatedNumberScheduled"))


def _of_job(pods: Sequence[Pod]) -> list[Pod]:
    """Return the runs that count: those under way, else the last."""
    active = [pod for pod in pods if pod.phase != "Failed"]
    return active or sorted(pods, key=lambda pod: pod.created_at)[-1:]


def _newest(pods: Sequence[Pod], label: str, updated: int) -> list[Pod]:
    """Return the pods that share the label's value with the newest pod, if the controller has made any of that kind."""
    if not pods or not updated:
        return []
    by_revision: dict[str | None, list[Pod]] = {}
    for pod in pods:
        by_revision.setdefault(pod.labels.get(label), []).append(pod)
    return max(by_revision.values(), key=lambda group: (max(pod.created_at for pod in group), len(group) == updated))


def _annotation(document: Document, name: str) -> str | None:
    value = pick(document, ("metadata", "annotations", name))
    return value if isinstance(value, str) else None
