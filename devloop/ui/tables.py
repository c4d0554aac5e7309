"""The data commands' output: aligned plain text for people, plain mappings for `--output json`.

Without colours and without rich: this goes to standard output, to be read, piped and searched.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from devloop.errors import Where
from devloop.model import NodeId
from devloop.ui.problems import problem_lines
from devloop.ui.rows import CheckRow, ClusterRow, Decision, ObjectRow, PlanRow, PodRow, PortRow, ServiceRow, SettingRow
from devloop.ui.text import cells, clean, crop, duration, pad
from devloop.ui.wording import times

__all__ = [
    "cluster_text",
    "doctor_text",
    "json_ready",
    "plan_text",
    "settings_text",
    "status_text",
    "table",
    "why_text",
]

_WIDTH: Final = 80
_GAP: Final = "  "


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, width: int | None = _WIDTH) -> str:
    """Return rows in aligned columns under their headings.

    Args:
        headings: The columns' names.
        rows: As many cells each.
        width: What is wider loses text of its last column; None for no limit.
    """
    lines = [list(headings), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    if width is not None:
        used = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(width - used, cells(headings[-1]), 8))
    text = [
        _GAP.join(pad(crop(cell, room), room) for cell, room in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "".join(f"{line}\n" for line in text)


def status_text(services: Sequence[ServiceRow], *, width: int | None = _WIDTH) -> str:
    """Return the services, then what they have in the cluster, their pods, and their ports."""
    if not services:
        return "nothing is deployed\n"
    ports = [(service, port) for service in services for port in service.ports]
    pods = [(service, pod) for service in services for pod in service.pods]
    objects = [(service, each) for service in services for each in service.objects]
    parts = [table(("SERVICE", "STATUS", "PODS", "URL"), map(_service_cells, services), width=width)]
    if ports:
        parts.append(table(("SERVICE", "PORT", "LEADS TO"), (_port_cells(*each) for each in ports), width=width))
    if pods:
        parts.append(table(("SERVICE", "POD", "RESTARTS", "STATUS"), (_pod_cells(*each) for each in pods), width=width))
    if objects:
        parts.append(table(("SERVICE", "OBJECT", "STATUS"), (_object_cells(*each) for each in objects), width=width))
    return "\n".join(parts)


def plan_text(rows: Sequence[PlanRow], *, width: int | None = _WIDTH) -> str:
    """Return what would run, in order, and why; then how many nodes are up to date."""
    todo = [row for row in rows if row.action is not None]
    rest = times(len(rows) - len(todo), "node")
    if not todo:
        return f"nothing to do: {rest} up to date\n"
    lines = table(("NODE", "ACTION", "WHY"), map(_plan_cells, todo), width=width)
    return lines if len(todo) == len(rows) else f"{lines}\n{rest} up to date\n"


def why_text(decision: Decision) -> str:
    """Return what was last decided on a node, why, and what came of it."""
    subject = f"{decision.action} {decision.node}" if decision.action else str(decision.node)
    took = f" in {duration(decision.seconds)}" if decision.seconds is not None else ""
    when = f", {decision.at}" if decision.at else ""
    lines = [f"{subject}: {decision.outcome}{took}{when}"]
    lines += [f"  because {clean(reason)}" for reason in decision.reasons]
    lines += [f"  {clean(decision.summary)}"] if decision.summary else []
    for problem in decision.problems:
        lines += problem_lines(problem)
    return "".join(f"{line}\n" for line in lines)


def doctor_text(rows: Sequence[CheckRow]) -> str:
    """Return what was examined, a line each, with the way out below what is wrong."""
    room = max(cells(row.name) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{'ok' if row.ok else 'no':<2}{_GAP}{pad(row.name, room)}{_GAP}{clean(row.found)}")
        lines += [f"{'':<2}{_GAP}{'':<{room}}{_GAP}hint: {clean(row.hint)}"] if row.hint else []
    return "".join(f"{line}\n" for line in lines)


def cluster_text(row: ClusterRow) -> str:
    """Return how the cluster of one's own is, a line."""
    if row.state == "absent":
        return "there is no cluster; `devloop cluster start` makes one\n"
    parts = [row.lacks or "", f"Kubernetes {row.version}" if row.version else "", row.server or "", row.image or ""]
    context = "its context is not in the kubeconfig"
    if row.context:
        context = f"context {row.context}{' (current)' if row.current else ''}"
    return f"{row.state}: {', '.join(clean(part) for part in (*parts, context) if part)}\n"


def settings_text(rows: Sequence[SettingRow], *, width: int | None = _WIDTH) -> str:
    """Return the settings with their values and where these come from."""
    if not rows:
        return "no settings: a parameter with a default becomes one\n"
    cells_of = ((row.name, row.type, row.value, row.origin, str(row.where or "")) for row in rows)
    return table(("SETTING", "TYPE", "VALUE", "FROM", "DEFINED"), cells_of, width=width)


def json_ready(value: object) -> object:
    """Return the JSON form of rows: mappings with the fields' names, nodes as `kind:name`, lists."""
    match value:
        case NodeId():
            return str(value)
        case StrEnum():
            return value.value
        case Where():
            return {"path": value.path, "line": value.line, "column": value.column, "text": value.text}
        case Mapping():
            return {str(key): json_ready(each) for key, each in value.items()}
        case str() | int() | float() | None:
            return value
        case Iterable():
            return [json_ready(each) for each in value]
        case _ if dataclasses.is_dataclass(value):
            return {each.name: json_ready(getattr(value, each.name)) for each in dataclasses.fields(value)}
        case _:
            return str(value)


def _service_cells(service: ServiceRow) -> tuple[str, ...]:
    pods = f"{sum(pod.ready for pod in service.pods)}/{len(service.pods)}" if service.pods else ""
    urls = ", ".join(port.url for port in service.ports if port.url)
    status = f"{service.status}: {service.detail}" if service.detail else service.status
    return (service.node.name, crop(clean(status), 44), pods, urls)


def _port_cells(service: ServiceRow, port: PortRow) -> tuple[str, ...]:
    return (service.node.name, str(port.local), port.remote if port.url else f"{port.remote} (not open)")


def _pod_cells(service: ServiceRow, pod: PodRow) -> tuple[str, ...]:
    waits = pod.status == "Running" and not pod.ready
    return (service.node.name, pod.name, str(pod.restarts), f"{pod.status}, not ready" if waits else pod.status)


def _object_cells(service: ServiceRow, each: ObjectRow) -> tuple[str, ...]:
    return (service.node.name, each.name, each.status)


def _plan_cells(row: PlanRow) -> tuple[str, ...]:
    after = f" (after {', '.join(map(str, row.after))})" if row.after else ""
    return (str(row.node), row.action or "", ", ".join(row.reasons) + after)
