"""A draft from Skaffold's configuration: one of all its modules, and one more for each profile."""

from collections.abc import Sequence
from dataclasses import replace

from devloop.core.draft.dockerfiles import base_names
from devloop.core.draft.fields import Fields
from devloop.core.draft.model import (
    Command,
    Draft,
    DraftImage,
    DraftSync,
    DraftTask,
    Format,
    Handle,
    Note,
    Value,
)
from devloop.core.draft.naming import slug, switch_name, unique
from devloop.core.draft.proposals import propose
from devloop.core.draft.skaffold_build import artifacts_of
from devloop.core.draft.skaffold_deploy import Deployment, deployment_of, services_from
from devloop.core.draft.skaffold_file import Module, modules_of, profiles_of, with_profile
from devloop.core.draft.tree import Tree, joined

__all__ = ["skaffold_draft"]


def skaffold_draft(tree: Tree, path: str) -> Draft:
    """Return what a `skaffold.yaml` says.

    Raises:
        InputErrors: It cannot be read.
        InputError: A value is wrong, or a file is missing.
    """
    notes: list[Note] = []
    modules = modules_of(tree, path, notes)
    draft = _draft(tree, path, modules, None, notes)
    profiles: dict[str, Draft] = {}
    for profile in profiles_of(modules):
        own: list[Note] = []
        found = _draft(tree, path, modules, profile.name, own)
        switch = switch_name(profile.name)
        about = f"Skaffold's profile `{profile.name}`"
        if profile.activation:
            about += f", which it also takes by {profile.activation}"
        if any(profile.name in module.profiles for module in modules):
            notes.append(
                Note(text=f"the profile `{profile.name}` is always on: a module that requires its own says so")
            )
            continue
        if _same(found, draft):
            notes.append(Note(text=f"the profile `{profile.name}` changes nothing that concerns devloop"))
            continue
        profiles[switch] = replace(found, about=(about,))
        notes += found.notes
    by_text = {note.text: note for note in reversed((*draft.notes, *notes))}
    return replace(draft, profiles=profiles, notes=tuple(reversed(by_text.values())))


def _same(one: Draft, other: Draft) -> bool:
    return _without_notes(one) == _without_notes(other)


def _without_notes(draft: Draft) -> Draft:
    return replace(
        draft,
        notes=(),
        images=tuple(replace(each, notes=()) for each in draft.images),
        services=tuple(replace(each, notes=()) for each in draft.services),
        syncs=tuple(replace(each, notes=()) for each in draft.syncs),
    )


def _draft(tree: Tree, path: str, modules: Sequence[Module], profile: str | None, notes: list[Note]) -> Draft:
    names: dict[str, str] = {}
    found = Deployment()
    images: list[DraftImage] = []
    syncs: list[DraftSync] = []
    tasks: list[DraftTask] = []
    read = [(module, _noting(with_profile(module, profile), notes)) for module in modules]
    for module, fields in read:
        for artifact in artifacts_of(tree, module, fields, names):
            images.append(artifact.image)
            syncs += artifact.syncs
            tasks += artifact.tasks
    images, names = _buildable(images, names, notes)
    syncs = [each for each in syncs if each.image in names.values()]
    tasks = [each for each in tasks if set(names.values()).issuperset(each.images)]
    without = base_names(tree, images) | {each.image for each in syncs}
    syncs += [sync for each in images if each.name not in without and not each.inputs for sync in propose(tree, each)]
    for module, fields in read:
        deployment_of(tree, module, fields, found, names, notes)
        tasks += _tests(fields, module, names)
    services = services_from(found, tree.name, notes)
    tasks += found.tasks(services)
    for _, fields in read:
        _leave_out(fields)
    project: dict[str, Value] = {}
    name = next((module.name for module in modules if module.name and module.fields.path == path), None)
    if name is not None:
        project["name"] = slug(name)
    if found.namespaces:
        project["namespace"] = found.namespaces[0]
    return Draft(
        about=(f"Written by `devloop init` from {path}.",),
        project=project,
        images=tuple(images),
        services=tuple(services),
        syncs=tuple(syncs),
        tasks=tuple(_apart(tasks)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _buildable(
    images: Sequence[DraftImage], names: dict[str, str], notes: list[Note]
) -> tuple[list[DraftImage], dict[str, str]]:
    """Leave out the images that need one that is left out."""
    kept = list(images)
    while lost := [each for each in kept if not {one.name for one in kept}.issuperset(each.bases.values())]:
        kept = [each for each in kept if each not in lost]
        notes += [Note(text=f"the image `{each.repository}` is left out, since one that it needs is") for each in lost]
    there = {each.name for each in kept}
    return kept, {repository: name for repository, name in names.items() if name in there}


def _noting(fields: Fields, notes: list[Note]) -> Fields:
    fields.notes = notes
    return fields


def _leave_out(fields: Fields) -> None:
    fields.settled(
        "apiVersion", "kind", "metadata", "requires", "profiles", "build", "deploy", "manifests", "portForward"
    )
    fields.left_out(
        "resourceSelector", "not carried over: say where custom resources name images by `project(images={…})`"
    )
    fields.left_out("customActions", "not carried over: write them as tasks; `devloop run NAME` runs one")
    fields.left_out("verify", "not carried over: write it as a check; `devloop ci` runs it when its services are ready")
    fields.rest()


def _apart(tasks: Sequence[DraftTask]) -> list[DraftTask]:
    found: list[DraftTask] = []
    for each in tasks:
        found.append(replace(each, name=unique(each.name, (other.name for other in found))))
    return found


def _tests(fields: Fields, module: Module, names: dict[str, str]) -> list[DraftTask]:
    found = []
    for each in fields.mappings("test"):
        repository = each.text("image") or ""
        image = names.get(repository)
        folder = joined(module.folder, each.text("context") or ".")
        if image is None:
            each.note("image", f"not carried over: no artifact is called `{repository}`")
            each.settled(*each)
            continue
        reference = Handle(image, ".ref")
        commands: list[Command] = []
        inputs: list[str] = []
        for custom in each.mappings("custom"):
            env: dict[str, Value] = {"IMAGE": reference, "TEST_CONTEXT": "."}
            commands.append(Command(text=custom.text("command") or "true", folder=folder, env=env))
            dependencies = custom.mapping("dependencies")
            inputs += [joined(folder, path) for path in dependencies.texts("paths")]
            inputs += [f"!{joined(folder, path)}" for path in dependencies.texts("ignore")]
            dependencies.left_out("command", "not carried over: say the patterns of the files in `inputs=`")
            dependencies.rest()
            custom.left_out("timeoutSeconds", "not carried over: write `timeout` before the command")
            custom.rest()
        structure = each.texts("structureTests")
        options = " ".join(each.texts("structureTestsArgs"))
        for config in structure:
            where = f" --config {joined(folder, config)} {options}".rstrip()
            commands.append(Command(text=Format(("container-structure-test test --image ", reference, where))))
        each.rest()
        if commands:
            found.append(
                DraftTask(
                    name=f"{image}-test",
                    commands=tuple(commands),
                    about=f"Skaffold runs this after each build{'' if inputs else '; here `devloop ci` does'}.",
                    check=not inputs,
                    inputs=tuple(inputs),
                    images=(image,),
                )
            )
    return found
