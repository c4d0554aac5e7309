"""devloop: the inner development loop for Docker and Kubernetes as plain Python.

A `devfile.py` imports the decorators from here; notebooks and tests import `session`. Nothing heavy is loaded until it
is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from devloop.dsl import (
    Check,
    Image,
    Service,
    Sync,
    Task,
    check,
    copy,
    helm,
    ignore,
    image,
    include,
    kustomize,
    project,
    pull,
    restart,
    run,
    service,
    setting,
    sync,
    task,
)

if TYPE_CHECKING:
    from devloop.app.live import Session, session
    from devloop.shell import sh

__all__ = [
    "Check",
    "Image",
    "Service",
    "Session",
    "Sync",
    "Task",
    "check",
    "copy",
    "helm",
    "ignore",
    "image",
    "include",
    "kustomize",
    "project",
    "pull",
    "restart",
    "run",
    "service",
    "session",
    "setting",
    "sh",
    "sync",
    "task",
]

__version__ = "0.1.0"

_LATER = {"Session": "devloop.app.live", "session": "devloop.app.live", "sh": "devloop.shell"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module `devloop` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted(__all__)
