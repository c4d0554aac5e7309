"""Skaffold's builders → images: by a Dockerfile, or by a command."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from devloop.core.draft.fields import Fields
from devloop.core.draft.literals import quoted
from devloop.core.draft.model import Code, Command, DraftImage, Format, Value
from devloop.core.draft.tree import Tree, joined

__all__ = ["BUILDERS", "custom_image", "docker_image", "environment_of"]

_TEMPLATE: Final = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


_REF: Final = Code("ref")
BUILDERS: Final = ("docker", "kaniko", "custom", "buildpacks", "jib", "ko", "bazel")


def docker_image(tree: Tree, fields: Fields, image: DraftImage, builder: str, names: Mapping[str, str]) -> DraftImage:
    """Return an image with what its Dockerfile builder says.

    Args:
        tree: The project's files.
        fields: The artifact.
        image: What is known of the image already.
        builder: The builder's key: `docker` or `kaniko`.
        names: The names of the images by the artifacts' own.
    """
    docker = fields.mapping(builder)
    if builder == "kaniko":
        fields.note("kaniko", "is built on this machine's engine, by the same Dockerfile")
        docker.settled(*docker)
    dockerfile = joined(image.context, docker.text("dockerfile") or "Dockerfile")
    options = dict(image.options)
    returned: dict[str, Value] = {}
    args: dict[str, str] = {}
    for name, value in docker.pairs("buildArgs").items():
        if value is None or _TEMPLATE.search(value):
            returned[name] = environment_of(value or f"{{{{.{name}}}}}")
        else:
            args[name] = value
    if target := docker.text("target"):
        options["target"] = target
    if args:
        options["args"] = args
    if secrets := tuple(_secrets(docker)):
        options["secrets"] = secrets[0] if len(secrets) == 1 else secrets
    if ssh := docker.text("ssh"):
        options["ssh"] = ssh
    if caches := docker.texts("cacheFrom"):
        options["cache_from"] = caches[0] if len(caches) == 1 else caches
    docker.settled("pullParent", "squash")
    docker.left_out("noCache", "not carried over: `devloop up --no-cache`")
    for key in ("network", "addHost"):
        docker.left_out(key, "not carried over: devloop's builds take no such option")
    _flags(docker, options)
    docker.rest()
    image = replace(image, dockerfile=dockerfile, options=options, returned=returned)
    return replace(image, bases=_bases(tree, fields, image, names))


def environment_of(text: str) -> Code | Format:
    """Return a text with Skaffold's templates, which name environment variables, as code."""
    parts = _TEMPLATE.split(text)
    if len(parts) == 3 and not parts[0] and not parts[2]:
        return Code(f'environ.get({quoted(parts[1])}, "")')
    return Format(
        tuple(Code(f"environ.get('{part}', '')") if number % 2 else part for number, part in enumerate(parts))
    )


def _secrets(docker: Fields) -> Iterator[str]:
    for each in docker.mappings("secrets"):
        name, source, variable = each.text("id"), each.text("src"), each.text("env")
        each.rest()
        if source:
            yield f"id={name},src={source if source.startswith(('/', '~')) else joined('.', source)}"
        else:
            yield f"id={name},env={variable}" if variable else f"id={name}"


def _flags(docker: Fields, options: dict[str, Value]) -> None:
    rest = []
    flags = list(docker.texts("cliFlags"))
    while flags:
        flag, equals, value = flags.pop(0).partition("=")
        known = {
            "--platform": "platforms",
            "--ssh": "ssh",
            "--secret": "secrets",
            "--cache-from": "cache_from",
            "--cache-to": "cache_to",
        }
        if flag in known:
            options[known[flag]] = value if equals else flags.pop(0) if flags else ""
        else:
            rest.append(f"{flag}{equals}{value}")
    if rest:
        docker.note("cliFlags", f"`{' '.join(rest)}` is not carried over: devloop's builds take no such option")


def _bases(tree: Tree, fields: Fields, image: DraftImage, names: Mapping[str, str]) -> dict[str, str]:
    """Return the required images by the build argument that takes their reference, where the Dockerfile has one."""
    text = tree.read(image.dockerfile or "") or ""
    found: dict[str, str] = {}
    for each in fields.mappings("requires"):
        needed, alias = each.text("image") or "", each.text("alias")
        each.rest()
        if needed not in names:
            each.note("image", f"not carried over: no artifact is called `{needed}`")
            continue
        argument = alias or needed
        if re.search(rf"(?im)^\s*ARG\s+(?:.*\s)?{re.escape(argument)}(?:[\s=]|$)", text):
            found[argument] = names[needed]
        elif needed not in text:
            each.note(
                "image", f"`{names[needed]}` is not needed by the Dockerfile, which names neither it nor `{argument}`"
            )
    return found


def custom_image(fields: Fields, image: DraftImage, builder: str) -> DraftImage | None:
    """Return an image that a command builds; None where nobody can tell which.

    Args:
        fields: The artifact.
        image: What is known of the image already.
        builder: The builder's key.
    """
    own = fields.mapping(builder)
    fields.settled("requires")
    folder = image.context
    everything = "**" if folder == "." else f"{folder}/**"
    match builder:
        case "custom":
            return _by_command(own, image, folder)
        case "buildpacks":
            flags = [f"--builder {own.text('builder')}"] if "builder" in own else []
            flags += [f"--buildpack {each}" for each in own.texts("buildpacks")]
            flags += [f"--env {each}" for each in own.texts("env")]
            own.settled("runImage", "trustBuilder", "projectDescriptor", "dependencies", "volumes", "clearCache")
            own.rest()
            command = Format(("pack build ", _REF, " ".join([" --path .", *flags])))
        case "jib":
            project = own.text("project")
            own.settled("type", "fromImage", "args")
            gradle = "gradle" in str(own.value.get("type", ""))
            where = f" -pl {project}" if project else ""
            text = "./gradlew jibDockerBuild --image=" if gradle else f"./mvnw{where} compile jib:dockerBuild -Dimage="
            own.rest()
            command = Format((text, _REF))
        case "ko":
            main = own.text("main") or "."
            own.settled("dependencies", "dir", "env", "flags", "labels", "ldflags", "fromImage")
            own.rest()
            command = Format((f"docker tag $(ko build --local --push=false {main}) ", _REF))
        case _:
            fields.note(
                "bazel", "the image is left out: write what bazel has to do as a custom builder, `@image(inputs=[…])`"
            )
            return None
    commands = (Command(text=command, folder=folder),)
    return replace(image, inputs=(everything,), commands=commands, context=".")


def _by_command(own: Fields, image: DraftImage, folder: str) -> DraftImage:
    command = own.text("buildCommand") or ""
    dependencies = own.mapping("dependencies")
    paths = [joined(folder, each) for each in dependencies.texts("paths")]
    paths += [f"!{joined(folder, each)}" for each in dependencies.texts("ignore")]
    if "dockerfile" in dependencies:
        inner = dependencies.mapping("dockerfile")
        inner.settled("path", "buildArgs")
        paths = ["**" if folder == "." else f"{folder}/**"]
    dependencies.left_out("command", "not carried over: say the patterns of the files in `inputs=`")
    dependencies.rest()
    own.rest()
    env: dict[str, Value] = {"IMAGE": _REF, "PUSH_IMAGE": "false", "BUILD_CONTEXT": "."}
    inputs = tuple(paths) or (("**" if folder == "." else f"{folder}/**"),)
    return replace(image, inputs=inputs, commands=(Command(text=command, folder=folder, env=env),), context=".")
