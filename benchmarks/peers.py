"""The programs that are measured: devloop, and where they are on the PATH Skaffold and Tilt, on the same project."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.outside import Project


class Program:
    """A development loop as a process."""

    name = ""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[tuple[float, str]] = []

    def command(self) -> list[str]:
        raise NotImplementedError

    def prepare(self) -> None:
        """Write what the program reads of the project."""

    def remove(self) -> None:
        """Remove what was deployed."""

    def start(self) -> float:
        """Start it and return when."""
        self.lines.clear()
        started = time.perf_counter()
        self.process = subprocess.Popen(
            self.command(),
            cwd=self.project.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "DEVLOOP_STATE_DIR": str(self.project.folder.parent / "state")},
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        return started

    def stop(self) -> float:
        """End it by Ctrl-C and return how long that took."""
        assert self.process is not None
        started = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)
        return time.perf_counter() - started

    def memory(self) -> float:
        """Return the resident memory of the process and its children in MB."""
        return sum(each.memory_info().rss for each in self._tree()) / 1e6

    def cpu(self) -> float:
        """Return the CPU seconds of the process and its children, the ended ones too."""
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        alive = sum(sum(each.cpu_times()[:2]) for each in self._tree()[1:])
        return times.user + times.system + times.children_user + times.children_system + alive

    def first_line(self, since: float, fits: Callable[[str], bool]) -> float | None:
        """Return when the first fitting line after `since` was printed."""
        return next((at for at, line in list(self.lines) if at >= since and fits(line)), None)

    def told_at(self, kind: str, since: float) -> list[float]:
        """Return the times, by its own clock, of the events of a kind that it has told since then."""
        found = [line for at, line in list(self.lines) if at >= since and f'"{kind}"' in line]
        return [float(json.loads(line)["at"]) for line in found if line.startswith("{")]

    def shows_error(self, line: str) -> bool:
        raise NotImplementedError

    def _tree(self) -> list[psutil.Process]:
        assert self.process is not None
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append((time.perf_counter(), line))


class Devloop(Program):
    name = "devloop"

    def command(self) -> list[str]:
        program = str(Path(sys.executable).with_name("devloop"))
        return [program, "up", "--output", "json", "-n", self.project.namespace]

    def remove(self) -> None:
        program = str(Path(sys.executable).with_name("devloop"))
        subprocess.run(
            [program, "down", "-n", self.project.namespace], cwd=self.project.folder, check=False, capture_output=True
        )

    def shows_error(self, line: str) -> bool:
        return json.loads(line)["type"] in {"RunFailed", "ProjectRejected"} if line.startswith("{") else False

    def settled(self) -> bool:
        return any('"Settled"' in line for _, line in list(self.lines))


class Skaffold(Program):
    name = "skaffold"

    def prepare(self) -> None:
        artifacts: list[dict[str, Any]] = [
            {
                "image": name,
                "context": name,
                "docker": {"dockerfile": "Dockerfile"},
                "sync": {"manual": [{"src": "www/**", "dest": "/www", "strip": "www/"}]},
            }
            for name in self.project.names
        ]
        config = {
            "apiVersion": "skaffold/v4beta6",
            "kind": "Config",
            "build": {"artifacts": artifacts, "local": {"push": False, "useBuildkit": True, "concurrency": 0}},
            "manifests": {"rawYaml": [f"{name}/service.yaml" for name in self.project.names]},
        }
        (self.project.folder / "skaffold.yaml").write_text(json.dumps(config))

    def command(self) -> list[str]:
        return ["skaffold", "dev", "--namespace", self.project.namespace, "--cleanup=false", "--trigger=notify"]

    def remove(self) -> None:
        subprocess.run(
            ["skaffold", "delete", "-n", self.project.namespace],
            cwd=self.project.folder,
            check=False,
            capture_output=True,
        )

    def shows_error(self, line: str) -> bool:
        return "error" in line.lower() or "failed" in line.lower()


class Tilt(Program):
    name = "tilt"

    def prepare(self) -> None:
        lines = [f'k8s_yaml(["{name}/service.yaml"])' for name in self.project.names]
        lines += [
            f'docker_build("{name}", "{name}", live_update=[sync("{name}/www", "/www")])' for name in self.project.names
        ]
        (self.project.folder / "Tiltfile").write_text("\n".join(lines))

    def command(self) -> list[str]:
        return ["tilt", "up", "--stream", "--port", "0", "--namespace", self.project.namespace]

    def remove(self) -> None:
        subprocess.run(
            ["tilt", "down", "--namespace", self.project.namespace],
            cwd=self.project.folder,
            check=False,
            capture_output=True,
        )

    def shows_error(self, line: str) -> bool:
        return "error" in line.lower()


def programs() -> list[type[Program]]:
    """Return devloop, and its peers that are on the PATH."""
    return [Devloop, *(peer for peer in (Skaffold, Tilt) if shutil.which(peer.name))]
