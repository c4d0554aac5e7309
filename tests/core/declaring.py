"""Declarations for tests, without a devfile."""

from collections.abc import Callable
from typing import Any

from devloop.declarations import Declaration, Parameter
from devloop.errors import Where
from devloop.model import CheckSpec, ImageSpec, Kind, NodeId, ServiceSpec, Spec, SyncSpec, TaskSpec

__all__ = ["asks", "at", "declared", "setting"]

_SPECS: dict[Kind, Spec] = {
    Kind.IMAGE: ImageSpec(),
    Kind.SERVICE: ServiceSpec(manifests=("k8s.yaml",)),
    Kind.SYNC: SyncSpec(),
    Kind.TASK: TaskSpec(),
    Kind.CHECK: CheckSpec(),
}


def declared(
    argument: str,
    kind: Kind,
    *parameters: Parameter,
    name: str | None = None,
    line: int = 1,
    spec: Spec | None = None,
    function: Callable[..., Any] = lambda: None,
) -> Declaration:
    """Return what a decorator makes of a function with these arguments."""
    return Declaration(
        id=NodeId(kind, name or argument.removesuffix(f"_{kind}").replace("_", "-")),
        argument=argument,
        spec=spec or _SPECS[kind],
        function=function,
        parameters=parameters,
        where=at(line),
        folder="",
    )


def asks(name: str, kind: Kind | None = None) -> Parameter:
    """Return an argument that names a node."""
    return Parameter(name=name, kind=kind, required=True)


def setting(name: str, default: object = None, annotation: Any = None) -> Parameter:
    """Return an argument that is a setting."""
    return Parameter(name=name, annotation=annotation, default=default)


def at(line: int) -> Where:
    """Return a line of the devfile."""
    return Where(path="devfile.py", line=line)
