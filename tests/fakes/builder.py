"""A `Builder` and a `Delivery` without an engine: what runs when is in the test's hands."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel

from devloop.core import digests
from devloop.core.delivery.pull_secrets import Obstacle, missing_secret, pull_needs
from devloop.core.manifest import Manifest
from devloop.errors import ToolError, UnreachableError
from devloop.model import Digest, ImageRef
from devloop.runtime.ports import BuildLog, BuildProgress, BuildRequest, BuildStep, ImageConfig, Way

__all__ = ["FakeBuilder", "FakeDelivery", "content_on_disk"]


def content_on_disk(request: BuildRequest) -> str:
    """Return all that the fake's build depends on: the Dockerfile's instructions and every file of the context."""
    context = Path(request.context)
    files = sorted(path for path in context.rglob("*") if path.is_file() and path != Path(request.dockerfile))
    said = [f"{path.relative_to(context)}={hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return "\n".join([*_instructions(request), *said])


class FakeBuilder:
    """Builds in no time, or as long as the test wants. The ID follows the content, the arguments and the bases.

    Of the Dockerfile it understands `FROM` of a named context, the settings of the process, and in `RUN` the commands
    `echo`, `exit` and `sleep` (which lasts until it is cancelled).

    Args:
        content: What the image of a request is made of: equal text, equal ID. By default the Dockerfile and the files
            on disk; a test without files gives its own.
        configuration: What each image runs when its Dockerfile is not there to ask.
    """

    def __init__(
        self,
        content: Callable[[BuildRequest], str] = content_on_disk,
        configuration: Callable[[BuildRequest], ImageConfig] | None = None,
    ) -> None:
        self.requests: list[BuildRequest] = []
        self.cancelled: list[BuildRequest] = []
        self.running: list[BuildRequest] = []
        self.tags: dict[str, Digest] = {}
        self.images: dict[Digest, ImageConfig] = {}
        self.used: set[Digest] = set()
        self.without_shell: set[Digest] = set()
        self._content = content
        self._configuration = configuration or _configuration
        self.reachable = True
        self._held: dict[str, anyio.Event] = {}
        self._failing: dict[str, ToolError] = {}
        self._changed = anyio.Event()

    # --- what a test says ---

    def hold(self, name: str) -> None:
        """Let builds of this image go on until `release`."""
        self._held[name] = anyio.Event()

    def release(self, name: str) -> None:
        """Let the builds of this image end, and later ones end at once."""
        self._held.pop(name).set()

    def fail(self, name: str, message: str = "it is broken", *tail: str) -> None:
        """Let builds of this image fail until `mend`."""
        self._failing[name] = ToolError(message, exit_code=1, tail=tail)

    def mend(self, name: str) -> None:
        """Let builds of this image succeed again."""
        del self._failing[name]

    async def until(self, condition: Callable[["FakeBuilder"], bool]) -> None:
        """Return when the condition holds; looked at whenever a build begins or ends."""
        while not condition(self):
            await self._changed.wait()

    def built(self, name: str) -> int:
        """Return how many builds of this image have begun."""
        return sum(request.name == name for request in self.requests)

    # --- the port ---

    async def build(self, request: BuildRequest, report: Callable[[BuildProgress], None]) -> Digest:
        if not self.reachable:
            raise UnreachableError("the engine does not answer")
        self.requests.append(request)
        self.running.append(request)
        content = self._content(request)  # as it is now: what changes while the build runs is not in it
        self._tell()
        try:
            await anyio.lowlevel.checkpoint()
            if (gate := self._held.get(request.name)) is not None:
                await gate.wait()
            if error := self._failing.get(request.name):
                raise error
            for index, line in enumerate(_instructions(request), start=1):
                await _step(line, index, report)
            bases = [f"{name}={self._base(value)}" for name, value in sorted(request.contexts.items())]
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(request)
            raise
        finally:
            self.running.remove(request)
            self._tell()
        image = digests.of_value([content, dict(request.args), request.target, dict(request.labels), bases])
        self.images[image] = self._configuration(request)
        if content.startswith("FROM scratch"):
            self.without_shell.add(image)
        return image

    async def is_apart(self, builder: str) -> bool:
        await anyio.lowlevel.checkpoint()
        return builder != "default"

    async def publish(self, image: Digest, ref: ImageRef) -> None:
        await self.tag(image, ref)

    async def tag(self, image: Digest, ref: ImageRef) -> None:
        await anyio.lowlevel.checkpoint()
        if image not in self.images:
            raise ToolError(f"no such image: {image}", exit_code=404)
        self.tags[f"{ref.repository}:{ref.tag or 'latest'}"] = image

    async def resolve(self, ref: str) -> Digest | None:
        await anyio.lowlevel.checkpoint()
        if Digest(ref) in self.images:
            return Digest(ref)
        return self.tags.get(ref if ":" in ref.rpartition("/")[2] else f"{ref}:latest")

    async def configuration(self, image: Digest) -> ImageConfig:
        await anyio.lowlevel.checkpoint()
        if image not in self.images:
            raise ToolError(f"the engine does not hold the image `{image}` any more")
        return self.images[image]

    async def has_shell(self, image: Digest) -> bool:
        await anyio.lowlevel.checkpoint()
        return image in self.images and image not in self.without_shell

    async def prune(self, repository: str, keep: Collection[Digest]) -> int:
        await anyio.lowlevel.checkpoint()
        gone = [
            name
            for name, image in self.tags.items()
            if name.startswith(f"{repository}:dev-") and image not in keep and image not in self.used
        ]
        for name in gone:
            del self.tags[name]
        return len(gone)

    def _base(self, value: str) -> str:
        if not value.startswith("docker-image://"):
            return value
        name = value.removeprefix("docker-image://")
        if name not in self.tags:
            raise ToolError(f"failed to resolve source metadata for {name}: not found", exit_code=1)
        return self.tags[name]

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class FakeDelivery:
    """Delivers in no time, and remembers what.

    Attributes:
        registry: Where builders of their own push; None where all images come by the engine.
        platforms: Those of the nodes.
        asked: For which repositories the way to the cluster was asked, in order.

    Args:
        rename: The reference that manifests must use for one that was built; by default the same.
    """

    def __init__(self, rename: Callable[[ImageRef], ImageRef] = lambda ref: ref) -> None:
        self.delivered: list[ImageRef] = []
        self.failing: ToolError | None = None
        self.registry: str | None = None
        self.platforms: tuple[str, ...] = ()
        self.asked: list[ImageRef] = []
        self._rename = rename
        self._there: set[tuple[Digest, ImageRef]] = set()

    async def way(self, repository: ImageRef) -> Way:
        self.asked.append(repository)
        await anyio.lowlevel.checkpoint()
        pushed = None if self.registry is None else replace(repository, domain=self.registry)
        return Way(pushed=pushed, pulled=pushed, platforms=self.platforms)

    async def obstacles(self, manifests: Sequence[Manifest], images: Collection[str]) -> tuple[Obstacle, ...]:
        await anyio.lowlevel.checkpoint()
        needs = pull_needs(manifests, images) if self.registry else ()
        return tuple(missing_secret(need, each, "there", str(self.registry)) for need in needs for each in need.secrets)

    async def deliver(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> ImageRef:
        await anyio.lowlevel.checkpoint()
        if self.failing is not None:
            raise self.failing
        there = self._rename(ref)
        if (image, there) not in self._there:
            report(f"delivering {ref}")
            self.delivered.append(ref)
            self._there.add((image, there))
        return there

    async def has(self, image: Digest, ref: ImageRef) -> bool:
        await anyio.lowlevel.checkpoint()
        return (image, ref) in self._there

    def forget(self) -> None:
        """Make the cluster lose all its images."""
        self._there.clear()


def _instructions(request: BuildRequest) -> list[str]:
    file = Path(request.dockerfile)
    if not file.is_file():
        return []
    return [line for line in map(str.strip, file.read_text().splitlines()) if line and not line.startswith("#")]


async def _step(line: str, index: int, report: Callable[[BuildProgress], None]) -> None:
    report(BuildStep(name=line, index=index))
    if line.startswith("RUN "):
        await _run(line, index, report)
    report(BuildStep(name=line, index=index, done=True, seconds=0.0))


async def _run(line: str, index: int, report: Callable[[BuildProgress], None]) -> None:
    printed: list[str] = []
    for word, rest in re.findall(r"(echo|exit|sleep)\s*([^;&]*)", line):
        if word == "echo":
            printed.append(rest.strip())
            report(BuildLog(step=line, line=printed[-1]))
        elif word == "sleep":
            await anyio.sleep_forever()
        elif int(rest):
            error = f"exit code: {int(rest)}"
            report(BuildStep(name=line, index=index, done=True, seconds=0.0, error=error))
            raise ToolError(f"`{line}` failed with exit code {int(rest)}", exit_code=int(rest), tail=printed)


def _configuration(request: BuildRequest) -> ImageConfig:
    said: Mapping[str, str] = dict(_pairs(request))
    return ImageConfig(
        entrypoint=_words(said.get("ENTRYPOINT", "")),
        command=_words(said.get("CMD", "")),
        workdir=said.get("WORKDIR", "/"),
        user=said.get("USER", ""),
    )


def _pairs(request: BuildRequest) -> Iterator[tuple[str, str]]:
    for line in _instructions(request):
        instruction, _, rest = line.partition(" ")
        yield instruction, rest.strip()


def _words(json_form: str) -> tuple[str, ...]:
    return tuple(re.findall(r'"([^"]*)"', json_form))
