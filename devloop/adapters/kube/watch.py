"""Caches of objects that the API server keeps up to date: list, watch, and the same again when the watch is lost.

A cache never forgets what it knew because the server is away; `live` says whether it can be trusted to be current. Who
waits for changes waits for a `Signal`; nothing here polls.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from devloop.adapters.kube.discovery import Resource
from devloop.adapters.kube.session import RefusedError, Session, refusal, unreachable
from devloop.errors import UnreachableError
from devloop.model import Document
from devloop.runtime.signals import Signal

__all__ = ["Cache", "Caches"]

_LOG: Final = logging.getLogger(__name__)
_BACK_OFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_WATCH_SECONDS: Final = 300


class _ExpiredError(Exception):
    """The server no longer has the version that the watch asked for."""


class Cache:
    """The objects of one kind in one namespace that match a selector.

    Args:
        session: Where to ask.
        resource: The kind.
        namespace: The namespace; empty for all.
        parameters: The selectors.
        changed: Told of the cache and an object after each change of it; None when any may have changed.
    """

    def __init__(
        self,
        session: Session,
        resource: Resource,
        namespace: str,
        parameters: Mapping[str, str],
        changed: Callable[["Cache", Document | None], None],
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.objects: dict[str, Document] = {}
        self.live = False
        self._session = session
        self._path = resource.path(namespace)
        self._parameters = dict(parameters)
        self._changed = changed
        self._refused: RefusedError | None = None
        self._tried = Signal()
        self._filled = False
        self._version = ""

    async def ready(self) -> None:
        """Return once the cache has been filled.

        Raises:
            RefusedError: The server does not let us read these objects.
        """
        while not self._filled:
            count = self._tried.count
            if self._refused:
                raise self._refused
            await self._tried.beyond(count)

    async def current(self) -> bool:
        """Return whether the cache shows what the server has now; wait for its very first attempt."""
        if self._tried.count == 0:
            await self._tried.beyond(0)
        return self.live

    def offer(self, document: Document) -> None:
        """Take an object as an answer to our own request showed it, unless the cache knows a newer one."""
        name = document["metadata"]["name"]
        known = self.objects.get(name)
        if known is None or _revision(known) < _revision(document):
            self.objects[name] = document
            self._changed(self, document)

    def discard(self, name: str, uid: str) -> None:
        """Forget an object that is known to be gone."""
        known = self.objects.get(name)
        if known is not None and known["metadata"].get("uid") == uid:
            del self.objects[name]
            self._changed(self, known)

    async def run(self) -> None:
        """Keep the cache current, for ever."""
        failures = 0
        while True:
            try:
                await self._fill()
                while True:
                    failures = 0
                    await self._follow()
            except _ExpiredError:
                continue
            except RefusedError as error:
                self._refused = error
                failures = max(failures, len(_BACK_OFF) - 1)
                _LOG.debug("watching %s: %s", self._path, error)
            except UnreachableError as error:
                _LOG.debug("watching %s: %r", self._path, error)
            finally:
                self.live = False
                self._tried.fire()
            await anyio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
            failures += 1

    async def _fill(self) -> None:
        answer = await self._session.call("GET", self._path, parameters=self._parameters)
        if not answer.good:
            raise refusal(f"reading {self.resource.plural}", answer.code, answer.content)
        found = answer.document()
        kind = {"apiVersion": self.resource.api_version, "kind": self.resource.kind}  # items of a list lack them
        self.objects = {item["metadata"]["name"]: {**kind, **item} for item in found.get("items") or ()}
        self._version = found["metadata"]["resourceVersion"]
        self._refused = None
        self._filled = True
        self.live = True
        self._changed(self, None)
        self._tried.fire()

    async def _follow(self) -> None:
        """Take changes until the server ends the watch, which it does every few minutes."""
        parameters = {
            **self._parameters,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        async with self._session.stream(self._path, parameters=parameters) as stream:
            if stream.code == 410:
                raise _ExpiredError
            if stream.code >= 300:
                raise refusal(f"watching {self.resource.plural}", stream.code, await stream.rest())
            rest = b""
            while chunk := await stream.receive():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    self._take(json.loads(line))

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, document = event["type"], event["object"]
        if kind == "ERROR":
            if document.get("code") == 410:
                raise _ExpiredError
            raise unreachable(self._session.server, document.get("message") or "the watch failed")
        metadata = document["metadata"]
        self._version = metadata["resourceVersion"]
        if kind == "BOOKMARK":
            return
        name = metadata["name"]
        if kind == "DELETED":
            self.objects.pop(name, None)
        elif name not in self.objects or _revision(self.objects[name]) <= _revision(document):
            self.objects[name] = document
        self._changed(self, document)


def _revision(document: Document) -> int:
    try:
        return int(document["metadata"].get("resourceVersion") or 0)
    except ValueError:
        return 0


class Caches:
    """All caches of one cluster, each started when it is first needed.

    Args:
        session: Where to ask.
        tasks: Where the caches run.
        selector: The label selector of the project's objects.
    """

    def __init__(self, session: Session, tasks: TaskGroup, selector: str) -> None:
        self.listeners: list[Callable[[Cache, Document | None], None]] = []
        self._session = session
        self._tasks = tasks
        self._selector = selector
        self._caches: dict[tuple[str, str, str], Cache] = {}

    def need(self, resource: Resource, namespace: str, *, parameters: Mapping[str, str] | None = None) -> Cache:
        """Return the cache of a kind in a namespace, started if it is not running yet.

        Args:
            resource: The kind.
            namespace: The namespace.
            parameters: Selectors to use instead of the project's labels.
        """
        place = (resource.group, resource.kind, namespace)
        cache = self._caches.get(place)
        if cache is None:
            selected = {"labelSelector": self._selector} if parameters is None else parameters
            cache = self._caches[place] = Cache(self._session, resource, namespace, selected, self._fire)
            self._tasks.start_soon(cache.run, name=f"watch {namespace}/{resource.plural}")
        return cache

    def get(self, resource: Resource, namespace: str) -> Cache | None:
        """Return the cache of a kind in a namespace if it is running."""
        return self._caches.get((resource.group, resource.kind, namespace))

    def of(self, group: str, kind: str) -> list[Cache]:
        """Return the caches of a kind in all namespaces."""
        return [cache for (of_group, of_kind, _), cache in self._caches.items() if (of_group, of_kind) == (group, kind)]

    def _fire(self, cache: Cache, document: Document | None) -> None:
        for listener in self.listeners:
            listener(cache, document)
