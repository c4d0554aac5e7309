"""Where services run: in a Kubernetes cluster, or on the Docker engine alone; and why there."""

from dataclasses import dataclass
from enum import StrEnum

from devloop.core.cluster.contexts import Contexts
from devloop.errors import InputError

__all__ = ["Target", "TargetChoice", "choose_target"]


class Target(StrEnum):
    """What services run on."""

    DOCKER = "docker"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """The target, and why it was chosen in a few words."""

    target: Target
    reason: str


def choose_target(asked: str | None, contexts: Contexts, *, context: str | None = None) -> TargetChoice:
    """Return where services run: a cluster where one is chosen, else the engine.

    Args:
        asked: What `--target` says, or None.
        contexts: What the kubeconfig holds.
        context: What `--context` says, or None.

    Raises:
        InputError: There is no such target, or it does not go with the context.
    """
    if asked is not None and asked not in set(Target):
        known = ", ".join(f"`{each}`" for each in Target)
        raise InputError(f"there is no target `{asked}`", hint=f"choose one of {known}")
    if asked == Target.DOCKER and context:
        raise InputError(
            f"the context `{context}` is a cluster's, and the target is the Docker engine",
            hint="leave out `--context` or `--target docker`",
        )
    if asked is not None:
        return TargetChoice(target=Target(asked), reason=f"`--target {asked}` says so")
    if context or contexts.current:
        return TargetChoice(target=Target.KUBERNETES, reason=f"the context is `{context or contexts.current}`")
    known = "chosen" if contexts.known else "known"
    return TargetChoice(target=Target.DOCKER, reason=f"no Kubernetes context is {known}")
