"""What a user needs to know when the API server refuses: the object, its place in the files, the field, the reason."""

import re
from collections.abc import Mapping
from typing import Any, Final

from devloop.adapters.kube.session import Answer, RefusedError
from devloop.core.manifest import Manifest
from devloop.core.manifest.pod_templates import pick
from devloop.errors import ToolError, Where

__all__ = ["belongs_elsewhere", "refused", "unknown_kind"]

_SHOWN: Final = 3
_KEY: Final = re.compile(r"(\w+)=(\"[^\"]*\"|[^,]+)")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")


def refused(manifest: Manifest, answer: Answer, hint: str | None = None) -> RefusedError:
    """Return the error for an object that the cluster did not take."""
    status = answer.document()
    causes = [cause for cause in (status.get("details") or {}).get("causes") or () if cause.get("message")]
    reasons = [_reason(cause) for cause in causes[:_SHOWN]] or [_message(status, answer)]
    if len(causes) > _SHOWN:
        reasons.append(f"and {len(causes) - _SHOWN} more")
    where = _where(manifest, str(causes[0].get("field", "")) if causes else reasons[0].partition(": ")[0])
    return RefusedError(
        f"the cluster refuses {_named(manifest, where)}: {'; '.join(reasons)}",
        reason="; ".join(reasons),
        status=status,
        code=answer.code,
        hint=hint,
    )


def unknown_kind(manifest: Manifest, hint: str | None) -> ToolError:
    """Return the error for an object of a kind that the cluster does not serve."""
    version, kind = manifest.document["apiVersion"], manifest.key.kind
    named = _named(manifest, manifest.where)
    return ToolError(f"the cluster knows no `{kind}` in `{version}`, which {named} is", hint=hint)


def belongs_elsewhere(manifest: Manifest, project: str) -> ToolError:
    """Return the error for an object that another project deployed."""
    return ToolError(
        f"{_named(manifest, manifest.where)} belongs to another devloop project, `{project}`",
        hint="give one of them another name or namespace, or run `devloop down` in that project",
    )


def _named(manifest: Manifest, where: Where) -> str:
    return f"`{manifest.key}` ({where})"


def _reason(cause: Mapping[str, Any]) -> str:
    field, message = cause.get("field"), str(cause["message"])
    return f"{field}: {message}" if field and field != "<nil>" else message


def _message(status: Mapping[str, Any], answer: Answer) -> str:
    message = str(status.get("message") or answer.content.decode(errors="replace").strip() or f"HTTP {answer.code}")
    # What does not fit the schema is told as Go's structured-merge-diff tells it.
    message = re.sub(r"^failed to create typed (?:patch )?object(?: \([^)]*\))?: ", "", message)
    message = re.sub(r"^errors:\n\s+", "", message).removesuffix(", got *value.valueUnstructured")
    return "; ".join(line.strip().removeprefix(".") for line in message.splitlines())


def _where(manifest: Manifest, field: str) -> Where:
    """Return where a field stands: `spec.ports[0].port`, or `spec.ports[name="web"].port` for an item by its key."""
    value: Any = manifest.document
    pointer: list[str | int] = []
    for name, key in _STEP.findall(field):
        step = name or _item(value, key)
        value = pick(value, (step,))
        pointer.append(step)
    return manifest.where_of(tuple(pointer)) if pointer and pointer[0] in manifest.document else manifest.where


def _item(value: Any, key: str) -> str | int:
    if key.isdigit():
        return int(key)
    wanted = dict(_KEY.findall(key))
    if not wanted or not isinstance(value, list):
        return key
    matches = [all(str(item.get(name)) == text.strip('"') for name, text in wanted.items()) for item in value]
    return matches.index(True) if True in matches else key
