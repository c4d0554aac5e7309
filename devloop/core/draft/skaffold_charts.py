"""Skaffold's Helm releases → services."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from devloop.core.draft.fields import Fields
from devloop.core.draft.model import DraftService, Handle, Manifests, Note, Value
from devloop.core.draft.naming import slug, unique
from devloop.core.draft.skaffold_builders import environment_of
from devloop.core.draft.skaffold_file import Module
from devloop.core.draft.tree import joined

__all__ = ["release_service"]

_IMAGE: Final = re.compile(
    r"\{\{\s*\.IMAGE_(?P<part>FULLY_QUALIFIED|REPO|TAG|DIGEST|NAME|DOMAIN)(?:_(?P<name>\w+))?\s*\}\}"
)


def release_service(
    module: Module, fields: Fields, names: Mapping[str, str], taken: Collection[str]
) -> tuple[DraftService, str | None]:
    """Return the service of a release, and the namespace that it names.

    Args:
        module: The module that has it.
        fields: What it says.
        names: The names of the images by the artifacts' own.
        taken: The names that services have already.
    """
    release = fields.text("name") or "release"
    name = unique(slug(release), taken)
    options: dict[str, Value] = {}
    chart = fields.text("remoteChart")
    if chart is not None:
        for key, option in (("repo", "repository"), ("version", "version")):
            if text := fields.text(key):
                options[option] = text
    else:
        chart = joined(module.folder, fields.text("chartPath") or ".")
        fields.settled("version")
    if values := tuple(joined(module.folder, each) for each in fields.texts("valuesFiles")):
        options["values"] = values[0] if len(values) == 1 else values
    if files := {key: joined(module.folder, value or "") for key, value in fields.pairs("setFiles").items()}:
        options["files"] = files
    if release != name:
        options["release"] = release
    images: list[str] = []
    returned = _values(fields, names, images)
    namespace = fields.text("namespace")
    fields.settled(
        "createNamespace", "wait", "recreatePods", "skipBuildDependencies", "upgradeOnInstall", "packaged", "skipTests",
    )  # fmt: skip
    fields.left_out("useHelmSecrets", "not carried over: decrypt the values into a file that git ignores")
    notes: list[Note] = []
    fields.notes, outer = notes, fields.notes
    fields.rest()
    fields.notes = outer
    service = DraftService(
        name=name,
        manifests=(Manifests(tool="helm", path=chart, options=options),),
        images=tuple(dict.fromkeys(images)),
        returned=returned,
        notes=tuple(notes),
    )
    return service, namespace


def _values(fields: Fields, names: Mapping[str, str], images: list[str]) -> dict[str, Value]:
    sanitized = {re.sub(r"[^A-Za-z0-9]", "_", key): name for key, name in names.items()}
    found: dict[str, Any] = {}
    overrides = fields.raw("overrides")
    if isinstance(overrides, dict):
        found = _as_value(overrides)
    given = fields.mapping("setValues")
    for key in given:
        _put(found, key, _as_value(given.raw(key)))
    for key, value in fields.pairs("setValueTemplates").items():
        _put(found, key, _template(value or "", sanitized, images))
    helm = fields.mapping("imageStrategy")
    for key, artifact in fields.pairs("artifactOverrides").items():
        name = names.get(artifact or "")
        if name is None:
            _put(found, key, artifact or "")
            continue
        images.append(name)
        if "helm" in helm:
            _put(found, f"{key}.repository", Handle(name, ".repository"))
            _put(found, f"{key}.tag", Handle(name, ".tag"))
        else:
            _put(found, key, Handle(name))
    helm.settled("fqn", "helm")
    return found


def _template(value: str, sanitized: Mapping[str, str], images: list[str]) -> Value:
    """Return what a template of Skaffold's gives: an image's reference or part of it, or an environment variable."""
    match = _IMAGE.match(value)
    name = None
    if match:
        name = sanitized.get(match["name"] or "") or (next(iter(sanitized.values())) if len(sanitized) == 1 else None)
    if not match or name is None:
        return environment_of(value) if "{{" in value else value
    images.append(name)
    attribute = {"REPO": ".repository", "NAME": ".repository", "TAG": ".tag"}.get(match["part"], "")
    return Handle(name, attribute)


def _as_value(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _as_value(each) for key, each in value.items()}
        case list():
            return tuple(_as_value(each) for each in value)
        case bool() | int() | str():
            return value
        case _:
            return "" if value is None else str(value)


def _put(found: dict[str, Any], key: str, value: Value) -> None:
    *above, last = key.replace("\\.", "\0").split(".")
    for step in above:
        inner = found.get(step.replace("\0", "."))
        if not isinstance(inner, dict):
            inner = found[step.replace("\0", ".")] = {}
        found = inner
    found[last.replace("\0", ".")] = value
