"""The supervisor's script as process 1 of real containers, in the shells that images have."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from devloop.core.manifest import manifest_of
from devloop.core.sync.supervisor import ANNOTATION, MARK, SCRIPT, ImageCommand, supervised
from tests.outside import Cluster, eventually, output

pytestmark = pytest.mark.docker

_DEBIAN = "python:3.11-slim-bookworm"
_SHELLS = {
    "ash": ("busybox", ("/bin/sh",)),
    "dash": (_DEBIAN, ("/bin/dash",)),
    "bash": (_DEBIAN, ("/bin/bash", "--posix")),
}
GRACE_SECONDS = 4  # and a little more
RESTART_COMMAND = ("/bin/sh", "-c", "kill -USR1 1")
_RUNS = "echo up; exec sleep 1000"


@dataclass(frozen=True, slots=True)
class _Box:
    """A container whose command is supervised."""

    name: str
    shell: str

    def start(self, *command: str, options: tuple[str, ...] = ()) -> None:
        image, (program, *flags) = _SHELLS[self.shell]
        head = ("docker", "run", "--detach", f"--name={self.name}", f"--entrypoint={program}", *options, image, *flags)
        output(*head, "-c", SCRIPT, "devloop-supervisor", *command)

    def run(self, script: str) -> None:
        """Start a shell command and wait until it says that it is up."""
        self.start("sh", "-c", script)
        self.ups(1)

    def log(self) -> str:
        return output("sh", "-c", f"docker logs {self.name} 2>&1")

    def ups(self, count: int) -> None:
        eventually(lambda: self.log().count("up\n") == count, within=60, every=0.02)

    def quiet(self) -> int:
        """Return how often it said that it is up once no more restart is under way, or 0: not for a second."""
        before = self.log().count("up\n")
        time.sleep(1)
        return before if self.log().count("up\n") == before and self.commands() == ["sleep"] else 0

    def inside(self, *command: str) -> str:
        return output("docker", "exec", self.name, *command)

    def restart(self) -> None:
        self.inside(*RESTART_COMMAND)

    def exit_code(self) -> int:
        return int(output("docker", "wait", self.name))

    def commands(self) -> list[str]:
        """Return the names of the processes in the container, but for those that ask."""
        names = self.inside("sh", "-c", "for p in /proc/[0-9]*; do cat $p/comm 2>/dev/null; done").splitlines()
        own = ("sh", "cat", "dash", "bash")
        return sorted(name for name in names if name not in own and not name.startswith(MARK))

    def named(self) -> int:
        """Return the process that the supervisor names, or 0."""
        said = self.inside("cat", "/proc/1/comm")
        return int(said.removeprefix(MARK)) if said.startswith(MARK) else 0

    def zombies(self) -> str:
        return self.inside("sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null || true")


@pytest.fixture(params=list(_SHELLS))
def box(request: pytest.FixtureRequest, unique_name: str) -> Iterator[_Box]:
    yield _Box(unique_name, request.param)
    output("docker", "rm", "--force", unique_name)


def test_the_command_gets_its_arguments_as_they_are_and_gives_its_exit_code(box: _Box) -> None:
    box.start("sh", "-c", 'printf "<%s>" "$@"; echo; echo oops >&2; exit 7', "x", "a  b", 'c"d', "$HOME", "")
    assert box.exit_code() == 7
    assert sorted(box.log().splitlines()) == ['<a  b><c"d><$HOME><>', "oops"]


def test_a_command_that_is_not_there_ends_with_127_and_says_so(box: _Box) -> None:
    box.start("no-such-program")
    assert box.exit_code() == 127
    assert "no-such-program" in box.log()


def test_a_command_ended_by_a_signal_gives_the_code_of_that_signal(box: _Box) -> None:
    box.run("echo up; kill -9 $$")
    assert box.exit_code() == 137
    assert box.log() == "up\n"


def test_a_restart_starts_the_command_again_in_the_same_container(box: _Box) -> None:
    box.run(_RUNS)
    box.inside("touch", "/tmp/synced")
    box.restart()
    box.ups(2)
    assert box.inside("ls", "/tmp/synced") == "/tmp/synced\n"
    assert box.log() == "up\nup\n"


def test_the_supervisor_names_the_process_that_runs_the_command(box: _Box) -> None:
    box.run("for i in 1 2 3; do (sleep 0.01 &); done; echo up; exec sleep 1000")
    before = eventually(box.named)
    box.restart()
    after = eventually(lambda: (now := box.named()) != before and now)
    box.ups(2)
    eventually(lambda: box.inside("cat", f"/proc/{after}/comm") == "sleep\n")


def test_many_restarts_in_a_row_leave_one_running_command_and_no_zombie(box: _Box) -> None:
    box.run(_RUNS)
    box.inside("sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do kill -USR1 1; done")
    before = eventually(box.quiet)
    box.restart()
    box.ups(before + 1)
    assert eventually(box.quiet) == before + 1
    eventually(lambda: not box.zombies(), within=30)


def test_term_is_passed_on_and_the_container_ends_with_the_commands_code(box: _Box) -> None:
    box.run('trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.05; done')
    output("docker", "stop", "--time=50", box.name)
    assert box.exit_code() == 5
    assert box.log() == "up\nbye\n"


def test_term_after_a_restart_ends_the_container(box: _Box) -> None:
    box.run(_RUNS)
    box.restart()
    box.ups(2)
    output("docker", "stop", "--time=50", box.name)
    assert box.exit_code() == 143


@pytest.mark.parametrize("signal", ["HUP", "USR2", "WINCH"])
def test_other_signals_are_passed_on(box: _Box, signal: str) -> None:
    box.run(f'trap "echo got {signal}; exit 3" {signal}; echo up; while :; do sleep 0.05; done')
    output("docker", "kill", f"--signal={signal}", box.name)
    assert box.exit_code() == 3


def test_a_command_starts_again_at_once_or_if_it_ignores_term_after_a_grace_time(box: _Box) -> None:
    box.run('[ -e /tmp/again ] && trap "" TERM; touch /tmp/again; echo up; while :; do sleep 0.2; done')
    took = []
    for count in (2, 3):
        asked = time.monotonic()
        box.restart()
        box.ups(count)
        took.append(time.monotonic() - asked)
    at_once, killed = took
    assert at_once < killed
    assert killed > GRACE_SECONDS


def test_what_the_command_has_started_ends_with_it(box: _Box) -> None:
    box.run("sleep 4321 & echo up; wait")
    box.restart()
    box.ups(2)
    eventually(lambda: box.commands() == ["sleep"], within=30)


def test_orphans_are_reaped(box: _Box) -> None:
    box.run("for i in 1 2 3 4 5; do (sleep 0.05 &); done; echo up; exec sleep 1000")
    eventually(lambda: box.commands() == ["sleep"] and not box.zombies(), within=30)


def test_the_command_reads_the_containers_own_input(box: _Box) -> None:
    image, (program, *flags) = _SHELLS[box.shell]
    head = ("docker", "run", "--interactive", f"--name={box.name}", f"--entrypoint={program}", image, *flags)
    assert output(*head, "-c", SCRIPT, "devloop-supervisor", "cat", stdin="hello\n") == "hello\n"


def test_a_terminal_stays_the_commands_own(box: _Box) -> None:
    box.start("sh", "-c", "test -t 0 && test -t 1 && echo terminal", options=("--tty", "--interactive"))
    assert box.exit_code() == 0
    assert box.log().strip() == "terminal"


def test_with_gnu_tools_an_interrupt_reaches_programs_that_do_not_ask_for_it(unique_name: str) -> None:
    box = _Box(unique_name, "dash")
    try:
        box.start("python", "-uc", "import time; print('up'); time.sleep(1000)")
        box.ups(1)
        output("docker", "kill", "--signal=INT", box.name)
        assert box.exit_code() == 130
        assert "KeyboardInterrupt" in box.log()
    finally:
        output("docker", "rm", "--force", unique_name)


@pytest.mark.cluster
def test_kubernetes_runs_the_wrapped_command_and_sees_no_restart(cluster: Cluster) -> None:
    words = ["sh", "-c", 'echo "up $0 $(POD)"; exec sleep 1000', "a b"]
    env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    container = {"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "args": words, "env": env}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    wrapped = supervised(manifest_of(pod, path="x"), {"c": ImageCommand()}).document
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(wrapped))
    eventually(lambda: cluster.kubectl("logs", "p") == "up a b p\n", within=60)
    cluster.kubectl("exec", "p", "--", *RESTART_COMMAND)
    eventually(lambda: cluster.kubectl("logs", "p") == "up a b p\nup a b p\n", within=60)
    (live,) = cluster.pods()
    assert live["metadata"]["annotations"][ANNOTATION] == "c"
    assert live["status"]["containerStatuses"][0]["restartCount"] == 0
    cluster.kubectl("delete", "pod", "p", "--grace-period=1")
