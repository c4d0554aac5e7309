"""Whether a workload has the shape that Kubernetes would insist on, since nothing else looks at it here."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from devloop.core.manifest import Manifest
from devloop.core.manifest.pod_templates import built_in_template, pick
from devloop.core.yaml.documents import Pointer
from devloop.errors import InputError

__all__ = ["misshapen"]

_LISTS: Final = ("containers", "initContainers", "volumes", "hostAliases", "imagePullSecrets")
_CONTAINER_LISTS: Final = ("args", "command", "env", "envFrom", "ports", "volumeMounts")
_CONTAINER_MAPPINGS: Final = (
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
)
_TEXTS: Final = frozenset({"args", "command"})
_SELECTING: Final = frozenset({"DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"})


def misshapen(manifest: Manifest) -> InputError | None:
    """Return the first mistake in a workload's shape, or None."""
    pointer = built_in_template(manifest.document)
    if pointer is None:
        return None
    found = next(_mistakes(manifest, pointer), None)
    if found is None:
        return None
    at, message = found
    return InputError(f"`{manifest.key}` cannot run: {message}", where=manifest.where_of(at))


def _mistakes(manifest: Manifest, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    spec_at = (*pointer, "spec")
    spec = pick(manifest.document, spec_at)
    if not isinstance(spec, Mapping):
        yield spec_at, f"`{_path(spec_at)}` must be a mapping"
        return
    for field in _LISTS:
        yield from _list_of_mappings(spec, field, spec_at)
    if not spec.get("containers"):
        yield spec_at, f"`{_path(spec_at)}` has no containers"
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            yield from _container_mistakes(container, (*spec_at, part, index))
    if manifest.key.kind in _SELECTING:
        yield from _selector_mistakes(manifest, pointer)
    replicas = pick(manifest.document, ("spec", "replicas"), 0)
    if not isinstance(replicas, int):
        yield ("spec", "replicas"), "`spec.replicas` must be a number"


def _container_mistakes(container: Mapping[str, Any], at: Pointer) -> Iterator[tuple[Pointer, str]]:
    for field in ("name", "image"):
        if not isinstance(container.get(field), str) or not container[field]:
            yield at, f"`{_path(at)}.{field}` must be text"
    for field in _CONTAINER_LISTS:
        if field in _TEXTS:
            if not isinstance(container.get(field) or [], list):
                yield (*at, field), f"`{_path(at)}.{field}` must be a list"
        else:
            yield from _list_of_mappings(container, field, at)
    for field in _CONTAINER_MAPPINGS:
        if not isinstance(container.get(field) or {}, Mapping):
            yield (*at, field), f"`{_path(at)}.{field}` must be a mapping"


def _list_of_mappings(parent: Mapping[str, Any], field: str, at: Pointer) -> Iterator[tuple[Pointer, str]]:
    value = parent.get(field) or []
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        yield (*at, field), f"`{_path(at)}.{field}` must be a list of mappings"


def _selector_mistakes(manifest: Manifest, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    selector = pick(manifest.document, ("spec", "selector", "matchLabels"), {})
    labels = pick(manifest.document, (*pointer, "metadata", "labels"), {})
    if not isinstance(selector, Mapping) or not isinstance(labels, Mapping) or not selector.items() <= labels.items():
        yield ("spec", "selector"), "`spec.selector` does not match the labels of its own pods"


def _path(pointer: Pointer) -> str:
    text = ""
    for step in pointer:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
