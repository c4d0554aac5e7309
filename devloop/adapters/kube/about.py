"""What a cluster says about itself: its version, its nodes, the registry that it announces, what this user may do."""

import json
from http import HTTPStatus

from devloop.adapters.kube.live import METADATA
from devloop.adapters.kube.session import Session, refusal
from devloop.model import Document

__all__ = ["has_secret", "local_registry", "may", "nodes", "pull_secrets", "version"]

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


async def pull_secrets(session: Session, namespace: str, account: str) -> tuple[str, ...]:
    """Return the names of the pull secrets that a service account gives its pods; none where it may not be read."""
    answer = await session.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}")
    named = answer.document().get("imagePullSecrets") or () if answer.good else ()
    return tuple(each["name"] for each in named if each.get("name"))


async def has_secret(session: Session, namespace: str, name: str) -> bool:
    """Return whether there is such a secret; true where this user may not look. Its content is not asked for."""
    answer = await session.call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}", accept=METADATA)
    return answer.code != HTTPStatus.NOT_FOUND


async def version(session: Session) -> str:
    """Return the API server's version, for example `v1.31.0`.

    Raises:
        RefusedError: It does not say.
        UnreachableError: It does not answer.
    """
    answer = await session.call("GET", "/version")
    if not answer.good:
        raise refusal("asking for the version", answer.code, answer.content)
    return str(answer.document().get("gitVersion", "unknown"))


async def may(session: Session, verb: str, group: str, resource: str, namespace: str) -> bool:
    """Return whether this user may do something; what the server does not answer counts as allowed.

    Args:
        session: Where to ask.
        verb: For example `patch`.
        group: The API group; empty for the core.
        resource: The plural, for example `deployments`, or `pods/exec`.
        namespace: Where.
    """
    name, _, subresource = resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": name, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = await session.call("POST", path, content=json.dumps(review).encode())
    return not answer.good or bool((answer.document().get("status") or {}).get("allowed", True))
