"""A project of a test's own: its files, its place in the cluster, and what can be seen of it from outside."""

import json
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.driver import DEVLOOP, Loop, environment
from tests.outside import Cluster, eventually, http, output


def free_port() -> int:
    """Return a local port that nobody holds."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Project:
    """A folder with a devfile, a namespace and an image prefix.

    Attributes:
        folder: Where the devfile is.
        cluster: The namespace it is deployed to.
        image: What the names of its images begin with.
        port: A free local port.
        env: More environment for devloop.
        ports: For a copied example, its documented ports and those that stand for them here.
        loops: What was started.
    """

    folder: Path
    cluster: Cluster
    image: str
    port: int = field(default_factory=free_port)
    env: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)

    # --- its files ---

    def write(self, path: str, text: str, *, mode: int = 0o644) -> Path:
        """Write a file at one stroke; `$IMAGE` and `$PORT` in it stand for the project's own."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        written = self.folder.parent / f"written-{target.name}"
        written.write_text(text.replace("$IMAGE", self.image).replace("$PORT", str(self.port)))
        written.chmod(mode)
        return written.rename(target)

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace a text that is in a file."""
        text = (self.folder / path).read_text()
        assert old in text, f"{old!r} is not in {path}"
        self.write(path, text.replace(old, new))

    # --- devloop ---

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> Loop:
        """Start devloop with these arguments and `--output json`."""
        own = environment(**{**self.cluster.env, **self.env, **(env or {})})
        loop = Loop(self.folder, [*arguments, "--output", "json"], own)
        self.loops.append(loop)
        return loop

    def up(self, *arguments: str, env: dict[str, str] | None = None) -> Loop:
        """Start `devloop up` in the project's namespace."""
        return self.start("up", "--namespace", self.cluster.namespace, *arguments, env=env)

    def run(
        self, *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None, place: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        """Run a devloop command to its end; `place` names the project's namespace."""
        where = ["--namespace", self.cluster.namespace] if place else []
        command, *rest = arguments
        return subprocess.run(
            [DEVLOOP, command, *where, *rest],
            cwd=self.folder,
            env=environment(**{**self.cluster.env, **self.env, **(env or {})}),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    # --- what can be seen from outside ---

    @property
    def url(self) -> str:
        """The forwarded port."""
        return f"http://127.0.0.1:{self.port}"

    def inside(self, service: str, port: int = 80) -> str:
        """Return the address of a Kubernetes Service, which no forward has a part in."""
        return f"http://{self.cluster.get('service', service)['spec']['clusterIP']}:{port}"

    def shows(self, url: str, text: str, *, within: float = 60) -> str:
        """Wait until a page holds a text; return the page."""
        return eventually(lambda: page if text in (page := http(url)) else "", within=within)

    def pod(self, app: str = "web") -> Any:
        """Return the only pod of an app, once there is exactly one and it is ready."""
        return self.ready_pods(app, count=1)[0]

    def ready_pods(self, app: str = "web", *, count: int) -> list[Any]:
        """Return the pods of an app, once there are so many and all are ready."""

        def look() -> list[Any]:
            pods = self.cluster.pods(f"app={app}")
            return pods if len(pods) == count and all(_ready(pod) for pod in pods) else []

        return eventually(look, within=60, every=0.2)

    def identity(self, app: str = "web") -> tuple[str, str]:
        """Return what differs when there is a new pod or a new container."""
        pod = self.pod(app)
        return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["containerID"]

    def read_in(self, pod: Any, path: str, *, container: str | None = None) -> str | None:
        """Return a file of a container, or None where there is none."""
        chosen = ["-c", container] if container else []
        script = f"if [ -e {path} ]; then echo yes; cat {path}; fi"
        text = self.cluster.kubectl("exec", pod["metadata"]["name"], *chosen, "--", "sh", "-c", script)
        return text.removeprefix("yes\n") if text else None

    def inside_of(self, pod: Any, script: str) -> str:
        """Return what a shell script prints in a pod's first container."""
        return self.cluster.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", script)

    def versions(self) -> dict[str, str]:
        """Return everything in the namespace that somebody deployed, by who wrote what and when."""
        found = self.cluster.get("deployments,services,configmaps,jobs,pods")["items"]
        return {
            f"{item['kind']}/{item['metadata']['name']}": json.dumps(_written(item), sort_keys=True)
            for item in found
            if item["metadata"]["name"] != "kube-root-ca.crt"
        }

    def image_of(self, pod: Any) -> str:
        """Return the image reference that a pod's first container names."""
        return str(pod["spec"]["containers"][0]["image"])

    def builds(self, name: str = "") -> int:
        """Return how many builds devloop has started, as the buildx program between the two has counted."""
        log = self.folder.parent / "builds.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return sum(line.endswith(f"/{name}") if name else True for line in lines)

    def count_builds(self) -> None:
        """Put a program between devloop and buildx that writes down each build's context."""
        config = self.folder.parent / "docker"
        own = Path.home() / ".docker"
        if own.is_dir():
            shutil.copytree(own, config, ignore=shutil.ignore_patterns("cli-plugins"))
        plugins = config / "cli-plugins"
        plugins.mkdir(parents=True)
        real = _buildx()
        shim = plugins / "docker-buildx"
        log = self.folder.parent / "builds.log"
        shim.write_text(
            f'#!/bin/sh\nif [ "$1" = build ]; then for last; do :; done; echo "$last" >>{log}; fi\nexec {real} "$@"\n'
        )
        shim.chmod(0o755)
        self.env["DOCKER_CONFIG"] = str(config)

    def close(self) -> None:
        """End what was started, and tell what happened (shown for failed tests)."""
        for loop in self.loops:
            loop.close()
            sys.stdout.write(loop.story() + "\n")


def _written(item: Any) -> Any:
    """Return an object without its status, which the cluster may note anew long after all is ready."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "resourceVersion"}
    fields = [each for each in metadata.pop("managedFields", ()) if "f:status" not in (each.get("fieldsV1") or {})]
    return {**item, "metadata": {**metadata, "managedFields": fields}, "status": None}


def _ready(pod: Any) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _buildx() -> str:
    plugins: list[dict[str, str]] = json.loads(output("docker", "info", "--format={{json .ClientInfo.Plugins}}"))
    return next(each["Path"] for each in plugins if each["Name"] == "buildx")


# --- small projects ------------------------------------------------------------------------------------------------

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: {{ replicas | default(1) }}
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: NAME
          image: {{ IMAGE_image }}
          env: [{name: GREETING, value: {{ greeting | default("hello") | tojson }}}]
          ports: [{name: http, containerPort: 8000}]
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{name: http, port: 80, targetPort: http}]
"""


def workload(name: str, image: str | None = None) -> str:
    """Return a template with a Deployment and a Service for an image."""
    return WORKLOAD.replace("NAME", name).replace("IMAGE", image or name)


PAGES = """\
FROM busybox
COPY pages /www
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""

WEB = """\
from devloop import *

project(name="$IMAGE")


@image("web", ref="$IMAGE-web")
def web_image(): ...


@service("k8s/web.yaml.j2", ports={$PORT: 80})
def web(web_image: Image, greeting: str = "hello", replicas: int = 1): ...
"""

WEB_SYNC = """

@sync("web/pages", "/www")
def web_pages(web_image: Image):
    yield from RULES
"""


def web(project: Project, *, sync: bool = True, rules: str = "()", dockerfile: str = PAGES) -> Project:
    """Write a web server of static pages; `rules` are what its sync yields."""
    project.write("devfile.py", WEB + (WEB_SYNC.replace("RULES", rules) if sync else ""))
    project.write("web/Dockerfile", dockerfile)
    project.write("web/pages/index.html", "one\n")
    project.write("k8s/web.yaml.j2", workload("web"))
    return project


def pair(project: Project) -> Project:
    """Write two services without a sync, `web` and `other`, each with an image of its own."""
    web(project, sync=False)
    project.write(
        "devfile.py",
        WEB
        + """

@image("other", ref="$IMAGE-other")
def other_image(): ...


@service("k8s/other.yaml.j2", ports={})
def other(other_image: Image): ...
""",
    )
    project.write("other/Dockerfile", PAGES)
    project.write("other/pages/index.html", "first\n")
    project.write("k8s/other.yaml.j2", workload("other"))
    return project
