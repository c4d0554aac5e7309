"""Kubernetes manifests as values: text to objects with their places, and objects to text.

The objects stay what the user wrote; what devloop adds (labels, built references) is added by functions that say so.
This is the one module to import for manifests: it passes on its rooms `objects`, `images` and `workloads`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from devloop.core.manifest.images import ImageUse, image_uses, replace_images, without_forced_pulls
from devloop.core.manifest.objects import TEMPLATE, Manifest, Source, is_cluster_scoped, manifest_at, manifest_of
from devloop.core.manifest.order import waves
from devloop.core.manifest.pod_templates import change, pick, template_pointer
from devloop.core.manifest.workloads import ServiceFacts, facts
from devloop.core.yaml.documents import Mark, YamlError, dump, parse_documents
from devloop.errors import InputError, InputErrors, Where
from devloop.model import Digest, Document, ObjectKey

__all__ = [
    "ImageUse",
    "Manifest",
    "ServiceFacts",
    "digest",
    "facts",
    "image_uses",
    "is_cluster_scoped",
    "manifest_of",
    "parse",
    "replace_images",
    "to_yaml",
    "waves",
    "with_labels",
    "without_forced_pulls",
]


# --- reading -----------------------------------------------------------------------------------------------


def parse(
    text: str,
    *,
    path: str,
    rendered_from: str | None = None,
    rendered_by: str = TEMPLATE,
    origins: Sequence[Where | None] = (),
) -> tuple[Manifest, ...]:
    """Return the objects that `text` (YAML or JSON, several documents, Lists) declares, in order.

    Args:
        text: The manifest, already rendered.
        path: The file for messages.
        rendered_from: The template that rendered the text; messages then name it instead of `path`.
        rendered_by: What rendered it, for messages.
        origins: The place that made each line of the text, as `Rendered.lines` of `core.template` gives it.

    Raises:
        InputErrors: All mistakes, or the first where the text is not YAML at all.
    """
    source = Source(
        path=rendered_from or path,
        lines=text.split("\n"),
        rendered=rendered_from is not None,
        origins=origins,
        by=rendered_by,
    )
    try:
        documents = parse_documents(text)
    except YamlError as error:
        raise InputErrors([source.error_at(error.message, error.line, error.column, error.hint)]) from None
    objects = [item for document in documents for item in _flatten(document.value, document.mark, source)]
    errors = [item for item in objects if isinstance(item, InputError)]
    manifests = tuple(item for item in objects if isinstance(item, Manifest))
    errors += _duplicates(manifests)
    if errors:
        raise InputErrors(errors)
    return manifests


def _flatten(
    value: Any, mark: Mark, source: Source, inherited: Mapping[str, str] | None = None
) -> Iterator[Manifest | InputError]:
    """Yield the objects of one document: those of a List, or the one that it is."""
    if not isinstance(value, dict):
        hint = "separate the objects by `---` lines" if isinstance(value, list) else None
        yield source.error(f"a manifest must be a mapping, not {_named(value)}", mark, hint)
        return
    value = {**(inherited or {}), **value}
    kind, items = value.get("kind"), value.get("items")
    if isinstance(kind, str) and kind.endswith("List") and (isinstance(items, list) or items is None):
        version = value.get("apiVersion")
        passed_on = {} if kind == "List" else {"apiVersion": version, "kind": kind.removesuffix("List")}
        for position, item in enumerate(items or []):
            yield from _flatten(item, mark.at(("items", position)), source, passed_on)
        return
    if problems := list(_problems(value, mark, source)):
        yield from problems
    else:
        yield manifest_at(value, mark, source)


def _problems(value: Mapping[str, Any], mark: Mark, source: Source) -> Iterator[InputError]:
    """Yield what keeps a mapping from being an object."""
    if "apiVersion" not in value and "kind" not in value:
        yield source.error("not a Kubernetes object: `apiVersion` and `kind` are missing", mark)
        return
    for name in ("apiVersion", "kind"):
        if value.get(name) is None:
            yield source.error(f"an object without `{name}`", mark)
        elif not isinstance(value[name], str) or not value[name]:
            message = f"`{name}` must be text, not {_named(value[name])}"
            yield source.error(message, mark.at((name,)))
    metadata = value.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        yield source.error(f"`metadata` must be a mapping, not {_named(metadata)}", mark.at(("metadata",)))
        return
    yield from _metadata_problems(str(value.get("kind")), metadata or {}, mark, source)


def _metadata_problems(kind: str, metadata: Mapping[str, Any], mark: Mark, source: Source) -> Iterator[InputError]:
    at = mark.at(("metadata",))
    if not metadata.get("name"):
        generated = bool(metadata.get("generateName"))
        hint = "devloop finds its objects again by name: write `name` instead of `generateName`" if generated else None
        yield source.error(f"{_article(kind)} `{kind}` without `metadata.name`", at, hint)
    for part in ("name", "namespace"):
        if not isinstance(metadata.get(part, ""), str | None):
            message = f"`metadata.{part}` must be text, not {_named(metadata[part])}"
            yield source.error(message, at.at((part,)), f'write it in quotes: `{part}: "{metadata[part]}"`')
    for part in ("labels", "annotations"):
        values = metadata.get(part) or {}
        if not isinstance(values, dict):
            yield source.error(f"`metadata.{part}` must be a mapping, not {_named(values)}", at.at((part,)))
            continue
        for entry, item in values.items():
            if not isinstance(item, str | None):
                message = f"`{entry}` in `metadata.{part}` must be text, not {_named(item)}"
                yield source.error(message, at.at((part, entry)), "write it in quotes")


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


def _named(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return f"the truth value `{str(value).lower()}`"
        case int() | float():
            return f"the number `{value}`"
        case str():
            return "text" if value else "empty text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _duplicates(manifests: Iterable[Manifest]) -> list[InputError]:
    first: dict[ObjectKey, Manifest] = {}
    errors = []
    for manifest in manifests:
        earlier = first.setdefault(manifest.key, manifest)
        if earlier is not manifest:
            message = f"the {manifest.key.kind} `{manifest.key.name}` is declared twice"
            errors.append(InputError(message, where=manifest.where, chain=[earlier.where]))
    return errors


# --- what devloop adds -------------------------------------------------------------------------------------


def with_labels(manifest: Manifest, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Manifest:
    """Return the manifest with `labels` and `annotations` on the object and `labels` on a workload's pods.

    Selectors and volume claim templates stay as they are. Annotations do not reach the pod template: one that changed
    would make new pods.
    """
    document = change(manifest.document, ("metadata",), lambda metadata: _added(metadata, "labels", labels))
    document = change(document, ("metadata",), lambda metadata: _added(metadata, "annotations", annotations))
    template = template_pointer(document)
    if template and isinstance(pick(document, template), dict):
        document = change(document, (*template, "metadata"), lambda metadata: _added(metadata, "labels", labels))
    return manifest.with_document(document)


def _added(metadata: Any, part: str, values: Mapping[str, str]) -> Any:
    if not values:
        return metadata
    return change(metadata, (part,), lambda old: {**(old or {}), **values})


def digest(document: Document) -> Digest:
    """Return the digest of a document's content; the order of keys does not count."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Digest(f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}")


def to_yaml(manifests: Iterable[Manifest]) -> str:
    """Return the manifests as one YAML text, key order kept, text of several lines as blocks."""
    return "---\n".join(dump(manifest.document) for manifest in manifests)
