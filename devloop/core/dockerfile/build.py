"""What devloop knows of a build after reading its Dockerfile: plain values, no decisions."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from devloop.core.dockerfile.links import followed
from devloop.core.dockerfile.narrowing import narrowed
from devloop.core.dockerfile.sources import Source, table_of
from devloop.core.dockerfile.stages import Copy, Run, Stage, Unknown
from devloop.core.patterns import NO_IGNORE, IgnoreRules

__all__ = [
    "UNKNOWN_BASE",
    "Argument",
    "BaseConfig",
    "BaseUse",
    "BuildFacts",
    "Feature",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """What a base image hands on to what is built on it.

    Attributes:
        environment: Its `ENV`.
        complete: Whether `environment` is all of it.
        triggers: Its `ONBUILD` instructions.
        workdir: Its working directory, None when it is not known.
        user: Its user, None when it is not known.
        entrypoint: Its entrypoint, None when it is not known.
        command: Its command, None when it is not known.
        shell: Its shell.
    """

    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    complete: bool = True
    triggers: tuple[str, ...] = ()
    workdir: str | None = "/"
    user: str | None = ""
    entrypoint: tuple[str, ...] | None = ()
    command: tuple[str, ...] | None = ()
    shell: tuple[str, ...] = ("/bin/sh", "-c")


UNKNOWN_BASE: Final = BaseConfig(complete=False, workdir=None, user=None, entrypoint=None, command=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseUse:
    """An image from outside this Dockerfile that the build needs.

    Attributes:
        reference: As written, after expansion; the key of a named context that would replace it.
        line: The line that asks for it.
        via: Which instruction does.
        platform: The value of `FROM --platform`, or None.
    """

    reference: str
    line: int
    via: Literal["FROM", "COPY --from", "RUN --mount from"]
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A build argument whose value the build can depend on.

    Attributes:
        name: Its name.
        line: The line that declares it, or None for those that the builder reads without a declaration.
        value: The value given to the build, or None when the default holds.
    """

    name: str
    line: int | None
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Syntax that not every engine has, by name: `heredoc`, `copy --link`, `run --mount`."""

    name: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """What can be known of a build from its Dockerfile. Only stages that the target needs contribute.

    Attributes:
        path: The Dockerfile.
        target: The name of the stage that is built, or its index.
        bases: The images from outside that the build needs.
        sources: What it reads of the context.
        elsewhere: What it reads of images and named contexts, by the name as written.
        arguments: The build arguments that it can depend on.
        unused: Build arguments that were given and that no instruction of the file declares.
        secrets: The ids of the secrets that it mounts.
        ssh: The ids of the SSH agents that it mounts.
        features: Syntax that not every engine has.
        unknown: What cannot be known, and what is assumed instead.
        stages: The needed stages by index, the target last.
        config: What an image built on this one inherits.
        recipe: Changes exactly when a needed instruction changes; layout and comments do not count.
    """

    path: str
    target: str
    bases: tuple[BaseUse, ...]
    sources: tuple[Source, ...]
    elsewhere: Mapping[str, tuple[Source, ...]] = field(hash=False)
    arguments: tuple[Argument, ...]
    unused: tuple[str, ...]
    secrets: tuple[str, ...]
    ssh: tuple[str, ...]
    features: tuple[Feature, ...]
    unknown: tuple[Unknown, ...]
    stages: Mapping[int, Stage] = field(hash=False)
    config: BaseConfig = field(hash=False)
    recipe: tuple[str, ...]

    @property
    def entrypoint(self) -> tuple[str, ...] | None:
        """The entrypoint, None when the base image decides."""
        return self.config.entrypoint

    @property
    def command(self) -> tuple[str, ...] | None:
        """The command, None when the base image decides."""
        return self.config.command

    @property
    def workdir(self) -> str | None:
        """The working directory, None when the base image decides."""
        return self.config.workdir

    @property
    def user(self) -> str | None:
        """The user, None when the base image decides."""
        return self.config.user

    @property
    def final(self) -> Stage:
        """The stage that becomes the image."""
        return self.stages[max(self.stages)]

    @property
    def may_be_narrowed(self) -> bool:
        """Whether `inputs` may be fewer than what the sources select: a stage is taken from that ends with a copy."""
        return any(_ends_with_copy(stage) for index, stage in self.stages.items() if index not in self._layers)

    @property
    def _layers(self) -> frozenset[int]:
        """The stages whose layers the image has."""
        found: list[int] = []
        index: int | None = max(self.stages)
        while index is not None:
            found.append(index)
            index = self.stages[index].base
        return frozenset(found)

    def following(self, links: Mapping[str, str]) -> "BuildFacts":
        """Return these facts with the sources that are reached through symbolic links of the context.

        Args:
            links: The text of each link of the context, by its path.
        """
        return replace(self, sources=followed(self.sources, links))

    def selects(self, path: str) -> tuple[Source, ...]:
        """Return the sources that read this path of the context; none means that it is not an input.

        `.dockerignore` is not considered.
        """
        return table_of(self.sources).selects(path)

    def reads_below(self, directory: str) -> bool:
        """Return False when nothing in this directory of the context can be an input."""
        return table_of(self.sources).reads_below(directory)

    def inputs(
        self,
        paths: Iterable[str],
        ignore: IgnoreRules = NO_IGNORE,
        links: Mapping[str, str] | None = None,
        *,
        directories: Iterable[str] | None = None,
        archives: Collection[str] | None = None,
    ) -> dict[str, tuple[Source, ...]]:
        """Return those of `paths` that are inputs of the build, each with the sources that read it.

        This is narrower than `selects`: it leaves out what only reaches a stage of which something else is taken.

        Args:
            paths: The files and links of the context.
            ignore: Its `.dockerignore`.
            links: The text of each of the links, by its path.
            directories: The directories of the context. Without them, what an empty one could make a difference to
                counts.
            archives: Those of the files that `ADD` would unpack. Without them, any file that `ADD` names may be one.
        """
        sources = followed(self.sources, links or {})
        table = table_of(sources)
        selected = ((path, table.selects(path)) for path in paths)
        found = {path: by for path, by in selected if by and not ignore.excludes(path)}
        known = None if directories is None else [path for path in directories if not ignore.excludes(path)]
        return narrowed(
            found,
            self.stages,
            directories=known,
            links=links or {},
            may_be_archive=lambda path: archives is None or path in archives,
        )


def _ends_with_copy(stage: Stage) -> bool:
    """Return whether the stage copies from the context after its last `RUN`."""
    for operation in reversed(stage.operations):
        match operation:
            case Run():
                return False
            case Copy() if operation.from_context:
                return True
            case _:
                pass
    return False
