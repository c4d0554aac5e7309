"""Ctrl-C and SIGTERM: over within two seconds, nothing left behind; `down` removes just what was deployed."""

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.driver import DEVLOOP, environment
from tests.e2e.project import Project, web
from tests.e2e.test_edits_during_builds import buildx, cmdline, running, slow
from tests.outside import eventually, output

SECONDS = 2.0
START = 0.1
"""What `devloop --version` takes on a machine that has nothing else to do."""


def seconds() -> float:
    """Return the seconds that the end may take: two; on a busy machine, as many times more as a start takes there."""
    starts = []
    for _ in range(3):
        began = time.monotonic()
        output(DEVLOOP, "--version")
        starts.append(time.monotonic() - began)
    return SECONDS * max(1.0, max(starts) / START)


def assert_nothing_left(project: Project, below: list[psutil.Process]) -> None:
    assert [cmdline(each) for each in below if _lives(each)] == []
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", project.port))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_idle_loop_and_leaves_what_was_deployed(project: Project, number: signal.Signals) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    before, below = project.identity(), loop.children()
    began = time.monotonic()
    assert loop.stop(number) == 130
    took = time.monotonic() - began
    assert_nothing_left(project, below)
    assert took < seconds()
    assert project.identity() == before
    project.shows(project.inside("web"), "two\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_build_ends_the_build(project: Project, number: signal.Signals) -> None:
    slow(project)
    project.write("web/slow.txt", "600\n")
    loop = project.up()
    old = eventually(lambda: running(project), within=60)
    clients = eventually(lambda: buildx(project))
    began = time.monotonic()
    assert loop.stop(number) == 130
    took = time.monotonic() - began
    assert_nothing_left(project, clients)
    assert took < seconds()
    eventually(lambda: not any(each.is_running() for each in old), within=30)


def test_a_signal_in_the_middle_of_a_rollout_ends_it(project: Project) -> None:
    web(project)
    project.replace(
        "k8s/web.yaml.j2", "          env:", "          readinessProbe: {exec: {command: [cat, /no]}}\n          env:"
    )
    loop = project.up()
    eventually(lambda: project.cluster.pods("app=web"), within=60)
    below = loop.children()
    began = time.monotonic()
    assert loop.stop() == 130
    took = time.monotonic() - began
    assert_nothing_left(project, below)
    assert took < seconds()


def test_a_second_signal_ends_it_at_once(project: Project) -> None:
    web(project)
    loop = project.up("--down")
    loop.settles()
    finalize(project, ["devloop.test/stays"])  # devloop would wait a minute for what does not go
    try:
        loop.process.send_signal(signal.SIGINT)
        eventually(lambda: "deletionTimestamp" in project.cluster.get("service", "web")["metadata"], within=60)
        loop.process.send_signal(signal.SIGINT)
        assert loop.ended(within=30) == 130
    finally:
        finalize(project, [])
    assert_nothing_left(project, [])


def finalize(project: Project, finalizers: list[str]) -> None:
    """Say what must let go of the Service before it can be removed."""
    change = json.dumps({"metadata": {"finalizers": finalizers}})
    project.cluster.kubectl("patch", "service", "web", "--type=merge", f"--patch={change}")


def test_a_second_signal_during_a_slow_build_leaves_no_process(project: Project) -> None:
    slow(project)
    project.write("web/slow.txt", "600\n")
    loop = project.up()
    old = eventually(lambda: running(project), within=60)
    clients = eventually(lambda: buildx(project))
    for _ in range(2):
        loop.process.send_signal(signal.SIGTERM)
        eventually(lambda: not pending(loop.process.pid, signal.SIGTERM), every=0.001)  # two that wait are one
    assert loop.ended(within=30) == 130
    eventually(lambda: not any(each.is_running() for each in clients), within=30)
    eventually(lambda: not any(each.is_running() for each in old), within=30)


def pending(process: int, number: signal.Signals) -> bool:
    """Return whether a signal that was sent has not reached the process yet."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:  # it has ended
        return False
    waiting = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(waiting >> (number - 1) & 1)


@pytest.fixture
def foreign_objects(project: Project) -> list[str]:
    """Objects in the project's namespace that devloop has nothing to do with."""
    project.cluster.kubectl("create", "configmap", "foreign", "--from-literal=key=value")
    project.cluster.kubectl("create", "deployment", "foreign", "--image=busybox", "--replicas=0")
    project.cluster.kubectl("label", "configmap", "foreign", "app.kubernetes.io/managed-by=somebody", "app=web")
    return ["configmap/foreign", "deployment.apps/foreign"]


def everything(project: Project) -> set[str]:
    """Return the namespace's objects, devloop's own inventory among them."""
    kinds = "deployments,services,configmaps,replicasets,jobs"
    found = project.cluster.kubectl("get", kinds, "--output=name").split()
    return {name for name in found if "kube-root-ca" not in name and "replicaset" not in name}


def deployed(project: Project) -> set[str]:
    """Return the namespace's objects, less devloop's own inventory."""
    return {name for name in everything(project) if not name.startswith("configmap/devloop-")}


def test_down_removes_what_devloop_deployed_and_nothing_else(project: Project, foreign_objects: list[str]) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    loop.stop()
    assert deployed(project) == {*foreign_objects, "deployment.apps/web", "service/web"}
    done = project.run("down", place=True)
    assert done.returncode == 0, done.stderr
    assert everything(project) == {*foreign_objects}
    eventually(lambda: project.cluster.pods() == [])
    assert project.run("down", "--output", "json", place=True).stdout.strip() == "[]"


def test_up_with_down_removes_it_at_the_end(project: Project, foreign_objects: list[str]) -> None:
    web(project)
    loop = project.up("--down")
    loop.settles()
    assert "deployment.apps/web" in everything(project)
    assert loop.stop(within=90) == 130
    assert everything(project) == {*foreign_objects}


def test_down_leaves_another_project_in_the_same_namespace_alone(project: Project, tmp_path: Path) -> None:
    web(project)
    other = Project(folder=tmp_path / "other", cluster=project.cluster, image=f"{project.image}-b")
    other.folder.mkdir()
    other.write("devfile.py", 'from devloop import *\n\n\n@service("all.yaml")\ndef all_of_it(): ...\n')
    other.write("all.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: others}\n")
    assert other.run("deploy", place=True).returncode == 0
    assert project.run("deploy", place=True).returncode == 0
    assert project.run("down", place=True).returncode == 0
    assert deployed(project) == {"configmap/others"}
    assert other.run("down", place=True).returncode == 0
    assert everything(project) == set()


def test_down_removes_one_service_when_it_is_named(project: Project) -> None:
    web(project)
    devfile = (project.folder / "devfile.py").read_text()
    project.write("devfile.py", devfile + '\n\n@service("k8s/more.yaml", ports={})\ndef more(): ...\n')
    project.write("k8s/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n")
    assert project.run("deploy", place=True).returncode == 0
    assert project.run("down", "more", place=True).returncode == 0
    assert deployed(project) == {"deployment.apps/web", "service/web"}


class Screen:
    """A terminal device with devloop on it."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self.text = ""
        self.controller, self.device = pty.openpty()
        fcntl.ioctl(self.device, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.before = termios.tcgetattr(self.device)
        self.process = subprocess.Popen(
            [DEVLOOP, *arguments, "--namespace", project.cluster.namespace],
            cwd=project.folder,
            env=environment(**{**project.cluster.env, **project.env, "TERM": "xterm-256color"}),
            stdin=self.device,
            stdout=self.device,
            stderr=self.device,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - nothing else runs yet
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.controller, 65536)
            except OSError:
                return
            if not data:
                return
            self.text += data.decode(errors="replace")

    def press(self, keys: str) -> None:
        os.write(self.controller, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.device)
        self._reader.join(5)
        os.close(self.controller)


@pytest.fixture
def screen(project: Project) -> Iterator[Screen]:
    web(project)
    made = Screen(project, "up")
    yield made
    made.close()


def test_the_live_view_shows_the_service_and_ctrl_c_puts_the_terminal_back(project: Project, screen: Screen) -> None:
    project.shows(project.url, "one")
    eventually(lambda: f"localhost:{project.port}" in screen.text)
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    below = psutil.Process(screen.process.pid).children(recursive=True)
    screen.press("\x03")
    began = time.monotonic()
    assert screen.process.wait(30) == 130
    took = time.monotonic() - began
    assert termios.tcgetattr(screen.device) == screen.before
    eventually(lambda: screen.text.rfind("\x1b[?25h") >= screen.text.rfind("\x1b[?25l"))
    assert "\x1b[?1049" not in screen.text
    assert_nothing_left(project, below)
    assert took < seconds()


def test_two_ctrl_c_during_a_build_put_the_terminal_back_too(project: Project) -> None:
    slow(project)
    project.write("web/slow.txt", "600\n")
    screen = Screen(project, "up")
    try:
        old = eventually(lambda: running(project), within=60)
        screen.press("\x03\x03")
        assert screen.process.wait(30) == 130
        assert termios.tcgetattr(screen.device) == screen.before
        eventually(lambda: screen.text.rfind("\x1b[?25h") >= screen.text.rfind("\x1b[?25l"))
        eventually(lambda: not any(each.is_running() for each in old), within=30)
    finally:
        screen.close()
