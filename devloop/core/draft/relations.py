"""Which Kubernetes objects have to do with one another, so that their files belong together."""

from collections.abc import Iterator, Sequence
from typing import Any

from devloop.core.manifest import Manifest
from devloop.core.manifest.pod_templates import pick, template_pointer
from devloop.core.needs import needs

__all__ = ["related"]


def related(some: Sequence[Manifest], others: Sequence[Manifest]) -> bool:
    """Return whether one of these objects refers to one of the others, or the other way round."""
    return any(_refers(one, other) or _refers(other, one) for one in some for other in others)


def _refers(one: Manifest, other: Manifest) -> bool:
    if one.key.namespace and other.key.namespace and one.key.namespace != other.key.namespace:
        return False
    return _uses(one, other) or _selects(one, other) or _names(one, other)


def _uses(one: Manifest, other: Manifest) -> bool:
    wanted = (other.key.group, other.key.kind, other.key.name)
    return any((need.group, need.kind, need.name) == wanted for need in needs(one))


def _selects(one: Manifest, other: Manifest) -> bool:
    if one.key.kind not in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
        return False
    pointer = template_pointer(other.document)
    if pointer is None:
        return False
    spec = one.document.get("spec")
    selector = pick(spec, ("selector",)) if one.key.kind == "Service" else pick(spec, ("selector", "matchLabels"))
    selector = selector or pick(spec, ("podSelector", "matchLabels"))
    labels = pick(other.document, (*pointer, "metadata", "labels"))
    return (
        isinstance(selector, dict)
        and isinstance(labels, dict)
        and bool(selector)
        and selector.items() <= labels.items()
    )


def _names(one: Manifest, other: Manifest) -> bool:
    """Return whether an object names another in a reference of kind and name, or an Ingress its Service."""
    if one.key.kind in {"Ingress", "HTTPRoute", "IngressRoute", "VirtualService"} and other.key.kind == "Service":
        return other.key.name in set(_backends(one.document.get("spec")))
    if template_pointer(one.document) is not None:
        return False
    return (other.key.kind, other.key.name) in set(_references(dict(one.document)))


def _references(value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            if isinstance(kind := value.get("kind"), str) and isinstance(name := value.get("name"), str):
                yield kind, name
            for part in value.values():
                yield from _references(part)
        case list():
            for part in value:
                yield from _references(part)
        case _:
            return


def _backends(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for key, part in value.items():
                if key == "serviceName" and isinstance(part, str):
                    yield part
                if key in {"service", "backendRefs", "destination", "services"}:
                    for each in part if isinstance(part, list) else [part]:
                        yield str(pick(each, ("name",)) or pick(each, ("host",)) or "")
                yield from _backends(part)
        case list():
            for part in value:
                yield from _backends(part)
        case _:
            return
