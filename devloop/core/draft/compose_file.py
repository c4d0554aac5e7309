"""Compose files as one: overrides, `include`, `extends` and variables are settled, places are kept."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core.draft.fields import Fields, read_fields
from devloop.core.draft.model import Note
from devloop.core.draft.tree import Tree, joined
from devloop.core.yaml.places import Mark
from devloop.errors import InputError, Where

__all__ = ["COMPOSE_FILES", "Compose", "Variables", "dotenv", "read_compose"]

COMPOSE_FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_VARIABLE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-?+])(?P<word>(?:[^{}]|\{[^{}]*\})*))?\})"
)
_ADDED_UP: Final = frozenset(
    {"ports", "expose", "volumes", "secrets", "configs", "devices", "env_file", "dns", "tmpfs", "cap_add", "cap_drop"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """What the Compose files of a project say.

    Attributes:
        path: The main file.
        name: The project's name, or None.
        services: By name.
        volumes: The top-level volumes.
        secrets: The top-level secrets.
        configs: The top-level configs.
        folders: The folder that a service's paths are relative to.
        notes: Takes the notes.
    """

    path: str
    name: str | None = None
    services: dict[str, Fields] = field(default_factory=dict)
    volumes: dict[str, Fields] = field(default_factory=dict)
    secrets: dict[str, Fields] = field(default_factory=dict)
    configs: dict[str, Fields] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


class Variables:
    """What `${NAME}` stands for: the values of `.env`, defaults, or nothing.

    Args:
        values: The known variables.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.used: dict[str, str] = {}
        self.missing: dict[str, None] = {}

    def filled(self, value: Any) -> Any:
        """Return a value with the variables in its texts filled in."""
        match value:
            case str():
                return _VARIABLE.sub(self._one, value) if "$" in value else value
            case list():
                return [self.filled(item) for item in value]
            case dict():
                return {key: self.filled(item) for key, item in value.items()}
            case _:
                return value

    def _one(self, found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        name = found["bare"] or found["name"]
        how, word = found["how"] or "", _VARIABLE.sub(self._one, found["word"] or "")
        value = self._values.get(name)
        there = value is not None and (value != "" or not how.startswith(":"))
        if how.endswith("+"):
            return word if there else ""
        if there and value is not None:
            self.used[name] = value
            return value
        if how.endswith("-"):
            self.used[name] = word
            return word
        self.missing[name] = None
        return ""


def dotenv(text: str) -> dict[str, str]:
    """Return the variables of an env file."""
    found = {}
    for written in text.splitlines():
        line = written.strip().removeprefix("export ").lstrip()
        name, equals, value = line.partition("=")
        if line.startswith("#") or not equals or not name.strip():
            continue
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        else:
            value = re.sub(r"\s+#.*", "", value)
        found[name.strip()] = value
    return found


def read_compose(tree: Tree, path: str) -> Compose:
    """Return what a Compose file says, with its override and all that it includes.

    Raises:
        InputErrors: It is no YAML.
        InputError: A value is of a wrong type, or a file that it names is missing.
    """
    variables = Variables(dotenv(tree.read(joined(posixpath.dirname(path), ".env")) or ""))
    compose = Compose(path=path)
    name = _read_into(compose, tree, path, variables, asked_by=None, folder=posixpath.dirname(path) or ".")
    stem, end = posixpath.splitext(path)
    override = f"{stem}.override{end}"
    if tree.has(override):
        name = (
            _read_into(compose, tree, override, variables, asked_by=None, folder=posixpath.dirname(path) or ".") or name
        )
    for service in list(compose.services):
        compose.services[service] = _extended(compose, tree, service, variables, ())
    if variables.used:
        listed = ", ".join(f"{key}={value}" for key, value in variables.used.items() if "PASS" not in key.upper())
        text = f"variables were filled in as `.env` or their defaults have them{': ' if listed else ''}{listed}"
        compose.notes.append(Note(text=text, where=Where(path=path)))
    if variables.missing:
        listed = ", ".join(f"`{key}`" for key in variables.missing)
        text = f"variables without a value are empty in the manifests: {listed}"
        compose.notes.append(Note(text=text, where=Where(path=path)))
    return Compose(
        path=path,
        name=name,
        services=compose.services,
        volumes=compose.volumes,
        secrets=compose.secrets,
        configs=compose.configs,
        folders=compose.folders,
        notes=compose.notes,
    )


def _read_into(
    compose: Compose, tree: Tree, path: str, variables: Variables, *, asked_by: Where | None, folder: str
) -> str | None:
    text = tree.read(path)
    if text is None:
        raise InputError(f"there is no `{path}`", where=asked_by)
    name = None
    for document in read_fields(text, path, compose.notes):
        top = Fields(variables.filled(document.value), document.mark, path, compose.notes)
        name = top.text("name") or name
        top.settled("version", "networks")
        for entry in _included(top):
            for each, base, where in entry:
                inner = joined(folder, each)
                inner_folder = joined(folder, base) if base else posixpath.dirname(inner) or "."
                _read_into(compose, tree, inner, variables, asked_by=where, folder=inner_folder)
        for service, fields in top.named("services"):
            known = compose.services.get(service)
            compose.services[service] = fields if known is None else _overridden(known, fields)
            compose.folders.setdefault(service, folder)
        for key, kept in (("volumes", compose.volumes), ("secrets", compose.secrets), ("configs", compose.configs)):
            kept.update(top.named(key))
        top.left_out("models", "not carried over: devloop runs no language models")
        top.rest()
    return name


def _included(top: Fields) -> list[list[tuple[str, str | None, Where]]]:
    found: list[list[tuple[str, str | None, Where]]] = []
    raw = top.raw("include")
    for number, item in enumerate(raw if isinstance(raw, list) else [] if raw is None else [raw]):
        where = Where(path=top.path, line=top.mark.at(("include", number)).line)
        if isinstance(item, str):
            found.append([(item, None, where)])
        elif isinstance(item, dict):
            fields = Fields(item, top.mark.at(("include", number)), top.path, top.notes, f"include[{number}]")
            base = fields.text("project_directory")
            found.append([(path, base, where) for path in fields.texts("path")])
            fields.left_out("env_file", "not carried over: only `.env` beside the Compose file is read")
            fields.rest()
        else:
            raise top.error("include", "a list of paths or mappings")
    return found


def _overridden(base: Fields, over: Fields) -> Fields:
    """Return a service with another file's values over it."""
    merged = _merged(base.value, over.value)
    parts: Mapping[str | int, Mark] = {**base.mark.parts, **over.mark.parts}
    return Fields(merged, over.mark._replace(parts=parts), over.path, over.notes, over.name)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        known = found.get(key)
        if key in {"environment", "labels", "args", "annotations"} and known is not None:
            found[key] = {**_as_mapping(known), **_as_mapping(value)}
        elif isinstance(known, dict) and isinstance(value, dict):
            found[key] = _merged(known, value)
        elif key in _ADDED_UP and isinstance(known, list) and isinstance(value, list):
            found[key] = [*known, *(item for item in value if item not in known)]
        elif key == "depends_on" and known is not None:
            found[key] = {**_conditions(known), **_conditions(value)}
        else:
            found[key] = value
    return found


def _as_mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    pairs = [str(item).partition("=") for item in value or []]
    return {name: text if equals else None for name, equals, text in pairs}


def _conditions(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {str(name): {"condition": "service_started"} for name in value or []}


def _extended(
    compose: Compose, tree: Tree, service: str, variables: Variables, seen: tuple[tuple[str, str], ...]
) -> Fields:
    fields = compose.services[service]
    raw = fields.value.get("extends")
    if raw is None:
        return fields
    name, file = (raw, None) if isinstance(raw, str) else (raw.get("service"), raw.get("file"))
    key = (str(file or fields.path), str(name))
    if key in seen or not isinstance(name, str):
        raise fields.error("extends", "the name of another service")
    source = compose
    if file is not None:
        path = joined(compose.folders.get(service, "."), str(file))
        source = Compose(path=path, notes=compose.notes)
        folder = posixpath.dirname(path) or "."
        _read_into(source, tree, path, variables, asked_by=fields.where("extends"), folder=folder)
        compose.folders[service] = folder if "build" not in fields else compose.folders.get(service, ".")
    if name not in source.services:
        raise InputError(f"`{service}` extends `{name}`, which is not there", where=fields.where("extends"))
    base = _extended(source, tree, name, variables, (*seen, key))
    own = Fields(
        {k: v for k, v in fields.value.items() if k != "extends"}, fields.mark, fields.path, fields.notes, fields.name
    )
    inherited = {k: v for k, v in base.value.items() if k not in {"depends_on", "links", "volumes_from"}}
    return _overridden(Fields(inherited, base.mark, base.path, base.notes, base.name), own)
