"""The Docker engine as target, measured from outside: from a save to the new container's answer.

    python -m benchmarks.engine [--runs 12]

The floor is a warm `docker buildx build` of the same change, and `docker run` of the result until it answers; both in
the same run. Needs a Docker engine and the image `busybox`.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.outside import LINE, Project, get, quiet, show, until
from benchmarks.peers import Devloop

PAUSE = 3
"""Seconds between two edits: the old container takes two to end."""


class OnTheEngine(Devloop):
    """devloop without a cluster."""

    def command(self) -> list[str]:
        return [*super().command(), "--target", "docker"]

    def remove(self) -> None:
        command = [self.command()[0], "down", "--target", "docker", "-n", self.project.namespace]
        subprocess.run(command, cwd=self.project.folder, check=False, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        project = Project(
            Path(folder) / "project", 1, f"bench-engine-{time.time_ns() % 1_000_000_000 // 1_000_000:03d}"
        )
        project.folder.mkdir()
        project.write()
        program = OnTheEngine(project)
        print(LINE.format(name="", median="median", p95="p95", goal="goal", note=""))
        try:
            measured(project, program, runs)
        finally:
            if program.process is not None and program.process.poll() is None:
                program.stop()
            program.remove()


def measured(project: Project, program: OnTheEngine, runs: int) -> None:
    """Print the figures."""
    (name,) = project.names
    address = ("127.0.0.1", project.port)
    started = program.start()
    show("cold start until the service answers", [until(lambda: get(address, "/index.html") == "start") - started])
    built, ran, taken, synced = [], [], [], []
    for number in range(runs):
        time.sleep(PAUSE)
        build, run = floor(project, name, number)
        built.append(build)
        ran.append(run)
        before = time.perf_counter()
        project.edit(name, "rebuilt.html", f"built {number}")
        taken.append(until(lambda number=number: get(address, "/rebuilt.html") == f"built {number}") - before)
        time.sleep(PAUSE)
        before = time.perf_counter()
        project.edit(name, "www/index.html", f"synced {number}")
        synced.append((until(lambda number=number: get(address, "/index.html") == f"synced {number}") - before) * 1000)
    show("floor: docker buildx build of the change", built)
    show("floor: docker run of it until it answers", ran)
    over = statistics.median(taken) - statistics.median(built)
    show("save of an unsynced file until served", taken, goal="build+0.5", note=f"{over:+.2f} s over the builder")
    show("save of a synced file until served", synced, unit="ms")


def floor(project: Project, name: str, number: int) -> tuple[float, float]:
    """Return the seconds that a build of a change takes by itself, and a container of it until it answers."""
    folder = project.folder.parent / "floor"
    if not folder.exists():
        shutil.copytree(project.folder / name, folder)
    (folder / "rebuilt.html").write_text(f"floor {number}")
    ref = f"{name}-floor"
    started = time.perf_counter()
    quiet("docker", "buildx", "build", "--provenance=false", "--tag", ref, str(folder))
    built = time.perf_counter()
    quiet("docker", "run", "--detach", "--publish=127.0.0.1:18199:8000", f"--name={ref}", ref)
    answered = until(lambda: get(("127.0.0.1", 18199), "/rebuilt.html") == f"floor {number}")
    quiet("docker", "rm", "--force", ref)
    return built - started, answered - built


if __name__ == "__main__":
    main()
