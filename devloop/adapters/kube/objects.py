"""Single objects by name: read, delete, and wait until one is gone."""

import json
from collections.abc import Iterator
from typing import Any, Final

import anyio

from devloop.adapters.kube.discovery import Resource
from devloop.adapters.kube.live import METADATA
from devloop.adapters.kube.session import Session, refusal
from devloop.errors import ToolError

__all__ = ["delete", "metadata", "pauses", "wait_gone"]

_GONE_WITHIN: Final = 60.0


async def metadata(session: Session, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
    """Return an object's metadata, or None when there is no such object."""
    answer = await session.call("GET", resource.path(namespace, name), accept=METADATA)
    if answer.code == 404:
        return None
    if not answer.good:
        raise refusal(f"reading `{resource.kind.lower()}/{name}`", answer.code, answer.content)
    found: dict[str, Any] = answer.document()["metadata"]
    return found


async def delete(
    session: Session, resource: Resource, namespace: str, name: str, *, uid: str, foreground: bool = False
) -> None:
    """Ask for an object's deletion; nothing happens when it is another one by now.

    Args:
        session: Where to ask.
        resource: The object's kind.
        namespace: Its namespace.
        name: Its name.
        uid: Its uid.
        foreground: Whether it stays until all that it owns is gone.
    """
    policy = "Foreground" if foreground else "Background"
    options = {"propagationPolicy": policy, "preconditions": {"uid": uid}}
    answer = await session.call("DELETE", resource.path(namespace, name), content=json.dumps(options).encode())
    if not answer.good and answer.code not in (404, 409):
        raise refusal(f"deleting `{resource.kind.lower()}/{name}`", answer.code, answer.content)


async def wait_gone(session: Session, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
    """Return when the object with this uid no longer exists.

    Raises:
        ToolError: It is still there after a minute.
    """
    found: dict[str, Any] = {}
    with anyio.move_on_after(_GONE_WITHIN):
        for seconds in pauses():
            found = await metadata(session, resource, namespace, name) or {}
            if found.get("uid") != uid:
                return
            await anyio.sleep(seconds)
    held = ", ".join(f"`{finalizer}`" for finalizer in found.get("finalizers") or ())
    raise ToolError(
        f"`{resource.kind.lower()}/{name}` is still being deleted after {_GONE_WITHIN:.0f} s",
        hint=f"its finalizers are {held}" if held else None,
    )


def pauses() -> Iterator[float]:
    """Yield the seconds to wait between looks: short at first, a quarter of a second in the end."""
    seconds = 0.02
    while True:
        yield seconds
        seconds = min(seconds * 1.5, 0.25)
