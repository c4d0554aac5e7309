"""The pytest plugin, run by a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.outside import ROOT


def pytest_in(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    plugin = ["-p", "devloop.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugin, "--rootdir", str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_it_imports_nothing_of_devloop_before_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_nothing_is_loaded():\n"
        "    loaded = {name for name in sys.modules if name.startswith('devloop.')}\n"
        "    assert not loaded & {'devloop.app', 'devloop.runtime', 'devloop.adapters', 'devloop.core'}\n"
    )

    assert pytest_in(tmp_path).returncode == 0


def test_a_broken_devfile_is_an_error_of_the_test_that_asks_for_the_session(tmp_path: Path) -> None:
    (tmp_path / "devfile.py").write_text("from devloop import service\n@service('api.yaml')\ndef api(nobody): ...\n")
    (tmp_path / "test_it.py").write_text("def test_it(devloop_session): ...\n")

    done = pytest_in(tmp_path, "--devloop-file", "devfile.py")

    assert done.returncode == 1
    assert "service `api` asks for `nobody`, which nothing defines" in done.stdout
