"""Mistakes in the project's files: the loop stays, keeps the last good state, shows the error, and recovers."""

import pytest

from tests.e2e.driver import Event
from tests.e2e.project import PAGES, Project, web, workload


def told(event: Event) -> str:
    """Return all that an event says about what is wrong."""
    return str(event["problems"])


def test_a_broken_first_build_keeps_the_loop_and_is_mended(project: Project) -> None:
    web(project, dockerfile=PAGES.replace("COPY", "RUN false\nCOPY"))
    loop = project.up()
    failed = loop.wait("RunFailed", node="image:web")
    assert "RUN false" in told(failed)
    loop.settles(ok=False)
    assert project.cluster.get("deployments")["items"] == []
    project.write("web/Dockerfile", PAGES)
    project.shows(project.url, "one")
    assert loop.process.poll() is None


def test_a_broken_devfile_at_the_start_keeps_the_loop_and_is_mended(project: Project) -> None:
    web(project)
    good = (project.folder / "devfile.py").read_text()
    project.write("devfile.py", good + "\n\ndef broken(:\n")
    loop = project.up()
    rejected = loop.wait("ProjectRejected")
    assert "devfile.py" in told(rejected)
    project.write("devfile.py", good)
    project.shows(project.url, "one")


def test_a_missing_manifest_at_the_start_keeps_the_loop_and_is_mended(project: Project) -> None:
    web(project)
    manifest = project.folder / "k8s/web.yaml.j2"
    text = manifest.read_text()
    manifest.unlink()
    loop = project.up()
    rejected = loop.wait("ProjectRejected")
    assert "k8s/web.yaml.j2" in told(rejected)
    project.write("k8s/web.yaml.j2", text)
    project.shows(project.url, "one")


@pytest.mark.parametrize(
    ("path", "old", "new", "says"),
    [
        pytest.param("devfile.py", "def web(web_image: Image", "def web(web_imgae: Image", "web_imgae", id="devfile"),
        pytest.param("devfile.py", "from devloop", "import nothing_such\nfrom devloop", "nothing_such", id="import"),
        pytest.param("k8s/web.yaml.j2", "{{ web_image }}", "{{ web_imgae }}", "k8s/web.yaml.j2", id="template"),
        pytest.param("k8s/web.yaml.j2", "{{ web_image }}", "{{ web_image", "k8s/web.yaml.j2", id="template syntax"),
        pytest.param("k8s/web.yaml.j2", "kind: Service", "kind: [Service", "k8s/web.yaml.j2", id="yaml"),
        pytest.param("web/Dockerfile", "FROM busybox", "FORM busybox", "FORM", id="Dockerfile"),
        pytest.param("web/Dockerfile", "COPY pages", "COPY pagse", "pagse", id="missing file"),
    ],
)
def test_a_mistake_in_the_running_loop_keeps_the_last_good_state_and_is_mended(
    project: Project, path: str, old: str, new: str, says: str
) -> None:
    web(project)
    loop = project.up()
    mark = loop.settles()
    before = project.identity()
    good = (project.folder / path).read_text()
    assert old in good
    project.write(path, good.replace(old, new))
    shown = loop.wait("ProjectRejected", since=mark) if "Dockerfile" not in path else None
    if shown is None:
        loop.settles(since=mark, ok=False)
        failures = [each for each in loop.events[mark:] if each["type"] in {"ProjectRejected", "RunFailed"}]
        assert failures, loop.story(mark)
        shown = failures[0]
    assert says in told(shown)
    assert project.shows(project.url, "one") == "one\n"
    assert project.identity() == before
    mark = loop.mark()
    project.write(path, good)
    loop.settles(since=mark)
    assert project.identity() == before
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    assert project.identity() == before


def test_while_one_node_is_broken_the_others_go_on(project: Project) -> None:
    web(project)
    loop = project.up()
    mark = loop.settles()
    project.replace("k8s/web.yaml.j2", "{{ web_image }}", "{{ web_imgae }}")
    loop.wait("ProjectRejected", since=mark)
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")


def test_what_the_cluster_refuses_is_shown_and_mended(project: Project) -> None:
    web(project)
    loop = project.up()
    mark = loop.settles()
    before = project.identity()
    project.replace("k8s/web.yaml.j2", "ports: [{name: http, containerPort", "ports: [{name: NOT_VALID, containerPort")
    failed = loop.wait("RunFailed", since=mark, node="service:web")
    assert "NOT_VALID" in told(failed)
    assert project.identity() == before
    assert project.shows(project.url, "one") == "one\n"
    mark = loop.mark()
    project.write("k8s/web.yaml.j2", workload("web").replace('default("hello")', 'default("mended")'))
    loop.settles(since=mark)
    assert project.identity() == before


def test_a_helper_module_beside_the_devfile_is_read_again_when_it_is_edited(project: Project) -> None:
    web(project)
    project.write("words.py", 'GREETING = "hello"\n')
    devfile = (project.folder / "devfile.py").read_text()
    project.write(
        "devfile.py",
        "import words\n"
        + devfile.replace(
            'def web(web_image: Image, greeting: str = "hello", replicas: int = 1): ...',
            'def web(web_image: Image):\n    return {"greeting": words.GREETING}',
        ),
    )
    loop = project.up()
    mark = loop.settles()
    project.write("words.py", 'GREETING = "from the helper"\n')
    loop.settles(since=mark)
    env = project.pod()["spec"]["containers"][0]["env"]
    assert env == [{"name": "GREETING", "value": "from the helper"}]
