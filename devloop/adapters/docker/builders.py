"""Builders besides the engine's own: what they are, and how they reach images that only the engine holds.

A builder of another driver (`docker-container`, `kubernetes`, `remote`) has its own BuildKit and sees nothing of the
engine. Its results are loaded into the engine, or it pushes them itself; bases go to it as an OCI layout.
"""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio

from devloop.adapters.docker.buildx import IMAGE_CONTEXT
from devloop.adapters.docker.engine import Engine
from devloop.errors import InputError, ToolError
from devloop.model import Digest, ImageRef
from devloop.runtime.processes import capture

__all__ = ["Builders", "Layouts", "name_pushed"]

_DRIVER: Final = re.compile(r"^Driver:\s*(\S+)", re.MULTILINE)
_OWN: Final = "docker"
_TAIL: Final = 20


class Builders:
    """What buildx knows of its builders; each is asked for once.

    Args:
        buildx: The command that runs buildx.
        environment: What it is given in its environment.
    """

    def __init__(self, buildx: Sequence[str], environment: Mapping[str, str]) -> None:
        self._buildx = buildx
        self._environment = environment
        self._drivers: dict[str, str] = {}

    async def is_apart(self, name: str) -> bool:
        """Return whether the builder has a BuildKit of its own, rather than the engine's.

        Raises:
            InputError: There is no such builder.
        """
        if name not in self._drivers:
            self._drivers[name] = await self._driver(name)
        return self._drivers[name] != _OWN

    async def _driver(self, name: str) -> str:
        answer = await capture((*self._buildx, "inspect", name), env=self._environment)
        found = _DRIVER.search(answer.stdout)
        if answer.exit_code or found is None:
            raise InputError(
                f"buildx has no builder `{name}`",
                hint=f"`docker buildx ls` shows those there are; `devloop builder create --kubernetes --name {name}`"
                " makes one in a cluster",
            )
        return found[1]


class Layouts:
    """Images of the engine as OCI layouts, which any builder can be given; each is written once, and gone at the end.

    Args:
        engine: The engine that holds the images.
        environment: What the docker CLI must be told to reach it.
    """

    def __init__(self, engine: Engine, environment: Mapping[str, str]) -> None:
        self._engine = engine
        self._environment = environment
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._written: dict[str, str] = {}
        self._lock = anyio.Lock()

    async def contexts(self, contexts: Mapping[str, str]) -> dict[str, str]:
        """Return the named contexts such that a builder apart from the engine reaches them all.

        Those that the engine does not hold stay as they are: the builder finds them in their registry.

        Raises:
            ToolError: The engine does not hand out an image.
        """
        reached = {}
        for name, value in contexts.items():
            image = await self._engine.image(value.removeprefix(IMAGE_CONTEXT)) if _is_image(value) else None
            reached[name] = value if image is None else await self._layout(image["Id"]) or value
        return reached

    def close(self) -> None:
        """Remove what was written."""
        if self._folder is not None:
            self._folder.cleanup()

    async def _layout(self, image: str) -> str | None:
        async with self._lock:
            if image not in self._written:
                self._folder = self._folder or tempfile.TemporaryDirectory(prefix="devloop-bases-")
                self._written[image] = await self._write(image, Path(self._folder.name) / image.partition(":")[2])
            return self._written[image] or None

    async def _write(self, image: str, folder: Path) -> str:
        """Write the image, and return its named context; empty for an engine before 25, which has another format."""
        archive = anyio.Path(folder.with_suffix(".tar"))
        await anyio.Path(folder).mkdir(exist_ok=True)
        try:
            for command in (
                ("docker", "image", "save", f"--output={archive}", image),
                ("tar", f"--directory={folder}", "--extract", f"--file={archive}"),
            ):
                answer = await capture(command, env=self._environment)
                if answer.exit_code:
                    tail = answer.stderr.splitlines()[-_TAIL:]
                    message = f"handing `{image}` to the builder failed"
                    raise ToolError(message, command=command, exit_code=answer.exit_code, tail=tail)
        finally:
            await archive.unlink(missing_ok=True)
        index = anyio.Path(folder) / "index.json"
        if not await index.is_file():
            return ""
        manifests = json.loads(await index.read_text(encoding="utf-8"))["manifests"]
        return f"oci-layout://{folder}@{manifests[0]['digest']}"


async def name_pushed(buildx: Sequence[str], image: Digest, ref: ImageRef, environment: Mapping[str, str]) -> None:
    """Name an image in its registry that was pushed there by its digest alone; no layer travels.

    Raises:
        ToolError: The registry refuses it.
    """
    source = f"{ref.repository}@{image}"
    # Otherwise an index around the image is made; buildx before 0.14 makes one always, and does not know the option.
    for options in (("--prefer-index=false",), ()):
        command = (*buildx, "imagetools", "create", *options, f"--tag={ref}", source)
        answer = await capture(command, env=environment)
        if not answer.exit_code:
            return
    tail = answer.stderr.splitlines()[-_TAIL:]
    raise ToolError(f"naming `{ref}` failed", command=command, exit_code=answer.exit_code, tail=tail)


def _is_image(value: str) -> bool:
    return value.startswith(IMAGE_CONTEXT)
