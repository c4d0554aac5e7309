"""`devloop builder create`: what buildx is asked for; buildx itself is a stand-in, as its drivers cannot run here."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from devloop.cli import app

KUBECONFIG = """
current-context: kind-dev
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts:
- {name: kind-dev, context: {cluster: c, user: u}}
- {name: team, context: {cluster: c, user: u}}
"""


class Machine:
    """A machine whose buildx records its arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config"
        self.say(KUBECONFIG)

    def say(self, kubeconfig: str) -> None:
        self.config.write_text(kubeconfig)

    def create(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["builder", "create", *arguments], env={"NO_COLOR": "1"})

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    program = tmp_path / "buildx"
    program.write_text(
        f'#!/bin/sh\necho "$KUBECONFIG $*" >> {tmp_path}/calls\necho booting; exit $(cat {tmp_path}/code)\n'
    )
    program.chmod(0o755)
    (tmp_path / "code").write_text("0")
    monkeypatch.setattr("devloop.app.builders.find_buildx", lambda: (str(program),))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    return Machine(tmp_path)


def test_a_team_gets_a_deployment_of_buildkit(machine: Machine) -> None:
    done = machine.create("--kubernetes", "--replicas=4", "--cpu=4", "--memory=8Gi", "--platform=linux/amd64")
    assert done.exit_code == 0
    (call,) = machine.calls
    assert call == (
        f"{machine.config} create --driver=kubernetes --name=devloop --node=devloop --bootstrap"
        " --driver-opt=namespace=devloop-builders --driver-opt=replicas=4 --driver-opt=loadbalance=sticky"
        " --driver-opt=requests.cpu=4 --driver-opt=requests.memory=8Gi --platform=linux/amd64"
    )
    assert 'project(builder="devloop")' in done.stderr


def test_without_a_cluster_it_is_a_container_of_the_engine(machine: Machine) -> None:
    assert machine.create("--name=own").exit_code == 0
    assert machine.calls == [f"{machine.config} create --driver=docker-container --name=own --bootstrap"]


def test_a_cluster_that_nobody_chose_gets_no_builder(machine: Machine) -> None:
    machine.say(KUBECONFIG.replace("current-context: kind-dev", "current-context: team"))
    done = machine.create("--kubernetes")
    assert (done.exit_code, machine.calls) == (2, [])
    assert "`team` is not a local cluster" in done.stderr
    assert machine.create("--kubernetes", "--context=team").exit_code == 0


def test_a_context_that_is_not_the_current_one_is_an_error_as_buildx_would_use_that(machine: Machine) -> None:
    done = machine.create("--kubernetes", "--context=team")
    assert (done.exit_code, machine.calls) == (2, [])
    assert "kubectl config use-context team" in done.stderr


@pytest.mark.parametrize("arguments", [("--name=My Builder",), ("--kubernetes", "--replicas=0")])
def test_what_is_no_builder_is_an_error(arguments: tuple[str, ...], machine: Machine) -> None:
    assert (machine.create(*arguments).exit_code, machine.calls) == (2, [])


def test_when_buildx_fails_its_words_are_told(machine: Machine) -> None:
    (machine.folder / "code").write_text("7")
    done = machine.create("--kubernetes")
    assert done.exit_code == 1
    assert "could not make the builder `devloop`" in done.stderr
    assert "booting" in done.stderr
