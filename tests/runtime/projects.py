"""Projects on disk, discovered by the real devfile loader and the real files."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

from devloop.adapters.devfile import PythonDevfile
from devloop.adapters.files import DiskFiles
from devloop.errors import InputError
from devloop.runtime.discover import Project, discover
from devloop.runtime.renderings import Renderings, UnrenderedError
from tests.fakes.renderer import renderings

__all__ = ["DEPLOYMENT", "discover_with", "discovered", "found", "only", "write"]

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: api}]}
"""


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write a project's files; a devfile gets all of devloop's names."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        start = "from devloop import *\n" if name.endswith("devfile.py") else ""
        path.write_text(start + textwrap.dedent(text).lstrip("\n"))


def discovered(root: Path, **settings: str) -> Project:
    """Return the project of a folder."""
    return discover_with(root, renderings(str(root.resolve())), **settings)


def discover_with(root: Path, tools: Renderings, **settings: str) -> Project:
    """Return the project of a folder, once all is rendered that it asks for."""

    def read() -> Project:
        devfile, files = PythonDevfile(root / "devfile.py"), DiskFiles(root, root / ".." / "state")
        project = discover(devfile, files, tools, given=settings, environment={})
        if project.unrendered:
            raise UnrenderedError(project.unrendered)
        return project

    return tools.complete(read)


def found(root: Path, files: Mapping[str, str], **settings: str) -> tuple[InputError, ...]:
    """Return the mistakes of a project."""
    write(root, files)
    return discovered(root, **settings).mistakes


def only(root: Path, files: Mapping[str, str]) -> InputError:
    """Return the only mistake of a project."""
    (error,) = found(root, files)
    return error
