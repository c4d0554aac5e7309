"""kustomize and Helm as they are installed, and what they rendered in earlier sessions."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from devloop.core import digests
from devloop.model import Digest, RelPath
from devloop.runtime.processes import Captured, capture
from devloop.runtime.renderings import Program, Request, Tool

__all__ = ["ToolRenderer"]

_PROGRAMS: Final[Mapping[Tool, tuple[tuple[str, ...], ...]]] = {
    Tool.KUSTOMIZE: (("kustomize", "build"), ("kubectl", "kustomize")),
    Tool.HELM: (("helm",),),
}
_VERSION: Final[Mapping[str, tuple[str, ...]]] = {
    "kustomize": ("version",),
    "kubectl": ("version", "--client", "--output=json"),
    "helm": ("version",),
}
_KEPT: Final = 200
_PATIENCE: Final = 10.0


class ToolRenderer:
    """Implements `Renderer`.

    Args:
        root: The project's root.
        state: The state directory; None to keep nothing.
    """

    def __init__(self, root: Path, state: Path | None) -> None:
        self._root = root
        self._folder = None if state is None else state / "renderings"
        self._identities: dict[tuple[object, ...], str] = {}

    def program(self, tool: Tool) -> Program | None:
        """Return the tool as it is installed, or None where it is not."""
        for name, *rest in _PROGRAMS[tool]:
            found = shutil.which(name)
            if found is not None:
                return Program(command=(name, *rest), identity=self._identity(name, Path(found)))
        return None

    def real(self, path: RelPath) -> RelPath:
        """Return where a path leads to when its symbolic links are followed."""
        real = os.path.realpath(self._root / path)
        return RelPath(Path(os.path.relpath(real, self._root)).as_posix())

    async def run(self, request: Request) -> Captured:
        """Return what the tool printed."""
        folder = str(self._root / request.folder)
        return await capture(request.command, stdin=request.stdin.encode(), cwd=folder)

    def recall(self, key: Digest) -> str | None:
        """Return a rendering that an earlier session kept."""
        path = self._path(key)
        if path is None:
            return None
        with suppress(OSError, UnicodeDecodeError):
            text = path.read_text(encoding="utf-8")
            os.utime(path)
            return text
        return None

    def keep(self, key: Digest, text: str) -> None:
        """Keep a rendering for later sessions; it may hold secrets, so only the user may read it."""
        path = self._path(key)
        if path is None:
            return
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.touch(mode=0o600)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
            for old in sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime)[:-_KEPT]:
                old.unlink(missing_ok=True)

    def _path(self, key: Digest) -> Path | None:
        return None if self._folder is None else self._folder / f"{key.partition(':')[2]}.yaml"

    def _identity(self, name: str, path: Path) -> str:
        """Return what tells one version from another: the program file's own stamp, or what a mere launcher says."""
        real = Path(os.path.realpath(path))
        stat = real.stat()
        stamp = (str(real), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        if stamp not in self._identities:
            self._identities[stamp] = self._said(name, path) if _launches(name, real) else digests.of_value(stamp)
        return self._identities[stamp]

    def _said(self, name: str, path: Path) -> str:
        command = [str(path), *_VERSION[name]]
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(  # noqa: S603 - a tool that was found on the PATH, asked for its version
                command, cwd=self._root, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
            )
            return digests.of_text(done.stdout.decode(errors="replace"))
        return ""


def _launches(name: str, real: Path) -> bool:
    """Return whether a program is a script, or stands for many: the version that it runs is not in the file itself."""
    if real.stem != name:
        return True
    with real.open("rb") as file:
        return file.read(2) == b"#!"
