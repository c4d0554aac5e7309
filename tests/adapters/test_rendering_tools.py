"""kustomize and Helm themselves: how they are found, run and kept, and that `.helmignore` is read as Helm does."""

import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from devloop.adapters.rendering import ToolRenderer
from devloop.core.charts.helmignore import parse
from devloop.model import Digest, RelPath
from devloop.runtime.renderings import Program, Request, Tool

pytestmark = pytest.mark.anyio

KEY = Digest("sha256:" + "0" * 64)


def script(folder: Path, name: str, text: str) -> Path:
    """Put a program on the PATH of a test."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what the test puts there, and a shell's own tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")
    return folder


@pytest.fixture
def renderer(tmp_path: Path) -> ToolRenderer:
    project = tmp_path / "project"
    project.mkdir()
    return ToolRenderer(project, tmp_path / "state")


def request_of(*command: str, stdin: str = "") -> Request:
    return Request(key=KEY, command=command, folder="", stdin=stdin)


def found(renderer: ToolRenderer, tool: Tool) -> Program:
    program = renderer.program(tool)
    assert program is not None
    return program


# --- how they are found ------------------------------------------------------------------------------------------


async def test_without_a_tool_there_is_no_program(programs: Path, renderer: ToolRenderer) -> None:
    assert [renderer.program(tool) for tool in Tool] == [None, None]


async def test_kustomize_goes_before_kubectl(programs: Path, renderer: ToolRenderer) -> None:
    script(programs, "kubectl", "echo 1")
    assert found(renderer, Tool.KUSTOMIZE).command == ("kubectl", "kustomize")
    script(programs, "kustomize", "echo 1")
    assert found(renderer, Tool.KUSTOMIZE).command == ("kustomize", "build")


async def test_a_launcher_is_known_by_the_version_that_it_says(programs: Path, renderer: ToolRenderer) -> None:
    helm = script(programs, "helm", "echo 1.0")
    first = found(renderer, Tool.HELM).identity
    assert found(renderer, Tool.HELM).identity == first
    helm.write_text("#!/bin/sh\n# moved\necho 1.0\n")
    assert found(renderer, Tool.HELM).identity == first
    helm.write_text("#!/bin/sh\necho 2.0 now\n")
    assert found(renderer, Tool.HELM).identity != first


async def test_a_program_is_known_by_its_file_and_not_run_for_it(programs: Path, renderer: ToolRenderer) -> None:
    helm = programs / "helm"
    helm.write_bytes(b"\x7fELF no program at all")
    helm.chmod(0o755)
    first = found(renderer, Tool.HELM).identity
    helm.write_bytes(b"\x7fELF another one")
    assert found(renderer, Tool.HELM).identity != first


# --- how they are run --------------------------------------------------------------------------------------------


async def test_a_call_has_its_folder_its_input_and_its_output(renderer: ToolRenderer, tmp_path: Path) -> None:
    (tmp_path / "project/sub").mkdir()
    call = Request(key=KEY, command=("sh", "-c", "pwd; cat; echo no >&2; exit 3"), folder="sub", stdin="values")
    printed = await renderer.run(call)
    assert (printed.exit_code, printed.stderr) == (3, "no\n")
    assert printed.stdout == f"{tmp_path}/project/sub\nvalues"


# --- what is kept ------------------------------------------------------------------------------------------------


async def test_a_rendering_outlives_the_session_and_only_the_user_reads_it(
    renderer: ToolRenderer, tmp_path: Path
) -> None:
    assert renderer.recall(KEY) is None
    renderer.keep(KEY, "kind: Secret\n")
    assert ToolRenderer(tmp_path, tmp_path / "state").recall(KEY) == "kind: Secret\n"
    (file,) = (tmp_path / "state/renderings").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_only_the_last_renderings_are_kept(renderer: ToolRenderer, tmp_path: Path) -> None:
    for number in range(210):
        renderer.keep(Digest(f"sha256:{number:064}"), "text")
    assert len(list((tmp_path / "state/renderings").iterdir())) == 200
    assert renderer.recall(Digest(f"sha256:{209:064}")) == "text"


async def test_nothing_is_kept_without_a_state_folder(tmp_path: Path) -> None:
    renderer = ToolRenderer(tmp_path, None)
    renderer.keep(KEY, "text")
    assert renderer.recall(KEY) is None


async def test_links_are_followed_out_of_the_project_too(renderer: ToolRenderer, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "project/common").symlink_to(tmp_path / "shared")
    assert renderer.real(RelPath("common/a.yaml")) == "../shared/a.yaml"
    assert renderer.real(RelPath("plain/a.yaml")) == "plain/a.yaml"


# --- Helm's own rules --------------------------------------------------------------------------------------------

FILES = (
    "a.txt",
    "b.txt",
    "[x].txt",
    "files/a.txt",
    "files/b.md",
    "files/deep/a.txt",
    "files/deep/b.md",
    "other/files/a.txt",
    "other/.hidden",
    "x y.txt",
)
RULES = (
    "*.txt",
    "a.txt",
    "/a.txt",
    "files",
    "files/",
    "/files/",
    "files/*.txt",
    "files/*",
    "*/a.txt",
    "files/deep/",
    "a.txt/",
    "*.md\n# a.txt\n\n  b.txt  ",
    "[ab].txt",
    "[^a].txt",
    "[a-b].txt",
    r"\[x\].txt",
    "?.txt",
    ".*",
    "other/.hidden",
    "x y.txt",
    "!a.txt",
    "!*.txt",
    "!files/",
    "!files/\nb.md",
    "*.txt\n!a.txt",
    "!a.txt\n*.md",
)
CHART: Mapping[str, str] = {
    "Chart.yaml": "apiVersion: v2\nname: rules\nversion: 0.1.0\n",
    "templates/all.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: all}\ndata:\n"
        '{{- range $path, $_ := .Files }}\n  {{ $path | b64enc | replace "=" "" | quote }}: {{ $path | quote }}\n'
        "{{- end }}\n"
    ),
}


@pytest.mark.cluster  # with the test cluster comes Helm
@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize("rules", RULES)
async def test_helm_itself_ignores_the_same_files(renderer: ToolRenderer, tmp_path: Path, rules: str) -> None:
    for path, text in {**CHART, **dict.fromkeys(FILES, "text"), ".helmignore": rules}.items():
        target = tmp_path / "project/chart" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    ours = parse(rules)
    printed = await renderer.run(request_of("helm", "template", "rules", "chart"))
    if ours.excludes("Chart.yaml") or ours.excludes("templates/all.yaml"):
        assert printed.exit_code != 0 or "kind: ConfigMap" not in printed.stdout
        return
    assert printed.exit_code == 0, printed.stderr
    there = {path for path in FILES if f': "{path}"' in printed.stdout}
    assert there == {path for path in FILES if not ours.excludes(path)}
