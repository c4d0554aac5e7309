"""Why a pod does not come up, in the words that a user needs; read from the pod and the cluster's events."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from devloop.core.cluster.pods import Container, Pod, Running, Terminated, Waiting
from devloop.core.manifest.pod_templates import pick
from devloop.model import Document, ObjectKey

__all__ = ["Event", "Failing", "FailureReason", "activity", "events_of", "failure"]

_UNBOUND = "unbound immediate PersistentVolumeClaims"
_PROVISIONING_SECONDS = 30.0
"""How long a provisioner may need for a volume; the scheduler calls the pod unschedulable meanwhile."""


class FailureReason(StrEnum):
    """What kind of failure it is."""

    IMAGE_PULL = "image-pull"
    CONFIG = "config"
    VOLUME = "volume"
    START = "start"
    CRASH = "crash"
    OUT_OF_MEMORY = "out-of-memory"
    PROBE = "probe"
    UNSCHEDULABLE = "unschedulable"
    POD_LOST = "pod-lost"
    NOT_CREATED = "not-created"
    JOB = "job"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """The rollout does not go on; it may mend itself when something else changes.

    Attributes:
        reason: What kind of failure it is.
        message: One sentence about it.
        pod: The pod that shows it, or None.
        container: Its container, or None; for a crash, the one whose last log lines explain it.
        exit_code: How the container's process ended, or None.
        restarts: How often the container was started again.
        object: The object that is rolled out.
        usual: Seconds for which this is nothing unusual, and no failure yet.
    """

    reason: FailureReason
    message: str
    pod: str | None = None
    container: str | None = None
    exit_code: int | None = None
    restarts: int = 0
    object: ObjectKey | None = None
    usual: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One of the cluster's events about an object; `count` says how often it was repeated."""

    kind: str
    name: str
    uid: str
    container: str | None
    reason: str
    message: str
    count: int


def events_of(raw: Iterable[Document]) -> tuple[Event, ...]:
    """Return events as values, from the core API or from `events.k8s.io`."""
    return tuple(_event(document) for document in raw)


def _event(raw: Document) -> Event:
    about = raw.get("involvedObject") or raw.get("regarding") or {}
    found = re.search(r"\{(.+)\}", about.get("fieldPath") or "")
    count = pick(raw, ("series", "count")) or raw.get("count") or raw.get("deprecatedCount") or 1
    return Event(
        kind=about.get("kind") or "",
        name=about.get("name") or "",
        uid=about.get("uid") or "",
        container=found[1] if found else None,
        reason=raw.get("reason") or "",
        message=raw.get("message") or raw.get("note") or "",
        count=count,
    )


def failure(pod: Pod, events: Sequence[Event], period: Callable[[str, str], int] | None = None) -> Failing | None:
    """Return why the pod does not come up, or None where it is still on its way (or up).

    Args:
        pod: The pod.
        events: Events, of this pod and others.
        period: Returns the seconds between two tries of a container's probe, by container and kind of probe.
    """
    own = [event for event in events if event.kind == "Pod" and (event.uid == pod.uid or event.name == pod.name)]
    found = _pod_failure(pod, own)
    for container in pod.containers:
        found = found or _container_failure(pod, container, own)
    for container in pod.containers:
        found = found or _probe_failure(pod, container, own, period or _default_period)
    return found


def activity(pod: Pod, events: Sequence[Event]) -> str | None:
    """Return what the pod is busy with where that takes long, or None."""
    own = [event for event in events if event.kind == "Pod" and (event.uid == pod.uid or event.name == pod.name)]
    for container in pod.containers:
        seen = {event.reason for event in own if event.container == container.name}
        if isinstance(container.state, Waiting) and "Pulling" in seen and "Pulled" not in seen:
            return f"pulling `{container.image}`"
        if container.init and not container.sidecar and isinstance(container.state, Running):
            return f"init container `{container.name}` runs"
    return None


def _pod_failure(pod: Pod, events: Sequence[Event]) -> Failing | None:
    for condition in pod.conditions:
        if condition.type == "PodScheduled" and condition.status is False and condition.reason == "Unschedulable":
            message = f"no node can take the pod: {condition.message}"
            usual = _PROVISIONING_SECONDS if _UNBOUND in condition.message else 0.0
            return Failing(reason=FailureReason.UNSCHEDULABLE, message=message, pod=pod.name, usual=usual)
    if pod.phase == "Failed" and pod.reason:
        message = f"the pod was ended by the cluster ({pod.reason}): {pod.message}"
        return Failing(reason=FailureReason.POD_LOST, message=message, pod=pod.name)
    if any(container.running for container in pod.containers):
        return None
    # The last resort of the kubelet's messages, `Unable to attach or mount volumes: … timed out`, says nothing.
    vague: list[Event] = []
    telling: list[Event] = []
    for event in reversed(events):
        (vague if event.message.startswith("Unable to attach or mount") else telling).append(event)
    for event in (*telling, *vague):
        if event.reason in ("FailedMount", "FailedAttachVolume"):
            detail = re.sub(r'^MountVolume\.\w+ failed for volume ("[^"]*") ?: ?', r"\1: ", event.message)
            message = f"a volume cannot be mounted: {detail}"
            return Failing(reason=FailureReason.VOLUME, message=message, pod=pod.name)
        if event.reason == "FailedCreatePodSandBox":
            return Failing(reason=FailureReason.START, message=_runtime_detail(event.message), pod=pod.name)
    return None


# --- containers --------------------------------------------------------------------------------------------


