"""The real `Builder`: images by `docker buildx build` in a process group of its own, names by the Engine API."""

import json
import os
import socket
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from devloop.adapters.docker.builders import Builders, Layouts, name_pushed
from devloop.adapters.docker.buildx import IMAGE_CONTEXT, Progress, build_arguments, find_buildx, known_progress
from devloop.adapters.docker.engine import Engine, name_in_path, unreachable
from devloop.adapters.docker.progress import BuildFailure, PlainReader, ProgressReader, RawJsonReader
from devloop.adapters.docker.shell_probe import ShellProbe
from devloop.adapters.docker.turns import Turns
from devloop.core.delivery.plans import EngineFacts, NodeFacts
from devloop.core.reference import parse, same_repository
from devloop.errors import ToolError
from devloop.model import Digest, ImageRef
from devloop.runtime.ports import BuildLog, BuildProgress, BuildRequest, BuildStep, ImageConfig
from devloop.runtime.processes import capture, run

__all__ = ["DockerBuilder"]

_TAG_PREFIX: Final = "dev-"
_RUNS: Final = "] RUN "
"""Part of the name of a step that runs a program: from there on a build may take any time."""
_LOST: Final = ("layer does not exist",)
"""What the engine says when its build cache knows a step whose layer is gone, time after time until the step is run
again: https://github.com/moby/moby/issues/41595."""


