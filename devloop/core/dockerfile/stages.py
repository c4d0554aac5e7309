"""What the stages of a Dockerfile do to their file systems: plain values."""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Copy", "CopySource", "MakeDirectory", "Operation", "Run", "Stage", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Something that cannot be known from the file; devloop then takes the safe side.

    Attributes:
        message: What cannot be known and what is assumed instead.
        line: The line of the Dockerfile.
    """

    message: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySource:
    """One source of a copy, relative to the root that it is copied from.

    Attributes:
        pattern: A name or glob; empty for everything.
        below: With `--parents`, the pattern below `pattern`.
    """

    pattern: str
    below: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A `COPY` or `ADD`.

    Attributes:
        line: Its line.
        stage: The stage that it copies from, or None.
        image: The image that it copies from, or None. Without either it copies from the context.
        sources: What it copies; None in the place of a source that is not known.
        documents: The names of its heredocs.
        remote: Whether it also fetches something.
        destination: An absolute path, or None when it is not known.
        into_directory: Whether the destination is a directory for certain, by the way it is written.
        excludes: The patterns of `--exclude`.
        unpacks: Whether archives are unpacked.
        link: Whether the layer is made apart from what lies below it.
    """

    line: int
    stage: int | None = None
    image: str | None = None
    sources: tuple[CopySource | None, ...] = ()
    documents: tuple[str, ...] = ()
    remote: bool = False
    destination: str | None = None
    into_directory: bool = False
    excludes: tuple[str, ...] = ()
    unpacks: bool = False
    link: bool = False

    @property
    def parents(self) -> bool:
        """Whether `--parents` keeps the directories of the sources."""
        return any(source is not None and source.below is not None for source in self.sources)

    @property
    def from_context(self) -> bool:
        """Whether the sources are files of the context."""
        return self.stage is None and self.image is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A `RUN`, which may read and write anything in its stage.

    Attributes:
        line: Its line.
        mounts: The stages that it mounts, each with the path there.
    """

    line: int
    mounts: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    """A `WORKDIR`; the path is None when it is not known."""

    line: int
    path: str | None


Operation: TypeAlias = Copy | Run | MakeDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage that the build needs.

    Attributes:
        index: Its place among all stages of the file.
        name: Its name, or None.
        line: The line of its `FROM`.
        base: The stage that it continues, or None.
        image: The image that it starts from, or None when it starts from a stage or from nothing.
        operations: What happens to its file system, in order.
    """

    index: int
    name: str | None
    line: int
    base: int | None
    image: str | None
    operations: tuple[Operation, ...]
