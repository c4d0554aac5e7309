"""The shape of the code, held by tools: layers, purity, import cost, and the names promised to users."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import devloop
from tests.outside import ROOT

HEAVY = {
    "anyio",
    "asyncio",
    "httpx",
    "jinja2",
    "kr8s",
    "pydantic",
    "python_on_whales",
    "rich",
    "watchfiles",
    "yaml",
}


def test_imports_go_down_only_and_the_core_touches_nothing_outside() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_the_names_promised_to_users_are_these() -> None:
    assert devloop.__all__ == [
        "Check",
        "Image",
        "Service",
        "Session",
        "Sync",
        "Task",
        "check",
        "copy",
        "helm",
        "ignore",
        "image",
        "include",
        "kustomize",
        "project",
        "pull",
        "restart",
        "run",
        "service",
        "session",
        "setting",
        "sh",
        "sync",
        "task",
    ]


@pytest.mark.parametrize("name", devloop.__all__)
def test_each_promised_name_is_there(name: str) -> None:
    assert getattr(devloop, name) is not None


def test_importing_devloop_loads_nothing_heavy() -> None:
    assert modules_loaded_by("-c", "import devloop") & (HEAVY | {"typer"}) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["--version"]])
def test_help_loads_nothing_heavy_besides_typer(arguments: list[str]) -> None:
    assert modules_loaded_by("-m", "devloop", *arguments) & HEAVY == set()


def modules_loaded_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter loads when it runs the arguments."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {match[1] for match in re.finditer(r"^import time:[^|]*\|[^|]*\| *([\w]+)", done.stderr, re.MULTILINE)}
