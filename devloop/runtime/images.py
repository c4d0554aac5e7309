"""What an image node says about itself: its repository, its build arguments, its Dockerfile and what that reads."""

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core import digests, reference
from devloop.core.dockerfile import BaseConfig, BuildFacts, Dockerfile, build_facts, parse
from devloop.core.dockerfile.context import NamedContext
from devloop.core.dockerfile.links import followed
from devloop.core.patterns import NO_IGNORE, IgnoreRules
from devloop.core.reference import same_name
from devloop.core.sync.rules import patterns
from devloop.declarations import Declaration
from devloop.errors import InputError, InputErrors, Where
from devloop.model import NODES, Digest, ImageRef, ImageSpec, RelPath
from devloop.runtime.looks import Looks, archives, links
from devloop.runtime.render import Read, all_in_folder, in_folder
from devloop.runtime.user_code import call

__all__ = ["BuildSource", "build_arguments", "ignore_rules", "is_custom", "read_source", "repository"]


_IMAGE: Final = "docker-image://"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSource:
    """What an image is built from.

    Attributes:
        context: The build context's folder, relative to the project's root.
        dockerfile: The Dockerfile's path, or None for a custom builder.
        text: The Dockerfile, parsed, or None for a custom builder.
        facts: What it says, or None for a custom builder.
        ignore: The rules of `.dockerignore`; for a custom builder the patterns of its inputs.
        recipe: The parts of the recipe, by digest.
        links: The symbolic links of the context that the build follows, with their targets.
        archives: The files of the context that `ADD` names and may unpack.
        contexts: The folders that the build reads beside its context.
    """

    context: str
    dockerfile: RelPath | None
    text: Dockerfile | None
    facts: BuildFacts | None
    ignore: IgnoreRules
    recipe: Mapping[str, Digest]
    links: Mapping[str, str] = field(default_factory=dict)
    archives: frozenset[str] = frozenset()
    contexts: tuple[NamedContext, ...] = ()

    def where(self, line: int) -> Where:
        """Return a place in the Dockerfile."""
        if self.text is None:
            return Where(path=self.context)
        found = next((each for each in self.text.instructions if each.line <= line <= each.end_line), None)
        return self.text.where(line, found.text.strip().splitlines()[0] if found else None)


def is_custom(declaration: Declaration) -> bool:
    """Return whether the function builds the image itself."""
    return isinstance(declaration.spec, ImageSpec) and declaration.spec.inputs is not None


def repository(declaration: Declaration) -> ImageRef:
    """Return the name that the image is built under, without a tag.

    Raises:
        InputError: `ref=` is no repository.
    """
    spec = declaration.spec
    assert isinstance(spec, ImageSpec)
    try:
        ref = reference.parse(spec.ref or declaration.id.name.lower())
    except InputError as error:
        message = f"image `{declaration.id.name}` cannot be called `{spec.ref or declaration.id.name}`: {error.message}"
        raise InputError(message, where=declaration.where, hint=error.hint or "say `ref=` or `name=`") from None
    if ref.tag or ref.digest:
        message = f"image `{declaration.id.name}` has a tag in its `ref`, but its tag follows its content"
        raise InputError(message, where=declaration.where, hint=f'write `ref="{ref.repository}"`')
    return ref


def build_arguments(declaration: Declaration, handles: Mapping[str, object], *, root: str) -> dict[str, str]:
    """Return the build arguments: those of the decorator, and over them those that the function returns.

    Raises:
        InputError: The function raises, or returns something else than names and values.
    """
    spec = declaration.spec
    assert isinstance(spec, ImageSpec)
    what = f"image `{declaration.id.name}`"
    returned: Any = call(declaration.function, handles, root=root, where=declaration.where, what=what)
    if returned is None:
        return dict(spec.args)
    if not isinstance(returned, Mapping):
        message = f"{what} returns {type(returned).__name__}, but build arguments are a mapping"
        raise InputError(message, where=declaration.where, hint='return {"NAME": value, …}, or nothing')
    given = {str(name): _text(value) for name, value in returned.items() if value is not None}
    return {**spec.args, **given}


def read_source(
    declaration: Declaration,
    args: Mapping[str, str],
    *,
    read: Read,
    is_directory: Callable[[str], bool],
    base: Callable[[str], BaseConfig | None],
    looks: Looks,
    platform: str,
) -> BuildSource:
    """Return what the image is built from.

    Args:
        declaration: The image.
        args: Its build arguments.
        read: Reads the project's files.
        is_directory: Tells whether a path relative to the root is a folder.
        base: Tells what a base image hands on; None where that is not known.
        looks: Looks at the disk.
        platform: What the builder runs on.

    Raises:
        InputErrors: The Dockerfile or the `.dockerignore` has mistakes.
        InputError: There is no such Dockerfile.
    """
    spec = declaration.spec
    assert isinstance(spec, ImageSpec)
    if spec.inputs is not None:
        return _custom(declaration, spec.inputs)
    context, dockerfile = _paths(declaration, spec, is_directory)
    text = read(dockerfile)
    if text is None:
        raise _no_dockerfile(declaration, dockerfile, is_directory(context))
    try:
        parsed = parse(text, path=dockerfile)
        facts = _facts(parsed, spec, args, base, platform)
    except InputErrors as mistakes:
        raise InputErrors([_asked_by(declaration, each) for each in mistakes.errors]) from mistakes
    ignore = ignore_rules(context, dockerfile, read)
    leading = links(facts.sources, context, ignore, looks)
    facts = facts.following(leading)
    return BuildSource(
        context=context,
        dockerfile=RelPath(dockerfile),
        text=parsed,
        facts=facts,
        ignore=ignore,
        links=leading,
        archives=archives(facts.sources, context, looks),
        contexts=tuple(_named_contexts(declaration, facts, read, looks)),
        recipe={
            dockerfile: digests.of_value(facts.recipe),
            "build arguments": digests.of_value({each.name: each.value for each in facts.arguments}),
            "the @image line": digests.of_value(_settings(spec)),
        },
    )


