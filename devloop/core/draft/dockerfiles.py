"""Dockerfiles → images: which there are, what their context is, what they are called, what they are built on."""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from devloop.core import reference
from devloop.core.dockerfile import BuildFacts, Dockerfile, build_facts, parse
from devloop.core.dockerfile.stages import Copy
from devloop.core.draft.model import DraftImage, Note
from devloop.core.draft.naming import slug
from devloop.core.draft.tree import Tree, joined
from devloop.errors import InputError, InputErrors

__all__ = ["Build", "base_names", "builds", "context_of", "facts_of", "names_repository", "ports_exposed"]

_PLACES: Final = frozenset(
    {"build", "builds", "container", "containers", "deploy", "docker", "dockerfiles", "images", "infra", "ops", "src"}
)
_VARIANTS: Final = frozenset(
    {
        "ci",
        "debug",
        "dev",
        "develop",
        "development",
        "local",
        "prod",
        "production",
        "release",
        "staging",
        "test",
        "tests",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A Dockerfile and what it would build.

    Attributes:
        dockerfile: Its path.
        context: The build context's folder.
        name: What its place suggests as a name.
        facts: What it says; None where it needs arguments that nobody gives.
        problem: Why it cannot be read, or None.
    """

    dockerfile: str
    context: str
    name: str
    facts: BuildFacts | None = None
    problem: InputError | None = None


def _is_dockerfile(path: str) -> bool:
    """Return whether a file's name is a Dockerfile's."""
    name = posixpath.basename(path)
    if name.endswith(".dockerignore"):
        return False
    stem, _, suffix = name.partition(".")
    return stem in {"Dockerfile", "Containerfile"} or suffix.lower() in {"dockerfile", "containerfile"}


def builds(tree: Tree) -> tuple[list[Build], list[Note]]:
    """Return the builds of all Dockerfiles, and notes about variants that are left out."""
    found: list[Build] = []
    notes: list[Note] = []
    paths = sorted((path for path in tree.files if _is_dockerfile(path)), key=lambda path: (_variant(path) != "", path))
    for path in paths:
        name = _name(path, tree.name)
        plain = next((each for each in found if _same_image(each, path, name)), None)
        if _variant(path) and plain is not None:
            text = f'`{path}` is another Dockerfile for `{plain.name}`; to build by it, say `dockerfile="{path}"`'
            notes.append(Note(text=text))
            continue
        found.append(_build(tree, path, name))
    return sorted(found, key=lambda each: each.dockerfile), notes


def _variant(path: str) -> str:
    stem, _, suffix = posixpath.basename(path).partition(".")
    return suffix if suffix in _VARIANTS else stem if stem in _VARIANTS else ""


def _same_image(build: Build, path: str, name: str) -> bool:
    return posixpath.dirname(build.dockerfile) == posixpath.dirname(path) and build.name == name


def _name(path: str, project: str) -> str:
    folder, file = posixpath.split(path)
    stem, _, suffix = file.partition(".")
    own = suffix if stem in {"Dockerfile", "Containerfile"} else stem
    if own and own not in _VARIANTS:
        return slug(own)
    parts = [part for part in folder.split("/") if part and slug(part) not in _PLACES]
    return slug(parts[-1] if parts else project)


def _build(tree: Tree, path: str, name: str) -> Build:
    text = tree.read(path) or ""
    try:
        parsed = parse(text, path=path)
    except InputErrors as error:
        return Build(dockerfile=path, context=posixpath.dirname(path) or ".", name=name, problem=error.errors[0])
    try:
        facts = build_facts(parsed)
    except InputErrors as error:
        context = posixpath.dirname(path) or "."
        return Build(dockerfile=path, context=context, name=name, problem=error.errors[0])
    return Build(dockerfile=path, context=context_of(tree, path, facts), name=name, facts=facts)


def context_of(tree: Tree, dockerfile: str, facts: BuildFacts) -> str:
    """Return the nearest folder in which everything is that the Dockerfile copies; its own where none has it all."""
    own = posixpath.dirname(dockerfile) or "."
    folder = own
    while True:
        if _has_all(tree, folder, facts):
            return folder
        if folder == ".":
            return own
        folder = posixpath.dirname(folder) or "."


def _has_all(tree: Tree, folder: str, facts: BuildFacts) -> bool:
    for stage in facts.stages.values():
        for operation in stage.operations:
            if not isinstance(operation, Copy) or not operation.from_context:
                continue
            for source in operation.sources:
                if source is not None and not _exists(tree, folder, source.pattern):
                    return False
    return True


def _exists(tree: Tree, folder: str, pattern: str) -> bool:
    path = joined(folder, pattern)
    if pattern == "" or path in tree.folders:
        return True
    if any(mark in pattern for mark in "*?["):
        return bool(tree.matching(path)) or pattern in {"*", "./*"}
    return tree.has(path)


# --- names -----------------------------------------------------------------------------------------------------------


# --- bases -----------------------------------------------------------------------------------------------------------


def facts_of(tree: Tree, image: DraftImage) -> tuple[BuildFacts | None, InputError | None]:
    """Return what an image's Dockerfile says, or why it cannot be built."""
    if image.dockerfile is None:
        return None, None
    text = tree.read(image.dockerfile)
    if text is None:
        return None, InputError(f"there is no `{image.dockerfile}`")
    given = {**image.args, **dict.fromkeys(image.returned, "value"), **dict.fromkeys(image.bases, "base")}
    target = image.options.get("target")
    contexts = image.options.get("contexts")
    names = tuple(str(name) for name in contexts) if isinstance(contexts, Mapping) else ()
    try:
        facts = build_facts(
            parse(text, path=image.dockerfile),
            target=target if isinstance(target, str) else None,
            build_args=given,
            contexts=names,
        )
    except InputErrors as error:
        return None, error.errors[0]
    return facts, None


def base_names(tree: Tree, images: Sequence[DraftImage]) -> set[str]:
    """Return the images that others are built on."""
    found = {base for image in images for base in image.bases.values()}
    for image in images:
        read, _ = facts_of(tree, image)
        uses = read.bases if read else ()
        found |= {each.name for each in images for use in uses if names_repository(use.reference, each.repository)}
    return found


def names_repository(text: str, repository: str) -> bool:
    """Return whether a reference names a repository."""
    try:
        return reference.same_repository(reference.parse(text), reference.parse(repository))
    except InputError:
        return False


def ports_exposed(tree: Tree, image: DraftImage) -> tuple[int, ...]:
    """Return the ports that the Dockerfile's `EXPOSE` lines name by number."""
    try:
        parsed: Dockerfile = parse(tree.read(image.dockerfile or "") or "", path=image.dockerfile or "")
    except InputErrors:
        return ()
    words: Iterable[str] = (word for each in parsed.instructions if each.keyword == "EXPOSE" for word in each.arguments)
    return tuple(dict.fromkeys(int(word.partition("/")[0]) for word in words if re.match(r"\d+(?:/tcp)?\Z", word)))
