"""Where workloads keep their pods, and how a document is changed without touching it.

Documents are never changed in place: `put` copies the way to the value and shares the rest.
"""

from collections.abc import Callable, Mapping
from typing import Any

from devloop.core.yaml.documents import Pointer
from devloop.model import Document

__all__ = ["built_in_template", "change", "group_of", "pick", "put", "template_pointer"]

_TEMPLATE: Pointer = ("spec", "template")
_POD_TEMPLATES: Mapping[tuple[str, str], Pointer] = {
    ("", "Pod"): (),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("extensions", "Deployment"): _TEMPLATE,
    ("extensions", "DaemonSet"): _TEMPLATE,
    ("extensions", "ReplicaSet"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}


def group_of(document: Document) -> str:
    """Return the API group of an object, empty for the core group."""
    group, slash, _ = str(document.get("apiVersion", "")).partition("/")
    return group if slash else ""


def template_pointer(document: Document) -> Pointer | None:
    """Return where a workload keeps its pod template (a bare Pod is its own), or None for what is no workload.

    A custom resource is one (Argo's Rollout, Knative's Service, OpenKruise's CloneSet) where its `spec.template` has a
    `spec` with containers.
    """
    if (known := built_in_template(document)) is not None:
        return known
    return _TEMPLATE if "." in group_of(document) and _is_pod_template(pick(document, _TEMPLATE)) else None


def built_in_template(document: Document) -> Pointer | None:
    """Return where a workload of a kind that Kubernetes has built in keeps its pod template, or None."""
    return _POD_TEMPLATES.get((group_of(document), str(document.get("kind"))))


def _is_pod_template(value: Any) -> bool:
    containers = pick(value, ("spec", "containers"))
    return isinstance(containers, list) and bool(containers) and all(_is_container(each) for each in containers)


def _is_container(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("image"), str)


def pick(value: Any, pointer: Pointer, default: Any = None) -> Any:
    """Return the value at `pointer`, or `default` where the document does not reach that far or has null there."""
    for step in pointer:
        match value, step:
            case Mapping(), str() if step in value:
                value = value[step]
            case list(), int() if 0 <= step < len(value):
                value = value[step]
            case _:
                return default
    return default if value is None else value


def put(value: Any, pointer: Pointer, new: Any) -> Any:
    """Return a copy of `value` with `new` at `pointer`; missing mappings on the way are made."""
    return change(value, pointer, lambda _: new)


def change(value: Any, pointer: Pointer, function: Callable[[Any], Any]) -> Any:
    """Return a copy of `value` where the part at `pointer` is what `function` makes of it (of None if missing)."""
    if not pointer:
        return function(value)
    step, rest = pointer[0], pointer[1:]
    if isinstance(step, int):
        return [*value[:step], change(value[step], rest, function), *value[step + 1 :]]
    parts = dict(value or {})
    parts[step] = change(parts.get(step), rest, function)
    return parts
