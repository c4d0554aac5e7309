"""Where a changed file belongs in an image's running containers, and what follows once it is there."""

import posixpath
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from devloop.core.patterns import IgnoreRules
from devloop.core.sync.selectors import PodSelector
from devloop.model import CopyRule, IgnoreRule, NodeId, PullRule, RelPath, RestartRule, Rule, RunRule

__all__ = ["FollowUp", "Placement", "Source"]

Destinations = Callable[[RelPath, Collection[RelPath]], "tuple[str, ...] | str"]
"""Where the Dockerfile puts a file, given all files of the image: its absolute paths, or why that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One thing that a sync copies.

    Attributes:
        node: The sync node.
        path: A file or folder relative to the project's root; None for every file that the final stage copies.
        destination: Absolute in the container; None where the Dockerfile says it.
    """

    node: NodeId
    path: str | None
    destination: str | None

    def covers(self, path: str) -> bool:
        """Return whether the file is what this copies, or lies below it."""
        return self.path is None or _below(self.path, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """What is done in the container after certain files were copied.

    Attributes:
        node: The sync whose rule it is.
        rule: What is done.
        on: The rule's patterns as a matcher, which says no more than the rule; None for any file.
    """

    node: NodeId
    rule: RunRule | RestartRule | PullRule
    on: IgnoreRules | None = field(compare=False)

    def wants(self, paths: Iterable[RelPath]) -> bool:
        """Return whether one of the copied files is one that it waits for."""
        return self.on is None or any(self.on.excludes(path) for path in paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """All syncs of one image, taken together.

    Attributes:
        node: The sync under whose name copies are reported.
        sources: What is copied.
        ignored: What neither syncs nor rebuilds.
        follow_ups: What is done after a copy, in the order of the rules.
        destinations: What the Dockerfile says about a file.
        selector: Which containers are fed; None for those that run the image.
    """

    node: NodeId
    sources: tuple[Source, ...] = ()
    ignored: tuple[IgnoreRules, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()
    destinations: Destinations = field(default=lambda _path, _files: "no Dockerfile says where it goes")
    selector: PodSelector | None = None

    def place(self, path: RelPath, files: Collection[RelPath]) -> tuple[str, ...] | None:
        """Return where the file goes in a container: nowhere when it is ignored, None when only a build can bring it.

        Args:
            path: The file.
            files: All files of the image, those included that were deleted since it was built.
        """
        if any(rules.excludes(path) for rules in self.ignored):
            return ()
        for source in self.sources:
            if source.covers(path):
                if source.path is not None and source.destination is not None:
                    rest = path if source.path == "." else path[len(source.path) + 1 :]
                    return (_join(source.destination, rest, path),)
                placed = self.destinations(path, files)
                if not isinstance(placed, str) and placed:
                    return placed
        if any(follow.on is not None and follow.on.excludes(path) for follow in self.follow_ups):
            placed = self.destinations(path, files)
            return None if isinstance(placed, str) else placed
        return None

    def why_not(self, path: RelPath, files: Collection[RelPath]) -> str:
        """Return why `place` says None, in words."""
        if not any(source.covers(path) for source in self.sources):
            return "no sync covers it"
        placed = self.destinations(path, files)
        return placed if isinstance(placed, str) else "the final stage does not copy it"

    @property
    def asks_dockerfile(self) -> bool:
        """Whether it may take all files of the image to know where one of them goes."""
        by_rule = any(follow.on is not None for follow in self.follow_ups)
        return by_rule or any(source.path is None or source.destination is None for source in self.sources)

    @property
    def restarts(self) -> bool:
        """Whether some rule restarts the container's process."""
        return any(isinstance(follow.rule, RestartRule) for follow in self.follow_ups)

    @property
    def acts(self) -> bool:
        """Whether some rule runs something in the containers."""
        return any(isinstance(follow.rule, RunRule | RestartRule) for follow in self.follow_ups)

    @property
    def pulls(self) -> tuple[FollowUp, ...]:
        """What comes back from a container: after each copy, and when the container is new."""
        return tuple(follow for follow in self.follow_ups if isinstance(follow.rule, PullRule))

    def due(self, paths: Sequence[RelPath]) -> tuple[FollowUp, ...]:
        """Return what is to be done after these files were copied: commands and restarts in their order, then pulls."""
        wanted = tuple(follow for follow in self.follow_ups if follow.wants(paths))
        return tuple(sorted(wanted, key=lambda follow: isinstance(follow.rule, PullRule)))

    def with_rules(self, node: NodeId, rules: Iterable[Rule]) -> "Placement":
        """Return this placement with a sync's rules added."""
        sources, ignored = list(self.sources), list(self.ignored)
        follow_ups = list(self.follow_ups)
        for rule in rules:
            match rule:
                case CopyRule():
                    path = None if not rule.source else rule.source
                    sources.append(Source(node=node, path=path, destination=rule.destination))
                case IgnoreRule():
                    ignored.append(patterns(rule.patterns))
                case RunRule() | RestartRule():
                    follow_ups.append(FollowUp(node=node, rule=rule, on=patterns(rule.on) if rule.on else None))
                case PullRule():
                    follow_ups.append(FollowUp(node=node, rule=rule, on=None))
                case _:
                    assert_never(rule)
        return Placement(
            node=self.node,
            sources=tuple(sources),
            ignored=tuple(ignored),
            follow_ups=tuple(follow_ups),
            destinations=self.destinations,
            selector=self.selector,
        )


def patterns(texts: Sequence[str]) -> IgnoreRules:
    """Return the matcher of a list of patterns: `**`, `*`, a folder's name for all below it, `!` for exceptions."""
    return IgnoreRules.parse("\n".join(texts))


def _below(folder: str, path: str) -> bool:
    return folder in {".", path} or path.startswith(folder + "/")


def _join(destination: str, rest: str, path: str) -> str:
    if rest:
        return posixpath.join(destination, rest)
    return posixpath.join(destination, posixpath.basename(path)) if destination.endswith("/") else destination
