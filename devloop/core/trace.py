"""Traces: what a node's last good run read and what it made, and what has changed since.

A verifying trace in the sense of "Build systems à la carte" (Mokhov, Mitchell, Peyton Jones, 2018): a node is up to
date exactly when the digests of its inputs are those of its trace. Content decides, never time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from devloop.core.tables import ordered
from devloop.model import Digest, NodeId, RelPath

__all__ = ["UNSURE", "Inputs", "Result", "Trace", "changed_files", "file_of", "reasons"]

UNSURE: Final = Digest("unsure")
"""Stands for a file that changed under a run's hands: it equals no digest, so it is never taken for up to date."""

_SHOWN_FILES = 3
_HAPPENED = (_NEW, _DELETED, _CHANGED) = (" is new", " was deleted", " changed")
_K = TypeVar("_K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run reads, by digest.

    Attributes:
        recipe: The parts of the recipe by the name under which a person knows them (a Dockerfile, `build arguments`).
        files: The files.
        results: The results of the nodes that it depends on.
        sources: For parts of the recipe that are rendered, the other files they are rendered from. They explain a
            change of the part, and by themselves cause nothing: what is rendered decides.
    """

    recipe: Mapping[str, Digest] = field(default_factory=dict)
    files: Mapping[RelPath, Digest] = field(default_factory=dict)
    results: Mapping[NodeId, Digest] = field(default_factory=dict)
    sources: Mapping[str, Mapping[RelPath, Digest]] = field(default_factory=dict, compare=False)

    def unsure_of(self, paths: frozenset[RelPath]) -> "Inputs":
        """Return these inputs with the files that changed under the run's hands marked as such."""
        if not paths:
            return self
        recipe = {
            name: digest if name not in paths and paths.isdisjoint(self.sources.get(name, ())) else UNSURE
            for name, digest in self.recipe.items()
        }
        files = dict.fromkeys(paths.difference(self.recipe, *self.sources.values()), UNSURE)
        return replace(self, recipe=recipe, files={**self.files, **files})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run made.

    Attributes:
        digest: The image's ID, or the digest of what was applied.
        ref: The reference under which manifests use the image; empty for other kinds.
    """

    digest: Digest
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A good run: what it read and what it made."""

    inputs: Inputs
    result: Result


def changed_files(old: Inputs, new: Inputs) -> tuple[RelPath, ...]:
    """Return the files that differ, are new or are gone, sorted."""
    return ordered(new.files, old.files)


def reasons(trace: Trace | None, inputs: Inputs) -> tuple[str, ...]:
    """Return why a run with these inputs is due, in words; nothing when the trace already stands for them."""
    if trace is None:
        return ("it has not been run yet",)
    old = trace.inputs
    parts = sorted(_differing(old.recipe, inputs.recipe))
    recipe = tuple(reason for name in parts for reason in _why_part(name, old, inputs))
    files = _shortened(_what_happened(path, old.files, inputs.files) for path in changed_files(old, inputs))
    results = tuple(f"{node} changed" for node in sorted(_differing(old.results, inputs.results)))
    return recipe + files + results


def file_of(reason: str) -> RelPath | None:
    """Return the file that one of the `reasons` names, if it names one."""
    return next((RelPath(reason.removesuffix(end)) for end in _HAPPENED if reason.endswith(end)), None)


def _why_part(name: str, old: Inputs, new: Inputs) -> tuple[str, ...]:
    """Return what changed a part of the recipe: the files it is rendered from, where they are known to differ."""
    before, after = old.sources.get(name, {}), new.sources.get(name, {})
    files = sorted(_differing(before, after)) if before else ()
    return (*_shortened(_what_happened(path, before, after) for path in files), f"{name} changed")


def _shortened(reasons: Iterable[str]) -> tuple[str, ...]:
    every = tuple(reasons)
    if len(every) <= _SHOWN_FILES:
        return every
    return (*every[: _SHOWN_FILES - 1], f"{len(every) - _SHOWN_FILES + 1} more files changed")


def _what_happened(path: RelPath, old: Mapping[RelPath, Digest], new: Mapping[RelPath, Digest]) -> str:
    if path not in old:
        return path + _NEW
    return path + (_CHANGED if path in new else _DELETED)


def _differing(old: Mapping[_K, Digest], new: Mapping[_K, Digest]) -> Iterator[_K]:
    for key, digest in new.items():
        if old.get(key) != digest:
            yield key
    for key in old:
        if key not in new:
            yield key
