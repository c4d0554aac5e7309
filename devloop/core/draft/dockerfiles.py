"""Dockerfiles → images: which there are, what their context is, what they are called, what they are built on."""

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from devloop.core import reference
from devloop.core.dockerfile import BuildFacts, Dockerfile, build_facts, parse
from devloop.core.draft.model import DraftImage, Note
from devloop.core.draft.naming import last_part, slug, unique
from devloop.core.draft.tree import Tree, joined
from devloop.core.stages import Copy
from devloop.errors import InputError, InputErrors

__all__ = [
    "Build",
    "base_names",
    "builds",
    "facts_of",
    "images_of",
    "names_repository",
    "ports_exposed",
]

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
_BASE_ARGUMENT: Final = re.compile(r"BASE(?:_?IMAGE)?\Z|(?P<name>\w+?)_?(?:BASE_)?IMAGE\Z|BASE_(?P<other>\w+)\Z")


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
    return Build(dockerfile=path, context=_context_of(tree, path, facts), name=name, facts=facts)


def _context_of(tree: Tree, dockerfile: str, facts: BuildFacts) -> str:
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


def images_of(
    tree: Tree, found: Sequence[Build], references: Mapping[str, Collection[str]]
) -> tuple[list[DraftImage], list[Note]]:
    """Return the images, each under the name by which manifests and other Dockerfiles ask for it.

    Args:
        tree: The project's files.
        found: The builds.
        references: The references that manifests name, each with the names of the workloads that do.
    """
    asked = {repository: set(owners) for text, owners in references.items() if (repository := _repository(text))}
    for build in found:
        for use in build.facts.bases if build.facts else ():
            if repository := _repository(use.reference):
                asked.setdefault(repository, set())
    pairs, doubts = _pairs(tree, found, asked)
    images: list[DraftImage] = []
    notes = list(doubts)
    for build in found:
        repository = pairs.get(build.dockerfile)
        own = slug(last_part(repository)) if repository and build.name == slug(tree.name) else build.name
        name = unique(own, (each.name for each in images))
        image = DraftImage(
            name=name,
            repository=repository or name,
            context=build.context,
            dockerfile=build.dockerfile,
        )
        images.append(image)
    images, more = _with_bases(tree, images)
    return images, notes + more


def _repository(text: str) -> str | None:
    try:
        ref = reference.parse(text)
    except InputError:
        return None
    return None if ref.digest else ref.repository


def _pairs(tree: Tree, found: Sequence[Build], asked: Mapping[str, set[str]]) -> tuple[dict[str, str], list[Note]]:
    scores = {
        (build.dockerfile, repository): score
        for build in found
        for repository, owners in asked.items()
        if (score := _score(build, repository, owners, tree.name))
    }
    pairs: dict[str, str] = {}
    notes: list[Note] = []
    for wanted in (4, 3, 2):
        for build in found:
            fitting = [
                repository
                for repository in asked
                if scores.get((build.dockerfile, repository)) == wanted and repository not in pairs.values()
            ]
            rivals = [
                other
                for other in found
                if other is not build
                and other.dockerfile not in pairs
                and fitting
                and scores.get((other.dockerfile, fitting[0])) == wanted
            ]
            if build.dockerfile in pairs or not fitting:
                continue
            if len(fitting) == 1 and not rivals:
                pairs[build.dockerfile] = fitting[0]
            elif wanted == 2 or len(fitting) > 1:
                listed = ", ".join(f"`{each}`" for each in fitting)
                text = f"`{build.dockerfile}` may be built for {listed}; if so, say `ref=` in its @image"
                notes.append(Note(text=text))
    if not pairs and len(found) == 1:
        own = [each for each in asked if not _is_public(each)]
        if len(own) == 1:
            pairs[found[0].dockerfile] = own[0]
    return pairs, notes


def _score(build: Build, repository: str, owners: Collection[str], project: str) -> int:
    last = slug(last_part(repository))
    own = build.name
    if last == own:
        return 4
    if last in {f"{slug(project)}-{own}", f"{own}-{slug(project)}"}:
        return 3
    if _is_public(repository):
        return 0
    if last.endswith(f"-{own}") or last.startswith(f"{own}-") or own.endswith(f"-{last}"):
        return 2
    return 2 if own in {slug(owner) for owner in owners} else 0


def _is_public(repository: str) -> bool:
    """Return whether a repository is one of the official ones, which no project builds itself."""
    ref = reference.parse(repository)
    return reference.full_repository(ref).startswith("docker.io/library/") and ref.path in _OFFICIAL


_OFFICIAL: Final = frozenset(
    {
        "alpine", "busybox", "caddy", "cassandra", "couchdb", "debian", "eclipse-mosquitto", "elasticsearch", "golang",
        "haproxy", "httpd", "influxdb", "mariadb", "memcached", "mongo", "mysql", "nats", "nginx", "node", "php",
        "postgres", "python", "rabbitmq", "redis", "registry", "ruby", "rust", "solr", "traefik", "ubuntu", "vault",
        "wordpress", "zookeeper",
    }
)  # fmt: skip


# --- bases -----------------------------------------------------------------------------------------------------------


def _with_bases(tree: Tree, images: Sequence[DraftImage]) -> tuple[list[DraftImage], list[Note]]:
    """Give build arguments that a `FROM` needs the image that they are meant for; leave out what cannot be built."""
    kept: list[DraftImage] = []
    notes: list[Note] = []
    for image in images:
        facts, problem = facts_of(tree, image)
        if facts is None:
            found = _asked_base(tree, image, images)
            candidate = replace(image, bases=found)
            facts, problem = facts_of(tree, candidate)
            image = candidate  # noqa: PLW2901
            if facts is not None and image.dockerfile is not None:
                image = replace(image, context=_context_of(tree, image.dockerfile, facts))  # noqa: PLW2901
        if problem is not None:
            text = f"`{image.dockerfile}` is left out: {problem.message}"
            notes.append(Note(text=text, where=problem.where))
            continue
        kept.append(image)
    return kept, notes


def _asked_base(tree: Tree, image: DraftImage, images: Sequence[DraftImage]) -> dict[str, str]:
    """Return the images of the project by the arguments of `FROM` lines that have no default."""
    text = tree.read(image.dockerfile or "") or ""
    others = [each for each in images if each is not image]
    found: dict[str, str] = {}
    for name in re.findall(r"(?im)^\s*FROM\s+(?:--\S+\s+)*\$\{?(\w+)\}?", text):
        match = _BASE_ARGUMENT.match(name.upper())
        if not match:
            continue
        part = slug(match["name"] or match["other"] or "base")
        fitting = [each for each in others if each.name == part or each.name.endswith(f"-{part}")]
        if not fitting:
            fitting = [each for each in others if each.name == "base" or each.name.endswith("-base")]
        if len(fitting) == 1:
            found[name] = fitting[0].name
    return found


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
