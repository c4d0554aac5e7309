"""Nothing is ever deployed to a cluster that nobody chose."""

from pathlib import Path

import pytest
import yaml

from tests.e2e.project import Project, web

FOREIGN = "production"


@pytest.fixture
def foreign(project: Project) -> Project:
    """A project whose current context has a name that is not local; it leads to the test cluster all the same."""
    config = yaml.safe_load(Path(project.cluster.kubeconfig).read_text())
    for entry in config["contexts"]:
        if entry["name"] == config["current-context"]:
            entry["name"] = FOREIGN
    config["current-context"] = FOREIGN
    renamed = project.folder.parent / "kubeconfig"
    renamed.write_text(yaml.safe_dump(config))
    web(project).count_builds()
    project.env["KUBECONFIG"] = str(renamed)
    return project


def start(project: Project, *arguments: str) -> None:
    project.up(*arguments).settles()


@pytest.mark.parametrize("command", ["up", "deploy", "ci", "down"])
def test_a_foreign_context_is_refused_before_anything_happens(foreign: Project, command: str) -> None:
    before = foreign.cluster.get("all")["items"]
    done = foreign.run(command, place=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: context `{FOREIGN}` is not a local cluster")
    assert "hint: " in done.stderr
    assert foreign.cluster.get("all")["items"] == before
    assert foreign.builds() == 0


def test_a_foreign_context_that_is_named_is_deployed_to(foreign: Project) -> None:
    start(foreign, "--context", FOREIGN)
    foreign.shows(foreign.url, "one")
    assert foreign.pod()


@pytest.mark.parametrize("pattern", [FOREIGN, "prod*"])
def test_a_foreign_context_that_the_project_allows_is_deployed_to(foreign: Project, pattern: str) -> None:
    foreign.replace(
        "devfile.py", f'project(name="{foreign.image}"', f'project(name="{foreign.image}", contexts=["{pattern}"]'
    )
    start(foreign)
    assert foreign.pod()


def test_a_foreign_context_that_another_pattern_allows_is_refused(foreign: Project) -> None:
    foreign.replace(
        "devfile.py", f'project(name="{foreign.image}"', f'project(name="{foreign.image}", contexts=["stag*"]'
    )
    assert foreign.run("up", place=True).returncode == 2
    assert foreign.builds() == 0


def test_building_needs_no_context(foreign: Project) -> None:
    assert foreign.run("build").returncode == 0
    assert foreign.builds() == 1


def test_a_context_that_does_not_exist_is_refused_with_those_that_do(project: Project) -> None:
    web(project)
    done = project.run("up", "--context", "nowhere", place=True)
    assert done.returncode == 2
    assert "error: there is no Kubernetes context `nowhere`" in done.stderr
    assert project.cluster.context in done.stderr
