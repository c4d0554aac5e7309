"""What devloop has in a Docker engine, as tests see it: through the docker CLI, never through devloop."""

import json
from typing import Any

from devloop.core.manifest import Manifest
from tests.outside import output

__all__ = ["containers", "object_names", "pods", "put_object", "remove_all", "things"]

_HOME = "devloop.dev/home"


def things(namespace: str, what: str, *more: str) -> list[str]:
    """Return the containers, volumes or networks (`what`) that a project has for a namespace."""
    listing = ["ps", "--all"] if what == "container" else [what, "ls"]
    return output("docker", *listing, "--quiet", "--filter", f"label={_HOME}={namespace}", *more).split()


def containers(namespace: str, *more: str) -> list[Any]:
    """Return what `docker inspect` shows of a namespace's containers."""
    found = things(namespace, "container", *more)
    shown: list[Any] = json.loads(output("docker", "inspect", *found)) if found else []
    return shown


def pods(namespace: str, app: str) -> list[Any]:
    """Return the running containers of the pods with the label `app`."""
    running = containers(namespace, "--filter", "label=devloop.dev/role=container", "--filter", "status=running")
    return [each for each in running if _labels(each).get("app") == app]


def object_names(namespace: str, kind: str) -> set[str]:
    """Return the names of the objects of a kind that were applied in a namespace."""
    prefix = f"devloop_object_{namespace}_{kind}_"
    found = output("docker", "volume", "ls", "--quiet", "--filter", f"name={prefix}").split()
    return {name.removeprefix(prefix) for name in found if name.startswith(prefix)}


def put_object(manifest: Manifest) -> None:
    """Put an object there that no project of devloop has."""
    key = manifest.key
    name = f"devloop_object_{key.namespace}_{key.kind.lower()}_{key.name}"
    labels = {_HOME: key.namespace, "devloop.dev/role": "object"}
    output("docker", "volume", "create", *(f"--label={label}={value}" for label, value in labels.items()), name)


def remove_all(namespace: str) -> None:
    """Remove whatever a test has left."""
    if found := things(namespace, "container"):
        output("docker", "rm", "--force", "--volumes", *found)
    for what in ("volume", "network"):
        if found := things(namespace, what):
            output("docker", what, "rm", *found)


def _labels(container: Any) -> dict[str, str]:
    pod = json.loads(container["Config"]["Labels"]["devloop.dev/pod"])
    labels: dict[str, str] = (pod["template"].get("metadata") or {}).get("labels") or {}
    return labels
