"""Kustomizations: which files one names, by the lines that name them. Rendering them is kustomize's own business.

Fields whose entries are files are known by name. Of all others (fields that are newer than this list, the settings of
plugins) every text counts that turns out to be a file: rendering once too often is cheap, a missed file is wrong.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from devloop.core.yaml.documents import Pointer, YamlDocument, YamlError, parse_documents

__all__ = ["NAMES", "Reference", "Way", "is_remote", "plugin_references", "references"]

NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""The names under which kustomize looks for a folder's kustomization, in its order."""


class Way(StrEnum):
    """What a reference may lead to."""

    FILE = "file"
    RESOURCE = "resource"
    """A file, a folder with a kustomization of its own, or an address."""
    PLUGIN = "plugin"
    """As a resource, and what it says may name files."""
    FOLDER = "folder"
    """All files below a folder."""
    MAYBE = "maybe"
    """Any text; a file only if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One text of a kustomization that names a file.

    Attributes:
        text: The path or address as written, relative to the kustomization's folder.
        way: What it may lead to.
        line: The line that it stands in.
    """

    text: str
    way: Way
    line: int


def references(text: str) -> tuple[Reference, ...]:
    """Return what a kustomization names; nothing where it is no YAML, which kustomize itself will say."""
    found: dict[tuple[str, Way], Reference] = {}
    for document in _documents(text):
        if isinstance(document.value, Mapping):
            for each in _of_fields(document):
                found.setdefault((each.text, each.way), each)
    return tuple(found.values())


def plugin_references(text: str) -> tuple[Reference, ...]:
    """Return what the configuration of a generator, transformer or validator may name."""
    return tuple(
        Reference(text=each, way=Way.MAYBE, line=document.mark.at(pointer).line)
        for document in _documents(text)
        for pointer, each in _texts(document.value, ())
    )


def is_remote(text: str) -> bool:
    """Return whether a resource that is no local path is an address: a URL or a git repository, as kustomize has it."""
    head, _, rest = text.partition("/")
    return "://" in text or "?ref=" in text or "//" in rest or head in _HOSTS or head.startswith("git@")


_HOSTS: Final = frozenset({"github.com", "gitlab.com", "bitbucket.org"})

_ENTRIES: Final[Mapping[str, Way]] = {
    "resources": Way.RESOURCE,
    "bases": Way.RESOURCE,
    "components": Way.RESOURCE,
    "generators": Way.PLUGIN,
    "transformers": Way.PLUGIN,
    "validators": Way.PLUGIN,
    "crds": Way.FILE,
    "configurations": Way.FILE,
    "patchesStrategicMerge": Way.FILE,
}
_PATHS: Final = frozenset({"patches", "patchesJson6902", "replacements"})
_GENERATORS: Final = frozenset({"configMapGenerator", "secretGenerator"})
_CHART_FOLDER: Final = "charts"


def _documents(text: str) -> tuple[YamlDocument, ...]:
    try:
        return parse_documents(text)
    except YamlError:
        return ()


def _of_fields(document: YamlDocument) -> Iterator[Reference]:
    fields: Mapping[str, Any] = document.value

    def reference(text: str, way: Way, *pointer: str | int) -> Reference:
        return Reference(text=text, way=way, line=document.mark.at(pointer).line)

    for name, value in fields.items():
        if name in _ENTRIES:
            yield from _of_entries(reference, name, value)
        elif name in _PATHS:
            for position, entry in enumerate(value if isinstance(value, list) else ()):
                path = entry.get("path") if isinstance(entry, Mapping) else entry
                if isinstance(path, str) and "\n" not in path:
                    yield reference(path, Way.FILE, name, position, "path")
        elif name in _GENERATORS:
            yield from _of_generators(reference, name, value)
        elif name == "openapi" and isinstance(value, Mapping) and isinstance(path := value.get("path"), str):
            yield reference(path, Way.FILE, name, "path")
        elif name in {"helmCharts", "helmChartInflationGenerator"}:
            yield from _of_charts(reference, name, value, fields.get("helmGlobals"))
        else:
            for pointer, text in _texts(value, (name,)):
                yield reference(text, Way.MAYBE, *pointer)


def _of_entries(reference: "_Make", name: str, value: Any) -> Iterator[Reference]:
    """Yield the entries of a list of paths; an entry of several lines is the content itself."""
    for position, text in enumerate(value if isinstance(value, list) else ()):
        if isinstance(text, str) and "\n" not in text:
            yield reference(text, _ENTRIES[name], name, position)


def _of_generators(reference: "_Make", name: str, value: Any) -> Iterator[Reference]:
    for position, entry in _mappings(value):
        for key in ("files", "envs"):
            listed = entry.get(key)
            for number, text in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(text, str):
                    path = text.partition("=")[2] if key == "files" and "=" in text else text
                    yield reference(path, Way.FILE, name, position, key, number)
        if isinstance(text := entry.get("env"), str):
            yield reference(text, Way.FILE, name, position, "env")


def _of_charts(reference: "_Make", name: str, value: Any, common: Any) -> Iterator[Reference]:
    home = common.get("chartHome") if isinstance(common, Mapping) else None
    for position, entry in _mappings(value):
        chart = entry.get("name", entry.get("chartName"))
        folder = entry.get("chartHome") or home or _CHART_FOLDER
        if isinstance(chart, str) and isinstance(folder, str):
            yield reference(f"{folder}/{chart}", Way.FOLDER, name, position)
        for pointer, text in _texts(entry, (name, position)):
            yield reference(text, Way.MAYBE, *pointer)


def _mappings(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for position, entry in enumerate(value if isinstance(value, list) else ()):
        if isinstance(entry, Mapping):
            yield position, entry


def _texts(value: Any, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    match value:
        case str() if value and "\n" not in value:
            yield pointer, value
            if "=" in value:
                yield pointer, value.partition("=")[2]
        case Mapping():
            for key, part in value.items():
                yield from _texts(part, (*pointer, key))
        case list():
            for position, part in enumerate(value):
                yield from _texts(part, (*pointer, position))
        case _:
            return


class _Make(Protocol):
    """How a reference is made: text, way, and the pointer to where it stands."""

    def __call__(self, text: str, way: Way, *pointer: str | int) -> Reference: ...
