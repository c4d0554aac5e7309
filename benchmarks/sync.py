"""Sync, measured from outside: from a save to the bytes that containers serve, asked each millisecond.

    python -m benchmarks.sync [--quick]

One file of 1 KB, 1 MB and 50 MB; 1, 3 and 10 containers; watched trees of 1,000, 20,000 and 100,000 files; checkouts of
500 and 5,000 files by git, counted from the end of the checkout until every file is right in every container. Skaffold
and Tilt are measured in the same way where they are on the PATH, and devloop's medians divided by theirs.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.loop import in_namespace
from benchmarks.outside import Api, Project, percentile, until
from benchmarks.peers import Devloop, Program, programs

COLUMNS = "{name:<56} {p50:>9} {p95:>9} {p99:>9} {goal:>9}  {note}"
IN_FOLDER = 50
APART = 65.0
"""Seconds between two checkouts: ext4 keeps deleted inodes out of use for a minute, and searches past them."""
SETTLE = 0.06
MEDIANS: dict[str, dict[str, float]] = {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer saves, one tree of 20,000 files")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; all in ms")
    api = Api()
    trees = (20_000,) if options.quick else (1_000, 20_000, 100_000)
    replicas = (1, 3) if options.quick else (1, 3, 10)
    for make in programs():
        print(f"\n{COLUMNS.format(name=make.name, p50='p50', p95='p95', p99='p99', goal='goal', note='')}")
        for tree in trees:
            with _running(api, make, tree) as bench:
                bench.small(200 if not options.quick else 60, goal=tree == 20_000)
                if tree == 20_000:
                    bench.large(quick=options.quick)
                    bench.checkouts(quick=options.quick)
                if isinstance(bench.program, Devloop):
                    bench.idle()
        for count in replicas[1:]:
            with _running(api, make, 1_000, replicas=count) as bench:
                bench.small(60 if not options.quick else 20)
                bench.checkout(500, 3)


class Bench:
    """One program with one project that runs."""

    def __init__(self, api: Api, project: Project, program: Program, tree: int, replicas: int) -> None:
        self.api = api
        self.project = project
        self.program = program
        self.name = project.names[0]
        self.www = project.folder / self.name / "www"
        self.what = f"{tree:,} files" + (f", {replicas} containers" if replicas > 1 else "")
        self.replicas = replicas
        self.pods: list[Pod] = []

    def start(self) -> None:
        """Start the program and wait until its pods serve and a save arrives."""
        self.program.start()
        until(self._all_serve, within=300, every=0.2)
        until(self._a_save_arrives, within=120, every=1)

    def small(self, saves: int, *, goal: bool = False) -> None:
        """Save one file of 1 KB again and again."""
        told = []
        taken = []
        for number in range(saves):
            text = f"{number:08}".ljust(1023, "x") + "\n"
            began, clock = time.perf_counter(), time.time()
            (self.www / "index.html").write_text(text)
            taken.append(self._until_all(lambda pod, text=text: pod.get("/index.html") == text.encode()) - began)
            time.sleep(SETTLE)
            told += [at - clock for at in self.program.told_at("FilesChanged", began)[:1]]
        self.show(f"1 KB, {self.what}", taken, goal="15 / 40" if goal else "")
        if told:
            self.show(f"  ... until the loop knows, {self.what}", told, goal="10" if goal else "")

    def large(self, *, quick: bool) -> None:
        """Save files of 1 MB and 50 MB; what is asked for is their end."""
        for size, times in ((1_000_000, 10 if quick else 30), (50_000_000, 2 if quick else 5)):
            block = random.randbytes(size - 64)
            taken = []
            for number in range(times):
                end = f"{number:064}".encode()
                began = time.perf_counter()
                (self.www / "large.bin").write_bytes(block + end)
                taken.append(self._until_all(lambda pod, part=(size, end): pod.ends("/large.bin", *part)) - began)
                time.sleep(0.2)
            self.show(f"{size // 1_000_000} MB, {self.what}", taken)

    def checkouts(self, *, quick: bool) -> None:
        """Go between branches that differ in many files."""
        self.checkout(500, 4 if quick else 10)
        self.checkout(5000, 2 if quick else 6, pause=APART, goal="1000")
        self.checkout(5000, 2 if quick else 6)

    def checkout(self, count: int, times: int, *, pause: float = 0.5, goal: str = "") -> None:
        """Go between two branches that differ in so many files, so many seconds after the last time."""
        folder = self.www / f"branch-{count}-{pause:.0f}"
        texts = [{f"d{n // IN_FOLDER}/f{n}.txt": f"{side} {n}\n" * 20 for n in range(count)} for side in ("one", "two")]
        git = ("git", "-C", str(folder), "-c", "user.name=b", "-c", "user.email=b@b", "-c", "gc.auto=0")
        folder.mkdir()
        (self.project.folder / self.name / ".dockerignore").write_text("**/.git\n")
        subprocess.run([*git, "init", "-q"], check=True)
        for side, files in zip("ab", texts, strict=True):
            subprocess.run([*git, "checkout", "-q", "--orphan", side], check=True)
            for path, text in files.items():
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_text(text)
            subprocess.run([*git, "add", "-A"], check=True)
            subprocess.run([*git, "commit", "-q", "-m", side], check=True)
        self._until_right(folder.name, texts[1])
        taken = []
        for number in range(times):
            time.sleep(pause)
            subprocess.run([*git, "checkout", "-q", "ab"[number % 2]], check=True)
            began = time.perf_counter()
            taken.append(self._until_right(folder.name, texts[number % 2]) - began)
        self.show(f"checkout of {count:,} files each {pause:g} s, {self.what}", taken, goal=goal)

    def idle(self) -> None:
        """Do nothing for a while."""
        time.sleep(2)
        before, began = self.program.cpu(), time.perf_counter()
        time.sleep(5)
        share = 100 * (self.program.cpu() - before) / (time.perf_counter() - began)
        name = f"processor while idle (%), {self.what}"
        print(COLUMNS.format(name=name, p50=f"{share:.2f}", p95="", p99="", goal="1", note=""), flush=True)

    def show(self, name: str, seconds: Sequence[float], *, goal: str = "") -> None:
        """Print a line of the table, beside the peers the ratio to devloop."""
        taken = [each * 1000 for each in seconds]
        median = MEDIANS.setdefault(name, {})[self.program.name] = statistics.median(taken)
        own = MEDIANS[name].get(Devloop.name)
        note = f"{median / own:.1f} times devloop" if own and self.program.name != Devloop.name else ""
        shares = {"p50": median, "p95": percentile(taken, 95), "p99": percentile(taken, 99)}
        print(COLUMNS.format(name=name, goal=goal, note=note, **{k: f"{v:.1f}" for k, v in shares.items()}), flush=True)

    # --- what is served ---

    def _all_serve(self) -> bool:
        path = f"/api/v1/namespaces/{self.project.namespace}/pods?labelSelector=app%3D{self.name}"
        with contextlib.suppress(OSError):
            found = self.api.call("GET", path)["items"]
            self.pods = [Pod(each) for each in found if each["status"].get("podIP")]
        return len(self.pods) == self.replicas and all(pod.get("/index.html") is not None for pod in self.pods)

    def _a_save_arrives(self) -> bool:
        text = f"save {time.time()}"
        (self.www / "index.html").write_text(text)
        with contextlib.suppress(TimeoutError):
            until(lambda: all(pod.get("/index.html") == text.encode() for pod in self.pods), within=5)
            return True
        return False

    def _until_all(self, right: Callable[["Pod"], bool]) -> float:
        """Return when the last of the pods was right."""
        waiting = list(self.pods)

        def done() -> bool:
            waiting[:] = [pod for pod in waiting if not right(pod)]
            return not waiting

        return until(done, every=0.001)

    def _until_right(self, folder: str, texts: dict[str, str]) -> float:
        """Return when the last file was right in the last of the pods, looking at their file systems."""
        tops = [pod.root / "www" / folder for pod in self.pods]
        places = [(top / path, text.encode()) for top in tops for path, text in texts.items()]
        waiting = list(places)

        def done() -> bool:
            while waiting and _reads(*waiting[-1]):
                waiting.pop()
            return not waiting

        end = until(done, every=0.001)
        if wrong := next((place for place, data in places if not _reads(place, data)), None):
            raise SystemExit(f"{wrong} became wrong again")
        return end


class Pod:
    """A pod that serves files."""

    def __init__(self, found: Any) -> None:
        status = found["status"]
        self._address = str(status["podIP"])
        container = str(status["containerStatuses"][0]["containerID"]).rpartition("/")[2]
        told = subprocess.run(["docker", "inspect", container], capture_output=True, check=True, text=True).stdout
        self.root = Path(f"/proc/{json.loads(told)[0]['State']['Pid']}/root")

    def ends(self, path: str, size: int, end: bytes) -> bool:
        """Return whether the served file of that size ends so."""
        return self.get(path, {"Range": f"bytes={size - len(end)}-"}) == end

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes | None:
        """Return what is served, None while nothing is."""
        connection = http.client.HTTPConnection(self._address, 8000, timeout=2)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.read() if answer.status in {200, 206} else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def _reads(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


@contextlib.contextmanager
def _running(api: Api, make: type[Program], tree: int, replicas: int = 1) -> Iterator[Bench]:
    namespace = f"bench-{make.name}-{time.time_ns() % 1_000_000_000 // 1_000_000:03d}"
    with in_namespace(api, namespace), tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "project", 1, namespace)
        project.folder.mkdir()
        project.write()
        top = project.folder / project.names[0]
        for number in range(tree):
            place = top / f"www/tree/d{number // IN_FOLDER}/f{number}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"file {number}\n")
        deployment, service = yaml.safe_load_all((top / "service.yaml").read_text())
        deployment["spec"]["replicas"] = replicas
        (top / "service.yaml").write_text(yaml.safe_dump_all([deployment, service]))
        program = make(project)
        program.prepare()
        bench = Bench(api, project, program, tree, replicas)
        try:
            bench.start()
            yield bench
            program.stop()
        finally:
            if program.process is not None and program.process.poll() is None:
                program.process.kill()
            program.remove()


if __name__ == "__main__":
    main()
