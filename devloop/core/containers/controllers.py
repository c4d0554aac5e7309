"""What controllers would do: the pods that a workload should have against those that it has.

One call is one step: the caller carries it out and asks again when something has changed.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.cluster.pods import Pod
from devloop.core.containers.identity import MANAGED_BY, PROJECT, SERVICE, Identity, short_hash
from devloop.core.manifest import Manifest
from devloop.core.manifest.pod_templates import built_in_template, pick, put
from devloop.model import Document, ObjectKey

__all__ = ["Change", "Having", "Plan", "Workload", "changes", "workload"]

_KEPT_REVISIONS: Final = frozenset({"ReplicaSet", "ReplicationController", "Job", "Pod"})
"""Kinds whose pods stay as they were made."""
_MARKS: Final = frozenset({MANAGED_BY, PROJECT, SERVICE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An object that has pods, as it was applied."""

    key: ObjectKey
    project: str
    service: str
    document: Document
    template: Document
    revision: str

    def spec(self, *path: str, default: Any = None) -> Any:
        """Return a value of the object's spec."""
        return pick(self.document, ("spec", *path), default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Having:
    """A pod that there is."""

    identity: Identity
    pod: Pod

    @property
    def gone(self) -> bool:
        """Whether it is on its way out."""
        return self.pod.deleting

    @property
    def over(self) -> bool:
        """Whether its work is done, well or not."""
        return self.pod.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pod to make: all but its UID."""

    name: str
    ordinal: int
    template: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be done for a workload now."""

    make: tuple[Plan, ...] = ()
    end: tuple[str, ...] = ()


def workload(manifest: Manifest, project: str, service: str) -> Workload | None:
    """Return the workload that an object is, or None where it has no pods."""
    pointer = built_in_template(manifest.document)
    if pointer is None or manifest.key.kind == "CronJob":
        return None
    found = pick(manifest.document, pointer, {})
    template = {"metadata": _plain(found.get("metadata") or {}), "spec": found.get("spec") or {}}
    return Workload(
        key=manifest.key,
        project=project,
        service=service,
        document=manifest.document,
        template=template,
        revision=short_hash([_own_metadata(template), template["spec"]]),
    )


def changes(wanted: Workload, having: Sequence[Having]) -> Change:
    """Return the next step from the pods that there are to those that there should be."""
    return _CONTROLLERS[wanted.key.kind](wanted, having)


def _own_metadata(template: Document) -> Document:
    """Return the metadata without devloop's labels: the revision is that of what the user wrote."""
    own = {name: value for name, value in pick(template, ("metadata", "labels"), {}).items() if name not in _MARKS}
    return {"labels": own, "annotations": pick(template, ("metadata", "annotations"), {})}


def _plain(metadata: Mapping[str, Any]) -> Document:
    return {part: metadata[part] for part in ("labels", "annotations") if metadata.get(part)}


# --- one after another -------------------------------------------------------------------------------------------


def _deployment(wanted: Workload, having: Sequence[Having]) -> Change:
    count = wanted.spec("replicas", default=1)
    alive = [each for each in having if not each.gone]
    new = [each for each in alive if each.identity.revision == wanted.revision]
    old = [each for each in alive if each not in new]
    if wanted.spec("strategy", "type", default="RollingUpdate") == "Recreate":
        if old:
            return Change(end=_uids(old))
        new_pods = 0 if len(having) > len(alive) else count - len(new)
        return Change(make=_numbered(wanted, having, new_pods), end=_uids(_surplus(new, count)))
    surge, missing = _room(wanted, count)
    make = max(0, min(count - len(new), count + surge - len(alive)))
    end = list(_surplus(new, count))
    lame = [each for each in old if not each.pod.ready]
    serving = sum(each.pod.ready for each in alive)
    may_go = serving - (count - missing)
    end += lame if new or count == 0 else []
    end += sorted((each for each in old if each.pod.ready), key=_age)[: max(0, may_go)]
    return Change(make=_numbered(wanted, having, make), end=_uids(end))


def _room(wanted: Workload, count: int) -> tuple[int, int]:
    """Return how many pods there may be beyond the wanted ones, and how many may be missing."""
    surge = _share(wanted.spec("strategy", "rollingUpdate", "maxSurge", default="25%"), count, math.ceil)
    missing = _share(wanted.spec("strategy", "rollingUpdate", "maxUnavailable", default="25%"), count, math.floor)
    return (surge, missing) if surge or missing else (0, 1)


def _share(said: object, count: int, rounded: Callable[[float], int]) -> int:
    text = str(said)
    if text.endswith("%") and text[:-1].isdigit():
        return rounded(count * int(text[:-1]) / 100)
    return int(text) if text.isdigit() else 0


def _replicas(wanted: Workload, having: Sequence[Having]) -> Change:
    count = wanted.spec("replicas", default=1)
    alive = [each for each in having if not each.gone]
    return Change(make=_numbered(wanted, having, count - len(alive)), end=_uids(_surplus(alive, count)))


def _stateful_set(wanted: Workload, having: Sequence[Having]) -> Change:
    count, start = wanted.spec("replicas", default=1), wanted.spec("ordinals", "start", default=0)
    parallel = wanted.spec("podManagementPolicy") == "Parallel"
    by_ordinal = {each.identity.ordinal: each for each in having}
    surplus = [each for each in having if not start <= each.identity.ordinal < start + count]
    make = []
    for ordinal in range(start, start + count):
        there = by_ordinal.get(ordinal)
        if there is None:
            make.append(_claiming(wanted, ordinal))
        if not parallel and (there is None or not there.pod.ready):
            break
    if make or surplus:
        last = sorted((each for each in surplus if not each.gone), key=lambda each: -each.identity.ordinal)
        one_by_one = last if parallel else last[:1] if len(last) == len(surplus) else []
        return Change(make=tuple(make), end=_uids(one_by_one))
    return Change(end=_uids(_outdated(wanted, having)))


def _outdated(wanted: Workload, having: Sequence[Having]) -> Sequence[Having]:
    """Return the pod of a StatefulSet to be made anew next: from the last to the first, each ready before the next."""
    if wanted.spec("updateStrategy", "type", default="RollingUpdate") != "RollingUpdate" or any(
        each.gone for each in having
    ):
        return []
    partition = wanted.spec("updateStrategy", "rollingUpdate", "partition", default=0)
    old = [each for each in having if each.identity.revision != wanted.revision and each.identity.ordinal >= partition]
    if lame := [each for each in old if not each.pod.ready]:
        return lame[:1]
    if any(not each.pod.ready for each in having):
        return []
    return sorted(old, key=lambda each: -each.identity.ordinal)[:1]


def _claiming(wanted: Workload, ordinal: int) -> Plan:
    """Return a pod of a StatefulSet, with its own claims and its stable name."""
    name = f"{wanted.key.name}-{ordinal}"
    template: Any = wanted.template
    claims = wanted.spec("volumeClaimTemplates", default=[])
    names = [str(pick(claim, ("metadata", "name"))) for claim in claims]
    if names:
        kept = [each for each in pick(template, ("spec", "volumes"), []) if each.get("name") not in names]
        own = [{"name": each, "persistentVolumeClaim": {"claimName": f"{each}-{name}"}} for each in names]
        template = put(template, ("spec", "volumes"), [*kept, *own])
    labels = {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": str(ordinal)}
    template = put(template, ("metadata", "labels"), {**pick(template, ("metadata", "labels"), {}), **labels})
    template = put(template, ("spec", "hostname"), name)
    if governing := wanted.spec("serviceName"):
        template = put(template, ("spec", "subdomain"), governing)
    return Plan(name=name, ordinal=ordinal, template=template)


def _daemon_set(wanted: Workload, having: Sequence[Having]) -> Change:
    old = [each for each in having if not each.gone and each.identity.revision != wanted.revision]
    if old and wanted.spec("updateStrategy", "type", default="RollingUpdate") == "RollingUpdate":
        return Change(end=_uids(old))
    return Change(make=_numbered(wanted, having, 0 if having else 1))


def _pod(wanted: Workload, having: Sequence[Having]) -> Change:
    if having:
        return Change()
    return Change(make=(Plan(name=wanted.key.name, ordinal=0, template=wanted.template),))


def _job(wanted: Workload, having: Sequence[Having]) -> Change:
    if wanted.spec("suspend"):
        return Change(end=_uids(each for each in having if not each.over and not each.gone))
    completions = wanted.spec("completions", default=1)
    done = {each.identity.ordinal for each in having if each.pod.phase == "Succeeded"}
    failed = sum(each.pod.phase == "Failed" for each in having)
    active = [each for each in having if not each.over]
    if failed > wanted.spec("backoffLimit", default=6):
        return Change(end=_uids(active))
    indexed = wanted.spec("completionMode") == "Indexed"
    left = completions - len(done) - len(active) if not indexed else completions
    room = min(wanted.spec("parallelism", default=1) - len(active), left)
    busy = {each.identity.ordinal for each in active} | done
    taken = {each.identity.ordinal for each in having}
    free = (number for number in range(completions + len(having) + 1) if number not in (busy if indexed else taken))
    limit = completions if indexed else math.inf
    chosen = [number for number, _ in zip(free, range(max(0, room)), strict=False) if number < limit]
    tries = len(having)
    return Change(make=tuple(_work(wanted, number, tries + at, indexed=indexed) for at, number in enumerate(chosen)))


def _work(wanted: Workload, number: int, attempt: int, *, indexed: bool) -> Plan:
    template: Any = wanted.template
    labels = {"job-name": wanted.key.name, "batch.kubernetes.io/job-name": wanted.key.name}
    if indexed:
        labels["batch.kubernetes.io/job-completion-index"] = str(number)
        variable = [{"name": "JOB_COMPLETION_INDEX", "value": str(number)}]
        for part in ("initContainers", "containers"):
            if found := pick(template, ("spec", part)):
                with_index = [{**each, "env": [*(each.get("env") or ()), *variable]} for each in found]
                template = put(template, ("spec", part), with_index)
    template = put(template, ("metadata", "labels"), {**pick(template, ("metadata", "labels"), {}), **labels})
    return Plan(name=f"{wanted.key.name}-{attempt}", ordinal=number, template=template)


# --- names and choices -------------------------------------------------------------------------------------------


def _numbered(wanted: Workload, having: Sequence[Having], count: int) -> tuple[Plan, ...]:
    """Return so many new pods with names that no other pod has."""
    base = wanted.key.name if wanted.key.kind in _KEPT_REVISIONS else f"{wanted.key.name}-{wanted.revision}"
    taken = {each.identity.name for each in having}
    plans: list[Plan] = []
    ordinal = 0
    while len(plans) < count:
        if (name := f"{base}-{ordinal}") not in taken:
            plans.append(Plan(name=name, ordinal=ordinal, template=wanted.template))
        ordinal += 1
    return tuple(plans)


def _surplus(having: Sequence[Having], count: int) -> Sequence[Having]:
    """Return the pods beyond the wanted number: those that do not serve yet first, then the newest."""
    order = sorted(having, key=lambda each: (not each.pod.ready, each.pod.created_at), reverse=True)
    return order[: max(0, len(having) - count)]


def _age(having: Having) -> str:
    return having.pod.created_at


def _uids(having: Iterable[Having]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.identity.uid for each in having if not each.gone))


_CONTROLLERS: Mapping[str, Callable[[Workload, Sequence[Having]], Change]] = {
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "Job": _job,
    "Pod": _pod,
    "ReplicaSet": _replicas,
    "ReplicationController": _replicas,
    "StatefulSet": _stateful_set,
}
