"""Symbolic links of a build context, as the builder follows them: never out of the context."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from devloop.core.dockerfile.sources import Selector, Source
from devloop.core.patterns import is_glob

__all__ = ["Links", "followed"]

_LONGEST_CHAIN: Final = 255


class Links:
    """The links of a context.

    Args:
        targets: The text of each link, by its path relative to the context root.
    """

    __slots__ = ("targets",)

    def __init__(self, targets: Mapping[str, str]) -> None:
        self.targets = targets

    def resolve(self, path: str) -> str | None:
        """Return what the path leads to, or None when its links run in a circle."""
        return self._trace(path)[0]

    def passed(self, path: str) -> tuple[str, ...]:
        """Return the links on the way to what the path leads to."""
        return self._trace(path)[1]

    def _trace(self, path: str) -> tuple[str | None, tuple[str, ...]]:
        if not self.targets:
            return path, ()
        passed: list[str] = []
        done = ""
        rest = path.split("/") if path else []
        while rest:
            name = rest.pop(0)
            if name == "..":
                done = posixpath.dirname(done)
                continue
            if name in {"", "."}:
                continue
            here = f"{done}/{name}" if done else name
            target = self.targets.get(here)
            if target is None:
                done = here
                continue
            passed.append(here)
            if len(passed) > _LONGEST_CHAIN:
                return None, tuple(dict.fromkeys(passed))
            done = "" if target.startswith("/") else done
            rest = target.split("/") + rest
        return done, tuple(dict.fromkeys(passed))


def followed(sources: tuple[Source, ...], targets: Mapping[str, str]) -> tuple[Source, ...]:
    """Return the sources, and beside them what they read through symbolic links.

    A link that a source names, or passes on its way, is followed: the link and what it leads to are inputs both. Links
    inside a copied directory stay links; but where a pattern found the directory, the builder copies anew when what
    they lead to has changed.

    Args:
        sources: The sources of a build.
        targets: The text of each link of the context, by its path.
    """
    if not targets:
        return sources
    links = Links(targets)
    found: dict[Source, None] = dict.fromkeys(sources)
    for source in sources:
        if not source.is_link:
            found |= dict.fromkeys(_through_links(source, links))
    return tuple(found)


def _through_links(source: Source, links: Links) -> Iterator[Source]:
    for name, rest, is_found in _names(source, links):
        for link in links.passed(name):
            yield replace(source, pattern=link, below=None, excludes=(), is_found=is_found, is_link=True)
        actual = links.resolve(name)
        if actual is not None and actual != name:
            pattern = "/".join(part for part in (actual, rest) if part)
            yield replace(source, pattern=pattern, is_found=is_found)


def _names(source: Source, links: Links) -> Iterator[tuple[str, str, bool]]:
    """Yield the names that the builder looks up for this source.

    Each comes with the pattern that is left below it, and whether the source's pattern found it.
    """
    if not source.is_glob:
        yield source.pattern, "", source.is_found
        return
    parts = source.pattern.split("/")
    literal = next(index for index, part in enumerate(parts) if is_glob(part))
    start, rest = "/".join(parts[:literal]), "/".join(parts[literal:])
    yield start, rest, False
    actual = links.resolve(start)
    selector = Selector(replace(source, pattern="/".join(part for part in (actual or "", rest) if part), excludes=()))
    for link in links.targets:
        if selector.root_of(link) is not None:
            yield link, "", True
