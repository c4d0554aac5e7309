"""What devloop's objects look like now, by metadata alone: from a cache that is current, else from one list a kind.

Lists that are asked for at the same moment are one request: twenty services that start together share them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from devloop.adapters.kube.inventory import Place
from devloop.adapters.kube.session import Session, refusal
from devloop.adapters.kube.watch import Caches
from devloop.errors import ToolError
from devloop.model import ObjectKey

__all__ = ["METADATA", "Live", "LiveIndex"]

METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

_MOMENT: Final = 0.001
"""How long a list waits for others to take part in it."""

LiveIndex = Mapping[ObjectKey, Mapping[str, Any]]
"""The metadata of live objects."""


class _Request:
    """A list that is about to be asked for; whoever comes before it is sent takes part in it."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.found: dict[ObjectKey, Mapping[str, Any]] | None = None
        self.error: ToolError | None = None


class Live:
    """Looks objects up.

    Args:
        session: Where to ask.
        tasks: Where shared requests run, so that one who waits may be cancelled without the others.
        caches: The caches of kinds that are watched.
        selector: The label selector of the project's objects.
    """

    def __init__(self, session: Session, tasks: TaskGroup, caches: Caches, selector: str) -> None:
        self._session = session
        self._tasks = tasks
        self._caches = caches
        self._selector = selector
        self._waiting: dict[tuple[str, str, str], _Request] = {}

    async def index(self, places: Iterable[Place]) -> LiveIndex:
        """Return the metadata of all the project's objects in these places."""
        found: dict[ObjectKey, Mapping[str, Any]] = {}
        asked = []
        for place in places:
            cache = self._caches.get(place.resource, place.namespace)
            if cache and await cache.current():
                objects = cache.objects.values()
                found.update({place.resource.key(each["metadata"]): each["metadata"] for each in objects})
            else:
                asked.append(self._join(place))
        for request in asked:
            await request.done.wait()
            if request.error:
                raise request.error
            found.update(request.found or {})
        return found

    def _join(self, place: Place) -> _Request:
        request = self._waiting.get(place.identity)
        if request is None:
            request = self._waiting[place.identity] = _Request()
            self._tasks.start_soon(self._ask, place, request, name=f"list {place.resource.plural}")
        return request

    async def _ask(self, place: Place, request: _Request) -> None:
        await anyio.sleep(_MOMENT)
        del self._waiting[place.identity]
        try:
            request.found = await self._list(place)
        except ToolError as error:
            request.error = error
        finally:
            request.done.set()

    async def _list(self, place: Place) -> dict[ObjectKey, Mapping[str, Any]]:
        path = place.resource.path(place.namespace)
        parameters = {"labelSelector": self._selector}
        answer = await self._session.call("GET", path, parameters=parameters, accept=_METADATA_LIST)
        if answer.code == 404:  # a custom resource whose definition is gone, with all its objects
            return {}
        if not answer.good:
            raise refusal(f"reading {place.resource.plural}", answer.code, answer.content)
        items = answer.document().get("items") or ()
        return {place.resource.key(item["metadata"]): item["metadata"] for item in items}
