"""The labels and annotations by which devloop knows its own objects again."""

from collections.abc import Mapping
from typing import Any, Final

from devloop.core.manifest import Manifest, digest, with_labels
from devloop.model import Digest

__all__ = [
    "APPLIED",
    "CREATED",
    "MANAGED_BY",
    "PROJECT",
    "SERVICE",
    "applied_of",
    "created",
    "marked",
    "owner",
    "service_of",
]

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
PROJECT: Final = "devloop.dev/project"
SERVICE: Final = "devloop.dev/service"
APPLIED: Final = "devloop.dev/applied"
CREATED: Final = "devloop.dev/created"


def marked(manifest: Manifest, project: str, service: str) -> tuple[Manifest, Digest]:
    """Return the manifest with devloop's labels, and the digest that tells whether the cluster holds it."""
    labels = {MANAGED_BY: "devloop", PROJECT: project, SERVICE: service}
    labelled = with_labels(manifest, labels, {})
    return labelled, digest(labelled.document)


def owner(metadata: Mapping[str, Any]) -> str | None:
    """Return the project that an object belongs to, or None when it is nobody's."""
    return (metadata.get("labels") or {}).get(PROJECT)


def service_of(metadata: Mapping[str, Any]) -> str:
    """Return the service that an object belongs to; empty for what belongs to the project as a whole."""
    return str((metadata.get("labels") or {}).get(SERVICE, ""))


def applied_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the digest of what was applied last."""
    return (metadata.get("annotations") or {}).get(APPLIED)


def created(metadata: Mapping[str, Any]) -> bool:
    """Return whether devloop made the object (rather than found it)."""
    return (metadata.get("annotations") or {}).get(CREATED) == "true"
