"""What devloop has in a Docker engine, as tests see it: through the docker CLI, never through devloop."""

import json
from pathlib import Path
from typing import Any

from devloop.core.manifest import Manifest
from tests.outside import Cluster, eventually, output

__all__ = ["Engine", "containers", "object_names", "put_object", "remove_all", "things"]

_HOME = "devloop.dev/home"


def things(namespace: str, what: str, *more: str) -> list[str]:
    """Return the containers, volumes or networks (`what`) that a project has for a namespace."""
    listing = ["ps", "--all"] if what == "container" else [what, "ls"]
    return output("docker", *listing, "--quiet", "--filter", f"label={_HOME}={namespace}", *more).split()


def containers(namespace: str, *more: str) -> list[Any]:
    """Return what `docker inspect` shows of a namespace's containers."""
    found = things(namespace, "container", *more)
    shown: list[Any] = []
    for each in found:
        try:
            shown += json.loads(output("docker", "inspect", each))
        except AssertionError:
            continue  # it has just gone
    return shown


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
    # The engine refuses what is just going, and Podman containers whose network others have until these are gone.
    eventually(lambda: _removed(namespace), within=60)


def _removed(namespace: str) -> bool:
    for what in ("container", "volume", "network"):
        if found := things(namespace, what):
            options = ["--force", "--volumes"] if what == "container" else []
            output("docker", what, "rm", *options, *found)
    return True


class Engine(Cluster):
    """A namespace on the engine alone, for one test: looked at as a cluster's is."""

    @classmethod
    def of(cls, namespace: str) -> "Engine":
        """Return the namespace; devloop finds no context there."""
        return cls(kubeconfig=Path("/nonexistent/kubeconfig"), context="", namespace=namespace)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Return what `kubectl exec POD [-c CONTAINER] -- COMMAND…` would print; that is all a test asks."""
        verb, pod, *rest = arguments
        assert verb == "exec"
        before, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
        named = [each for each in self._running() if _pod(each)["name"] == pod]
        chosen = [each for each in named if not before or _name(each) == before[1]]
        assert chosen, f"no such container of pod {pod} runs"
        return output("docker", "exec", "-i", chosen[0]["Id"], *command, stdin=stdin, timeout=timeout)

    def get(self, *arguments: str) -> Any:
        """Return a Service with its address."""
        kind, name = arguments
        assert kind == "service"
        found = json.loads(output("docker", "inspect", f"devloop_{self._project()}_{self.namespace}_service_{name}"))
        (network,) = found[0]["NetworkSettings"]["Networks"].values()
        return {"spec": {"clusterIP": network["IPAddress"]}}

    def pods(self, selector: str = "") -> list[Any]:
        """Return the pods that run, the oldest first."""
        app = selector.removeprefix("app=")
        found: dict[str, Any] = {}
        for each in sorted(self._running(), key=lambda each: str(each["Created"])):
            pod = _pod(each)
            if app in {"", (pod["template"].get("metadata") or {}).get("labels", {}).get("app")}:
                shown = found.setdefault(pod["uid"], _as_pod(pod, each))
                shown["status"]["containerStatuses"].append(_status(each))
        return list(found.values())

    def _running(self) -> list[Any]:
        marks = ("--filter", "label=devloop.dev/role=container", "--filter", "status=running")
        return containers(self.namespace, *marks)

    def _project(self) -> str:
        return str(containers(self.namespace)[0]["Config"]["Labels"]["devloop.dev/project"])


def _as_pod(pod: Any, container: Any) -> Any:
    metadata = {"uid": pod["uid"], "name": pod["name"], "creationTimestamp": container["Created"]}
    status = {"containerStatuses": [], "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": metadata, "spec": pod["template"]["spec"], "status": status}


def _status(container: Any) -> Any:
    return {"containerID": container["Id"], "imageID": container["Image"], "restartCount": container["RestartCount"]}


def _pod(container: Any) -> Any:
    return json.loads(container["Config"]["Labels"]["devloop.dev/pod"])


def _name(container: Any) -> str:
    return str(container["Config"]["Labels"]["devloop.dev/container"].partition("/")[0])
