"""The wheel and the source archive: what they hold, that both make the same, and that devloop works from there."""

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.outside import ROOT

_PLATFORM_ONLY = {"fcntl", "termios"}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source archive of what is here now."""
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, out)
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, source


def build(root: Path, out: Path, *targets: str) -> None:
    program = Path(sys.executable).with_name("hatchling")
    asked = [part for target in targets for part in ("--target", target)]
    subprocess.run([program, "build", "--directory", out, *asked], cwd=root, check=True, capture_output=True)


def modules() -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / "devloop").rglob("*.py")}


def held(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("RECORD")}


def test_the_wheel_holds_devloop_and_nothing_else(archives: tuple[Path, Path]) -> None:
    names = held(archives[0])
    code = {name for name in names if ".dist-info/" not in name}
    files = {path for path in (ROOT / "devloop").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert code == {str(path.relative_to(ROOT)) for path in files}
    assert "devloop/py.typed" in code
    assert {name.partition(".dist-info/")[2] for name in names - code} >= {"METADATA", "entry_points.txt"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_archive_makes_the_same_wheel(archives: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, source = archives
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert {"README.md", "LICENSE", "Makefile", "examples", "tests", "requirements"} <= {
        path.name for path in folder.iterdir()
    }
    build(folder, tmp_path / "again", "wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    assert held(again) == held(wheel)


def test_devloop_works_from_the_wheel(archives: tuple[Path, Path], tmp_path: Path) -> None:
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    installed = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    with zipfile.ZipFile(archives[0]) as archive:
        archive.extractall(installed)
    # Its dependencies are the ones that are installed here; what makes devloop itself importable here is left behind.
    (installed / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    project = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples/quickstart", project)
    python = environment / "bin/python"
    own = {**os.environ, "DEVLOOP_STATE_DIR": str(tmp_path / "state")}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [python, "-P", *arguments], cwd=project, env=own, check=True, capture_output=True, text=True
        ).stdout

    assert run("-c", "import devloop; print(devloop.__file__)").strip() == str(installed / "devloop/__init__.py")
    assert "devloop [OPTIONS] COMMAND" in run("-m", "devloop", "--help")
    assert "image:" in run("-m", "devloop", "plan")


def test_every_import_is_a_declared_dependency() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {canonicalize_name(Requirement(line).name) for line in declared}
    by_module = packages_distributions()
    imported = {name for path in modules() for name in _imported(ROOT / path)}
    foreign = imported - set(sys.stdlib_module_names) - _PLATFORM_ONLY - {"devloop", "devfile"}
    undeclared = {
        name for name in foreign if not names & {canonicalize_name(each) for each in by_module.get(name, (name,))}
    }
    assert undeclared == {"pytest"}  # of the plugin, which only pytest itself loads


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
