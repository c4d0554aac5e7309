"""Places of image references that a key alone does not tell: declared by the user, or known of some custom resources.

A place is a kind and a path: keys with dots between them, `[*]` for every item, `[0]` for one, `[name=api]` for the
items of that name, `['a.b/c']` for a key with dots. A reference in parts has a path for each part.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devloop.core.yaml.places import Pointer
from devloop.errors import InputError
from devloop.model import ImagePath

__all__ = ["ROLES", "ImagePlace", "known_places", "place"]

ROLES = ("registry", "repository", "tag", "digest")
"""The parts of a reference, in their order in the text."""


@dataclass(frozen=True, slots=True)
class _Every:
    """Every item of a list, every value of a mapping."""


@dataclass(frozen=True, slots=True)
class _With:
    """The items that are mappings with this text under this key."""

    key: str
    text: str


_Step = str | int | _Every | _With


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlace:
    """A place where objects of a kind have an image reference.

    Attributes:
        kind: The kind, or `*`.
        group: Its API group, or None for any.
        steps: The way to the text, or to the mapping that has the parts.
        keys: For a reference in parts, the key of each part in that mapping; empty for a text.
        written: The path as the user wrote it.
    """

    kind: str
    group: str | None
    steps: tuple[_Step, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    written: str = ""

    def is_of(self, group: str, kind: str) -> bool:
        """Return whether objects of this kind have the place."""
        return self.kind in ("*", kind) and self.group in (None, group)

    def pointers(self, document: Any) -> Iterator[Pointer]:
        """Yield the places in a document that the path leads to."""
        return _expand(document, (), self.steps)


def place(declared: ImagePath) -> ImagePlace:
    """Return the place that the user declares.

    Raises:
        InputError: The kind or the path is none; without a place, which the caller knows.
    """
    kind, path = declared.kind, declared.path
    group, slash, name = kind.rpartition("/")
    if not _KIND.match(name) or (slash and not _GROUP.match(group)):
        message = f"`{kind}` is not a kind that has images"
        raise InputError(message, hint='write the kind, with its API group if need be: "Runner", "example.org/Runner"')
    found_group = group if slash else None
    if isinstance(path, str):
        return ImagePlace(kind=name, group=found_group, steps=_steps(path), written=path)
    if not isinstance(path, Mapping) or not all(isinstance(each, str) for each in (*path, *path.values())):
        message = f"the images of `{kind}` are at {path!r}, which is no path"
        raise InputError(message, hint='write a path, or the paths of its parts: {"repository": "…", "tag": "…"}')
    steps, keys = _parts(kind, path)
    return ImagePlace(kind=name, group=found_group, steps=steps, keys=keys, written=", ".join(path.values()))


def known_places(group: str, kind: str) -> Iterable[ImagePlace]:
    """Return the places of custom resources that are known, beyond keys that speak of images."""
    return _KNOWN.get((group, kind), ())


_KIND = re.compile(r"\*\Z|[A-Za-z][A-Za-z0-9]*\Z")
_GROUP = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z")


def _parts(kind: str, paths: Mapping[str, str]) -> tuple[tuple[_Step, ...], dict[str, str]]:
    if unknown := [each for each in paths if each not in ROLES]:
        message = f"the images of `{kind}` have the part `{unknown[0]}`, which references do not have"
        raise InputError(message, hint=f"parts are {', '.join(f'`{each}`' for each in ROLES)}")
    if "repository" not in paths:
        raise InputError(f"the images of `{kind}` are in parts, but no path leads to the `repository`")
    split = {role: _steps(path) for role, path in paths.items()}
    above = {steps[:-1] for steps in split.values()}
    keys = {role: steps[-1] for role, steps in split.items() if isinstance(steps[-1], str)}
    if len(above) > 1 or len(keys) < len(split):
        message = f"the parts of the images of `{kind}` are not keys of one mapping"
        raise InputError(message, hint="their paths must differ in the last key only")
    return above.pop(), keys


# --- the path ----------------------------------------------------------------------------------------------

_STEP = re.compile(
    r"""\.(?P<key>[^.\[\]{}'"\s]+)                                  # .spec .*
    | \[ (?P<index>\d{1,9}) \]                                       # [0]
    | \[ (?P<every>\*) \]                                            # [*]
    | \[ (?P<quote>['"]) (?P<quoted>[^'"]+) (?P=quote) \]            # ['a.b/c']
    | \[ (?P<name>[\w./-]+) = (?P<text>[^\]]+) \]                    # [name=api]
    | \[ \?\( @\. (?P<field>[\w./-]+) \s*==\s* (?P<q>['"]) (?P<value>[^'"]+) (?P=q) \) \]   # [?(@.name=='api')]
    """,
    re.VERBOSE,
)


def _steps(path: str) -> tuple[_Step, ...]:
    text = path.strip()
    text = text[1:-1].strip() if text.startswith("{") and text.endswith("}") else text
    text = text.removeprefix("$")
    text = text if text.startswith((".", "[")) else f".{text}"
    steps: list[_Step] = []
    at = 0
    while found := _STEP.match(text, at):
        steps.append(_step(found))
        at = found.end()
    if at < len(text):
        message = f"`{path}` is not a path to an image" + (f", from `{text[at:]}` on" if steps else "")
        hint = "write keys with dots between them, `[*]` for every item: `spec.steps[*].image`"
        raise InputError(message, hint=hint)
    return tuple(steps)


def _step(found: re.Match[str]) -> _Step:
    if found["index"] is not None:
        return int(found["index"])
    if found["name"] is not None:
        return _With(found["name"], found["text"])
    if found["field"] is not None:
        return _With(found["field"], found["value"])
    if found["every"] is not None or found["key"] == "*":
        return _Every()
    return found["quoted"] if found["quoted"] is not None else found["key"]


def _expand(value: Any, pointer: Pointer, steps: Sequence[_Step]) -> Iterator[Pointer]:
    if not steps:
        yield pointer
        return
    items: Iterable[tuple[str | int, Any]]
    match value:
        case dict():
            items = value.items()
        case list():
            items = enumerate(value)
        case _:
            return
    for key, part in items:
        if _is_on_the_way(steps[0], key, part):
            yield from _expand(part, (*pointer, key), steps[1:])


def _is_on_the_way(step: _Step, key: str | int, part: Any) -> bool:
    match step:
        case _Every():
            return True
        case _With():
            return isinstance(part, dict) and step.key in part and str(part[step.key]) == step.text
        case _:
            return key == step or (isinstance(key, int) and str(key) == step)


# --- what is known -----------------------------------------------------------------------------------------


def _table(rows: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], tuple[ImagePlace, ...]]:
    found: dict[tuple[str, str], tuple[ImagePlace, ...]] = {}
    for group, kinds, path in rows:
        for kind in kinds.split():
            known = ImagePlace(kind=kind, group=group, steps=_steps(path), written=path)
            found[group, kind] = (*found.get((group, kind), ()), known)
    return found


_KNOWN = _table(
    [
        ("cdi.kubevirt.io", "DataVolume", "spec.source.registry.url"),
        ("cdi.kubevirt.io", "DataImportCron", "spec.template.spec.source.registry.url"),
        ("extensions.istio.io", "WasmPlugin", "spec.url"),
        ("gateway.envoyproxy.io", "EnvoyExtensionPolicy", "spec.wasm[*].code.image.url"),
        ("image.openshift.io", "ImageStream", "spec.tags[*].from.name"),
        ("kubevirt.io", "VirtualMachine", "spec.dataVolumeTemplates[*].spec.source.registry.url"),
        ("pkg.crossplane.io", "Configuration Function Provider", "spec.package"),
        ("planetscale.com", "VitessCluster", "spec.images.mysqld[*]"),
        ("tekton.dev", "TaskRun", "spec.taskRef.bundle"),
        ("tekton.dev", "PipelineRun", "spec.pipelineRef.bundle"),
        ("tekton.dev", "Pipeline", "spec.tasks[*].taskRef.bundle"),
    ]
)