def _asked_by(declaration: Declaration, error: InputError) -> InputError:
    return InputError(error.message, where=error.where, hint=error.hint, chain=(*error.chain, declaration.where))


def _facts(
    parsed: Dockerfile,
    spec: ImageSpec,
    args: Mapping[str, str],
    base: Callable[[str], BaseConfig | None],
    platform: str,
) -> BuildFacts:
    """Return what the Dockerfile says, given what its base images hand on."""
    known: dict[str, BaseConfig] = {}
    asked: set[str] = set()
    while True:
        facts = build_facts(
            parsed,
            target=spec.target,
            build_args=args,
            contexts=tuple(spec.contexts),
            bases=known,
            platform=next((each for each in spec.platforms if each != NODES), platform),
            build_platform=platform,
        )
        # What a base image hands on may be an instruction that names others.
        unasked = {use.reference for use in facts.bases if use.via == "FROM"} - asked
        found = {each: _base(each, spec.contexts, base) for each in unasked}
        asked |= unasked
        known |= {each: config for each, config in found.items() if config is not None}
        if not any(found.values()):
            return facts


def _base(name: str, contexts: Mapping[str, str], base: Callable[[str], BaseConfig | None]) -> BaseConfig | None:
    """Return what an image or a named context of this name hands on, None where that is not known."""
    replaced = next((value for key, value in contexts.items() if same_name(key, name)), None)
    if replaced is None:
        return base(name)
    if replaced.startswith(_IMAGE):
        return base(replaced.removeprefix(_IMAGE))
    return None if "://" in replaced else BaseConfig()


def _named_contexts(declaration: Declaration, facts: BuildFacts, read: Read, looks: Looks) -> Iterator[NamedContext]:
    spec = declaration.spec
    assert isinstance(spec, ImageSpec)
    for name, value in spec.contexts.items():
        sources = tuple(each for key, found in facts.elsewhere.items() if same_name(key, name) for each in found)
        if "://" in value or not sources:
            continue
        folder = in_folder(declaration.folder, value)
        path = posixpath.normpath(posixpath.join(folder, ".dockerignore"))
        text = read(path)
        ignore = NO_IGNORE if text is None else IgnoreRules.parse(text, path=path)
        reached = followed(sources, links(sources, folder, ignore, looks))
        yield NamedContext(folder=folder, sources=reached, ignore=ignore)


def _custom(declaration: Declaration, inputs: Sequence[str]) -> BuildSource:
    return BuildSource(
        context=in_folder(declaration.folder, "."),
        dockerfile=None,
        text=None,
        facts=None,
        ignore=patterns(all_in_folder(declaration.folder, inputs)),
        recipe={},
    )


def _paths(declaration: Declaration, spec: ImageSpec, is_directory: Callable[[str], bool]) -> tuple[str, str]:
    context = in_folder(declaration.folder, spec.context)
    if spec.dockerfile is not None:
        return context, in_folder(declaration.folder, spec.dockerfile)
    name = posixpath.basename(context)
    if not is_directory(context) and ("dockerfile" in name.lower() or "containerfile" in name.lower()):
        return posixpath.dirname(context) or ".", context
    return context, posixpath.normpath(posixpath.join(context, "Dockerfile"))


def _no_dockerfile(declaration: Declaration, dockerfile: str, context_exists: bool) -> InputError:  # noqa: FBT001
    message = f"image `{declaration.id.name}` has no Dockerfile: there is no `{dockerfile}`"
    hint = "say where it is: @image(…, dockerfile=…)" if context_exists else "the build context's folder does not exist"
    return InputError(message, where=declaration.where, hint=hint)


def ignore_rules(context: str, dockerfile: str, read: Read) -> IgnoreRules:
    """Return the rules of `<Dockerfile>.dockerignore`, which BuildKit prefers, or of the context's own."""
    for path in (f"{dockerfile}.dockerignore", posixpath.normpath(posixpath.join(context, ".dockerignore"))):
        text = read(path)
        if text is not None:
            return IgnoreRules.parse(text, path=path)
    return NO_IGNORE


def _settings(spec: ImageSpec) -> dict[str, object]:
    return {
        "target": spec.target,
        "contexts": dict(spec.contexts),
        "secrets": list(spec.secrets),
        "platforms": list(spec.platforms),
    }


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
