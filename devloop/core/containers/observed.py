"""Pods as the engine shows them: its containers put together again, and what Kubernetes would say of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core.cluster.pods import Condition, Container, ContainerState, Owner, Pod, Running, Terminated, Waiting
from devloop.core.containers.identity import CONTAINER, ROLE, Identity, Role, decoded
from devloop.core.manifest.pod_templates import pick
from devloop.model import Document

__all__ = ["Known", "Run", "Seen", "Trouble", "main_containers", "pod_of", "runs_to_end", "seen_pods"]


_STATUSES: Final = {
    "dead": "exited",
    "removing": "exited",
    "restarting": "exited",
    "paused": "running",
    # Podman's own: https://github.com/containers/podman/blob/main/libpod/define/containerstate.go
    "configured": "created",
    "initialized": "created",
    "stopped": "exited",
    "stopping": "running",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One container of the engine: one run of a pod's container.

    Attributes:
        id: Its ID.
        container: Its name in the pod; empty for the one that holds the network.
        attempt: How often the pod's container was started before.
        status: `created`, `running` or `exited`.
        image: The ID of its image.
        address: Its IP address, or empty.
    """

    id: str
    container: str
    attempt: int
    status: str
    image: str = ""
    created_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    exit_code: int = 0
    out_of_memory: bool = False
    error: str = ""
    address: str = ""

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.status == "running"

    @property
    def ended(self) -> bool:
        """Whether its process has run."""
        return self.status == "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A pod as the engine holds it; `runs` of each container in order of their attempts."""

    identity: Identity
    runs: Mapping[str, tuple[Run, ...]]
    sandbox: Run | None = None
    created_at: str = ""

    def current(self, container: str) -> Run | None:
        """Return the newest run of a container, or None."""
        found = self.runs.get(container)
        return found[-1] if found else None

    @property
    def address(self) -> str:
        """The pod's IP address; empty while it has none."""
        if self.sandbox is not None:
            return self.sandbox.address
        return next((run.address for runs in self.runs.values() for run in runs if run.running and run.address), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a container does not run: a reason in Kubernetes's own words, and a sentence."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a pod beside what the engine holds.

    Attributes:
        ready: The runs whose readiness probe passes, or that have none.
        started: The runs whose startup probe has passed, or that have none.
        troubles: By container.
        ending: Whether it is being removed.
    """

    ready: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    ending: bool = False


def seen_pods(inspected: Iterable[Document]) -> tuple[Seen, ...]:
    """Return the pods that these containers are, as `docker inspect` shows them; in order of their names."""
    identities: dict[str, Identity] = {}
    runs: dict[str, list[Run]] = {}
    for raw in inspected:
        found = pick(raw, ("Config", "Labels"), {})
        if found.get(ROLE) not in {Role.CONTAINER, Role.SANDBOX}:
            continue
        identity = decoded(found)
        identities[identity.uid] = identity
        runs.setdefault(identity.uid, []).append(_run(raw, found))
    pods = []
    for uid, identity in identities.items():
        own = sorted(runs[uid], key=lambda run: run.attempt)
        by_container: dict[str, tuple[Run, ...]] = {}
        for run in own:
            if run.container:
                by_container[run.container] = (*by_container.get(run.container, ()), run)
        sandbox = next((run for run in own if not run.container), None)
        created = min(run.created_at for run in own)
        pods.append(Seen(identity=identity, runs=by_container, sandbox=sandbox, created_at=created))
    return tuple(sorted(pods, key=lambda pod: (pod.identity.namespace, pod.identity.name, pod.identity.uid)))


def _run(raw: Document, found: Mapping[str, str]) -> Run:
    name, _, attempt = found.get(CONTAINER, "").partition("/")
    state = raw.get("State") or {}
    status = str(state.get("Status")).lower()
    networks = pick(raw, ("NetworkSettings", "Networks"), {})
    return Run(
        id=str(raw.get("Id")),
        container=name,
        attempt=int(attempt or 0),
        status=_STATUSES.get(status, status),
        image=str(raw.get("Image") or ""),
        created_at=_time(raw.get("Created")),
        started_at=_time(state.get("StartedAt")),
        finished_at=_time(state.get("FinishedAt")),
        exit_code=state.get("ExitCode") or 0,
        out_of_memory=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        address=next((each["IPAddress"] for each in networks.values() if each.get("IPAddress")), ""),
    )


def _time(said: object) -> str:
    return "" if not said or str(said).startswith("0001-") else str(said)


# --- as Kubernetes says it ---------------------------------------------------------------------------------------


def main_containers(identity: Identity) -> tuple[Mapping[str, Any], ...]:
    """Return the containers that must be ready: those of the pod, and init containers that keep running."""
    spec = identity.spec
    return (*(each for each in spec.get("initContainers") or () if _stays(each)), *(spec.get("containers") or ()))


def runs_to_end(identity: Identity) -> bool:
    """Return whether the pod ends when its containers have done their work."""
    return bool(pick(identity.spec, ("restartPolicy",), "Always") != "Always")


def pod_of(seen: Seen, known: Known) -> Pod:
    """Return the pod as the cluster port tells of it."""
    identity = seen.identity
    metadata = identity.template.get("metadata") or {}
    containers = tuple(
        _container(seen, known, said, init=init)
        for part, init in (("initContainers", True), ("containers", False))
        for said in identity.spec.get(part) or ()
    )
    phase = _phase(seen, containers)
    needed = [each for each in containers if not each.init or each.sidecar]
    ready = (
        phase == "Running"
        and bool(seen.address or identity.spec.get("hostNetwork"))
        and all(each.ready for each in needed)
    )
    return Pod(
        name=identity.name,
        namespace=identity.namespace,
        uid=identity.uid,
        created_at=seen.created_at,
        labels={**(metadata.get("labels") or {}), **_revision_labels(identity)},
        annotations=metadata.get("annotations") or {},
        phase=phase,
        ready=ready,
        deleting=known.ending,
        ip=seen.address or None,
        node="docker",
        restart_policy=str(pick(identity.spec, ("restartPolicy",), "Always")),
        containers=containers,
        conditions=(Condition(type="Ready", status=ready),),
        owner=_owner(identity),
    )


def _owner(identity: Identity) -> Owner | None:
    """Return the pod's owner as a cluster would have it: between a Deployment and its pods there is a ReplicaSet."""
    owner = identity.owner
    uid = f"{identity.namespace}/{owner.kind}/{owner.name}"
    match owner.kind:
        case "Pod":
            return None
        case "Deployment":
            return Owner(kind="ReplicaSet", name=f"{owner.name}-{identity.revision}", uid=f"{uid}/{identity.revision}")
        case _:
            return Owner(kind=owner.kind, name=owner.name, uid=uid)


def _revision_labels(identity: Identity) -> Mapping[str, str]:
    match identity.owner.kind:
        case "Deployment":
            return {"pod-template-hash": identity.revision}
        case "DaemonSet" | "StatefulSet":
            return {"controller-revision-hash": identity.revision}
        case _:
            return {}


def _phase(seen: Seen, containers: Sequence[Container]) -> str:
    mains = [each for each in containers if not each.init]
    ended = [each for each in mains if isinstance(each.state, Terminated)]
    if any(each.init and isinstance(each.state, Terminated) and each.state.exit_code for each in containers) and (
        pick(seen.identity.spec, ("restartPolicy",), "Always") == "Never"
    ):
        return "Failed"
    if mains and len(ended) == len(mains) and runs_to_end(seen.identity):
        failed = any(isinstance(each.state, Terminated) and each.state.exit_code for each in ended)
        return "Failed" if failed else "Succeeded"
    if any(each.running or each.restarts or isinstance(each.state, Terminated) for each in mains):
        return "Running"
    return "Pending"


def _container(seen: Seen, known: Known, said: Mapping[str, Any], *, init: bool) -> Container:
    name = str(said.get("name"))
    runs = seen.runs.get(name, ())
    current = runs[-1] if runs else None
    trouble = known.troubles.get(name)
    sidecar = init and _stays(said)
    state: ContainerState
    last = _terminated(runs[-2]) if len(runs) > 1 else None
    if trouble is not None and not (current and current.running):
        state = Waiting(reason=trouble.reason, message=trouble.message)
        last = _terminated(current) if current and current.ended else last
    elif current is None or current.status == "created":
        state = Waiting(reason="PodInitializing" if not init and _initializing(seen) else "ContainerCreating")
    elif current.running:
        state = Running(started_at=current.started_at)
    else:
        state = _terminated(current) or Waiting()
    done = init and not sidecar and isinstance(state, Terminated) and state.exit_code == 0
    running = isinstance(state, Running)
    return Container(
        name=name,
        init=init,
        sidecar=sidecar,
        image=str(said.get("image") or ""),
        image_id=current.image if current else "",
        container_id=f"docker://{current.id}" if current else "",
        state=state,
        last=last,
        ready=done or bool(running and current and current.id in known.ready),
        started=done or bool(running and current and current.id in known.started),
        restarts=current.attempt if current else 0,
        ports={
            port["name"]: port["containerPort"]
            for port in said.get("ports") or ()
            if port.get("name") and port.get("protocol", "TCP") == "TCP"
        },
    )


def _initializing(seen: Seen) -> bool:
    return any(
        (run := seen.current(str(said.get("name")))) is None or not (run.ended and run.exit_code == 0)
        for said in seen.identity.spec.get("initContainers") or ()
        if not _stays(said)
    )


def _terminated(run: Run) -> Terminated | None:
    if not run.ended:
        return None
    reason = "OOMKilled" if run.out_of_memory else "Completed" if run.exit_code == 0 else "Error"
    return Terminated(
        exit_code=run.exit_code,
        reason=reason,
        message=run.error,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def _stays(said: Mapping[str, Any]) -> bool:
    return bool(said.get("restartPolicy") == "Always")
