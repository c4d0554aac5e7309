"""Skaffold's artifacts → images and syncs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from devloop.core.draft.dockerfiles import facts_of
from devloop.core.draft.fields import Fields
from devloop.core.draft.model import DraftImage, DraftSync, DraftTask, Note, Value
from devloop.core.draft.naming import last_part, slug, unique
from devloop.core.draft.skaffold_builders import BUILDERS, custom_image, docker_image
from devloop.core.draft.skaffold_file import Module
from devloop.core.draft.skaffold_hooks import tasks_of_hooks
from devloop.core.draft.skaffold_sync import syncs_of_artifact
from devloop.core.draft.tree import Tree, joined

__all__ = ["Artifact", "artifacts_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An artifact: its image with what belongs to it."""

    image: DraftImage
    syncs: tuple[DraftSync, ...] = ()
    tasks: tuple[DraftTask, ...] = ()


def artifacts_of(tree: Tree, module: Module, fields: Fields, names: dict[str, str]) -> list[Artifact]:
    """Return the artifacts of a module.

    Args:
        tree: The project's files.
        module: The module.
        fields: What it says, with a profile applied.
        names: The names of images by the artifacts' own; those of this module are added.
    """
    build = fields.mapping("build")
    declared = build.mappings("artifacts")
    for each in declared:
        image = each.text("image")
        if image is None:
            raise each.error("image", "the artifact's name")
        names.setdefault(image, unique(slug(last_part(image)), names.values()))
    found = [artifact for each in declared if (artifact := _artifact(tree, module, each, names)) is not None]
    build.settled("local", "tagPolicy", "insecureRegistries")
    build.left_out("platforms", "not carried over: say `platforms=` in the @image lines where it matters")
    build.left_out("googleCloudBuild", "not carried over: images are built on this machine's engine")
    build.left_out("cluster", "not carried over: images are built on this machine's engine")
    build.rest()
    return found


def _artifact(tree: Tree, module: Module, fields: Fields, names: Mapping[str, str]) -> Artifact | None:
    repository = fields.text("image") or ""
    context = joined(module.folder, fields.text("context") or ".")
    name = names[repository]
    fields.settled("runtimeType")
    notes: list[Note] = []
    fields.notes, outer = notes, fields.notes
    image = DraftImage(name=name, repository=repository, context=context, options=_platforms(fields))
    builder = next((each for each in BUILDERS if each in fields), "docker")
    if builder in {"docker", "kaniko"}:
        image = docker_image(tree, fields, image, builder, names)
        _, problem = facts_of(tree, image)
        if problem is not None:
            text = f"the image `{repository}` is left out: {problem.message}"
            outer.append(Note(text=text, where=problem.where or fields.where("image")))
            fields.settled(*fields)
            return None
    else:
        custom = custom_image(fields, image, builder)
        if custom is None:
            outer += notes
            fields.settled(*fields)
            return None
        image = custom
    syncs, more = syncs_of_artifact(tree, fields, image)
    tasks = tasks_of_hooks(fields.mapping("hooks"), name, context, "build", image=name)
    fields.rest()
    return Artifact(image=replace(image, notes=tuple(notes)), syncs=tuple(syncs), tasks=(*tasks, *more))


def _platforms(fields: Fields) -> dict[str, Value]:
    platforms = fields.texts("platforms")
    return {"platforms": platforms[0] if len(platforms) == 1 else platforms} if platforms else {}


# --- builders --------------------------------------------------------------------------------------------------------


# --- syncs -----------------------------------------------------------------------------------------------------------


# --- hooks -----------------------------------------------------------------------------------------------------------
