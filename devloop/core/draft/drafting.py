"""Chooses what a draft is made from: what says most of the project comes first."""

from dataclasses import replace
from typing import Final

from devloop.core.draft.compose import compose_draft
from devloop.core.draft.compose_file import COMPOSE_FILES
from devloop.core.draft.model import Draft, Note
from devloop.core.draft.plain import plain_draft
from devloop.core.draft.skaffold import skaffold_draft
from devloop.core.draft.skaffold_file import SKAFFOLD_FILES
from devloop.core.draft.tree import Tree
from devloop.errors import InputError

__all__ = ["LOOKED_FOR", "draft"]

LOOKED_FOR: Final = (
    "skaffold.yaml",
    "compose.yaml (docker-compose.yml)",
    "Chart.yaml",
    "kustomization.yaml",
    "Kubernetes manifests (*.yaml, *.yml, *.json)",
    "Dockerfile (Containerfile, Dockerfile.*, *.Dockerfile)",
)
_SEEN: Final = {
    "Tiltfile": "it is a program, whose meaning cannot be read off; what it deploys was taken from the files it uses",
    "garden.yml": "its actions are not read; Dockerfiles and manifests were taken as they are",
    "devspace.yaml": "its configuration is not read; Dockerfiles and manifests were taken as they are",
    "helmfile.yaml": "its releases are not read; charts were taken as they are",
    "okteto.yml": "its configuration is not read; Dockerfiles and manifests were taken as they are",
}


def draft(tree: Tree, source: str | None = None) -> Draft:
    """Return the draft of a project.

    Args:
        tree: The project's files.
        source: A `skaffold.yaml` or Compose file to make it from; None for what says most of the project.

    Raises:
        InputErrors: A file that it is made from cannot be read.
        InputError: There is nothing to make it from, or a value is wrong.
    """
    found = _from(tree, source) if source is not None else _from_best(tree)
    if not found.images and not found.services and not found.profiles:
        hint = f"looked for: {', '.join(LOOKED_FOR)}; here and in the folders below, less what `.gitignore` names"
        raise InputError("found nothing that can be built or deployed", hint=hint)
    notes = [Note(text=f"`{path}` was seen: {why}") for path, why in _SEEN.items() if tree.has(path)]
    return replace(found, notes=(*found.notes, *notes))


def _from(tree: Tree, source: str) -> Draft:
    text = tree.read(source)
    if text is None:
        raise InputError(f"there is no `{source}`", hint="give a path relative to the project's folder")
    if text.lstrip().startswith("apiVersion: skaffold/") or "\napiVersion: skaffold/" in text:
        return skaffold_draft(tree, source)
    return compose_draft(tree, source)


def _from_best(tree: Tree) -> Draft:
    skaffold = next((path for path in SKAFFOLD_FILES if tree.has(path)), None)
    compose = next((path for path in COMPOSE_FILES if tree.has(path)), None)
    if skaffold is not None:
        return _with_other(skaffold_draft(tree, skaffold), compose, "Skaffold deploys manifests, so these were taken")
    plain = plain_draft(tree)
    deploys = plain is not None and bool(plain.services) and not plain.files
    if compose is not None and not deploys:
        return compose_draft(tree, compose)
    if plain is None:
        hint = f"looked for: {', '.join(LOOKED_FOR)}; here and in the folders below, less what `.gitignore` names"
        raise InputError("found nothing to write a devfile from", hint=hint)
    return _with_other(plain, compose, "the project has manifests, so these were taken")


def _with_other(found: Draft, path: str | None, why: str) -> Draft:
    if path is None:
        return found
    note = Note(text=f"`{path}` was seen: {why}; `devloop init --from {path}` takes it instead")
    return replace(found, notes=(*found.notes, note))
