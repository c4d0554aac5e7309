"""Containers chosen by their pod's labels: for syncs into what devloop did not build."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from devloop.errors import InputError
from devloop.model import ContainerTarget

__all__ = ["PodFacts", "PodSelector", "labels_of"]

_NAME: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_TERM: Final = re.compile(rf"\s*(?P<key>([a-z0-9.-]+/)?{_NAME})\s*==?\s*(?P<value>({_NAME})?)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What is known of a pod.

    Attributes:
        labels: Its labels.
        containers: The names of its containers, those apart that run before the others.
        own: Whether this project deployed it.
        started: When its running containers started, by name, in seconds since the epoch.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    containers: tuple[str, ...] = ()
    own: bool = True
    started: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSelector:
    """Which containers are meant.

    Attributes:
        labels: The labels that their pod has.
        container: The container's name; None for the pod's first.
        own: Whether only pods of this project are meant.
    """

    labels: Mapping[str, str]
    container: str | None = None
    own: bool = False

    def selects(self, target: ContainerTarget, pod: PodFacts) -> bool:
        """Return whether the container is meant."""
        if self.own and not pod.own:
            return False
        name = self.container or next(iter(pod.containers), None)
        return target.container == name and self.labels.items() <= pod.labels.items()


def labels_of(text: str) -> dict[str, str]:
    """Return the labels that a selector asks for: `app=web`, `app=web,tier=front`.

    Raises:
        InputError: It asks for something else.
    """
    found: dict[str, str] = {}
    for term in text.split(","):
        match = _TERM.fullmatch(term)
        if match is None:
            message = f"the selector `{text}` is not of the form `label=value,label=value`"
            raise InputError(message, hint="name labels that the pods have, for example `app=web`")
        found[match["key"]] = match["value"]
    return found
