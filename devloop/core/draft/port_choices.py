"""The local ports of services: proposed from what manifests declare, or taken from another tool."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from devloop.core.cluster.forwarding import rules
from devloop.core.draft.manifests import ManifestFile
from devloop.core.draft.model import DraftService, Note
from devloop.core.manifest import facts
from devloop.core.manifest.workloads import ServiceFacts
from devloop.errors import InputError, InputErrors, Where

__all__ = ["Ports", "ports_of"]


class Ports:
    """Gives each local port to one service."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def proposed(self, service: str, found: ServiceFacts) -> dict[int, int | str] | None:
        """Return the ports to forward: those that devloop would choose, each once; None where there is none."""
        derived = {rule.local: rule.remote for rule in rules(service, None, found)}
        if not derived:
            return None
        ports: dict[int, int | str] = {}
        for local, remote in derived.items():
            number = remote if isinstance(remote, int) else local
            ports[self.free(local)] = number
        return ports if is_possible(service, ports, found) else None

    def free(self, local: int) -> int:
        """Return this local port, or the next one that no service has."""
        while local in self._taken:
            local += 1
        self._taken.add(local)
        return local

    def take(self, ports: Iterable[int]) -> None:
        """Note that these local ports are given."""
        self._taken.update(ports)


def is_possible(service: str, ports: Mapping[int, int | str], found: ServiceFacts) -> bool:
    """Return whether the ports lead somewhere."""
    try:
        rules(service, ports, found)
    except InputErrors:
        return False
    return True


def ports_of(
    service: DraftService, asked: Mapping[int, int | str], files: Sequence[ManifestFile], where: Where | None
) -> tuple[DraftService, tuple[Note, ...]]:
    """Return a service with ports that another tool forwards, and notes about those that lead nowhere."""
    found = facts([each for file in files if file.path in service.manifests for each in file.manifests])
    kept: dict[int, int | str] = {}
    notes = []
    for local, remote in asked.items():
        try:
            rules(service.name, {local: remote}, found)
        except InputErrors as error:
            notes.append(Note(text=f"the port-forward of {local} is left out: {error.errors[0].message}", where=where))
        except InputError as error:
            notes.append(Note(text=f"the port-forward of {local} is left out: {error.message}", where=where))
        else:
            kept[local] = remote
    return replace(service, ports={**(service.ports or {}), **kept} or service.ports), tuple(notes)
