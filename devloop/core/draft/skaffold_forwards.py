"""Skaffold's port-forwards → the ports of services."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from devloop.core.draft.fields import Fields
from devloop.core.draft.manifests import ManifestFile
from devloop.core.draft.model import DraftService, Manifests, Note
from devloop.core.draft.port_choices import ports_of

__all__ = ["Forward", "forward_of", "with_ports"]

_UNPRIVILEGED: Final = 1024
_RAISED_BY: Final = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A port-forward: a local port to one of an object.

    Attributes:
        kind: The object's kind, in lower case.
        name: Its name.
        local: The local port.
        remote: The object's port, by number or name.
        fields: Where it stands.
    """

    kind: str
    name: str
    local: int
    remote: int | str
    fields: Fields


def forward_of(fields: Fields) -> Forward:
    """Return what an item of `portForward` says."""
    kind, name = (fields.text("resourceType") or "service").lower(), fields.text("resourceName") or ""
    port = fields.text("port") or ""
    local = fields.number("localPort")
    fields.settled("namespace")
    address = fields.text("address")
    if address not in {None, "127.0.0.1", "localhost"}:
        fields.note("address", "not carried over: devloop listens on this machine's own addresses only")
    fields.rest()
    remote: int | str = int(port) if port.isdigit() else port
    if local is None:
        local = remote if isinstance(remote, int) else _RAISED_BY
    if local < _UNPRIVILEGED:
        fields.note(None, f"is forwarded at {local + _RAISED_BY}: ports below {_UNPRIVILEGED} are for administrators")
        local += _RAISED_BY
    return Forward(kind=kind, name=name, local=local, remote=remote, fields=fields)


def with_ports(
    services: Sequence[DraftService],
    forwards: Sequence[Forward],
    files_of: Callable[[DraftService], Sequence[ManifestFile]],
    notes: list[Note],
) -> list[DraftService]:
    """Return the services with the ports that are forwarded, instead of those that would be proposed.

    Args:
        services: The services.
        forwards: The port-forwards.
        files_of: Returns the manifests of a service, as far as they are files.
        notes: Takes the notes.
    """
    asked: dict[str, list[Forward]] = {}
    for forward in forwards:
        owner = _owner(forward, services, files_of)
        if owner is None:
            forward.fields.note(None, f"not carried over: no manifest declares the {forward.kind} `{forward.name}`")
        else:
            asked.setdefault(owner, []).append(forward)
    result = []
    for service in services:
        wanted = asked.get(service.name)
        if wanted is None:
            result.append(service)
            continue
        ports = {each.local: each.remote for each in wanted}
        if any(isinstance(each, Manifests) for each in service.manifests):
            result.append(replace(service, ports=ports))
            continue
        bare = replace(service, ports=None)
        changed, more = ports_of(bare, ports, files_of(service), wanted[0].fields.where())
        notes += more
        result.append(changed)
    return result


def _owner(
    forward: Forward, services: Sequence[DraftService], files_of: Callable[[DraftService], Sequence[ManifestFile]]
) -> str | None:
    for service in services:
        for file in files_of(service):
            if any((each.key.kind.lower(), each.key.name) == (forward.kind, forward.name) for each in file.manifests):
                return service.name
    charts = [each.name for each in services if _is_chart(each)]
    return next((each for each in charts if each in forward.name), charts[0] if len(charts) == 1 else None)


def _is_chart(service: DraftService) -> bool:
    return any(isinstance(each, Manifests) and each.tool == "helm" for each in service.manifests)
