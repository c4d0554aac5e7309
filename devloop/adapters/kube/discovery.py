"""Where the API server serves a kind: the plural name in its paths, and whether its objects live in namespaces.

Kinds of Kubernetes's own groups are named by rule, without a request. Others are asked for, once a group version.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from devloop.adapters.kube.session import Session, refusal
from devloop.core.manifest import is_cluster_scoped
from devloop.model import Document, ObjectKey

__all__ = ["PODS", "Discovery", "Resource", "UnknownKindError", "builtin", "split_version"]

_BUILTIN_GROUPS: Final = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)


class UnknownKindError(Exception):
    """The cluster does not serve this kind.

    Attributes:
        hint: What it serves that is like it, or None.
    """

    def __init__(self, version: str, kind: str, hint: str | None) -> None:
        super().__init__(f"the cluster knows no `{kind}` in `{version}`")
        self.version = version
        self.kind = kind
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind in one of its versions, as the API server serves it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """What objects of it have as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the URL path of all its objects, those of a namespace, or one."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{base}{inside}/{self.plural}" + (f"/{name}" if name else "")

    def key(self, metadata: Any) -> ObjectKey:
        """Return the identity of an object with this metadata."""
        namespace = metadata.get("namespace") or ""
        return ObjectKey(group=self.group, kind=self.kind, namespace=namespace, name=metadata["name"])


def split_version(api_version: str) -> tuple[str, str]:
    """Return group and version of an `apiVersion`."""
    group, slash, version = api_version.partition("/")
    return (group, version) if slash else ("", group)


def builtin(api_version: str, kind: str) -> Resource | None:
    """Return the resource of a kind of Kubernetes's own groups, or None for others."""
    group, version = split_version(api_version)
    if group not in _BUILTIN_GROUPS:
        return None
    namespaced = not is_cluster_scoped(ObjectKey(group=group, kind=kind, namespace="", name=""))
    return Resource(group=group, version=version, kind=kind, plural=_plural(kind), namespaced=namespaced)


def _plural(kind: str) -> str:
    name = kind.lower()
    if name == "endpoints":
        return name
    if name.endswith(("s", "x")):
        return name + "es"
    return name.removesuffix("y") + "ies" if name.endswith("y") else name + "s"


PODS: Final = Resource(group="", version="v1", kind="Pod", plural="pods", namespaced=True)


@dataclass(slots=True)
class Discovery:
    """What one cluster serves, as far as it was asked."""

    session: Session
    _known: dict[tuple[str, str], Resource] = field(default_factory=dict)

    async def resource(self, api_version: str, kind: str) -> Resource:
        """Return where a kind is served.

        Raises:
            UnknownKindError: It is not served.
        """
        found = builtin(api_version, kind) or self._known.get((api_version, kind))
        if found is None:
            await self._ask(api_version)
            found = self._known.get((api_version, kind))
        if found is None:
            raise await self.unknown(api_version, kind)
        return found

    def learn(self, definition: Document) -> tuple[Resource, ...]:
        """Take from a CustomResourceDefinition what it will make the server serve; return that."""
        spec = definition.get("spec") or {}
        names = spec.get("names") or {}
        versions = [each["name"] for each in spec.get("versions") or () if each.get("served", True)]
        found = tuple(
            Resource(
                group=str(spec.get("group", "")),
                version=version,
                kind=str(names.get("kind", "")),
                plural=str(names.get("plural", "")),
                namespaced=spec.get("scope") != "Cluster",
            )
            for version in versions
        )
        self._known.update({(each.api_version, each.kind): each for each in found})
        return found

    async def cluster_scoped(self, api_version: str, kind: str) -> bool:
        """Return whether the kind's objects live outside namespaces; False for a kind that is not served (yet)."""
        try:
            return not (await self.resource(api_version, kind)).namespaced
        except UnknownKindError:
            return False

    async def served(self, api_version: str, kind: str) -> bool:
        """Return whether the server lists the kind now; what was known before is not looked at."""
        self._known.pop((api_version, kind), None)
        await self._ask(api_version)
        return (api_version, kind) in self._known

    async def _ask(self, api_version: str) -> None:
        group, version = split_version(api_version)
        for entry in await self._kinds(group, version):
            if "/" not in entry["name"]:
                self._known[api_version, entry["kind"]] = Resource(
                    group=group,
                    version=version,
                    kind=entry["kind"],
                    plural=entry["name"],
                    namespaced=entry["namespaced"],
                )

    async def _kinds(self, group: str, version: str) -> list[dict[str, Any]]:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        answer = await self.session.call("GET", path)
        if answer.code == 404:
            return []
        if not answer.good:
            raise refusal(f"asking what `{group}` serves", answer.code, answer.content)
        return list(answer.document().get("resources") or ())

    async def unknown(self, api_version: str, kind: str) -> UnknownKindError:
        """Return the error for a kind that is not served, with the nearest thing that is."""
        group, version = split_version(api_version)
        versions = await self._versions(group)
        if not versions:
            hint = "is its CustomResourceDefinition installed?" if group not in _BUILTIN_GROUPS else None
            return UnknownKindError(api_version, kind, hint)
        kinds = [(served, entry["kind"]) for served in versions for entry in await self._kinds(group, served)]
        elsewhere = [served for served, name in kinds if name == kind and served != version]
        if elsewhere:
            prefix = f"{group}/" if group else ""
            return UnknownKindError(api_version, kind, f"this cluster serves it as `{prefix}{elsewhere[0]}`")
        near = get_close_matches(kind, sorted({name for served, name in kinds}), 1)
        return UnknownKindError(api_version, kind, f"did you mean `{near[0]}`?" if near else None)

    async def _versions(self, group: str) -> list[str]:
        if not group:
            return ["v1"]
        answer = await self.session.call("GET", f"/apis/{group}")
        return [entry["version"] for entry in answer.document().get("versions") or ()] if answer.good else []