def _container_failure(pod: Pod, container: Container, events: Sequence[Event]) -> Failing | None:
    match container.state:
        case Waiting(reason=reason) if reason in _PULL:
            return _about(pod, container, FailureReason.IMAGE_PULL, _pull_message(container, events))
        case Waiting(reason="CreateContainerConfigError", message=message):
            text = f"{_named(container)} cannot be set up: {message}"
            return _about(pod, container, FailureReason.CONFIG, text)
        case Waiting(reason=reason, message=message) if reason in _START:
            text = f"{_named(container)} cannot be started: {_runtime_detail(message)}"
            return _about(pod, container, FailureReason.START, text)
        case Waiting(reason="CrashLoopBackOff") if container.last is not None:
            return _ended(pod, container, container.last, events)
        case Waiting(reason="CrashLoopBackOff"):
            return _about(pod, container, FailureReason.CRASH, f"{_named(container)} ends again and again")
        case Terminated() as end if not _may_end(pod, container, end):
            return _ended(pod, container, end, events)
        case _:
            return None


_PULL = {
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_START = {"CreateContainerError", "PostStartHookError", "PreStartHookError", "RunContainerError"}


def _may_end(pod: Pod, container: Container, end: Terminated) -> bool:
    may_end = (container.init and not container.sidecar) or pod.restart_policy != "Always"
    return end.exit_code == 0 and may_end


def _ended(pod: Pod, container: Container, end: Terminated, events: Sequence[Event]) -> Failing:
    probe = next(
        (
            detail
            for kind in ("Liveness", "Startup")
            for detail in _probe_messages(kind, container, events)
            if end.exit_code in _BY_SIGNAL
        ),
        None,
    )
    match end:
        case Terminated(reason="OOMKilled"):
            reason, text = FailureReason.OUT_OF_MEMORY, "was ended because it used more memory than its limit"
        case Terminated(reason="ContainerCannotRun" | "StartError" | "CreateContainerError" | "ContainerStatusUnknown"):
            reason, text = FailureReason.START, f"cannot be started: {_runtime_detail(end.message)}"
        case _ if probe is not None:
            reason, text = FailureReason.PROBE, f"is ended by the cluster: {probe}"
        case Terminated(exit_code=0):
            reason, text = FailureReason.CRASH, "ends with exit code 0, but should keep running"
        case _:
            reason, text = FailureReason.CRASH, f"ends with exit code {end.exit_code}"
    found = _about(pod, container, reason, f"{_named(container)} {text}{_again(container)}")
    return Failing(
        reason=found.reason,
        message=found.message,
        pod=found.pod,
        container=found.container,
        exit_code=end.exit_code,
        restarts=container.restarts,
    )


_BY_SIGNAL = {137, 143}


def _again(container: Container) -> str:
    match container.restarts:
        case 0:
            return ""
        case 1:
            return " (1 restart)"
        case restarts:
            return f" ({restarts} restarts)"


def _about(pod: Pod, container: Container, reason: FailureReason, message: str) -> Failing:
    return Failing(reason=reason, message=message, pod=pod.name, container=container.name, restarts=container.restarts)


def _named(container: Container) -> str:
    kind = "init container" if container.init and not container.sidecar else "container"
    return f"{kind} `{container.name}`"


# --- images ------------------------------------------------------------------------------------------------


def _pull_message(container: Container, events: Sequence[Event]) -> str:
    state = container.state
    reason, message = (state.reason, state.message) if isinstance(state, Waiting) else ("", "")
    if reason == "InvalidImageName":
        return f"`{container.image}` is not an image reference"
    if reason == "ErrImageNeverPull":
        return f"image `{container.image}` is not on the node, and its pull policy is `Never`"
    if reason == "ImagePullBackOff":
        told = [event.message for event in events if event.reason == "Failed" and event.container == container.name]
        message = next((text for text in reversed(told) if text.startswith("Failed to pull")), message)
    detail = re.sub(r'^(Failed to pull image|Back-off pulling image) "[^"]*"(: |$)', "", message)
    return f"cannot pull image `{container.image}`{f': {_runtime_detail(detail)}' if detail else ''}"


def _runtime_detail(message: str) -> str:
    """Return a runtime's message without the layers that only pass it on."""
    message = re.sub(r"rpc error: code = \w+ desc = |Error response from daemon: ", "", message)
    _, _, last = message.rpartition("unable to start container process: ")
    return (last or message).strip().removesuffix(": unknown")


# --- probes ------------------------------------------------------------------------------------------------

_PATIENCE = 20  # in tries times period; the cluster stops counting an event at 25
_TRIES = 3


def _default_period(_container: str, _probe: str) -> int:
    return 10


def _probe_failure(
    pod: Pod, container: Container, events: Sequence[Event], period: Callable[[str, str], int]
) -> Failing | None:
    """Return the probe that has kept a running container from being ready for half a minute."""
    if not container.running or container.ready or (container.init and not container.sidecar):
        return None
    for kind in ("Startup", "Readiness"):
        tries = sum(event.count for event in _unhealthy(kind, container, events))
        if tries >= _TRIES and tries * period(container.name, kind.lower()) >= _PATIENCE:
            detail = next(_probe_messages(kind, container, events))
            return _about(pod, container, FailureReason.PROBE, f"{_named(container)} does not get ready: {detail}")
    return None


def _unhealthy(kind: str, container: Container, events: Sequence[Event]) -> Iterator[Event]:
    for event in events:
        # Kubernetes names the kind of the probe nowhere but in the message.
        about_it = event.reason == "Unhealthy" and event.message.startswith(f"{kind} probe")
        if about_it and event.container == container.name:
            yield event


def _probe_messages(kind: str, container: Container, events: Sequence[Event]) -> Iterator[str]:
    for event in reversed([*_unhealthy(kind, container, events)]):
        detail = event.message.partition(":")[2].strip()
        yield f"its {kind.lower()} probe fails{f' ({detail})' if detail else ''}"
