""".helmignore by Helm's own rules, which are neither git's nor Docker's.

A pattern without a slash is matched against the last part of a path, one that begins with a slash against the whole
path, and one with a slash inside as well. There is no `**`. An exclamation mark ignores what does *not* match, and the
first rule that ignores a path has the last word.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["HelmIgnore", "parse"]


@dataclass(frozen=True, slots=True)
class _Rule:
    matches: re.Pattern[str]
    whole_path: bool
    negated: bool
    folders_only: bool

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        if self.folders_only and not is_folder:
            return self.negated
        text = path if self.whole_path else path.rpartition("/")[2]
        return (self.matches.fullmatch(text) is not None) is not self.negated


@dataclass(frozen=True, slots=True)
class HelmIgnore:
    """Which files of a chart's folder are no part of the chart."""

    rules: tuple[_Rule, ...] = ()

    def ignores(self, path: str, *, is_folder: bool = False) -> bool:
        """Return whether the path itself (relative to the chart) is ignored; its parents are not looked at."""
        return any(rule.ignores(path, is_folder=is_folder) for rule in self.rules)

    def excludes(self, path: str) -> bool:
        """Return whether a file is ignored, by itself or with a folder that it lies in."""
        parts = path.split("/")
        folders = ("/".join(parts[:length]) for length in range(1, len(parts)))
        return any(self.ignores(folder, is_folder=True) for folder in folders) or self.ignores(path)


def parse(text: str) -> HelmIgnore:
    """Return the rules of a .helmignore, and those that hold without one; a line that Helm refuses is left to Helm."""
    return HelmIgnore(tuple(_rules(text)))


_ALWAYS: Final = "templates/.?*"


def _rules(text: str) -> Iterator[_Rule]:
    for line in [*text.removeprefix("\ufeff").splitlines(), _ALWAYS]:
        pattern = line.strip()
        if not pattern or pattern.startswith("#") or "**" in pattern:
            continue
        negated = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        folders_only = pattern.endswith("/")
        pattern = pattern.removesuffix("/")
        whole = "/" in pattern
        matches = _compiled(pattern.removeprefix("/"))
        if matches is not None:
            yield _Rule(matches=matches, whole_path=whole, negated=negated, folders_only=folders_only)


def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Return Go's `filepath.Match` of a pattern as an expression, or None where Go refuses it."""
    expression = ""
    rest = pattern
    while rest:
        if found := _CLASS.match(rest):
            inner = re.sub(r"\\(.)", lambda escaped: "\\" + escaped[1], found["items"])
            inner = inner.replace("[", r"\[")
            expression += f"[{'^/' if found['not'] else ''}{inner}]"
            rest = rest[found.end() :]
            continue
        head, rest = rest[0], rest[1:]
        if head == "\\" and rest:
            expression += re.escape(rest[0])
            rest = rest[1:]
        elif head in "\\[":
            return None
        else:
            expression += {"*": "[^/]*", "?": "[^/]"}.get(head) or re.escape(head)
    try:
        return re.compile(expression, re.DOTALL)
    except re.error:
        return None


_CLASS: Final = re.compile(r"\[(?P<not>\^)?(?P<items>(?:\\.|[^\]\\])+)\]", re.DOTALL)
