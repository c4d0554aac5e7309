"""`devloop graph --inputs` and `devloop why`: every input with the line that brings it, in a project of hard cases."""

import json
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from typer.testing import CliRunner

from devloop.app.options import Options
from devloop.app.reading import Reading
from devloop.cli import app
from devloop.errors import InputError
from devloop.model import Kind, NodeId
from devloop.ui.explained import causes_text, inputs_text, path_text
from devloop.ui.rows import Decision
from tests.runtime.projects import write

pytestmark = pytest.mark.anyio

PROJECT = {
    "devfile.py": """
        @image("web", target="release", contexts={"shared": "common"})
        def web_image(flavour: str = "plain"):
            return {"FLAVOUR": flavour}

        @image("base")
        def base_image(): ...

        @image("legacy", inputs=["legacy/**", "!legacy/old"])
        def legacy_image(ref): ...

        @service("k8s/web.yaml.j2")
        def web(web_image: Image, replicas: int = 2):
            return {"greeting": "hello"}

        @sync("web/pages", "/srv/pages")
        def pages(web_image: Image):
            yield run("reload", on="web/pages/*.css")
            yield ignore("web/pages/*.swp")

        @task(inputs=["web/**/*.js"])
        def lint(): ...
    """,
    "web/Dockerfile": """
        FROM golang AS tools
        COPY tools /tools
        FROM base AS release
        ARG FLAVOUR
        WORKDIR /srv
        COPY pages pages/
        COPY *.conf settings.json /etc/web/
        COPY --from=shared lib /srv/lib
        RUN --mount=type=bind,source=schema,target=/schema make
        COPY late.txt /srv/late
    """,
    "web/.dockerignore": """
        # what does not belong into images
        **/*.md
        pages/drafts
        !pages/drafts/keep.md
        node_modules
    """,
    "web/pages/index.html": "",
    "web/pages/style.css": "",
    "web/pages/x.swp": "",
    "web/pages/README.md": "",
    "web/pages/drafts/a.html": "",
    "web/pages/drafts/keep.md": "",
    "web/node_modules/x/index.js": "",
    "web/app.conf": "",
    "web/settings.json": "",
    "web/late.txt": "",
    "web/schema/one.sql": "",
    "web/tools/main.go": "",
    "web/notes.txt": "",
    "web/check.js": "",
    "README.md": "",
    "base/Dockerfile": "FROM scratch\nCOPY . /\n",
    "base/etc/passwd": "",
    "common/lib/a.so": "",
    "legacy/a.c": "",
    "legacy/old/b.c": "",
    "k8s/web.yaml.j2": """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec:
          replicas: {{ replicas }}
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              containers:
                - name: web
                  image: {{ web_image }}
                  env: [{% include "_env.yaml.j2" %}]
    """,
    "k8s/_env.yaml.j2": "{name: GREETING, value: {{ greeting }}}\n",
}


@pytest.fixture
async def reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setenv("DEVLOOP_STATE_DIR", str(tmp_path / "state"))
    write(tmp_path / "project", PROJECT)
    return await Reading(Options(devfile=tmp_path / "project")).open()


async def test_an_image_names_the_line_of_each_input_and_what_is_left_out(reading: Reading) -> None:
    assert inputs_text(reading.inputs("image:web")) == snapshot("""\
INPUT                     LINE               TEXT
web/Dockerfile            devfile.py:3       def web_image(flavour: str = "plain"):
web/.dockerignore         devfile.py:3       def web_image(flavour: str = "plain"):
image:base                web/Dockerfile:3   FROM base AS release
flavour = 'plain'         devfile.py:3       def web_image(flavour: str = "plain"):
FLAVOUR = 'plain'         web/Dockerfile:4   ARG FLAVOUR
common/lib/a.so           web/Dockerfile:8   COPY --from=shared lib /srv/lib
web/app.conf              web/Dockerfile:7   COPY *.conf settings.json /etc/web/
web/late.txt              web/Dockerfile:10  COPY late.txt /srv/late
web/pages/drafts/keep.md  web/Dockerfile:6   COPY pages pages/
web/pages/index.html      web/Dockerfile:6   COPY pages pages/
web/pages/style.css       web/Dockerfile:6   COPY pages pages/
web/pages/x.swp           web/Dockerfile:6   COPY pages pages/
web/schema/one.sql        web/Dockerfile:9   RUN --mount=type=bind,source=schema,target=/schema make
web/settings.json         web/Dockerfile:7   COPY *.conf settings.json /etc/web/

LEFT OUT                 LINE                 TEXT
web/pages/README.md      web/.dockerignore:2  **/*.md
web/pages/drafts/a.html  web/.dockerignore:3  pages/drafts
""")


