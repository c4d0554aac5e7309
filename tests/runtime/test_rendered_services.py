"""Services whose manifests kustomize and Helm render: what is read, asked, watched and told; the tools are made up."""

from pathlib import Path

import pytest

from devloop.core.digests import ABSENT
from devloop.core.graph import Node, ServiceDetail
from devloop.errors import InputError
from devloop.model import Kind, NodeId, RelPath
from devloop.runtime.discover import Project
from devloop.runtime.renderings import Renderings, Request, Tool
from tests.fakes.renderer import FakeRenderer
from tests.runtime.projects import DEPLOYMENT, discover_with, write

BOTH = (Tool.KUSTOMIZE, Tool.HELM)
API = NodeId(Kind.SERVICE, "api")

KUSTOMIZED = {
    "devfile.py": '@image("api")\ndef api_image(): ...\n@service(kustomize("k8s/dev"))\ndef api(): ...\n',
    "api/Dockerfile": "FROM scratch\n",
    "k8s/base/kustomization.yaml": "resources: [api.yaml]\n",
    "k8s/base/api.yaml": DEPLOYMENT,
    "k8s/dev/kustomization.yaml": "resources:\n- ../base\npatches:\n- path: patch.yaml\n",
    "k8s/dev/patch.yaml": "kind: Deployment\n",
}
CHARTED = {
    "devfile.py": """
        @image("api")
        def api_image(): ...
        @service(helm("chart", values="dev.yaml"))
        def api(api_image: Image, replicas: int = 2):
            return {"replicas": replicas, "image": {"tag": api_image.tag}}
    """,
    "api/Dockerfile": "FROM scratch\n",
    "chart/Chart.yaml": "name: anything\n",
    "chart/templates/api.yaml": "{{ template }}",
    "chart/README.md": "about it",
    "chart/.helmignore": "README.md\n",
    "dev.yaml": "a: 1\n",
}


class Session:
    """A folder and made-up tools."""

    def __init__(self, root: Path, files: dict[str, str], text: str = DEPLOYMENT) -> None:
        self.root = root
        self.text = text
        write(root, files)
        self.renderer = FakeRenderer(self._print, installed=BOTH)
        self.renderings = Renderings(self.renderer, root=str(root), namespace="dev")

    def _print(self, _request: Request) -> str:
        if self.text.startswith("Error"):
            raise ValueError(self.text)
        return self.text

    def read(self) -> Project:
        self.renderings.retry()
        return discover_with(self.root, self.renderings)

    @property
    def service(self) -> Node:
        return self.read().graph.nodes[API]

    @property
    def detail(self) -> ServiceDetail:
        detail = self.service.detail
        assert isinstance(detail, ServiceDetail)
        return detail

    @property
    def error(self) -> InputError:
        (error,) = self.read().mistakes
        return error


