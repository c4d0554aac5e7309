"""A folder that a build reads beside its context: a named context."""

from dataclasses import dataclass

from devloop.core.dockerfile.sources import Source
from devloop.core.patterns import IgnoreRules

__all__ = ["NamedContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedContext:
    """A folder that a build reads by a name of its own.

    Attributes:
        folder: The folder, relative to the project's root.
        sources: What the build reads of it, its symbolic links followed.
        ignore: Its own `.dockerignore`.
    """

    folder: str
    sources: tuple[Source, ...]
    ignore: IgnoreRules
