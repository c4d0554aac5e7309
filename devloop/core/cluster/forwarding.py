"""Which local ports lead to which pods: from what a service asks for and its manifests declare, to rules.

`rules` reads one service, `settle` gives each local port to one of them, `targets` finds the pods. Nothing here listens
or connects.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from devloop.core.cluster.pods import Pod
from devloop.core.manifest.workloads import KubeServiceFacts, ServiceFacts, ServicePort, WorkloadFacts
from devloop.errors import InputError, InputErrors, Where
from devloop.model import ForwardRule

__all__ = ["Asked", "PortNote", "Settled", "Target", "rules", "settle", "targets"]

_UNPRIVILEGED = 1024
_RAISED_BY = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The forwards of one service.

    Attributes:
        service: The service node's name.
        rules: What `rules` returned.
        explicit: Whether the devfile names the ports, rather than devloop deriving them from the manifests.
        where: Where the devfile declares the service.
    """

    service: str
    rules: tuple[ForwardRule, ...]
    explicit: bool
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortNote:
    """A port that is not forwarded, since another service has its local port; `message` says it to the user."""

    rule: ForwardRule
    holder: ForwardRule

    @property
    def message(self) -> str:
        """Return one sentence with the way out."""
        return (
            f"port {self.rule.remote} of `{self.rule.service}` is not forwarded: `{self.holder.service}` has the local "
            f"port {self.rule.local}; give it another one, for example "
            f"`ports={{{_free_looking(self.rule.local)}: {_written(self.rule.remote)}}}`"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The rules that hold, each local port once, and notes about the ports that gave way."""

    rules: tuple[ForwardRule, ...]
    notes: tuple[PortNote, ...] = ()


def rules(
    service: str, ports: Mapping[int, int | str] | None, facts: ServiceFacts, *, where: Where | None = None
) -> tuple[ForwardRule, ...]:
    """Return the forwards of one service.

    A remote port is a Service's port or, where no Service declares it, a container's: by number or name, or with the
    name of the Service or workload before it (`"admin:80"`) where several declare the same.

    Args:
        service: The service node's name.
        ports: Local port to remote port. None forwards all TCP ports of the Services, to the same number from 1024
            on and to 8000 above it below that (80 to 8080); an empty mapping forwards nothing.
        facts: What the service's manifests declare.
        where: Where the devfile asks for it.

    Raises:
        InputErrors: A remote port is declared by nothing, or by several things.
    """
    ends = tuple(_ends(facts))
    if ports is None:
        return tuple(_derived(service, ends))
    found = [_asked(service, local, remote, ends, where) for local, remote in ports.items()]
    if errors := [item for item in found if isinstance(item, InputError)]:
        raise InputErrors(errors)
    return tuple(item for item in found if isinstance(item, ForwardRule))


def settle(asked: Iterable[Asked]) -> Settled:
    """Return the rules of all services with each local port given once.

    Ports that a devfile names come before derived ones, and among those the service that is declared first.

    Raises:
        InputErrors: Two services name the same local port.
    """
    asked = tuple(asked)
    held: dict[int, tuple[ForwardRule, Asked]] = {}
    errors = []
    notes = []
    for one in sorted(asked, key=lambda one: not one.explicit):
        for rule in one.rules:
            holder, theirs = held.setdefault(rule.local, (rule, one))
            if holder is rule:
                continue
            if one.explicit:
                errors.append(_taken(rule, one, theirs))
            else:
                notes.append(PortNote(rule=rule, holder=holder))
    if errors:
        raise InputErrors(errors)
    kept = {id(rule) for rule, _ in held.values()}
    return Settled(rules=tuple(rule for one in asked for rule in one.rules if id(rule) in kept), notes=tuple(notes))


def _taken(rule: ForwardRule, asked: Asked, theirs: Asked) -> InputError:
    return InputError(
        f"`{asked.service}` and `{theirs.service}` both ask for the local port {rule.local}",
        where=asked.where,
        hint=f"give one of them another, for example `ports={{{_free_looking(rule.local)}: {_written(rule.remote)}}}`",
        chain=[theirs.where] if theirs.where else [],
    )


# --- the pods behind a rule ------------------------------------------------------------------------------------

_REVISION_LABELS = ("pod-template-hash", "controller-revision-hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A port of a pod that a connection may be led to."""

    pod: Pod
    port: int


def targets(rule: ForwardRule, pods: Iterable[Pod]) -> tuple[tuple[Target, ...], ...]:
    """Return the pods that connections may be led to, by revision, the newest revision first.

    Only ready pods that are not being deleted, as behind a Service. A revision is as new as its youngest pod.
    """
    found = [Target(pod=pod, port=port) for pod in pods if (port := _port_in(rule, pod)) is not None]
    revisions: dict[str, list[Target]] = {}
    for target in found:
        revisions.setdefault(_revision(target.pod), []).append(target)
    youngest_first = sorted(
        revisions.values(), key=lambda revision: max(target.pod.created_at for target in revision), reverse=True
    )
    return tuple(tuple(revision) for revision in youngest_first)


def _port_in(rule: ForwardRule, pod: Pod) -> int | None:
    """Return the port of this pod that the rule leads to, or None when it does not lead to this pod."""
    if not pod.ready or pod.deleting or not rule.selector:
        return None
    if rule.namespace and pod.namespace != rule.namespace:
        return None
    if not rule.selector.items() <= pod.labels.items():
        return None
    if isinstance(rule.port, int):
        return rule.port
    named = (container.ports.get(rule.port) for container in pod.containers if not container.init or container.sidecar)
    return next((port for port in named if port is not None), None)


def _revision(pod: Pod) -> str:
    return next((pod.labels[label] for label in _REVISION_LABELS if label in pod.labels), "")


# --- what can be forwarded -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """A port that a forward can lead to.

    Attributes:
        owner: The name of the Service or workload that declares it.
        declared_by_service: Whether a Service does.
        number: The declared number.
        name: Its declared name.
        port: The port in the pod.
    """

    owner: str
    declared_by_service: bool
    number: int
    name: str | None
    selector: Mapping[str, str]
    namespace: str
    port: int | str

    def answers_to(self, remote: int | str) -> bool:
        """Return whether the user means this end."""
        if remote in (self.number, self.name):
            return True
        owner, colon, port = str(remote).rpartition(":")
        return bool(colon) and owner == self.owner and port in (str(self.number), self.name)

    def leads_where(self, other: "_End") -> bool:
        """Return whether both lead to the same port of the same pods."""
        return (self.selector, self.namespace, self.port) == (other.selector, other.namespace, other.port)

    @property
    def text(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"{self.number}{name} of {'Service' if self.declared_by_service else 'workload'} `{self.owner}`"


def _ends(facts: ServiceFacts) -> Iterator[_End]:
    for service in facts.services:
        if service.selector:
            yield from (_end_of_service(service, port) for port in service.ports if port.protocol == "TCP")
    for workload in facts.workloads:
        yield from _ends_of_workload(workload)


def _end_of_service(service: KubeServiceFacts, port: ServicePort) -> _End:
    return _End(
        owner=service.key.name,
        declared_by_service=True,
        number=port.number,
        name=port.name,
        selector=service.selector,
        namespace=service.key.namespace,
        port=port.target,
    )


def _ends_of_workload(workload: WorkloadFacts) -> Iterator[_End]:
    selector = workload.selector or workload.pod_labels
    if not selector:
        return
    for container in workload.containers:
        if container.init and not container.sidecar:
            continue
        for port in container.ports:
            if port.protocol == "TCP":
                yield _End(
                    owner=workload.key.name,
                    declared_by_service=False,
                    number=port.number,
                    name=port.name,
                    selector=selector,
                    namespace=workload.key.namespace,
                    port=port.number,
                )


def _derived(service: str, ends: Sequence[_End]) -> Iterator[ForwardRule]:
    """Yield a rule for each Service's port; a second Service for the same pods (a headless one) adds none."""
    taken: list[_End] = []
    for end in ends:
        if end.declared_by_service and not any(
            end.leads_where(other) and end.number == other.number for other in taken
        ):
            taken.append(end)
            local = end.number if end.number >= _UNPRIVILEGED else end.number + _RAISED_BY
            yield _rule(service, local, end.number, end)


def _asked(
    service: str, local: int, remote: int | str, ends: Sequence[_End], where: Where | None
) -> ForwardRule | InputError:
    named = [end for end in ends if end.answers_to(remote)]
    named = [end for end in named if end.declared_by_service] or named
    if not named:
        return InputError(
            f"`{service}` forwards port {local} to {_written(remote)}, which its manifests do not declare",
            where=where,
            hint=_declared(ends),
        )
    first, *others = named
    if not all(first.leads_where(other) for other in others):
        choices = ", ".join(f'`"{end.owner}:{end.name or end.number}"`' for end in named)
        return InputError(
            f"`{service}` forwards port {local} to {_written(remote)}, which its manifests declare more than once",
            where=where,
            hint=f"say which: {choices}",
        )
    return _rule(service, local, remote, first)


def _rule(service: str, local: int, remote: int | str, end: _End) -> ForwardRule:
    return ForwardRule(
        service=service,
        local=local,
        selector=end.selector,
        namespace=end.namespace,
        port=end.port,
        remote=remote,
    )


def _declared(ends: Sequence[_End]) -> str:
    if not ends:
        return "declare it: a Service's `port`, or a container's `containerPort`"
    return f"declared: {', '.join(end.text for end in ends)}"


def _written(remote: int | str) -> str:
    return str(remote) if isinstance(remote, int) else f'"{remote}"'


def _free_looking(local: int) -> int:
    return local + 1 if local < 65535 else local - 1
