"""What the benchmarks of the loop look with: generated projects, the served content, the API server, figures."""

import http.client
import json
import os
import ssl
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LINE = "{name:<58} {median:>8} {p95:>8} {goal:>10}  {note}"


def show(name: str, seconds: Sequence[float], *, goal: str = "", note: str = "", unit: str = "s") -> None:
    """Print a line of the table: the median and the 95th percentile."""
    print(
        LINE.format(
            name=name,
            median=f"{statistics.median(seconds):.2f}{unit}",
            p95=f"{percentile(seconds, 95):.2f}{unit}" if len(seconds) > 1 else "",
            goal=goal,
            note=note,
        ),
        flush=True,
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """Return a percentile by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def until(claim: Callable[[], bool], *, within: float = 120, every: float = 0.003) -> float:
    """Return the time at which the claim became true."""
    end = time.perf_counter() + within
    while True:
        if claim():
            return time.perf_counter()
        if time.perf_counter() > end:
            raise TimeoutError(f"not within {within} s")
        time.sleep(every)


def get(address: tuple[str, int], path: str) -> str | None:
    """Return what is served, or None while nothing answers."""
    connection = http.client.HTTPConnection(*address, timeout=1)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode(errors="replace") if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Api:
    """The API server, asked directly: neither devloop nor kubectl takes part in what is measured."""

    def __init__(self) -> None:
        path = os.environ.get("KUBECONFIG", str(Path.home() / ".kube/config")).split(os.pathsep)[0]
        config = yaml.safe_load(Path(path).read_text())
        self._server = config["clusters"][0]["cluster"]["server"]
        self._token = config["users"][0]["user"].get("token", "")
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """Return the API server's answer."""
        request = urllib.request.Request(self._server + path, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        request.add_header("Content-Type", kind)
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, context=self._tls) as answer:
            return json.load(answer)

    def address(self, namespace: str, service: str) -> tuple[str, int]:
        """Return where a Service answers in the cluster."""
        spec = self.call("GET", f"/api/v1/namespaces/{namespace}/services/{service}")["spec"]
        return spec["clusterIP"], spec["ports"][0]["port"]


@dataclass(frozen=True)
class Project:
    """A generated project of some services, each with an image of its own.

    Of each service `www/index.html` is synced, `rebuilt.html` is built into the image, and the greeting comes from the
    manifest.
    """

    folder: Path
    count: int
    namespace: str
    port: int = 18100

    @property
    def names(self) -> list[str]:
        return [f"{self.namespace}-s{number}" for number in range(self.count)]

    def write(self) -> None:
        lines = ["from devloop import Image, image, project, service, sync", f'project(name="{self.namespace}")', ""]
        for number, name in enumerate(self.names):
            folder = self.folder / name
            (folder / "www").mkdir(parents=True)
            (folder / "www/index.html").write_text("start")
            (folder / "rebuilt.html").write_text("start")
            (folder / "Dockerfile").write_text(DOCKERFILE)
            (folder / "service.yaml").write_text(MANIFEST.replace("NAME", name))
            function = name.replace("-", "_")
            lines += [
                f'@image("{name}")',
                f"def {function}_image(): ...",
                f'@service("{name}/service.yaml", ports={{{self.port + number}: 80}})',
                f"def {function}(): ...",
                f'@sync("{name}/www", "/www")',
                f"def {function}_www({function}_image: Image): ...",
                "",
            ]
        (self.folder / "devfile.py").write_text("\n".join(lines))

    def edit(self, name: str, file: str, text: str) -> None:
        (self.folder / name / file).write_text(text)

    def greet(self, name: str, greeting: str) -> None:
        path = self.folder / name / "service.yaml"
        before = yaml.safe_load_all(path.read_text())
        deployment, service = before
        deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = greeting
        path.write_text(yaml.safe_dump_all([deployment, service]))


DOCKERFILE = """\
FROM busybox:latest
COPY www /www
COPY rebuilt.html /www/rebuilt.html
CMD ["sh", "-c", "echo $GREETING >/www/greeting.html; trap exit TERM; httpd -f -p 8000 -h /www & wait"]
"""

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: web
          image: NAME
          env: [{name: GREETING, value: start}]
          ports: [{containerPort: 8000}]
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{port: 80, targetPort: 8000}]
"""


def quiet(*command: str, cwd: Path | None = None) -> None:
    """Run a command whose output does not matter."""
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
