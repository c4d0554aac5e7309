"""The loop, measured from outside: from a save to the served content, starts, CPU, memory; the floor in the same run.

    python -m benchmarks.loop [--services 20] [--runs 5]

The floor is what builder and cluster take by themselves: a warm `docker buildx build` of the change, and a changed pod
template until the Service answers with it. Skaffold and Tilt are measured too where they are on the PATH.
"""

import argparse
import contextlib
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.outside import LINE, MANIFEST, Api, Project, get, quiet, show, until
from benchmarks.peers import Devloop, Program, programs

COOL_DOWN = 30
"""Seconds before each project: the kubelet still tells of the pods that the last one left, out of a budget of calls."""

FLOOR = "bench-floor"
SERVING = ["sh", "-c", "mkdir /www; echo start >/www/index.html; trap exit TERM; httpd -f -p 8000 -h /www & wait"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    api = Api()
    print(LINE.format(name="", median="median", p95="p95", goal="goal", note=""))
    floor_of_many(api, options.services, min(options.runs, 3))
    for make in programs():
        for count in (1, options.services):
            namespace = f"bench-{make.name}-{count}-{time.time_ns() % 1_000_000_000 // 1_000_000:03d}"
            time.sleep(COOL_DOWN)
            with in_namespace(api, namespace), tempfile.TemporaryDirectory() as folder:
                project = Project(Path(folder) / "project", count, namespace)
                project.folder.mkdir()
                project.write()
                Measured(api, project, make(project), options.runs).run()


def floor_of_many(api: Api, count: int, runs: int) -> None:
    """What the cluster takes by itself for as many pods of an image that is there, created at once by nobody's tool."""
    quiet("docker", "tag", "busybox:latest", f"{FLOOR}:latest")
    taken = []
    for _ in range(runs):
        time.sleep(COOL_DOWN)
        namespace = f"{FLOOR}-{time.time_ns() % 1_000_000_000 // 1_000_000:03d}"
        with in_namespace(api, namespace):
            started = time.perf_counter()
            names = [f"web{number}" for number in range(count)]
            for name in names:
                for document in yaml.safe_load_all(MANIFEST.replace("NAME", name)):
                    group = "/apis/apps/v1" if document["kind"] == "Deployment" else "/api/v1"
                    if document["kind"] == "Deployment":
                        (container,) = document["spec"]["template"]["spec"]["containers"]
                        container |= {"image": f"{FLOOR}:latest", "imagePullPolicy": "Never", "command": SERVING}
                    api.call("POST", f"{group}/namespaces/{namespace}/{document['kind'].lower()}s", document)
            for name in names:
                address = api.address(namespace, name)
                until(lambda address=address: get(address, "/index.html"), every=0.1)
            taken.append(time.perf_counter() - started)
    show(f"floor: {count} pods of a ready-made image until every Service answers", taken)


class Measured:
    """One program on one project."""

    def __init__(self, api: Api, project: Project, program: Program, runs: int) -> None:
        self.api = api
        self.project = project
        self.program = program
        self.runs = runs
        self.service = project.names[0]
        self.floor_build: list[float] = []
        self.floor_pod: list[float] = []

    def run(self) -> None:
        many = self.project.count > 1
        print(f"\n{self.program.name}, {self.project.count} service{'s' if many else ''}")
        self.program.prepare()
        try:
            self.cold_start(goal="15 s" if many else "3 s")
            self.floor()
            self.unchanged_start(goal="1.5 s" if many else "0.8 s")
            self.sync()
            self.rebuild()
            self.redeploy()
            if not many:
                self.broken()
            show("resident memory (MB)", [self.program.memory()], goal="130" if many else "110", unit="")
            self.program.stop()
        finally:
            if self.program.process is not None and self.program.process.poll() is None:
                self.program.process.kill()
            self.program.remove()

    # --- what is served -------------------------------------------------------------------------------------------

    def served(self, name: str, path: str, text: str) -> bool:
        return (get(self.api.address(self.project.namespace, name), path) or "").strip() == text

    def until_served(self, path: str, text: str, name: str = "") -> float:
        address = self.api.address(self.project.namespace, name or self.service)
        return until(lambda: (get(address, path) or "").strip() == text)

    # --- starts -----------------------------------------------------------------------------------------------------

    def cold_start(self, goal: str) -> None:
        started = self.program.start()
        for name in self.project.names:
            until(lambda name=name: self._exists(name) and self.served(name, "/index.html", "start"), every=0.1)
        show("cold start until every service answers", [time.perf_counter() - started], goal=goal)
        self._wait_settled()
        self.program.stop()

    def unchanged_start(self, goal: str) -> None:
        taken = []
        for number in range(self.runs):
            started = self.program.start()
            time.sleep(0.02)
            self.project.edit(self.service, "www/index.html", f"again {number}")
            taken.append(self.until_served("/index.html", f"again {number}") - started)
            self._wait_settled()
            if number < self.runs - 1:
                self.program.stop()
        show("start with nothing changed until the first sync works", taken, goal=goal)
        if isinstance(self.program, Devloop):
            show("  ... until all is confirmed (Settled)", [self._settled_after(started)])

    def _settled_after(self, started: float) -> float:
        at = self.program.first_line(started, lambda line: '"Settled"' in line)
        return (at or time.perf_counter()) - started

    def _exists(self, name: str) -> bool:
        try:
            self.api.address(self.project.namespace, name)
        except OSError:
            return False
        return True

    def _wait_settled(self) -> None:
        if isinstance(self.program, Devloop):
            until(self.program.settled, every=0.01)
        else:
            time.sleep(3)

    # --- changes ----------------------------------------------------------------------------------------------------

    def floor(self) -> None:
        """What builder and cluster take by themselves for the same change, on a Deployment of its own."""
        name = f"{self.project.namespace}-floor"
        folder = self.project.folder / name
        shutil.copytree(self.project.folder / self.service, folder)
        namespace = f"/namespaces/{self.project.namespace}"
        for document in yaml.safe_load_all(MANIFEST.replace("NAME", name)):
            group = "/apis/apps/v1" if document["kind"] == "Deployment" else "/api/v1"
            if document["kind"] == "Deployment":
                quiet("docker", "buildx", "build", "--provenance=false", "-t", f"{name}:floor", str(folder))
                document["spec"]["template"]["spec"]["containers"][0]["image"] = f"{name}:floor"
            self.api.call("POST", f"{group}{namespace}/{document['kind'].lower()}s", document)
        until(lambda: self.served(name, "/rebuilt.html", "start"))
        for number in range(self.runs):
            (folder / "rebuilt.html").write_text(f"floor {number}")
            ref = f"{name}:floor{number}"
            started = time.perf_counter()
            quiet("docker", "buildx", "build", "--provenance=false", "-t", ref, str(folder))
            built = time.perf_counter()
            body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": ref}]}}}}
            path = f"/apis/apps/v1{namespace}/deployments/{name}"
            self.api.call("PATCH", path, body, "application/strategic-merge-patch+json")
            done = self.until_served("/rebuilt.html", f"floor {number}", name)
            self.floor_build.append(built - started)
            self.floor_pod.append(done - built)
        self.api.call("DELETE", f"/apis/apps/v1{namespace}/deployments/{name}")
        shutil.rmtree(folder)
        show("floor: docker buildx build of the change", self.floor_build)
        show("floor: changed pod template until the Service answers", self.floor_pod)

    def sync(self) -> None:
        taken = []
        for number in range(self.runs * 4):
            started = time.perf_counter()
            self.project.edit(self.service, "www/index.html", f"synced {number}")
            taken.append((self.until_served("/index.html", f"synced {number}") - started) * 1000)
            time.sleep(0.05)
        show("save of a synced file until served", taken, unit="ms")

    def rebuild(self) -> None:
        taken, cpu = [], []
        for number in range(self.runs):
            before, started = self.program.cpu(), time.perf_counter()
            self.project.edit(self.service, "rebuilt.html", f"built {number}")
            taken.append(self.until_served("/rebuilt.html", f"built {number}") - started)
            time.sleep(1.5)  # let it come to rest, so that its work is all counted
            cpu.append(self.program.cpu() - before)
        show("save of an unsynced file until served", taken, goal="floor+0.2", note=self._over(taken, self.floor_total))
        show("  ... CPU spent", cpu, goal="0.3 s" if self.project.count > 1 else "")

    @property
    def floor_total(self) -> list[float]:
        return [build + pod for build, pod in zip(self.floor_build, self.floor_pod, strict=True)]

    def redeploy(self) -> None:
        taken = []
        for number in range(self.runs):
            started = time.perf_counter()
            self.project.greet(self.service, f"deployed-{number}")
            taken.append(self.until_served("/greeting.html", f"deployed-{number}") - started)
            time.sleep(1)
        show("manifest edit until served", taken, goal="floor+0.1", note=self._over(taken, self.floor_pod))

    def _over(self, taken: list[float], floor: list[float]) -> str:
        return f"{statistics.median(taken) - statistics.median(floor):+.2f} s over the floor"

    def broken(self) -> None:
        for what, file, text in (
            ("broken build until the error is shown", "Dockerfile", "FROM busybox:latest\nRUN exit 3\n"),
            ("broken manifest until the error is shown", "service.yaml", "kind: [\n"),
        ):
            path = self.project.folder / self.service / file
            good = path.read_text()
            taken = []
            for number in range(self.runs):
                started = time.perf_counter()
                path.write_text(text + f"# {number}\n" if file != "Dockerfile" else text.replace("3", str(number + 3)))
                until(lambda started=started: self.program.first_line(started, self.program.shows_error) is not None)
                at = self.program.first_line(started, self.program.shows_error)
                assert at is not None
                taken.append(at - started)
                path.write_text(good)
                time.sleep(2)
            show(what, taken, goal="0.4 s")


@contextlib.contextmanager
def in_namespace(api: Api, name: str) -> Iterator[None]:
    with contextlib.suppress(OSError):
        api.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    until(lambda: _has_account(api, name), every=0.05)
    try:
        yield
    finally:
        api.call("DELETE", f"/api/v1/namespaces/{name}")
        subprocess.run(
            f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' '{name}-*' | xargs -r docker image rm -f",
            shell=True,
            check=False,
            capture_output=True,
        )


def _has_account(api: Api, namespace: str) -> bool:
    try:
        api.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
