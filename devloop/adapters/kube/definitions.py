"""Definitions of custom resources: what they say about their kinds, and when the cluster serves those."""

from typing import Any, Final

import anyio

from devloop.adapters.kube.discovery import Discovery, Resource, builtin
from devloop.adapters.kube.objects import pauses
from devloop.adapters.kube.session import Session
from devloop.core.manifest import Manifest
from devloop.core.manifest.pod_templates import pick
from devloop.errors import ToolError
from devloop.model import Document

__all__ = ["is_definition", "wait_established"]

_ESTABLISHED_WITHIN: Final = 20.0


def is_definition(manifest: Manifest) -> bool:
    """Return whether the object defines a custom resource."""
    return (manifest.key.group, manifest.key.kind) == ("apiextensions.k8s.io", "CustomResourceDefinition")


async def wait_established(session: Session, discovery: Discovery, definition: Document) -> None:
    """Return when objects of the defined kind can be created.

    Raises:
        ToolError: The cluster does not accept the definition's names, or takes too long.
    """
    name = str(definition["metadata"]["name"])
    resource = builtin(str(definition["apiVersion"]), "CustomResourceDefinition")
    defined: tuple[Resource, ...] = discovery.learn(definition)
    if resource is None:
        return
    reason = "it is not established"
    with anyio.move_on_after(_ESTABLISHED_WITHIN):
        for seconds in pauses():
            conditions = await _conditions(session, resource.path(name=name))
            if refusal := next(
                (c for c in conditions if c["type"] == "NamesAccepted" and c["status"] == "False"), None
            ):
                reason = str(refusal.get("message"))
            if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                reason = "its kind is not served"
                served = [await discovery.served(each.api_version, each.kind) for each in defined]
                if all(served):
                    return
            await anyio.sleep(seconds)
    raise ToolError(f"the cluster does not serve what `customresourcedefinition/{name}` defines: {reason}")


async def _conditions(session: Session, path: str) -> list[dict[str, Any]]:
    answer = await session.call("GET", path)
    return list(pick(answer.document(), ("status", "conditions"), ()))
