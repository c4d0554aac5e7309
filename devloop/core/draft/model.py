"""A devfile before it is written: what `devloop init` found, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from devloop.errors import Where

__all__ = [
    "Code",
    "Command",
    "Draft",
    "DraftImage",
    "DraftRule",
    "DraftService",
    "DraftSync",
    "DraftTask",
    "Format",
    "Handle",
    "Manifests",
    "Note",
    "Value",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that the devfile says in a comment: mostly what could not be carried over, and why.

    Attributes:
        text: One sentence or a few, without the place.
        where: What it is about, or None.
    """

    text: str
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """A value that is Python code."""

    text: str


@dataclass(frozen=True, slots=True)
class Handle:
    """A value that an image gives: its reference, or with an attribute (`.tag`) a part of it."""

    image: str
    attribute: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """A text with values in it, written as an f-string."""

    parts: "tuple[str | Code | Handle, ...]"


Value: TypeAlias = "str | int | bool | Code | Format | Handle | tuple[Value, ...] | Mapping[Any, Value]"
"""What stands in a call: it is written as a literal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A shell command, as `sh` takes it."""

    text: str | Format
    folder: str = "."
    env: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftImage:
    """An `@image`.

    Attributes:
        name: The node's name.
        repository: What manifests call it.
        context: The build context.
        dockerfile: The Dockerfile; None for a custom builder.
        options: Further options of the decorator: `target`, `args`, `secrets`, …
        bases: Other images by the build argument that takes their reference.
        returned: Build arguments that only code can tell.
        inputs: What a custom builder reads; None for a Dockerfile.
        commands: What a custom builder runs.
        comment: What stands behind the decorator.
        notes: What stands above it.
    """

    name: str
    repository: str
    context: str = "."
    dockerfile: str | None = None
    options: Mapping[str, Value] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)
    returned: Mapping[str, Value] = field(default_factory=dict)
    inputs: tuple[str, ...] | None = None
    commands: tuple[Command, ...] = ()
    comment: str | None = None
    notes: tuple[Note, ...] = ()

    @property
    def args(self) -> dict[str, str]:
        """The build arguments that are known."""
        given = self.options.get("args", {})
        return {str(name): str(value) for name, value in given.items()} if isinstance(given, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What a service is deployed from besides plain files: `helm(…)` or `kustomize(…)`.

    Attributes:
        tool: `helm` or `kustomize`.
        path: The chart, or the folder of the kustomization.
        options: Its further arguments.
    """

    tool: str
    path: str
    options: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftService:
    """A `@service`.

    Attributes:
        name: The node's name.
        manifests: What deploys it.
        ports: Local port to remote port; None where nothing is said.
        services: The services that are deployed before it.
        images: The images that it needs beyond those that its manifests name.
        returned: Variables of its templates or values of its charts.
        comment: What stands behind the decorator.
        notes: What stands above it.
    """

    name: str
    manifests: tuple[str | Manifests, ...]
    ports: Mapping[int, int | str] | None = None
    services: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    returned: Mapping[str, Value] = field(default_factory=dict)
    comment: str | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRule:
    """A rule that a sync yields: `copy`, `run`, `restart` or `ignore` with its arguments."""

    name: str
    arguments: tuple[str, ...] = ()
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftSync:
    """A `@sync` of one image.

    Attributes:
        image: The image's name.
        source: What is copied; None for a sync of rules alone.
        destination: Where to; None where the Dockerfile says it.
        rules: Further rules.
        notes: What stands above it.
    """

    image: str
    source: str | None = None
    destination: str | None = None
    rules: tuple[DraftRule, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftTask:
    """A `@task` or a `@check`.

    Attributes:
        name: The node's name.
        commands: What it runs.
        about: Its docstring.
        check: Whether it is a check.
        inputs: The files whose change runs it.
        images: The images that it needs.
        services: The services that it needs.
        notes: What stands above it.
    """

    name: str
    commands: tuple[Command, ...]
    about: str
    check: bool = False
    inputs: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A whole devfile, with the other files that are written with it.

    Attributes:
        about: The docstring's sentences.
        project: The options of `project(…)`.
        images: In the order of the file.
        services: In the order of the file.
        syncs: In the order of the file.
        tasks: In the order of the file.
        notes: What stands at the end.
        files: Further files to write: path to text.
        profiles: What the devfile becomes under each switch, with what the switch is.
    """

    about: tuple[str, ...] = ()
    project: Mapping[str, Value] = field(default_factory=dict)
    images: tuple[DraftImage, ...] = ()
    services: tuple[DraftService, ...] = ()
    syncs: tuple[DraftSync, ...] = ()
    tasks: tuple[DraftTask, ...] = ()
    notes: tuple[Note, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, "Draft"] = field(default_factory=dict)
