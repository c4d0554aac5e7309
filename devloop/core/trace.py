"""Traces: what a node's last good run read and what it made, and what has changed since.

A verifying trace in the sense of "Build systems à la carte" (Mokhov, Mitchell, Peyton Jones, 2018): a node is up to
date exactly when the digests of its inputs are those of its trace. Content decides, never time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

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
    """

    recipe: Mapping[str, Digest] = field(default_factory=dict)
    files: Mapping[RelPath, Digest] = field(default_factory=dict)
    results: Mapping[NodeId, Digest] = field(default_factory=dict)

    def unsure_of(self, paths: frozenset[RelPath]) -> "Inputs":
        """Return these inputs with the files that changed under the run's hands marked as such."""
        if not paths:
            return self
        recipe = {name: UNSURE if name in paths else digest for name, digest in self.recipe.items()}
        files = dict.fromkeys(paths - self.recipe.keys(), UNSURE)
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
    if old.files is new.files or old.files == new.files:
        return ()
    return tuple(sorted(_differing(old.files, new.files)))


def reasons(trace: Trace | None, inputs: Inputs) -> tuple[str, ...]:
    """Return why a run with these inputs is due, in words; nothing when the trace already stands for them."""
    if trace is None:
        return ("it has not been run yet",)
    old = trace.inputs
    recipe = tuple(f"{name} changed" for name in sorted(_differing(old.recipe, inputs.recipe)))
    files = tuple(_what_happened(path, old, inputs) for path in changed_files(old, inputs))
    if len(files) > _SHOWN_FILES:
        files = (*files[: _SHOWN_FILES - 1], f"{len(files) - _SHOWN_FILES + 1} more files changed")
    results = tuple(f"{node} changed" for node in sorted(_differing(old.results, inputs.results)))
    return recipe + files + results


def file_of(reason: str) -> RelPath | None:
    """Return the file that one of the `reasons` names, if it names one."""
    return next((RelPath(reason.removesuffix(end)) for end in _HAPPENED if reason.endswith(end)), None)


def _what_happened(path: RelPath, old: Inputs, new: Inputs) -> str:
    if path not in old.files:
        return path + _NEW
    return path + (_CHANGED if path in new.files else _DELETED)


def _differing(old: Mapping[_K, Digest], new: Mapping[_K, Digest]) -> Iterator[_K]:
    for key, digest in new.items():
        if old.get(key) != digest:
            yield key
    for key in old:
        if key not in new:
            yield key
