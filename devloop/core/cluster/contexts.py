"""Which Kubernetes contexts devloop may deploy to: local ones, and those that the project or the user names.

Works on a kubeconfig as parsed; reading the files is an adapter's business.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from devloop.errors import InputError

__all__ = ["LOCAL", "OWN_CONTEXT", "OWN_NODE", "Context", "Contexts", "choose", "is_local", "merge"]

OWN_CONTEXT: Final = "devloop"
"""The context of the cluster that `devloop cluster start` makes."""

OWN_NODE: Final = "devloop-cluster"
"""Its only node, and the container that this runs in."""

LOCAL: Final = (
    "docker-desktop",
    "docker-for-desktop",
    "minikube",
    "kind-*",
    "k3d-*",
    "rancher-desktop",
    "orbstack",
    "colima",
    "colima-*",
    "microk8s",
    "crc-admin",
    "crc-developer",
    OWN_CONTEXT,
)
"""The names that products for a developer's own machine give to their contexts."""

_MINIKUBE: Final = "minikube.sigs.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A context of a kubeconfig.

    Attributes:
        name: The context's name.
        namespace: The namespace it names, or None.
        cluster: What the kubeconfig says of its cluster; empty when it says nothing.
        user: What the kubeconfig says of its user; empty when it says nothing.
        here: Whether its cluster is known to run on this very machine.
    """

    name: str
    namespace: str | None
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]
    here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """All contexts of a kubeconfig, and the name of the current one."""

    current: str | None
    known: tuple[Context, ...]


def merge(configs: Sequence[Mapping[str, Any]], here: Collection[str] = ()) -> Contexts:
    """Return the contexts of several kubeconfig files, merged as kubectl does: the first that says a thing wins.

    Args:
        configs: The files' contents.
        here: The certificate authorities (as kubeconfigs hold them) of the clusters that this machine itself runs.
    """
    clusters = _named(configs, "clusters", "cluster")
    users = _named(configs, "users", "user")
    known = tuple(
        Context(
            name=name,
            namespace=content.get("namespace") or None,
            cluster=clusters.get(str(content.get("cluster")), {}),
            user=users.get(str(content.get("user")), {}),
            here=clusters.get(str(content.get("cluster")), {}).get("certificate-authority-data") in {*here},
        )
        for name, content in _named(configs, "contexts", "context").items()
    )
    current = next((str(config["current-context"]) for config in configs if config.get("current-context")), None)
    return Contexts(current=current, known=known)


def _named(configs: Sequence[Mapping[str, Any]], plural: str, singular: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for config in configs:
        for entry in config.get(plural) or ():
            found.setdefault(str(entry["name"]), entry.get(singular) or {})
    return found


def is_local(context: Context) -> bool:
    """Return whether the context leads to a cluster on the developer's own machine."""
    by_name = any(fnmatchcase(context.name, pattern) for pattern in LOCAL)
    return (
        by_name
        or context.here
        or any(
            isinstance(extension.get("extension"), Mapping) and extension["extension"].get("provider") == _MINIKUBE
            for extension in context.cluster.get("extensions") or ()
        )
    )


def choose(contexts: Contexts, *, named: str | None = None, allowed: Sequence[str] = ()) -> Context:
    """Return the context to deploy to.

    Args:
        contexts: What the kubeconfig holds.
        named: The context that the user asked for by name; that is permission enough.
        allowed: Names and patterns that the project allows besides the local ones.

    Raises:
        InputError: There is no such context, or it is neither local nor allowed.
    """
    wanted = named or contexts.current
    if not wanted:
        missing = "no Kubernetes context is chosen" if contexts.known else "no Kubernetes context is known"
        raise InputError(missing, hint=_listed(contexts, "pass `--context`"))
    context = next((context for context in contexts.known if context.name == wanted), None)
    if context is None:
        raise InputError(f"there is no Kubernetes context `{wanted}`", hint=_listed(contexts, "choose one"))
    if named or is_local(context) or any(fnmatchcase(context.name, pattern) for pattern in allowed):
        return context
    raise InputError(
        f"context `{context.name}` is not a local cluster, and nothing allows devloop to deploy to it",
        hint=(
            f"switch to a local context, pass `--context {context.name}`, "
            f'or allow it: project(contexts=["{context.name}"])'
        ),
    )


def _listed(contexts: Contexts, advice: str) -> str:
    if not contexts.known:
        return "make one in Docker: `devloop cluster start`; or set `KUBECONFIG`"
    names = ", ".join(f"`{context.name}`" for context in contexts.known)
    return f"{advice}; known: {names}"
