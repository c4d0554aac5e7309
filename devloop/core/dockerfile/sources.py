"""Which files of the build context an instruction reads.

A `Source` is one source of a `COPY`, `ADD` or `RUN --mount=type=bind`. Whether it selects a path is decided from the
text of the path alone; `InputTable` does that for many paths at once.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from devloop.core.patterns import Glob, IgnoreRule, IgnoreRules, clean, is_glob

__all__ = ["InputTable", "Selector", "Source", "SourceKind", "context_path"]


class SourceKind(StrEnum):
    """How an instruction reads the context."""

    COPY = "copy"
    ADD = "add"
    BIND = "bind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A part of the context that an instruction reads.

    Attributes:
        pattern: A name or glob, cleaned and relative to the context root; empty for the whole context.
        kind: Which instruction reads it.
        line: The line of the instruction in the Dockerfile.
        instruction: The instruction's text.
        stage: The stage that it stands in.
        below: With `--parents`, the pattern that selects below `pattern`; None without it.
        excludes: The patterns of `--exclude`.
        is_found: Whether a pattern of the file found it, so that nothing misses it when it is gone.
        is_link: Whether it is a symbolic link that leads to what is read, and read as such.
    """

    pattern: str
    kind: SourceKind
    line: int
    instruction: str
    stage: int = 0
    below: str | None = None
    excludes: tuple[str, ...] = ()
    is_found: bool = False
    is_link: bool = False

    @property
    def is_glob(self) -> bool:
        """Whether the pattern is more than a name; a mount takes names only."""
        return self.kind is not SourceKind.BIND and is_glob(self.pattern)


def context_path(path: str) -> str:
    """Return a source as a path relative to the context root, which `..` cannot leave."""
    return clean("/" + path).removeprefix("/")


class Selector:
    """What one source selects."""

    __slots__ = ("_below", "_excludes", "_glob", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self._glob = Glob(source.pattern) if source.is_glob else None
        self._below = _patterns(source.line, [source.below]) if source.below is not None else None
        self._excludes = _patterns(source.line, source.excludes) if source.excludes else None

    def root_of(self, path: str) -> str | None:
        """Return the source's own path that leads to `path`: the path itself or a parent of it.

        None means that the source does not select the path.
        """
        root = self._root(path)
        if root is None:
            return None
        rest = path[len(root) :].lstrip("/")
        if self._below is not None and not (rest and self._below.excludes(rest)):
            return None
        # Engines copy a source that is a file even where `--exclude` names it, against their own reference.
        return None if rest and self._excludes is not None and self._excludes.excludes(rest) else root

    def _root(self, path: str) -> str | None:
        if self._glob:
            return self._glob.root_of(path)
        pattern = self.source.pattern
        return pattern if not pattern or path == pattern or path.startswith(pattern + "/") else None

    def may_exclude(self, name: str) -> bool:
        """Return whether `--exclude` names this file, which is itself a source."""
        return self._excludes is not None and self._excludes.excludes(name)

    def reads_below(self, directory: str) -> bool:
        """Return False when no path in this directory can be selected."""
        if not directory or not self.source.pattern:
            return True
        if self._glob:
            return self._glob.may_match_below(directory)
        pattern = self.source.pattern
        return f"{directory}/".startswith(f"{pattern}/") or pattern.startswith(f"{directory}/")


def _patterns(line: int, patterns: Iterable[str]) -> IgnoreRules:
    rules = []
    for pattern in patterns:
        included = pattern.startswith("!")
        text = context_path(pattern.removeprefix("!"))
        rules.append(IgnoreRule(pattern=text or ".", included=included, line=line))
    return IgnoreRules(rules)


class InputTable:
    """The sources of one build, arranged so that many paths are matched quickly.

    Args:
        sources: The sources in the order of the Dockerfile.
    """

    __slots__ = ("_by_directory", "_by_name", "_patterns", "_selectors")

    def __init__(self, sources: Iterable[Source]) -> None:
        self._selectors = tuple(Selector(source) for source in sources)
        self._by_name: dict[str, tuple[int, ...]] = {}
        patterns: list[int] = []
        for index, selector in enumerate(self._selectors):
            source = selector.source
            if source.is_glob or source.excludes or source.below is not None:
                patterns.append(index)
            else:
                self._by_name[source.pattern] = (*self._by_name.get(source.pattern, ()), index)
        self._patterns = tuple(patterns)
        self._by_directory: dict[str, tuple[int, ...]] = {"": self._by_name.get("", ())}

    def selects(self, path: str) -> tuple[Source, ...]:
        """Return the sources that bring this path into the build, in their order."""
        directory, _, _ = path.rpartition("/")
        plain = self._covering(directory)
        if path:
            plain += self._by_name.get(path, ())
        found = [index for index in self._patterns if self._selectors[index].root_of(path) is not None]
        if not plain and not found:
            return ()
        return tuple(self._selectors[index].source for index in sorted({*plain, *found}))

    def reads_below(self, directory: str) -> bool:
        """Return False when no source can select anything in this directory."""
        return any(selector.reads_below(directory) for selector in self._selectors)

    def _covering(self, directory: str) -> tuple[int, ...]:
        known = self._by_directory.get(directory)
        if known is None:
            parent, _, _ = directory.rpartition("/")
            known = self._covering(parent) + self._by_name.get(directory, ())
            self._by_directory[directory] = known
        return known


@functools.lru_cache(maxsize=256)
def table_of(sources: tuple[Source, ...]) -> InputTable:
    """Return the table for these sources; the same one for equal sources."""
    return InputTable(sources)