async def test_a_service_names_its_templates_and_the_lines_of_its_variables(reading: Reading) -> None:
    assert inputs_text(reading.inputs("web")) == snapshot("""\
INPUT             LINE                TEXT
k8s/web.yaml.j2   devfile.py:13       def web(web_image: Image, replicas: int = 2):
k8s/_env.yaml.j2  k8s/web.yaml.j2:13  env: [{% include "_env.yaml.j2" %}]
replicas = 2      k8s/web.yaml.j2:5   replicas: {{ replicas }}
greeting          k8s/_env.yaml.j2:1  {name: GREETING, value: {{ greeting }}}
                  devfile.py:13       def web(web_image: Image, replicas: int = 2):
image:web         devfile.py:13       def web(web_image: Image, replicas: int = 2):
                  k8s/web.yaml.j2:12  image: {{ web_image }}
""")


async def test_a_sync_names_where_its_files_go(reading: Reading) -> None:
    assert inputs_text(reading.inputs("pages")) == snapshot("""\
INPUT                     GOES TO                    LINE           TEXT
image:web                                            devfile.py:17  def pages(web_image: Image):
web/pages/drafts/keep.md  /srv/pages/drafts/keep.md  devfile.py:17  sync:pages: web/pages to /srv/pages
web/pages/index.html      /srv/pages/index.html      devfile.py:17  sync:pages: web/pages to /srv/pages
web/pages/style.css       /srv/pages/style.css       devfile.py:17  sync:pages: web/pages to /srv/pages
""")


async def test_custom_builders_and_tasks_name_the_pattern_of_each_input(reading: Reading) -> None:
    assert inputs_text(reading.inputs("legacy")) == snapshot("""\
INPUT       LINE           TEXT
legacy/a.c  devfile.py:10  inputs: "legacy/**"
""")
    assert inputs_text(reading.inputs("lint")) == snapshot("""\
INPUT                        LINE           TEXT
`lint` itself                devfile.py:22  def lint(): ...
web/check.js                 devfile.py:22  inputs: "web/**/*.js"
web/node_modules/x/index.js  devfile.py:22  inputs: "web/**/*.js"
""")


async def test_a_synced_file_is_told_with_its_line_its_place_and_its_sync(reading: Reading) -> None:
    assert path_text(reading.path("web/pages/style.css")) == snapshot("""\
web/pages/style.css: image:web builds with it
  web/Dockerfile:6  COPY pages pages/
  it lands at /srv/pages/style.css
  a change is copied into running containers by sync:pages (devfile.py:17), then `reload` is run there
""")


async def test_a_file_that_no_sync_covers_is_told_with_what_is_built_and_deployed(reading: Reading) -> None:
    assert path_text(reading.path("web/schema/one.sql")) == snapshot("""\
web/schema/one.sql: image:web builds with it
  web/Dockerfile:9  RUN --mount=type=bind,source=schema,target=/schema make
  no certain place in the image: it is not in the image as such
  a change means a new image, then service:web (no sync covers it)
""")


async def test_a_place_that_cannot_be_known_is_told_with_the_reason(reading: Reading) -> None:
    assert path_text(reading.path("web/late.txt")) == snapshot("""\
web/late.txt: image:web builds with it
  web/Dockerfile:10  COPY late.txt /srv/late
  no certain place in the image: whether `/srv/late` is a directory is up to the base image or a `RUN`
  a change means a new image, then service:web (no sync covers it)
""")


async def test_an_ignored_file_is_told_with_the_line_that_leaves_it_out(reading: Reading) -> None:
    assert path_text(reading.path("web/pages/drafts/a.html")) == snapshot("""\
web/pages/drafts/a.html: image:web does without it: it is ignored
  web/.dockerignore:3  pages/drafts
  web/Dockerfile:6  COPY pages pages/
""")


async def test_a_file_of_a_stage_that_the_target_does_not_need_is_not_read(reading: Reading) -> None:
    assert path_text(reading.path("web/tools/main.go")) == snapshot("""\
web/tools/main.go: image:web does not read it
  nothing that stage `release` needs of web/Dockerfile names it: a change of it builds nothing
""")


