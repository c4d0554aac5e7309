"""The command `devloop init`: what it writes, what it never touches, what it says."""

import json
from contextlib import chdir
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from devloop.cli import app
from tests.init.making import make, shape


def run(folder: Path, *arguments: str) -> Result:
    """Run `devloop init` in a folder."""
    with chdir(folder):
        return CliRunner().invoke(app, ["init", *arguments], env={"NO_COLOR": "1"})


@pytest.fixture
def single(tmp_path: Path) -> Path:
    return shape("single", tmp_path)


def test_it_says_what_it_wrote_and_what_comes_next(single: Path) -> None:
    done = run(single)

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == (
        "wrote devfile.py: 1 image, 1 service, 1 sync\n"
        "next: `devloop plan` shows what would run, `devloop up` runs it\n"
    )


def test_a_devfile_that_is_there_is_never_written_over(single: Path) -> None:
    (single / "devfile.py").write_text("# mine\n")

    done = run(single)

    assert (done.exit_code, (single / "devfile.py").read_text()) == (2, "# mine\n")
    assert done.stderr == (
        "error: there already is a `devfile.py`\n"
        "hint: see what would be written with `--print`; write over it with `--force`\n"
    )


def test_with_force_it_is(single: Path) -> None:
    (single / "devfile.py").write_text("# mine\n")

    assert run(single, "--force").exit_code == 0
    assert "@image" in (single / "devfile.py").read_text()


def test_print_writes_nothing(tmp_path: Path) -> None:
    folder = shape("dockerfile", tmp_path)
    before = sorted(folder.rglob("*"))

    done = run(folder, "--print")

    assert sorted(folder.rglob("*")) == before
    assert done.stdout.startswith('"""Written by `devloop init`')
    assert done.stderr == "would write k8s/dockerfile.yaml, too\n"


def test_json_has_the_text_and_all_files(tmp_path: Path) -> None:
    folder = shape("dockerfile", tmp_path)

    found = json.loads(run(folder, "--output", "json").stdout)

    assert found["written"] == ["devfile.py", "k8s/dockerfile.yaml"]
    assert found["devfile"] == (folder / "devfile.py").read_text()
    assert found["files"] == {"k8s/dockerfile.yaml": (folder / "k8s/dockerfile.yaml").read_text()}
    assert (found["nodes"], found["notes"], found["problems"]) == ({"image": 1, "service": 1, "sync": 1}, [], [])


def test_the_folder_may_be_another_one(single: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "single").exit_code == 0
    assert (single / "devfile.py").is_file()


def test_in_an_empty_folder_it_says_what_it_looked_for(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()

    done = run(folder)

    assert (done.exit_code, list(folder.iterdir())) == (2, [])
    assert done.stderr == (
        "error: found nothing to write a devfile from\n"
        "hint: looked for: skaffold.yaml, compose.yaml (docker-compose.yml), Chart.yaml, kustomization.yaml, "
        "Kubernetes manifests (*.yaml, *.yml, *.json), Dockerfile (Containerfile, Dockerfile.*, *.Dockerfile); "
        "here and in the folders below, less what `.gitignore` names\n"
    )


def test_manifests_that_it_writes_are_kept_once_they_are_there(tmp_path: Path) -> None:
    folder = shape("compose", tmp_path)
    run(folder)
    edited = folder / "k8s/web.yaml"
    edited.write_text(edited.read_text().replace("replicas: 1", "replicas: 2"))

    done = run(folder, "--force", "--from", "compose.yaml")

    assert "replicas: 2" in edited.read_text()
    assert "kept k8s/web.yaml, which was there already\n" in done.stderr


def test_another_source_can_be_asked_for(tmp_path: Path) -> None:
    folder = shape("single", tmp_path)
    make("=== compose.yaml\nservices:\n  cache: {image: redis}\n", folder)

    plain = run(folder, "--print").stdout
    composed = run(folder, "--print", "--from", "compose.yaml").stdout

    assert '@service("k8s/deployment.yaml"' in plain
    assert "`devloop init --from compose.yaml` takes it instead" in plain.replace("\n#  ", "")
    assert '@service("k8s/cache.yaml"' in composed


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (
            "compose.yaml",
            "services:\n  web:\n    image: [a]\n",
            "`services.web.image` must be text\n  compose.yaml:3:12",
        ),
        ("compose.yaml", "services:\n  web: {image: a\n", "compose.yaml:"),
        (
            "compose.yaml",
            "services:\n  web:\n    image: a\n    ports: [http]\n",
            "`http` is not a port\n  compose.yaml:4:13",
        ),
        (
            "skaffold.yaml",
            "apiVersion: skaffold/v1\nkind: Config\n",
            "`skaffold/v1` is too old to be read\n  skaffold.yaml:1",
        ),
        (
            "skaffold.yaml",
            "apiVersion: skaffold/v4beta1\nbuild: []\n",
            "`build` must be a mapping\n  skaffold.yaml:2:8",
        ),
        (
            "skaffold.yaml",
            "apiVersion: skaffold/v4beta1\nrequires:\n  - path: gone\n",
            "there is no `gone`\n  skaffold.yaml:3:11",
        ),
    ],
)
def test_a_mistake_in_what_it_reads_has_its_place(tmp_path: Path, path: str, text: str, said: str) -> None:
    folder = make(f"=== {path}\n{text}", tmp_path / "project")

    done = run(folder)

    assert done.exit_code == 2
    assert said in done.stderr
    assert not (folder / "devfile.py").exists()


def test_what_keeps_the_result_from_planning_is_told_with_the_exit_code_of_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shape("helm", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    done = run(folder)

    assert (done.exit_code, (folder / "devfile.py").is_file()) == (2, True)
    assert "error: service `shop` needs helm to render `charts/shop`, and it is not installed" in done.stderr
