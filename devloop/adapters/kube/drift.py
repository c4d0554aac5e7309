"""Drift: whether somebody else has changed what devloop applied.

The API server keeps in `managedFields` who set each field last. A field that devloop applied and another manager then
updated is in that manager's list; what only others set (a replica count that no manifest names, a status) is no drift.
Servers before 1.22 do not note who scaled a workload.

Specification: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management and the format
`FieldsV1` of sigs.k8s.io/structured-merge-diff.
"""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["drifted"]

_MISSING = object()


def drifted(applied: Mapping[str, Any], metadata: Mapping[str, Any], *, manager: str) -> bool:
    """Return whether a field of what was applied is now set by another manager.

    Args:
        applied: The object as it was applied.
        metadata: The live object's metadata.
        manager: The name under which it was applied.
    """
    others = (
        entry.get("fieldsV1") or {} for entry in metadata.get("managedFields") or () if entry.get("manager") != manager
    )
    return any(_overlap(fields, applied) for fields in others)


def _overlap(fields: Mapping[str, Any], value: Any) -> bool:
    """Return whether a set of fields has a leaf that the value has too."""
    for name, below in fields.items():
        part = _MISSING if name == "." else _part(name, value)
        if part is not _MISSING and (not below or _overlap(below, part)):
            return True
    return False


def _part(name: str, value: Any) -> Any:
    """Return the part of a value that one element of a path names."""
    kind, _, rest = name.partition(":")
    if kind == "f" and isinstance(value, Mapping):
        return value.get(rest, _MISSING)
    if not isinstance(value, list):
        return _MISSING
    match kind:
        case "k":
            keys = json.loads(rest)
            return next((item for item in value if _has(item, keys)), _MISSING)
        case "v":
            return _MISSING if json.loads(rest) not in value else rest
        case "i":
            return value[int(rest)] if int(rest) < len(value) else _MISSING
        case _:
            return _MISSING


def _has(item: Any, keys: Mapping[str, Any]) -> bool:
    """Return whether an item of a list has these keys; what it leaves out has the server's default."""
    return isinstance(item, Mapping) and all(item.get(key, value) == value for key, value in keys.items())
