"""A container's environment: literal values, ConfigMaps, Secrets, the downward API, and `$(NAME)` in all of them."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from devloop.core.containers.identity import Identity
from devloop.core.containers.quantities import divided, number
from devloop.core.manifest.pod_templates import pick
from devloop.model import Document

__all__ = ["ConfigurationError", "Surroundings", "environment", "expanded", "field_value", "resource_value", "values"]

_REFERENCE: Final = re.compile(r"\$\$|\$\(([^)]*)\)")
_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]\Z")


class ConfigurationError(Exception):
    """A container cannot be set up: it refers to what is not there. The message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a pod can refer to.

    Attributes:
        objects: The project's objects, by kind, namespace and name.
        address: The pod's IP address; empty before it is known.
        host_address: The host's address as the pod sees it.
        capacity: What the engine has: `cpu` in cores, `memory` in bytes.
    """

    objects: Mapping[tuple[str, str, str], Document]
    address: str = ""
    host_address: str = ""
    capacity: Mapping[str, Decimal] = field(default_factory=dict)


def environment(pod: Identity, container: Mapping[str, Any], around: Surroundings) -> dict[str, str]:
    """Return a container's variables; later ones win, and may refer to those before them.

    Raises:
        ConfigurationError: It refers to what is not there.
    """
    known = _service_links(pod, around) if pod.spec.get("enableServiceLinks", True) else {}
    for source in container.get("envFrom") or ():
        known.update(_from_object(pod, source, around))
    for variable in container.get("env") or ():
        value = _value(pod, container, variable, known, around)
        if value is not None:
            known[str(variable.get("name"))] = value
    return known


def expanded(text: str, known: Mapping[str, str]) -> str:
    """Return the text with `$(NAME)` replaced; an unknown name stays as it is, and `$$` is a dollar sign."""

    def replace(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else known.get(found[1], found[0])

    return _REFERENCE.sub(replace, text)


def values(document: Document) -> dict[str, bytes]:
    """Return the entries of a ConfigMap or Secret.

    Raises:
        ConfigurationError: A value that must be base64 is not.
    """
    encoded = document.get("data") if document.get("kind") == "Secret" else document.get("binaryData")
    plain = document.get("stringData") if document.get("kind") == "Secret" else document.get("data")
    try:
        found = {key: base64.b64decode(value or "", validate=False) for key, value in (encoded or {}).items()}
    except (binascii.Error, ValueError, TypeError):
        name = pick(document, ("metadata", "name"))
        raise ConfigurationError(f"{document.get('kind')} `{name}` holds a value that is not base64") from None
    return found | {key: str(value if value is not None else "").encode() for key, value in (plain or {}).items()}


def field_value(pod: Identity, path: str, around: Surroundings) -> str:
    """Return what a `fieldRef` means.

    Raises:
        ConfigurationError: There is no such field.
    """
    metadata = pod.template.get("metadata") or {}
    if subscript := _SUBSCRIPT.match(path):
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        entries = metadata.get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{_escaped(str(entries[key]))}"' for key in sorted(entries))
    known = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": "docker",
        "spec.serviceAccountName": str(pod.spec.get("serviceAccountName") or "default"),
        "status.hostIP": around.host_address,
        "status.hostIPs": around.host_address,
        "status.podIP": around.address,
        "status.podIPs": around.address,
    }
    if path not in known:
        raise ConfigurationError(f"the downward API has no field `{path}`")
    return known[path]


def resource_value(pod: Identity, container: Mapping[str, Any], reference: Mapping[str, Any], around: Any) -> str:
    """Return what a `resourceFieldRef` means; without a limit it is what the engine has.

    Raises:
        ConfigurationError: There is no such resource.
    """
    wanted = str(reference.get("resource"))
    named = reference.get("containerName")
    if named:
        container = next((each for each in pod.spec.get("containers") or () if each.get("name") == named), container)
    part, _, resource = wanted.partition(".")
    resources = container.get("resources") or {}
    said = pick(resources, (part, resource))
    if said is None and part == "requests":
        said = pick(resources, ("limits", resource), 0)
    quantity = around.capacity.get(resource, Decimal(0)) if said is None else number(said)
    if quantity is None or part not in {"limits", "requests"}:
        raise ConfigurationError(f"there is no resource `{wanted}`")
    return divided(quantity, reference.get("divisor") or "1")


def _service_links(pod: Identity, around: Surroundings) -> dict[str, str]:
    """Return the variables that tell of Services: their names, since these are their addresses here."""
    found = {}
    for (kind, namespace, name), document in around.objects.items():
        if kind != "Service" or namespace != pod.namespace or pick(document, ("spec", "clusterIP")) == "None":
            continue
        if ports := pick(document, ("spec", "ports"), []):
            prefix = name.upper().replace("-", "_")
            found[f"{prefix}_SERVICE_HOST"] = name
            found[f"{prefix}_SERVICE_PORT"] = str(ports[0].get("port"))
    return found


def _from_object(pod: Identity, source: Mapping[str, Any], around: Surroundings) -> Iterator[tuple[str, str]]:
    prefix = str(source.get("prefix") or "")
    for part, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        reference = source.get(part)
        if reference is None:
            continue
        document = _object(pod, kind, reference, around)
        for key, value in (values(document) if document else {}).items():
            if _NAME.match(prefix + key):
                yield prefix + key, value.decode(errors="replace")


def _value(
    pod: Identity,
    container: Mapping[str, Any],
    variable: Mapping[str, Any],
    known: Mapping[str, str],
    around: Surroundings,
) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        value = variable.get("value")
        return expanded("" if value is None else str(value), known)
    if reference := source.get("fieldRef"):
        return field_value(pod, str(reference.get("fieldPath")), around)
    if reference := source.get("resourceFieldRef"):
        return resource_value(pod, container, reference, around)
    for part, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if reference := source.get(part):
            return _entry(pod, kind, reference, around)
    raise ConfigurationError(f"`{variable.get('name')}` takes its value from what this target does not know")


def _entry(pod: Identity, kind: str, reference: Mapping[str, Any], around: Surroundings) -> str | None:
    document = _object(pod, kind, reference, around)
    if document is None:
        return None
    key = str(reference.get("key"))
    found = values(document)
    if key not in found:
        if reference.get("optional"):
            return None
        raise ConfigurationError(f"couldn't find key {key} in {kind} {pod.namespace}/{reference.get('name')}")
    return found[key].decode(errors="replace")


def _object(pod: Identity, kind: str, reference: Mapping[str, Any], around: Surroundings) -> Document | None:
    document = around.objects.get((kind, pod.namespace, str(reference.get("name"))))
    if document is None and not reference.get("optional"):
        raise ConfigurationError(f'{kind.lower()} "{reference.get("name")}" not found')
    return document


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