async def test_a_folder_is_told_file_by_file_where_that_differs(reading: Reading) -> None:
    assert path_text(reading.path("web/pages")) == snapshot("""\
web/pages: image:web builds with 4 files of it
  web/Dockerfile:6  COPY pages pages/
  a change of drafts/keep.md, index.html is copied into running containers by sync:pages (devfile.py:17)
  a change of style.css is copied into running containers by sync:pages (devfile.py:17), then `reload` is run there
  a change of x.swp does nothing: a sync ignores it
""")


async def test_a_change_of_a_base_is_told_with_all_that_follows(reading: Reading) -> None:
    assert path_text(reading.path("base/etc/passwd")) == snapshot("""\
base/etc/passwd: image:base builds with it
  base/Dockerfile:2  COPY . /
  it lands at /etc/passwd
  a change means a new image, then image:web, service:web (no sync feeds it)
""")


async def test_a_file_of_a_named_context_is_told_with_the_line_that_copies_from_it(reading: Reading) -> None:
    assert path_text(reading.path("common/lib/a.so")) == snapshot("""\
common/lib/a.so: image:web builds with it
  web/Dockerfile:8  COPY --from=shared lib /srv/lib
  no certain place in the image: it lies outside of the build context
  a change means a new image, then service:web (no sync covers it)
""")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("web/Dockerfile", "devfile.py:3"),
        ("web/.dockerignore", "devfile.py:3"),
        ("k8s/web.yaml.j2", "devfile.py:13"),
        ("k8s/_env.yaml.j2", "k8s/web.yaml.j2:13"),
    ],
)
async def test_a_definition_is_told_with_who_names_it(reading: Reading, path: str, place: str) -> None:
    (use,) = reading.path(path).uses
    assert use.role == "definition"
    assert [str(each) for each in use.places] == [place]


@pytest.mark.parametrize("path", ["README.md", "legacy/old/b.c", "not/there"])
async def test_what_nothing_reads_is_told_so(reading: Reading, path: str) -> None:
    assert [use.role for use in reading.path(path).uses] == ["not read"]


async def test_a_name_means_the_node_and_a_path_the_file_from_here_or_from_the_root(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "project/web")

    assert reading.named("web") == NodeId(Kind.SERVICE, "web")
    assert reading.named("./pages") == "web/pages"
    assert reading.named("../README.md") == "README.md"
    assert reading.named("base/etc/passwd") == "base/etc/passwd"
    assert reading.named("pages/deleted.html") == "web/pages/deleted.html"
    with pytest.raises(InputError, match="there is no node `nothing`"):
        reading.named("nothing")


async def test_a_decision_names_the_line_that_brings_the_file_of_each_reason(reading: Reading) -> None:
    decision = Decision(
        node=NodeId(Kind.IMAGE, "web"),
        action="build",
        reasons=("web/app.conf changed", "web/pages/gone.html was deleted", "build arguments changed"),
        outcome="succeeded",
    )

    assert causes_text(reading.causes(decision)) == snapshot("""\
  web/app.conf comes by web/Dockerfile:7  COPY *.conf settings.json /etc/web/
  web/pages/gone.html comes by web/Dockerfile:6  COPY pages pages/
""")


async def test_a_change_of_an_included_template_is_planned_and_named(reading: Reading) -> None:
    rows = {str(each.node): each for each in reading.plan(["k8s/_env.yaml.j2"])}
    assert rows["service:web"].action == "deploy"
    assert rows["service:web"].reasons == ("k8s/_env.yaml.j2 changed",)


def test_both_explanations_are_there_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVLOOP_STATE_DIR", str(tmp_path / "state"))
    write(tmp_path / "project", PROJECT)
    monkeypatch.chdir(tmp_path / "project")
    listed = CliRunner().invoke(app, ["graph", "--inputs", "image:web", "--output", "json"])
    assert listed.exit_code == 0, listed.output
    inputs = {each["name"]: each for each in json.loads(listed.stdout)["inputs"]}
    assert inputs["web/Dockerfile"]["kind"] == "definition"
    explained = CliRunner().invoke(app, ["why", "k8s/_env.yaml.j2", "--output", "json"])
    assert explained.exit_code == 0, explained.output
    (use,) = json.loads(explained.stdout)["uses"]
    assert (use["node"], use["places"][0]["path"]) == ("service:web", "k8s/web.yaml.j2")