class DockerBuilder:
    """Builds with buildx and knows the engine's images; use as an async context manager.

    Args:
        directory: Where relative paths in secrets, ssh and cache options start (the project's root); None for the
            working directory.
        engine: The engine to use; None for the one that the docker CLI would use.
    """

    def __init__(self, directory: str | None = None, engine: Engine | None = None) -> None:
        self.engine = engine or Engine()
        self._shells = ShellProbe(self.engine)
        self._directory = directory
        self._buildx: tuple[str, ...] | None = None
        self._progress = Progress.JSON
        self._turns = Turns((os.cpu_count() or 1) // 2 or 1)  # client and builder keep two processors busy
        self._builders: Builders | None = None
        self._layouts = Layouts(self.engine, dict(self.engine.endpoint.environment))
        self._pushed: dict[Digest, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._layouts.close()
        await self.engine.aclose()

    async def build(self, request: BuildRequest, report: Callable[[BuildProgress], None]) -> Digest:
        """Build and load the image; return its ID. Cancelling ends all of the build's processes first.

        An image that the builder pushes itself is not loaded; what is returned is then its digest in the registry.

        Raises:
            ToolError: The build failed; `tail` ends with the failing step's output.
            InputError: There is no such builder.
            UnreachableError: There is no engine.
        """
        if request.builder is not None and await self.is_apart(request.builder):
            request = replace(request, contexts=await self._layouts.contexts(request.contexts))
        with tempfile.TemporaryDirectory(prefix="devloop-build-") as folder:
            metadata = Path(folder) / "metadata.json"
            reader, code = await self._run(request, metadata, report)
            if code and not reader.understood and await self._progress_is_other():
                reader, code = await self._run(request, metadata, report)
            if code and not request.no_cache and reader.failure().reason in _LOST:
                report(
                    BuildLog(step="cache", line="the engine's build cache has lost a layer: building without the cache")
                )
                reader, code = await self._run(replace(request, no_cache=True), metadata, report)
            if code:
                raise await self._failed(request, reader, code)
            return await self._built(request, json.loads(metadata.read_text(encoding="utf-8")))

    async def tag(self, image: Digest, ref: ImageRef) -> None:
        """Name an image that the engine holds."""
        await self.engine.post(f"/images/{name_in_path(image)}/tag", repo=ref.repository, tag=ref.tag or "latest")

    async def is_apart(self, builder: str) -> bool:
        """Return whether the builder is another than the engine's own.

        Raises:
            InputError: There is no such builder.
        """
        self._builders = self._builders or Builders(find_buildx(), self._environment())
        return await self._builders.is_apart(builder)

    async def publish(self, image: Digest, ref: ImageRef) -> None:
        """Name an image in its registry that a builder pushed there.

        Raises:
            ToolError: The registry refuses it.
        """
        await name_pushed(find_buildx(), image, ref, self._environment())
        self.remember(image, ref)

    def remember(self, image: Digest, ref: ImageRef) -> None:
        """Remember where an image is that was pushed: the engine gets it from there when it is asked about it."""
        self._pushed[image] = f"{ref.repository}@{image}"

    async def resolve(self, ref: str) -> Digest | None:
        """Return the ID of the image with this name or ID, or None when the engine has none."""
        image = await self.engine.image(ref)
        return None if image is None else Digest(image["Id"])

    async def configuration(self, image: Digest) -> ImageConfig:
        """Return what the image runs when nothing else is said.

        Raises:
            ToolError: The engine does not hold the image.
        """
        found = await self.engine.image(image) or await self._pulled(image)
        if found is None:
            raise ToolError(f"the engine does not hold the image `{image}` any more")
        config = found.get("Config") or {}
        return ImageConfig(
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
            workdir=config.get("WorkingDir") or "/",
            user=config.get("User") or "",
        )

    async def has_shell(self, image: Digest) -> bool:
        """Return whether the image has `/bin/sh`.

        Raises:
            ToolError: The engine does not hold the image.
            UnreachableError: It did not answer.
        """
        found = await self.engine.image(image) or await self._pulled(image)
        return await self._shells.has_shell(Digest(found["Id"]) if found else image)

    async def prune(self, repository: str, keep: Collection[Digest]) -> int:
        """Remove devloop's own tags (`dev-…`) of a repository but those of the images to keep; return how many.

        An image that a container uses stays.
        """
        filters = json.dumps({"reference": [f"{repository}:{_TAG_PREFIX}*"]})
        images = await self.engine.get("/images/json", filters=filters) or ()
        ours = parse(repository)
        names = [
            name
            for image in images
            if image["Id"] not in keep
            for name in image.get("RepoTags") or ()
            if name.rpartition(":")[2].startswith(_TAG_PREFIX) and same_repository(parse(name), ours)
        ]
        return sum([await self.engine.delete(f"/images/{name_in_path(name)}") for name in names])

    async def buildx(self) -> str:
        """Return what buildx says of itself.

        Raises:
            ToolError: There is no buildx.
        """
        answer = await capture((*find_buildx(), "version"), env=self._environment())
        if answer.exit_code:
            raise _no_buildx()
        return answer.stdout.strip()

    async def facts(self, nodes: Sequence[NodeFacts]) -> EngineFacts:
        """Return what decides whether a cluster with these nodes uses this engine's images.

        Raises:
            UnreachableError: There is no engine.
        """
        info = await self.engine.get("/info")
        addresses = frozenset[str]().union(*(node.addresses for node in nodes))
        here = self.engine.endpoint.socket is not None
        return EngineFacts(
            name=info.get("Name", ""),
            system=info.get("OperatingSystem", ""),
            addresses=frozenset(address for address in addresses if here and _belongs_to_this_machine(address)),
        )

    async def _pulled(self, image: Digest) -> Mapping[str, Any] | None:
        """Return what the engine says of an image that was pushed, which it gets from the registry for that."""
        if (there := self._pushed.get(image)) is None:
            return None
        answer = await capture(("docker", "pull", "--quiet", there), env=self._environment())
        return await self.engine.image(there) if not answer.exit_code else None

    async def _run(
        self, request: BuildRequest, metadata: Path, report: Callable[[BuildProgress], None]
    ) -> tuple[ProgressReader, int]:
        if self._buildx is None:
            self._buildx = find_buildx()
        reader: ProgressReader = RawJsonReader() if self._progress is Progress.JSON else PlainReader()
        command, *arguments = build_arguments(request)
        extra = (f"--progress={self._progress}", f"--metadata-file={metadata}")

        with self._turns.place(held=await self._turns.wait()) as end_turn:

            def receive(data: bytes) -> None:
                for told in reader.feed(data):
                    report(told)
                    if isinstance(told, BuildStep) and _RUNS in told.name and not told.done:
                        end_turn()

            self.engine.prepare()
            code = await run(
                (*self._buildx, command, *extra, *arguments),
                stderr=receive,
                cwd=self._directory,
                env=self._environment(),
            )
        for told in reader.end():
            report(told)
        return reader, code

    def _environment(self) -> dict[str, str]:
        # Asking git about the context takes buildx half a dozen processes, and is of use for attestations only.
        quiet = {} if "BUILDX_GIT_LABELS" in os.environ else {"BUILDX_GIT_INFO": "false"}
        return {"DOCKER_CLI_HINTS": "false", **quiet, **dict(self.engine.endpoint.environment)}

    async def _progress_is_other(self) -> bool:
        """Return whether another way of telling progress was found to be the right one, after a first failure."""
        known = await known_progress(self._buildx or find_buildx(), self._environment())
        if known is None:
            raise _no_buildx()
        before, self._progress = self._progress, known
        return before is not known

    async def _built(self, request: BuildRequest, metadata: Mapping[str, Any]) -> Digest:
        """Return the ID under which the engine holds the image.

        That is the digest of the configuration in the classic image store, and of the manifest in containerd's.
        """
        if request.push is not None:
            return Digest(metadata["containerimage.digest"])
        for key in ("containerimage.digest", "containerimage.config.digest"):
            if (digest := metadata.get(key)) and (found := await self.resolve(digest)):
                return found
        raise ToolError(
            f"the build of `{request.name}` ended well, but the engine at `{self.engine.endpoint.host}` does not hold"
            " its image",
            command=_by_hand(request),
            hint="does the current buildx builder load images into this engine? `docker buildx ls` shows it",
        )

    async def _failed(self, request: BuildRequest, reader: ProgressReader, code: int) -> ToolError:
        failure = reader.failure()
        if failure.step is None and not await self.engine.answers():
            return unreachable(self.engine.endpoint)
        return ToolError(
            _message(request, failure),
            command=_by_hand(request),
            exit_code=code if failure.exit_code is None else failure.exit_code,
            tail=failure.tail or failure.excerpt,
            hint=await self._hint(request, failure),
        )

    async def _hint(self, request: BuildRequest, failure: BuildFailure) -> str | None:
        for name, value in request.contexts.items():
            if not value.startswith(IMAGE_CONTEXT) or not (failure.step or "").startswith(f"[context {name}]"):
                continue
            if await self.resolve(value.removeprefix(IMAGE_CONTEXT)):
                return (
                    "the engine holds that image, but the current buildx builder does not look there;"
                    " `docker buildx use default` chooses the engine's own builder"
                )
        return None


def _belongs_to_this_machine(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _no_buildx() -> ToolError:
    return ToolError(
        "docker has no buildx, which builds the images",
        command=("docker", "buildx", "version"),
        hint="install it: https://docs.docker.com/go/buildx/ (Debian, Ubuntu: the package `docker-buildx`)",
    )


def _message(request: BuildRequest, failure: BuildFailure) -> str:
    place = "" if failure.line is None else f" ({_shown(request.dockerfile)}:{failure.line})"
    if failure.step is None:
        return f"the build of `{request.name}` failed: {failure.reason}{place}"
    if failure.exit_code is not None:
        return f"`{failure.step}` failed with exit code {failure.exit_code}{place}"
    return f"`{failure.step}` failed: {failure.reason}{place}"


def _shown(path: str) -> str:
    """Return the path from the working directory where it is below it, as editors and terminals link it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def _by_hand(request: BuildRequest) -> Sequence[str]:
    return ("docker", "buildx", *build_arguments(request))
