"""Dockerfiles → images under the names by which manifests and other Dockerfiles ask for them."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from devloop.core import reference
from devloop.core.draft.dockerfiles import Build, context_of, facts_of
from devloop.core.draft.model import DraftImage, Note
from devloop.core.draft.naming import last_part, slug, unique
from devloop.core.draft.tree import Tree
from devloop.errors import InputError

__all__ = ["images_of"]

_BASE_ARGUMENT: Final = re.compile(r"BASE(?:_?IMAGE)?\Z|(?P<name>\w+?)_?(?:BASE_)?IMAGE\Z|BASE_(?P<other>\w+)\Z")


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
                image = replace(image, context=context_of(tree, image.dockerfile, facts))  # noqa: PLW2901
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
