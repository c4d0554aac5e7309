"""What pods say about getting into a registry: the pull secrets that they name, or their service account. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from devloop.core.manifest import Manifest
from devloop.core.manifest.images import image_uses
from devloop.core.manifest.pod_templates import pick, template_pointer

__all__ = ["Obstacle", "PullNeed", "missing_secret", "pull_needs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullNeed:
    """How the pods of a workload get into a registry.

    Attributes:
        workload: The workload, for a person.
        place: Its place in the files.
        namespace: Its namespace; empty for the project's.
        account: The service account of its pods.
        secrets: The pull secrets that it names itself; where it names none, the account's count.
    """

    workload: str
    place: str
    namespace: str
    account: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What may keep the nodes from pulling an image.

    Attributes:
        message: What it is.
        hint: How to mend it.
    """

    message: str
    hint: str


def pull_needs(manifests: Sequence[Manifest], images: Collection[str]) -> Iterator[PullNeed]:
    """Yield how the pods that run one of these images get into its registry."""
    for manifest in manifests:
        pointer = template_pointer(manifest.document)
        if pointer is None or not any(use.text in images for use in image_uses(manifest)):
            continue
        spec = pick(manifest.document, (*pointer, "spec"), {})
        named = [each.get("name") for each in pick(spec, ("imagePullSecrets",), [])]
        yield PullNeed(
            workload=str(manifest.key),
            place=str(manifest.where),
            namespace=manifest.key.namespace,
            account=pick(spec, ("serviceAccountName",), "default"),
            secrets=tuple(name for name in named if name),
        )


def missing_secret(need: PullNeed, secret: str, namespace: str, host: str) -> Obstacle:
    """Return what to tell about a pull secret that is not there.

    Args:
        need: Whose it is.
        secret: Its name.
        namespace: Where it should be.
        host: The registry.
    """
    who = f"`{need.workload}` ({need.place}) names"
    if not need.secrets:
        who = f"the service account `{need.account}` of `{need.workload}` names"
    return Obstacle(
        message=f"{who} the pull secret `{secret}`, which namespace `{namespace}` does not have:"
        f" `{host}` may refuse its nodes",
        hint=f"`kubectl create secret docker-registry {secret} --namespace {namespace} --docker-server={host}"
        " --docker-username=… --docker-password=…`",
    )
