"""Whatever happens, in whatever order, containers end up with what is on disk, and then nothing more is sent.

DEVLOOP_MODEL_EXAMPLES says how many stories are told, DEVLOOP_MODEL_STEPS how long each is.
"""

import io
import os
import shutil
import stat
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.e2e.driver import Loop
from tests.e2e.project import Project, web
from tests.e2e.wire import Wire
from tests.outside import eventually, output

EXAMPLES = int(os.environ.get("DEVLOOP_MODEL_EXAMPLES", "4"))
STEPS = int(os.environ.get("DEVLOOP_MODEL_STEPS", "12"))
PATIENCE = 90.0

NAMES = st.sampled_from(["a", "b", "x", "x/y", "sub/c", "sub/deep/d", "other name", "-f", "it's\n$(x)"])
FOLDERS = st.sampled_from(["x", "sub", "sub/deep", "moved", "burst"])
DATA = st.sampled_from([b"", b"one\n", b"two\n", bytes(range(256)) * 3, os.urandom(700_000), b"#!/bin/sh\necho\n"])
MODES = st.sampled_from([0o644, 0o755, 0o600])
TARGETS = st.sampled_from(["index.html", "../index.html", "nowhere", "/etc/passwd"])

Tree = dict[str, tuple[int, bytes]]
"""What a folder holds: each file with its mode and content, links with 0 and their target."""


class Story(RuleBasedStateMachine):
    """One project that runs, and all that may happen to it; a story goes on where the one before ended."""

    project: ClassVar[Project]
    loop: ClassVar[Loop]
    wire: ClassVar[Wire]
    is_cut: ClassVar[bool] = False

    @property
    def pages(self) -> Path:
        return self.project.folder / "web/pages"

    # --- files ---

    @rule(name=NAMES, data=DATA, mode=MODES)
    def write(self, name: str, data: bytes, mode: int) -> None:
        place = self._room_for(name)
        place.write_bytes(data)
        place.chmod(mode)

    @rule(name=NAMES, data=DATA)
    def save_by_renaming(self, name: str, data: bytes) -> None:
        place = self._room_for(name)
        aside = place.with_name("4913")
        aside.write_bytes(data)
        aside.replace(place)

    @rule(name=NAMES, to=TARGETS)
    def link(self, name: str, to: str) -> None:
        place = self._room_for(name)
        place.unlink(missing_ok=True)
        place.symlink_to(to)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        place = self.pages / name
        if place.is_symlink() or place.is_file():
            place.unlink()

    @rule(name=NAMES, other=NAMES)
    def rename(self, name: str, other: str) -> None:
        place = self.pages / name
        apart = not f"{other}/".startswith(f"{name}/") and not f"{name}/".startswith(f"{other}/")
        if (place.is_symlink() or place.is_file()) and apart:
            target = self._room_for(other)
            if place.is_symlink() or place.is_file():  # it was not what stood in the way
                place.rename(target)

    @rule(folder=FOLDERS)
    def move_folder(self, folder: str) -> None:
        place, moved = self.pages / folder, self.pages / "moved"
        if place.is_dir() and place != moved:
            _remove(moved)
            place.rename(moved)

    @rule(folder=FOLDERS)
    def delete_folder(self, folder: str) -> None:
        _remove(self.pages / folder)

    @rule(count=st.integers(20, 400), text=st.sampled_from(["one", "two"]))
    def burst(self, count: int, text: str) -> None:
        for number in range(count):
            place = self._room_for(f"burst/d{number % 7}/f{number}")
            place.write_text(f"{text} {number}\n")

    # --- containers and connections ---

    @precondition(lambda self: not self.is_cut)
    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0]))
    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    @rule()
    def kill_pod(self) -> None:
        name = self._pods()[0]["metadata"]["name"]
        self.project.cluster.kubectl("delete", "pod", name, "--wait=false", "--ignore-not-found")

    @rule()
    def crash(self) -> None:
        # The first restart comes at once, later ones after ever longer pauses.
        fresh = [pod for pod in self._pods() if all(not each["restartCount"] for each in _statuses(pod))]
        for found in _running(fresh)[:1]:
            subprocess.run(["docker", "kill", found], check=False, capture_output=True)

    @rule(replicas=st.sampled_from([1, 2, 3]))
    def scale(self, replicas: int) -> None:
        self.project.cluster.kubectl("scale", "deployment/web", f"--replicas={replicas}")

    @precondition(lambda self: not self.is_cut)
    @rule()
    def cut(self) -> None:
        Story.is_cut = True
        self.wire.cut()

    @precondition(lambda self: self.is_cut)
    @rule()
    def mend(self) -> None:
        Story.is_cut = False
        self.wire.mend()

    @precondition(lambda self: not self.is_cut)
    @rule()
    def cut_for_a_moment(self) -> None:
        self.wire.cut()
        self.wire.mend()

    # --- the end of a story ---

    def teardown(self) -> None:
        if self.is_cut:
            self.mend()
        eventually(lambda: self._is_right() and not self._is_busy(), within=PATIENCE, every=0.2)
        mark = self.loop.mark()
        for path in self.pages.rglob("*"):
            if path.is_file() and not path.is_symlink():
                aside = self.project.folder.parent / "aside"
                shutil.copy2(path, aside)
                aside.replace(path)
        time.sleep(1)
        again = [event for event in self.loop.events[mark:] if event["type"] == "RunStarted"]
        assert not again, "what is there already was sent again"

    def _is_busy(self) -> bool:
        """Return whether devloop itself says that something is to be done."""
        last = [event for event in self.loop.events if event["type"] in {"Settled", "RunStarted", "Planned"}][-1]
        return not (last["type"] == "Settled" and last["ok"])

    def _is_right(self) -> bool:
        pods = self.project.cluster.pods("app=web")
        containers = _running(pods)
        wanted_pods = self.project.cluster.get("deployment", "web")["spec"]["replicas"]
        if not len(pods) == len(containers) == wanted_pods:
            return False
        alive = output("docker", "ps", "--quiet", "--no-trunc").split()
        assert set(containers) <= set(alive), "the cluster does not know yet that one has ended"
        wanted = _on_disk(self.pages)
        for container in containers:
            held = _in_container(container)
            assert held.keys() == wanted.keys(), f"{sorted(held.keys() ^ wanted.keys())[:5]} differ in {container[:12]}"
            wrong = [path for path in wanted if held[path] != wanted[path]]
            assert not wrong, f"{wrong[:5]} are wrong in {container[:12]}"
        return True

    def _pods(self) -> list[Any]:
        return eventually(lambda: self.project.cluster.pods("app=web"))

    def _room_for(self, name: str) -> Path:
        """Return a place for a file, with folders above it and no folder in its way."""
        place = self.pages / name
        for above in [*place.parents][::-1]:
            if above.is_relative_to(self.pages) and (above.is_symlink() or above.is_file()):
                above.unlink()
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            _remove(place)
        if place.is_symlink():
            place.unlink()
        return place


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _on_disk(folder: Path) -> Tree:
    found: Tree = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = 0, os.fsencode(path.readlink())
        elif path.is_file():
            found[name] = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
    return found


