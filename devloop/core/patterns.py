"""File patterns as the builder understands them: `.dockerignore` rules and the globs of `COPY`.

Two dialects live here, because the builder has two. `Glob` follows Go's `filepath.Match` (no `**`, case matters, `*`
matches dot-files). `IgnoreRules` follows moby/patternmatcher: anchored at the context root, with `**`, and decided by
the last rule that matches the path or one of its parents. Neither is gitignore. Nothing here touches the disk.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from devloop.core.go_regex import GO_SPACE, PatternError, check_glob, compile_glob, compile_moby
from devloop.errors import InputError, InputErrors, Where

__all__ = ["NO_IGNORE", "Glob", "IgnoreRule", "IgnoreRules", "PatternError", "is_glob"]

_MAGIC: Final = re.compile(r"\\.|[*?\[]", re.DOTALL)


def is_glob(pattern: str) -> bool:
    """Return whether the builder treats this source as a pattern rather than as a name."""
    return any(not found.startswith("\\") for found in _MAGIC.findall(pattern))


class Glob:
    """A source pattern of `COPY`, which selects what it matches and everything below that.

    Args:
        pattern: A cleaned pattern, relative to the root that it is looked up in.

    Raises:
        PatternError: The pattern is malformed.
    """

    __slots__ = ("_parts", "_regex", "_start", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._regex = compile_glob(pattern, tail=r"(?=/|\Z)")
        self._start = pattern.split("/")
        # A negated class may match a slash, so such a pattern says nothing about single path components.
        self._parts = None if "[^" in pattern else [compile_glob(part, tail=r"\Z") for part in self._start]

    def root_of(self, path: str) -> str | None:
        """Return the part of `path` that the pattern matches: the path, a parent of it, or None."""
        found = self._regex.match(path)
        return found.group() if found else None

    def may_match_below(self, directory: str) -> bool:
        """Return whether the pattern could select anything in `directory`."""
        if self._parts is None or not directory:
            return True
        return all(part.match(name) for part, name in zip(self._parts, directory.split("/"), strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRule:
    """One line of a `.dockerignore`.

    Attributes:
        pattern: The pattern as the builder sees it: cleaned, without `!` and without a leading slash.
        included: Whether the rule brings back (`!`) what earlier rules excluded.
        line: Where it stands.
    """

    pattern: str
    included: bool
    line: int


_Matches: TypeAlias = Callable[[str], bool]
_State: TypeAlias = tuple[IgnoreRule | None, tuple[bool, ...]]


class IgnoreRules:
    """The rules of a `.dockerignore`, in order.

    The builder walks the context from the top and carries the outcome of each rule from a directory to what it holds,
    so the answer for a file depends on its parents. All questions here take a path relative to the context root.

    Args:
        rules: The rules in the order of the file.

    Raises:
        PatternError: A pattern is malformed.
    """

    __slots__ = ("_directories", "_matchers", "rules")

    def __init__(self, rules: Iterable[IgnoreRule] = ()) -> None:
        self.rules = tuple(rules)
        self._matchers: tuple[_Matches, ...] = tuple(_matcher(rule.pattern) for rule in self.rules)
        self._directories: dict[str, _State] = {"": (None, (False,) * len(self.rules))}

    @classmethod
    def parse(cls, text: str, *, path: str = ".dockerignore") -> Self:
        """Return the rules of a `.dockerignore`.

        Args:
            text: The content of the file.
            path: The file's name for messages.

        Raises:
            InputErrors: Malformed patterns, each with its line.
        """
        rules: list[IgnoreRule] = []
        errors: list[InputError] = []
        for line, written in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
            try:
                rules.extend(_rule(written.removesuffix("\r"), line))
            except PatternError as error:
                column = len(written) - len(written.lstrip()) + 1
                where = Where(path=path, line=line, column=column, text=written.strip())
                hint = "a backslash before `[`, `*` or `?` takes the character as it is"
                errors.append(InputError(f"malformed pattern `{written.strip()}`: {error}", where=where, hint=hint))
        if errors:
            raise InputErrors(errors)
        return cls(rules)

    def excludes(self, path: str) -> bool:
        """Return whether the builder leaves this path out of the context."""
        rule = self.deciding_rule(path)
        return rule is not None and not rule.included

    def deciding_rule(self, path: str) -> IgnoreRule | None:
        """Return the rule that decides about this path, or None when no rule speaks of it."""
        if not self.rules or path in {"", "."}:
            return None
        parent, _, _ = path.rpartition("/")
        return self._step(path, self._directory(parent)[1])[0]

    def included(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield those of `paths` that reach the builder."""
        return (path for path in paths if not self.excludes(path))

    def may_contain_included(self, directory: str) -> bool:
        """Return False when nothing in this directory can reach the builder, so that a walker may skip it."""
        rule = self._directory(directory)[0]
        if rule is None or rule.included:
            return True
        return any(later.included and _may_match_below(later.pattern, directory) for later in self.rules)

    def _directory(self, directory: str) -> _State:
        known = self._directories.get(directory)
        if known is None:
            parent, _, _ = directory.rpartition("/")
            known = self._step(directory, self._directory(parent)[1])
            self._directories[directory] = known
        return known

    def _step(self, path: str, inherited: tuple[bool, ...]) -> _State:
        decided: IgnoreRule | None = None
        excluded = False
        matched: list[bool] = []
        for rule, matches, from_parent in zip(self.rules, self._matchers, inherited, strict=True):
            # A rule that could not change the outcome is not even asked, and then does not reach the children either:
            # `d/*` with `!d` keeps the files of d out, though the second rule matches their parent.
            match = from_parent or (rule.included == excluded and matches(path))
            matched.append(match)
            if match:
                decided, excluded = rule, not rule.included
        return decided, tuple(matched)


def _rule(written: str, line: int) -> Iterator[IgnoreRule]:
    if written.startswith("#"):
        return
    text = written.strip(GO_SPACE)
    mark = "!" if text.startswith("!") else ""
    pattern = text.removeprefix("!").strip(GO_SPACE)
    if pattern:
        pattern = clean(pattern)
    if len(pattern) > 1:
        pattern = pattern.removeprefix("/")
    # The builder reads the file and then each pattern, and looks for spaces and the mark both times.
    pattern = (mark + pattern).strip(GO_SPACE)
    if not pattern:
        return
    pattern = clean(pattern)
    included = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    if not pattern:
        raise PatternError("`!` needs a pattern")
    check_glob(pattern)
    compile_moby(pattern)
    yield IgnoreRule(pattern=pattern, included=included, line=line)


def clean(path: str) -> str:
    """Return the path as Go's `filepath.Clean` would write it."""
    # normpath keeps two leading slashes, which POSIX allows to mean something.
    return posixpath.normpath(path if not path.startswith("//") else "/" + path.lstrip("/"))


def _matcher(pattern: str) -> _Matches:
    kind, operand = compile_moby(pattern)
    match kind:
        case "exact":
            return operand.__eq__
        case "prefix":
            return lambda path: path.startswith(operand)
        case "suffix":
            bare = operand[1:] if operand.startswith("/") else None
            return lambda path: path.endswith(operand) or path == bare
        case _:
            regex = re.compile(operand)
            return lambda path: regex.match(path) is not None


def _may_match_below(pattern: str, directory: str) -> bool:
    for part, name in zip(pattern.split("/"), directory.split("/"), strict=False):
        if "**" in part or "[" in part or "\\" in part:
            return True
        if not compile_glob(part, tail=r"\Z").match(name):
            return False
    return True


NO_IGNORE: Final = IgnoreRules()
