"""Nothing is shown in the documentation that does not run, and no example that does not plan."""

import ast
import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from inspect import CO_COROUTINE
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import devloop
from devloop import testing
from devloop.cli import app
from devloop.dsl import Collector, collecting
from tests.docs.blocks import Block, Command, all_blocks, commands, earlier
from tests.outside import ROOT, Cluster, kubectl_program, output

DEVLOOP = Path(sys.executable).with_name("devloop")
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/devfile.py"))
MAKE_TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def marked(blocks: list[Block]) -> list[Any]:
    """Return the blocks as parameters, marked with what they need."""
    return [
        pytest.param(block, id=str(block), marks=[pytest.mark.cluster] if block.needs_cluster else [])
        for block in blocks
    ]


@pytest.mark.parametrize("block", marked([block for block in all_blocks("python") if block.project]))
def test_a_devfile_in_the_documentation_plans(block: Block, tmp_path: Path) -> None:
    assert block.project is not None
    folder = shutil.copytree(block.project, tmp_path / "project")
    (folder / "devfile.py").write_text(block.text)

    assert planned(folder)


@pytest.mark.parametrize("block", marked([block for block in all_blocks("python") if not block.project]))
def test_python_in_the_documentation_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if block.needs_cluster:
        monkeypatch.setenv("KUBECONFIG", str(own_kubeconfig(request.getfixturevalue("cluster"), tmp_path)))
    monkeypatch.chdir(shutil.copytree(ROOT / "examples/quickstart", tmp_path / "quickstart"))
    names = {"__name__": "page", **{name: getattr(devloop, name) for name in devloop.__all__}}

    with collecting(Collector(root=str(tmp_path))):
        for each in [*earlier(block), block]:
            run(compile_block(each), names)


@pytest.mark.parametrize("block", marked([block for block in all_blocks("console") if block.project]))
def test_a_console_in_the_documentation_shows_what_is_printed(block: Block, tmp_path: Path) -> None:
    assert block.project is not None
    folder = shutil.copytree(block.project, tmp_path / block.project.name)

    for command in commands(block):
        assert like(printed_by(command, folder), command.output)


@pytest.mark.parametrize("block", marked([block for block in all_blocks("console") if not block.project]))
def test_a_command_in_the_documentation_exists(block: Block) -> None:
    for command in commands(block):
        program, *arguments = shlex.split(command.line, comments=True)
        if program == "make":
            assert set(arguments) <= MAKE_TARGETS, command.line
        if program == "devloop":
            understand(arguments)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_plans(name: str, tmp_path: Path) -> None:
    assert planned(shutil.copytree(ROOT / "examples" / name, tmp_path / name))


def test_the_tour_of_the_devfile_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(ROOT / "tests/docs/tour", tmp_path / "tour")
    for tool, printed in (("kustomize", "k8s/redis/base/redis.yaml"), ("helm", "k8s/web.yaml")):
        program = tmp_path / "bin" / tool  # stands in for the tool, where that is not installed
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\n[ "$1" = version ] || sed s/web/{tool}/ {printed}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{program.parent}")
    shutil.copy(ROOT / "devfile.py.example", folder / "devfile.py")

    assert planned(folder)


def test_the_tour_of_the_devfile_shows_every_name_of_the_language() -> None:
    tree = ast.parse((ROOT / "devfile.py.example").read_text())
    shown = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert set(devloop.__all__) - {"Session", "session", "Check", "Sync", "Task"} <= shown


# --- how blocks are run ----------------------------------------------------------------------------------------------


def own_kubeconfig(cluster: Cluster, folder: Path) -> Path:
    """Return a kubeconfig whose context leads to the test's own namespace."""
    own = Path(shutil.copy(cluster.kubeconfig, folder / "kubeconfig"))
    output(
        kubectl_program(),
        f"--kubeconfig={own}",
        "config",
        "set-context",
        "--current",
        f"--namespace={cluster.namespace}",
    )
    return own


def compile_block(block: Block) -> CodeType:
    """Return the block's code, which may `await` at its top level as a notebook's cells do."""
    padding = "\n" * block.line  # so that a traceback names the page's own lines
    code: CodeType = compile(padding + block.text, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


def run(code: CodeType, names: dict[str, Any]) -> None:
    """Run a block's code."""
    result = eval(code, names)
    if code.co_flags & CO_COROUTINE:
        asyncio.run(result)


def printed_by(command: Command, folder: Path) -> str:
    """Return what a command prints in a folder, both streams together."""
    path = f"{DEVLOOP.parent}:/usr/local/bin:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", command.line],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "NO_COLOR": "1", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def understand(arguments: list[str]) -> None:
    """Fail unless devloop knows these arguments; `--help` keeps it from acting on them."""
    known: Any = typer.main.get_group(app).commands.get(arguments[0])
    words = 2 if hasattr(known, "commands") else 1  # `devloop cluster start`
    done = CliRunner().invoke(app, [*arguments[:words], "--help", *arguments[words:]])
    assert done.exit_code == 0, f"devloop {shlex.join(arguments)}\n{done.output}"


def planned(folder: Path) -> list[str]:
    """Return what would be done at the first start."""
    return [f"{step.action} {step.node}" for step in testing.load(folder).plan() if step.action]


def like(printed: str, shown: str) -> bool:
    """Return whether the output is as shown, where `...` stands for any text."""
    wanted = re.escape("\n".join(line.rstrip() for line in shown.splitlines())).replace(r"\.\.\.", ".*")
    found = "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())
    return re.fullmatch(wanted, found, re.DOTALL) is not None