def _in_container(container: str) -> Tree:
    copied = subprocess.run(["docker", "cp", f"{container}:/www", "-"], check=False, capture_output=True)
    assert copied.returncode == 0, copied.stderr.decode()
    try:
        return _unpacked(copied.stdout)
    except tarfile.TarError as error:
        raise AssertionError("the container ended meanwhile") from error


def _unpacked(archive: bytes) -> Tree:
    found: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            name = member.name.removeprefix("www/")
            if member.issym():
                found[name] = 0, member.linkname.encode()
            elif member.isreg() and (file := tar.extractfile(member)) is not None:
                found[name] = member.mode & 0o7777, file.read()
    return found


def _statuses(pod: Any) -> list[Any]:
    return list(pod["status"].get("containerStatuses", ()))


def _running(pods: list[Any]) -> list[str]:
    statuses = [each for pod in pods for each in _statuses(pod)]
    return [each["containerID"].rpartition("/")[2] for each in statuses if "running" in each["state"]]


@pytest.mark.timeout(EXAMPLES * STEPS * 10 + 300)
def test_containers_end_up_with_what_is_on_disk_whatever_happens(project: Project, wire: Wire) -> None:
    web(project)
    project.write("web/pages/a", "in the image\n")
    project.write("web/pages/x/y", "in the image\n")
    Story.project, Story.wire, Story.is_cut = project, wire, False
    Story.loop = project.up()
    Story.loop.settles()
    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            phases=(Phase.generate,),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
