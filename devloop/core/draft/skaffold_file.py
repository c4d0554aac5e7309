"""Skaffold's configuration as modules in order, with a profile applied or none."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.draft.fields import Fields, read_fields
from devloop.core.draft.model import Note
from devloop.core.draft.tree import Tree, joined
from devloop.core.yaml.places import Mark
from devloop.errors import InputError

__all__ = ["SKAFFOLD_FILES", "Module", "Profile", "modules_of", "profiles_of", "with_profile"]

SKAFFOLD_FILES: Final = ("skaffold.yaml", "skaffold.yml")
_SECTIONS: Final = (
    "build", "test", "manifests", "render", "deploy", "portForward", "resourceSelector", "verify", "customActions",
)  # fmt: skip
_SUPPORTED: Final = ("v2", "v3", "v4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One document of a `skaffold.yaml`.

    Attributes:
        fields: What it says.
        folder: The folder that its paths are relative to.
        name: Its name, or None.
        profiles: The profiles that whoever requires it switches on.
    """

    fields: Fields
    folder: str
    name: str | None
    profiles: tuple[str, ...] = ()

    @property
    def is_old(self) -> bool:
        """Whether its version names manifests below `deploy`."""
        return str(self.fields.value.get("apiVersion", "")).startswith("skaffold/v2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A profile: its name, and what switches it on in Skaffold."""

    name: str
    activation: str


def modules_of(tree: Tree, path: str, notes: list[Note]) -> list[Module]:
    """Return the modules of a configuration, those that others require first.

    Raises:
        InputErrors: A file is no YAML.
        InputError: It is none of Skaffold's, or a file that it requires is missing.
    """
    found: dict[tuple[str, int], Module] = {}
    _collect(tree, path, notes, found, wanted=None, profiles=(), seen=())
    return list(found.values())


def _collect(
    tree: Tree,
    path: str,
    notes: list[Note],
    found: dict[tuple[str, int], Module],
    *,
    wanted: Sequence[str] | None,
    profiles: tuple[str, ...],
    seen: tuple[str, ...],
) -> None:
    documents = read_fields(tree.read(path) or "", path, notes)
    folder = posixpath.dirname(path) or "."
    names = [_name(document) for document in documents]
    for number, (fields, name) in enumerate(zip(documents, names, strict=True)):
        if (path, number) in found or (wanted and name not in wanted):
            continue
        version = fields.text("apiVersion") or ""
        if not version.startswith("skaffold/"):
            raise InputError(f"`{path}` is no configuration of Skaffold", where=fields.where("apiVersion"))
        if not version.removeprefix("skaffold/").startswith(_SUPPORTED):
            message = f"`{version}` is too old to be read"
            raise InputError(message, where=fields.where("apiVersion"), hint="run `skaffold fix --overwrite` first")
        for required in fields.mappings("requires"):
            _require(tree, required, folder, path, notes, found, seen=(*seen, path))
        found[path, number] = Module(fields=fields, folder=folder, name=name, profiles=profiles)


def _name(fields: Fields) -> str | None:
    metadata = fields.mapping("metadata")
    metadata.settled("labels", "annotations")
    return metadata.text("name")


def _require(
    tree: Tree,
    required: Fields,
    folder: str,
    path: str,
    notes: list[Note],
    found: dict[tuple[str, int], Module],
    *,
    seen: tuple[str, ...],
) -> None:
    configs = required.texts("configs")
    for key in ("git", "googleCloudStorage", "googleCloudBuildRepoV2"):
        if key in required:
            required.left_out(
                key, "not carried over: devloop takes what is on disk; check it out and `include` its devfile"
            )
            required.settled("configs", "activeProfiles")
            return
    active = tuple(each.text("name") or "" for each in required.mappings("activeProfiles"))
    for each in required.mappings("activeProfiles"):
        each.text("name")
        if "activatedBy" in each:
            each.left_out("activatedBy", "not carried over: the profile is taken as switched on by its own switch only")
            active = tuple(name for name in active if name != each.value.get("name"))
        each.rest()
    target = path
    if (named := required.text("path")) is not None:
        target = joined(folder, named)
        if target in tree.folders or not target.endswith((".yaml", ".yml")):
            target = next((file for each in SKAFFOLD_FILES if tree.has(file := joined(target, each))), target)
    required.rest()
    if not tree.has(target):
        raise InputError(f"there is no `{target}`", where=required.where("path"))
    if target in seen and not configs:
        return
    _collect(tree, target, notes, found, wanted=configs or None, profiles=active, seen=seen)


# --- profiles --------------------------------------------------------------------------------------------------------


def profiles_of(modules: Iterable[Module]) -> list[Profile]:
    """Return all profiles, each once; several modules may have one of a name."""
    found: dict[str, Profile] = {}
    for module in modules:
        for fields in module.fields.mappings("profiles"):
            name = fields.text("name")
            if name is None:
                raise InputError("a profile has no name", where=fields.where())
            found.setdefault(name, Profile(name=name, activation=_activation(fields)))
    return list(found.values())


def _activation(fields: Fields) -> str:
    ways = [
        " and ".join(f"{key} {each.text(key)}" for key in each if each.text(key))
        for each in fields.mappings("activation")
    ]
    return " or ".join(way for way in ways if way)


def with_profile(module: Module, name: str | None) -> Fields:
    """Return what a module says with a profile applied; as it is where it has no such profile.

    Raises:
        InputError: A patch leads nowhere.
    """
    names = (*module.profiles, *([name] if name else []))
    fields = _copy(module.fields)
    for profile in module.fields.mappings("profiles"):
        if profile.value.get("name") in names:
            fields = _applied(fields, profile)
    return fields


def _copy(fields: Fields) -> Fields:
    return Fields(fields.value, fields.mark, fields.path, fields.notes, fields.name)


def _applied(base: Fields, profile: Fields) -> Fields:
    over = {key: value for key, value in profile.value.items() if key in _SECTIONS}
    parts: Mapping[str | int, Mark] = {
        **base.mark.parts,
        **{key: mark for key, mark in profile.mark.parts.items() if key in over},
    }
    fields = Fields(_overlaid(base.value, over), base.mark._replace(parts=parts), base.path, base.notes, base.name)
    for patch in _copy(profile).mappings("patches"):
        fields = _patched(fields, patch)
    for key in profile:
        if key not in {*_SECTIONS, "name", "activation", "patches", "requiresAllActivations"}:
            profile.note(key, "not carried over: a devfile says nothing like it")
    return fields


def _overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        known = found.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            found[key] = _overlaid(known, value)
        elif value is not None:
            found[key] = value
    return found


def _patched(fields: Fields, patch: Fields) -> Fields:
    path = (patch.text("path") or "").strip("/")
    steps: list[str] = path.split("/")
    op = patch.text("op") or "replace"
    if op not in {"add", "remove", "replace"}:
        patch.left_out("op", f"not carried over: the patch operation `{op}`")
        return fields
    value = _with_patch(fields.value, steps, op, patch.raw("value"), patch)
    return Fields(value, fields.mark, fields.path, fields.notes, fields.name)


def _with_patch(value: Any, steps: Sequence[str], op: str, new: Any, patch: Fields) -> Any:
    step, *rest = steps
    if isinstance(value, list):
        index = len(value) if step == "-" else int(step) if step.isdigit() else -1
        if not 0 <= index <= len(value) or (rest and index == len(value)):
            raise InputError(f"the patch of `{patch.value.get('path')}` leads nowhere", where=patch.where("path"))
        if rest:
            return [*value[:index], _with_patch(value[index], rest, op, new, patch), *value[index + 1 :]]
        middle = [] if op == "remove" else [new]
        return [*value[:index], *middle, *value[index + (op != "add") :]]
    if not isinstance(value, dict | None) or (value is None and step.isdigit()):
        raise InputError(f"the patch of `{patch.value.get('path')}` leads nowhere", where=patch.where("path"))
    known = dict(value or {})
    if rest:
        known[step] = _with_patch(known.get(step), rest, op, new, patch)
    elif op == "remove":
        known.pop(step, None)
    else:
        known[step] = new
    return known
