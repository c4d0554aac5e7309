"""What a cluster says about itself that decides how images reach it: its nodes, and the registry that it announces."""

from devloop.adapters.kube.session import Session
from devloop.model import Document

__all__ = ["local_registry", "nodes"]

_REGISTRY_PATH = "/api/v1/namespaces/kube-public/configmaps/local-registry-hosting"
_REGISTRY_KEY = "localRegistryHosting.v1"


async def nodes(session: Session) -> tuple[Document, ...]:
    """Return the cluster's nodes; nothing where this user may not list them."""
    answer = await session.call("GET", "/api/v1/nodes")
    return tuple(answer.document().get("items") or ()) if answer.good else ()


async def local_registry(session: Session) -> str | None:
    """Return what the cluster announces about a local registry (KEP 1755), or None."""
    answer = await session.call("GET", _REGISTRY_PATH)
    text = (answer.document().get("data") or {}).get(_REGISTRY_KEY) if answer.good else None
    return text if isinstance(text, str) else None
