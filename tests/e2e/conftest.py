"""Every test here starts the real command on a project, a namespace and image names of its own."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from devloop.adapters.docker import find_endpoint
from tests.e2e.project import Project, free_port
from tests.e2e.wire import Wire
from tests.outside import Cluster


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder as end-to-end tests."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def project(tmp_path: Path, cluster: Cluster, images: str) -> Iterator[Project]:
    """An empty project; what it starts is ended after the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    made = Project(folder=folder, cluster=cluster, image=images)
    yield made
    made.close()


@pytest.fixture
def wire(project: Project) -> Iterator[Wire]:
    """The wire between devloop and the API server; tests themselves go around it."""
    config = yaml.safe_load(Path(project.cluster.kubeconfig).read_text())
    context = next(each["context"] for each in config["contexts"] if each["name"] == config["current-context"])
    entry = next(each["cluster"] for each in config["clusters"] if each["name"] == context["cluster"])
    server = urlsplit(entry["server"])
    assert server.hostname is not None
    wire = Wire((server.hostname, server.port or 443))
    entry["server"] = f"{server.scheme}://127.0.0.1:{wire.here[1]}"
    entry["tls-server-name"] = server.hostname
    copy = project.folder.parent / "kubeconfig"
    copy.write_text(yaml.safe_dump(config))
    project.env["KUBECONFIG"] = str(copy)
    yield wire
    wire.close()


@pytest.fixture
def engine_wire(project: Project) -> Iterator[Wire]:
    """The wire between devloop and the engine; tests themselves go around it."""
    engine = find_endpoint().socket
    assert engine is not None
    wire = Wire(engine, str(project.folder.parent / "docker.sock"))
    project.env["DOCKER_HOST"] = f"unix://{wire.here}"
    yield wire
    wire.close()


@pytest.fixture
def from_example(project: Project, example: Callable[[str], Path]) -> Callable[[str], Project]:
    """Return a function that makes the project a copy of an example, with ports and image names of its own."""

    def copy(name: str) -> Project:
        project.folder = example(name)
        devfile = project.folder / "devfile.py"
        text = re.sub(r'@image\("(\w+)"\)', rf'@image("\1", ref="{project.image}-\1")', devfile.read_text())
        devfile.write_text(re.sub(r"ports=\{(\d+):", lambda match: f"ports={{{_port(project, match[1])}:", text))
        for dockerfile in project.folder.rglob("Dockerfile"):
            dockerfile.write_text(dockerfile.read_text().replace("FROM base", f"FROM {project.image}-base"))
        return project

    return copy


def _port(project: Project, documented: str) -> int:
    """Return a free port in place of the one that an example has."""
    return project.ports.setdefault(documented, free_port())
