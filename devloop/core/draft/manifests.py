"""Manifest files: which of a project's files are such, and what they hold."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from devloop.core import manifest as manifests_module
from devloop.core.draft.model import Note
from devloop.core.draft.tree import Tree
from devloop.core.manifest import Manifest, image_uses
from devloop.errors import InputErrors

__all__ = ["ManifestFile", "looks_like_manifest", "manifest_files"]

_SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A file of manifests."""

    path: str
    manifests: tuple[Manifest, ...] = field(repr=False)

    @property
    def images(self) -> tuple[str, ...]:
        """The references that it names, in order."""
        return tuple(dict.fromkeys(use.text for each in self.manifests for use in image_uses(each)))


def looks_like_manifest(text: str) -> bool:
    """Return whether a YAML or JSON text is meant to hold Kubernetes objects."""
    lines = text.replace('"', "").splitlines()
    starts = [line.strip().lstrip("{- ") for line in lines]
    return any(line.startswith("apiVersion:") for line in starts) and any(line.startswith("kind:") for line in starts)


def manifest_files(tree: Tree, paths: Iterable[str], *, sure: bool = False) -> tuple[list[ManifestFile], list[Note]]:
    """Return those of the files that are manifests, and notes about those that cannot be.

    Args:
        tree: The project's files.
        paths: Where to look.
        sure: Whether they certainly are manifests, since somebody names them.
    """
    found: list[ManifestFile] = []
    notes: list[Note] = []
    for path in paths:
        if not sure and not path.endswith(_SUFFIXES):
            continue
        text = tree.read(path)
        if text is None or (not sure and not looks_like_manifest(text)):
            continue
        try:
            parsed = manifests_module.parse(text, path=path)
        except InputErrors as error:
            first = error.errors[0]
            note = f"`{path}` is left out, since it cannot be read: {first.message}"
            notes.append(Note(text=note, where=first.where if first.where and first.where.line else None))
            continue
        if parsed and not any(_is_tools_own(each) for each in parsed):
            found.append(ManifestFile(path=path, manifests=parsed))
    return found, notes


def _is_tools_own(manifest: Manifest) -> bool:
    """Return whether an object is the configuration of a tool that no cluster takes."""
    group = manifest.key.group
    return group in {"skaffold", "kind.x-k8s.io", "k3d.io", "kustomize.config.k8s.io", "eksctl.io"} or (
        group.endswith(".tilt.dev")
        or (manifest.key.kind in {"Kustomization", "HelmChart"} and group.startswith("kustom"))
    )
