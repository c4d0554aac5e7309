"""Where files of the context end up in the image.

The instructions of the needed stages are played on file systems that know only names: which path holds which file of
the context, and what may have been there before or been changed since. What a base image or a `RUN` makes is not known,
and a destination that depends on it is reported as unknown: a wrong destination would be worse than none.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from devloop.core.dockerfile.build import BuildFacts
from devloop.core.dockerfile.file_systems import Choice, ContextFiles, Destinations, FileSystem, Landed
from devloop.core.dockerfile.links import Links
from devloop.core.dockerfile.playing import play

__all__ = ["Choice", "Destinations", "Landed", "Landing", "land"]


class Landing:
    """The destinations of all files of a context."""

    __slots__ = ("_facts", "_found")

    def __init__(self, facts: BuildFacts, found: Mapping[str, Destinations]) -> None:
        self._facts = facts
        self._found = found

    def of(self, path: str) -> Destinations:
        """Return where this file of the context is in the image."""
        found = self._found.get(path, _NOWHERE)
        return replace(found, read_at=tuple(dict.fromkeys(source.line for source in self._facts.selects(path))))

    def files(self) -> Mapping[str, Destinations]:
        """Return the destinations of all files that reach the image, or may."""
        return self._found


_NOWHERE: Final = Destinations()


def land(
    facts: BuildFacts,
    files: Iterable[str],
    links: Mapping[str, str] | None = None,
    *,
    directories: Iterable[str] | None = None,
    archives: Collection[str] | None = None,
) -> Landing:
    """Return where the files of the context end up in the image.

    Args:
        facts: The build.
        files: The files and symbolic links of the context, less what `.dockerignore` keeps out.
        links: The symbolic links among them, with their targets.
        directories: The directories of the context that reach the builder. Without them, a destination that an empty
            directory could make a difference to is reported as a choice.
        archives: Those of the files that `ADD` would unpack. Without them, any file that `ADD` names may be one.
    """
    context = ContextFiles(files, directories, Links(links or {}))
    systems: dict[int, FileSystem] = {}

    def may_be_archive(path: str) -> bool:
        return archives is None or path in archives

    for index in sorted(facts.stages):
        systems[index] = play(facts.stages[index], systems, context, may_be_archive=may_be_archive)
    return Landing(facts, systems[max(systems)].destinations())
