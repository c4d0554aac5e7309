"""A document as server-side apply wants it on every version: with the whole key of each port.

Servers before 1.21 do not fill `protocol` in before they compare ports by it, and refuse the object.
"""

from collections.abc import Mapping
from typing import Any, Final

from devloop.core.manifest.pod_templates import change, pick, template_pointer
from devloop.model import Document

__all__ = ["completed"]

_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")


def completed(document: Document) -> Document:
    """Return the document with `protocol: TCP` wherever a Service or container port names none."""
    if document.get("kind") == "Service" and document.get("apiVersion") == "v1":
        return _change_list(document, ("spec", "ports"), _with_protocol)
    template = template_pointer(document)
    if template is None:
        return document
    for field in _CONTAINERS:
        document = _change_list(document, (*template, "spec", field), _with_port_protocols)
    return document


def _change_list(document: Document, pointer: tuple[str | int, ...], function: Any) -> Document:
    if not isinstance(pick(document, pointer), list):
        return document
    changed: Document = change(document, pointer, lambda items: [function(item) for item in items])
    return changed


def _with_port_protocols(container: Any) -> Any:
    return _change_list(container, ("ports",), _with_protocol) if isinstance(container, Mapping) else container


def _with_protocol(port: Any) -> Any:
    return {"protocol": "TCP", **port} if isinstance(port, Mapping) else port
