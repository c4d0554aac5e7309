"""The namespaces that a project deploys to: made when missing, and known to be fit for pods."""

import json
from typing import Final

import anyio

from devloop.adapters.kube.discovery import Resource
from devloop.adapters.kube.marks import CREATED, MANAGED_BY, PROJECT
from devloop.adapters.kube.objects import metadata, pauses, wait_gone
from devloop.adapters.kube.session import Session, refusal

__all__ = ["NAMESPACES", "Namespaces", "wait_for_account"]

NAMESPACES: Final = Resource(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False)
_ACCOUNTS: Final = Resource(group="", version="v1", kind="ServiceAccount", plural="serviceaccounts", namespaced=True)
_ACCOUNT_WITHIN: Final = 5.0


class Namespaces:
    """Makes sure that the project's own namespace is there.

    Args:
        session: Where to ask.
        project: The project's name.
        name: The namespace.
    """

    def __init__(self, session: Session, project: str, name: str) -> None:
        self._session = session
        self._project = project
        self._name = name
        self._there = False
        self._lock = anyio.Lock()

    async def ensure(self) -> None:
        """Create the namespace if it is missing; one that is being deleted is waited for and created again."""
        if not self._there:
            async with self._lock:
                await self._look()

    def doubt(self) -> None:
        """Look again at the next `ensure`."""
        self._there = False

    async def _look(self) -> None:
        if self._there:
            return
        found = await metadata(self._session, NAMESPACES, "", self._name)
        if found and "deletionTimestamp" in found:
            await wait_gone(self._session, NAMESPACES, "", self._name, uid=found["uid"])
            found = None
        if found is None:
            await self._create()
        self._there = True

    async def _create(self) -> None:
        labels = {MANAGED_BY: "devloop", PROJECT: self._project}
        meta = {"name": self._name, "labels": labels, "annotations": {CREATED: "true"}}
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        answer = await self._session.call("POST", NAMESPACES.path(), content=json.dumps(document).encode())
        if not answer.good and answer.code != 409:
            raise refusal(f"creating namespace `{self._name}`", answer.code, answer.content)
        await wait_for_account(self._session, self._name)


async def wait_for_account(session: Session, namespace: str) -> None:
    """Return when a new namespace has its default service account, without which no pod is accepted."""
    with anyio.move_on_after(_ACCOUNT_WITHIN):
        for seconds in pauses():
            if await metadata(session, _ACCOUNTS, namespace, "default"):
                return
            await anyio.sleep(seconds)