def test_a_kustomization_is_read_with_all_that_it_names(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    named = {path: str(where) for path, where in session.detail.named.items()}
    assert named == {
        "k8s/dev/kustomization.yaml": "devfile.py:5",
        "k8s/base/kustomization.yaml": "k8s/dev/kustomization.yaml:2",
        "k8s/base/api.yaml": "k8s/base/kustomization.yaml:1",
        "k8s/dev/patch.yaml": "k8s/dev/kustomization.yaml:4",
    }


def test_images_of_a_rendering_are_found_like_any_others(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    assert session.detail.images == (NodeId(Kind.IMAGE, "api"),)


def test_what_is_rendered_decides_and_not_what_it_is_rendered_from(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    before = session.service
    write(tmp_path, {"k8s/dev/patch.yaml": "# a comment\nkind: Deployment\n"})
    after = session.service
    assert len(session.renderer.calls) == 2
    assert after.recipe == before.recipe
    assert after.sources != before.sources
    session.text = DEPLOYMENT.replace("image: api", "image: other")
    write(tmp_path, {"k8s/dev/patch.yaml": "kind: Deployment\n# another\n"})
    assert session.service.recipe != before.recipe


def test_the_same_content_is_rendered_once_and_kept_for_later_sessions(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    session.read()
    session.read()
    later = Session(tmp_path, {})
    later.renderer.kept = session.renderer.kept
    assert later.read().mistakes == ()
    assert (len(session.renderer.calls), later.renderer.calls) == (1, [])


def test_another_version_of_the_tool_renders_again(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    session.read()
    session.renderer.identity = "2"
    session.read()
    assert len(session.renderer.calls) == 2


def test_a_missing_tool_is_told_with_the_line_and_the_way_out(tmp_path: Path) -> None:
    session = Session(tmp_path, CHARTED)
    session.renderer.installed = (Tool.KUSTOMIZE,)
    error = session.error
    assert str(error) == "service `api` needs helm to render `chart`, and it is not installed"
    assert str(error.where) == "devfile.py:5"
    assert error.hint is not None
    assert "https://helm.sh" in error.hint


def test_a_folder_without_a_kustomization_is_a_mistake(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED | {"devfile.py": '@service(kustomize("k8s"))\ndef api(): ...\n'})
    assert str(session.error) == "service `api` names `k8s`, which has no kustomization"


def test_of_a_refused_kustomization_the_missing_file_is_named_by_its_line(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED, text="Error: some words about patch.yaml")
    (tmp_path / "k8s/dev/patch.yaml").unlink()
    error = session.error
    assert str(error) == "`k8s/dev/kustomization.yaml` names `patch.yaml`, which does not exist"
    assert [str(each) for each in (error.where, *error.chain)] == ["k8s/dev/kustomization.yaml:4", "devfile.py:5"]


def test_of_a_refused_kustomization_broken_yaml_is_named_by_line_and_column(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED, text="Error: some words")
    write(tmp_path, {"k8s/dev/patch.yaml": "a: 1\nb: c: d\n"})
    assert str(session.error.where) == "k8s/dev/patch.yaml:2:5"


def test_what_else_kustomize_says_stands_at_the_kustomization(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED, text="Error: no matches for Id")
    assert str(session.error) == "kustomize: no matches for Id"
    assert str(session.error.where) == "k8s/dev/kustomization.yaml"


def test_a_mistake_in_what_is_rendered_says_so(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED, text="kind: Pod\nmetadata: {name: a}\n")
    assert str(session.error) == "an object without `apiVersion`, in line 1 of what kustomize renders"


def test_a_remote_base_is_not_known_and_its_rendering_not_kept(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    write(tmp_path, {"k8s/dev/kustomization.yaml": "resources: [https://example.org/base.yaml]\n"})
    where = session.detail.remote["https://example.org/base.yaml"]
    assert str(where) == "k8s/dev/kustomization.yaml:1"
    assert session.renderer.kept == {}


def test_a_component_that_is_a_link_is_read_where_it_leads_to(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    session.renderer.links["k8s/base/api.yaml"] = "shared/api.yaml"
    write(tmp_path, {"shared/api.yaml": DEPLOYMENT})
    assert {"k8s/base/api.yaml", "shared/api.yaml"} <= session.detail.named.keys()


def test_files_of_a_generator_count_by_their_bytes(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    write(tmp_path, {"k8s/dev/kustomization.yaml": "configMapGenerator: [{name: a, files: [a.bin]}]\n"})
    (tmp_path / "k8s/dev/a.bin").write_bytes(b"\xff\x00")
    before = session.service.sources
    (tmp_path / "k8s/dev/a.bin").write_bytes(b"\xff\x01")
    assert session.service.sources != before
    assert session.read().read[RelPath("k8s/dev/a.bin")] != ABSENT


def test_a_chart_gets_the_functions_values_on_standard_input(tmp_path: Path) -> None:
    session = Session(tmp_path, CHARTED)
    session.read()
    (call,) = session.renderer.calls
    assert call.command == (
        "helm",
        "template",
        "api",
        "chart",
        "--namespace=dev",
        "--values=dev.yaml",
        "--values=-",
        "--include-crds",
    )
    assert call.stdin == '{"replicas": 2, "image": {"tag": "devloop-unbuilt"}}'


def test_a_chart_is_all_files_of_its_folder_less_the_ignored(tmp_path: Path) -> None:
    session = Session(tmp_path, CHARTED)
    assert set(session.detail.named) == {
        "chart/Chart.yaml",
        "chart/templates/api.yaml",
        "chart/.helmignore",
        "dev.yaml",
    }
    before = session.service.sources
    write(tmp_path, {"chart/README.md": "more about it"})
    assert session.service.sources == before
    write(tmp_path, {"chart/templates/new.yaml": "new"})
    assert session.service.sources != before


def test_a_values_file_that_is_missing_is_a_mistake(tmp_path: Path) -> None:
    session = Session(tmp_path, CHARTED)
    (tmp_path / "dev.yaml").unlink()
    assert str(session.error) == "service `api` names `dev.yaml`, which does not exist"


def test_objects_of_a_chart_stand_in_their_template(tmp_path: Path) -> None:
    session = Session(tmp_path, CHARTED, text=f"---\n# Source: anything/templates/api.yaml\n{DEPLOYMENT}")
    assert [each.where.path for each in session.detail.manifests] == ["chart/templates/api.yaml"]


def test_several_sources_are_one_service(tmp_path: Path) -> None:
    session = Session(tmp_path, KUSTOMIZED)
    extra = '@service(kustomize("k8s/dev"), "extra.yaml")\ndef api(): ...\n'
    write(tmp_path, {"devfile.py": extra, "extra.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"})
    assert {str(each.key) for each in session.detail.manifests} == {"deployment/api", "configmap/extra"}
    assert session.service.recipe.keys() == {"the rendering of k8s/dev", "extra.yaml"}


def test_a_service_that_needs_another_is_rendered_once_that_is_known(tmp_path: Path) -> None:
    two = """
        @service(kustomize("k8s/dev"))
        def api(): ...
        @service(helm("chart"))
        def web(api: Service):
            return {"host": api.host, "port": api.port}
    """
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: inner}\nspec: {ports: [{port: 81}]}\n"
    session = Session(tmp_path, KUSTOMIZED | CHARTED | {"devfile.py": two}, text=service)
    session.renderer.prints = lambda request: service if "kustomize" in request.command else DEPLOYMENT
    assert session.read().mistakes == ()
    assert [call.stdin for call in session.renderer.calls] == ["", '{"host": "inner", "port": 81}']


@pytest.mark.parametrize("value", ["object()", "{1, 2}"])
def test_what_is_no_value_for_a_chart_is_a_mistake(tmp_path: Path, value: str) -> None:
    bad = f'@service(helm("chart"))\ndef api():\n    return {{"a": {value}}}\n'
    assert "which is no value for a chart" in str(Session(tmp_path, CHARTED | {"devfile.py": bad}).error)
