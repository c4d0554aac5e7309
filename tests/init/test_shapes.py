"""`devloop init` on projects as people have them: the whole devfile, and that it plans."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from devloop import testing
from devloop.app.starting import start
from devloop.core.graph import ImageDetail
from tests.init.making import HERE, SHAPES, actions, formatted, linted, planned, shape

# Helm is not everywhere: what it would print for the two charts is all that discovery asks of it.
HELM = """\
#!/bin/sh
case "$*" in
  *version*) echo v3.16.0;;
  *frontend*) cat "$CHARTS/frontend.yaml";;
  *) cat "$CHARTS/shop.yaml";;
esac
"""
RENDERED = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: NAME, image: IMAGE}]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{name: http, port: 80}]}
"""

MakeShape = Callable[[str], Path]


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeShape:
    """Return a function that writes one of the projects and its devfile."""
    programs = tmp_path / "bin"
    programs.mkdir()
    helm = programs / "helm"
    helm.write_text(HELM)
    helm.chmod(helm.stat().st_mode | stat.S_IXUSR)
    for name, image in (("frontend", "frontend"), ("shop", "ghcr.io/acme/shop-web:latest")):
        (programs / f"{name}.yaml").write_text(RENDERED.replace("NAME", name).replace("IMAGE", image))
    monkeypatch.setenv("CHARTS", str(programs))
    monkeypatch.setenv("PATH", f"{programs}:/usr/local/bin:/usr/bin:/bin")

    def begin(name: str) -> Path:
        folder = shape(name, tmp_path)
        beginning = start(folder)
        assert beginning.problems == ()
        return folder

    return begin


@pytest.mark.parametrize("name", SHAPES)
def test_the_devfile_of_a_project_is_as_a_person_would_write_it(name: str, begun: MakeShape) -> None:
    written = (begun(name) / "devfile.py").read_text()

    assert written == (HERE / "expected" / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", SHAPES)
def test_the_devfile_is_laid_out_as_ruff_does(name: str, begun: MakeShape) -> None:
    devfile = begun(name) / "devfile.py"

    assert formatted(devfile.read_text()) == devfile.read_text()
    assert linted(devfile) == ""


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("single", "image:hello service:hello"),
        ("dockerfile", "image:dockerfile service:dockerfile"),
        (
            "monorepo",
            """image:base image:api image:gateway image:worker
            service:namespace service:settings service:api service:gateway service:worker""",
        ),
        ("kustomize", "image:app service:kustomize"),
        ("helm", "image:web service:shop"),
        (
            "compose",
            "image:api image:web service:db service:api service:migrate service:web service:proxy",
        ),
        (
            "skaffold",
            "image:base image:tool image:guestbook-web service:guestbook-web task:guestbook-web-test",
        ),
        (
            "skaffold-modules",
            "image:frontend image:orders image:jobs service:frontend service:orders service:nightly",
        ),
    ],
)
def test_the_devfile_plans(name: str, nodes: str, begun: MakeShape) -> None:
    assert set(planned(begun(name))) == set(nodes.split())


@pytest.mark.parametrize(
    ("name", "changed", "expected"),
    [
        ("single", "src/main.py", {"image:hello": "sync"}),
        ("single", "requirements.txt", {"image:hello": "build", "service:hello": "deploy"}),
        ("dockerfile", "lib/greeting.rb", {"image:dockerfile": "sync"}),
        ("dockerfile", "Gemfile", {"image:dockerfile": "build", "service:dockerfile": "deploy"}),
        ("monorepo", "services/api/templates/index.html", {"image:api": "sync"}),
        ("monorepo", "services/gateway/main.go", {"image:gateway": "build", "service:gateway": "deploy"}),
        ("kustomize", "app/www/index.html", {"image:app": "sync"}),
        ("kustomize", "k8s/base/app.yaml", {"service:kustomize": "deploy"}),
        ("compose", "web/src/main.ts", {"image:web": "sync"}),
        ("compose", "k8s/proxy.yaml.j2", {"service:proxy": "deploy"}),
        ("skaffold", "web/static/index.html", {"image:guestbook-web": "sync"}),
        ("skaffold-modules", "frontend/site.css", {"image:frontend": "sync"}),
    ],
)
def test_a_change_does_what_the_project_is_meant_to_do(
    name: str, changed: str, expected: dict[str, str], begun: MakeShape
) -> None:
    assert planned(begun(name), changed) == expected


def test_a_shared_base_is_built_first_and_what_stands_on_it_after_it(begun: MakeShape) -> None:
    assert planned(begun("monorepo"), "libs/common/__init__.py") == {
        "image:base": "build",
        "image:api": "build",
        "image:worker": "build",
        "service:api": "deploy",
        "service:worker": "deploy",
    }


def test_files_that_compose_mounts_are_followed_by_the_manifests(begun: MakeShape) -> None:
    folder = begun("compose")
    config = folder / "proxy/nginx.conf"

    config.write_text(config.read_text().replace("80", "81"))

    mounted, *_ = testing.load(folder).render("proxy")
    assert mounted["data"] == {"nginx.conf": config.read_text()}


def test_a_profile_of_skaffold_is_a_setting(begun: MakeShape) -> None:
    folder = begun("skaffold")

    plain, debug, staging = (testing.load(folder, settings=each) for each in ({}, {"debug": True}, {"staging": True}))

    assert plain.settings == {"debug": False, "staging": False}
    assert [_arguments(each)["MODE"] for each in (plain, debug, staging)] == ["release", "debug", "release"]
    assert "service:guestbook" in actions(staging)
    assert "service:guestbook-web" not in actions(staging)


def test_a_profile_of_compose_is_a_setting(begun: MakeShape) -> None:
    folder = begun("compose")

    assert "service:mail" not in planned(folder)
    assert "service:mail" in planned(folder, debug=True)


def _arguments(project: testing.LoadedProject) -> dict[str, str | None]:
    detail = project.graph.nodes[project.graph.find("image:guestbook-web")].detail
    assert isinstance(detail, ImageDetail)
    assert detail.facts is not None
    return {each.name: each.value for each in detail.facts.arguments}
