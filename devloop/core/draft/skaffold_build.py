"""Skaffold's artifacts → images and syncs."""

import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from devloop.core.draft.dockerfiles import facts_of
from devloop.core.draft.fields import Fields
from devloop.core.draft.literals import quoted
from devloop.core.draft.model import Code, Command, DraftImage, DraftRule, DraftSync, DraftTask, Note, Value
from devloop.core.draft.naming import last_part, slug, unique
from devloop.core.draft.proposals import Context
from devloop.core.draft.skaffold_file import Module
from devloop.core.draft.tree import Tree, joined
from devloop.core.patterns import IgnoreRules

__all__ = ["Artifact", "artifacts_of", "environment_of", "tasks_of_hooks"]

_TEMPLATE: Final = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_MOST: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An artifact: its image with what belongs to it."""

    image: DraftImage
    syncs: tuple[DraftSync, ...] = ()
    tasks: tuple[DraftTask, ...] = ()


def artifacts_of(tree: Tree, module: Module, fields: Fields, names: dict[str, str]) -> list[Artifact]:
    """Return the artifacts of a module.

    Args:
        tree: The project's files.
        module: The module.
        fields: What it says, with a profile applied.
        names: The names of images by the artifacts' own; those of this module are added.
    """
    build = fields.mapping("build")
    declared = build.mappings("artifacts")
    for each in declared:
        image = each.text("image")
        if image is None:
            raise each.error("image", "the artifact's name")
        names.setdefault(image, unique(slug(last_part(image)), names.values()))
    found = [artifact for each in declared if (artifact := _artifact(tree, module, each, names)) is not None]
    build.settled("local", "tagPolicy", "insecureRegistries")
    build.left_out("platforms", "not carried over: say `platforms=` in the @image lines where it matters")
    build.left_out("googleCloudBuild", "not carried over: images are built on this machine's engine")
    build.left_out("cluster", "not carried over: images are built on this machine's engine")
    build.rest()
    return found


def _artifact(tree: Tree, module: Module, fields: Fields, names: Mapping[str, str]) -> Artifact | None:
    repository = fields.text("image") or ""
    context = joined(module.folder, fields.text("context") or ".")
    name = names[repository]
    fields.settled("runtimeType")
    notes: list[Note] = []
    fields.notes, outer = notes, fields.notes
    image = DraftImage(name=name, repository=repository, context=context, options=_platforms(fields))
    builder = next((each for each in _BUILDERS if each in fields), "docker")
    if builder in {"docker", "kaniko"}:
        image = _docker(tree, fields, image, builder, names)
        _, problem = facts_of(tree, image)
        if problem is not None:
            text = f"the image `{repository}` is left out: {problem.message}"
            outer.append(Note(text=text, where=problem.where or fields.where("image")))
            fields.settled(*fields)
            return None
    else:
        custom = _custom(fields, image, builder)
        if custom is None:
            outer += notes
            fields.settled(*fields)
            return None
        image = custom
    syncs, more = _syncs(tree, fields, image)
    tasks = tasks_of_hooks(fields.mapping("hooks"), name, context, "build", image=name)
    fields.rest()
    return Artifact(image=replace(image, notes=tuple(notes)), syncs=tuple(syncs), tasks=(*tasks, *more))


def _platforms(fields: Fields) -> dict[str, Value]:
    platforms = fields.texts("platforms")
    return {"platforms": platforms[0] if len(platforms) == 1 else platforms} if platforms else {}


# --- builders --------------------------------------------------------------------------------------------------------

_BUILDERS: Final = ("docker", "kaniko", "custom", "buildpacks", "jib", "ko", "bazel")


def _docker(tree: Tree, fields: Fields, image: DraftImage, builder: str, names: Mapping[str, str]) -> DraftImage:
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


def environment_of(text: str) -> Code:
    """Return a text with Skaffold's templates, which name environment variables, as code."""
    parts = _TEMPLATE.split(text)
    if len(parts) == 3 and not parts[0] and not parts[2]:
        return Code(f'environ.get({quoted(parts[1])}, "")')
    words = [
        f"{{environ.get('{part}', '')}}" if number % 2 else part.replace("{", "{{").replace("}", "}}")
        for number, part in enumerate(parts)
    ]
    return Code(f"f{quoted(''.join(words))}")


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


def _custom(fields: Fields, image: DraftImage, builder: str) -> DraftImage | None:
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
            command = Code(f'f"{_braced(" ".join(["pack build", "{ref}", "--path .", *flags]))}"')
        case "jib":
            project = own.text("project")
            own.settled("type", "fromImage", "args")
            gradle = "gradle" in str(own.value.get("type", ""))
            where = f" -pl {project}" if project else ""
            text = (
                "./gradlew jibDockerBuild --image={ref}"
                if gradle
                else f"./mvnw{where} compile jib:dockerBuild -Dimage={{ref}}"
            )
            own.rest()
            command = Code(f'f"{text}"')
        case "ko":
            main = own.text("main") or "."
            own.settled("dependencies", "dir", "env", "flags", "labels", "ldflags", "fromImage")
            own.rest()
            command = Code(f'f"docker tag $(ko build --local --push=false {main}) {{ref}}"')
        case _:
            fields.note(
                "bazel", "the image is left out: write what bazel has to do as a custom builder, `@image(inputs=[…])`"
            )
            return None
    commands = (Command(text=command, folder=folder),)
    return replace(image, inputs=(everything,), commands=commands, context=".")


def _braced(text: str) -> str:
    return text.replace('"', "'")


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
    env: dict[str, Value] = {"IMAGE": Code("ref"), "PUSH_IMAGE": "false", "BUILD_CONTEXT": "."}
    inputs = tuple(paths) or (("**" if folder == "." else f"{folder}/**"),)
    return replace(image, inputs=inputs, commands=(Command(text=command, folder=folder, env=env),), context=".")


# --- syncs -----------------------------------------------------------------------------------------------------------


def _syncs(tree: Tree, fields: Fields, image: DraftImage) -> tuple[list[DraftSync], list[DraftTask]]:
    sync = fields.mapping("sync")
    hooks = sync.mapping("hooks")
    facts, _ = facts_of(tree, image)
    context = Context(tree, image, facts) if facts is not None else None
    found: list[DraftSync] = []
    for each in sync.mappings("manual"):
        found += _manual(tree, each, image, facts.workdir if facts else None)
        each.rest()
    inferred = sync.texts("infer")
    if sync.flag("auto"):
        sync.note("auto", "not carried over: only the tool that builds the image knows where its files go")
    if inferred and context is not None:
        found += _inferred(inferred, context, image)
    sync.rest()
    rules = _hook_rules(hooks, found)
    tasks = tasks_of_hooks(hooks, image.name, image.context, "sync", image=image.name, containers=False)
    if found and rules:
        found[0] = replace(found[0], rules=(*found[0].rules, *rules))
    return _once(found), tasks


def _once(found: Sequence[DraftSync]) -> list[DraftSync]:
    kept: dict[tuple[str | None, str | None], DraftSync] = {}
    for each in found:
        kept.setdefault((each.source, each.destination), each)
    return list(kept.values())


def _manual(tree: Tree, fields: Fields, image: DraftImage, workdir: str | None) -> list[DraftSync]:
    """Return the syncs of `src: 'static/**/*.html'`, `dest: www`, `strip: static`: of folders, not of patterns."""
    pattern = posixpath.normpath(fields.text("src") or ".")
    target, strip = fields.text("dest") or ".", (fields.text("strip") or "").strip("/")
    fixed = _fixed(pattern)
    if not target.startswith("/") and workdir is None:
        fields.note(
            "dest", f"`{target}` is relative to a working directory that only the base image knows; say where it is"
        )
        return []
    target = posixpath.normpath(posixpath.join(workdir or "/", target))
    if fixed == pattern:
        sources = [pattern]
    elif fixed:
        sources = [fixed]
    else:
        rules = IgnoreRules.parse(pattern)
        prefix = "" if image.context == "." else f"{image.context}/"
        inside = [path.removeprefix(prefix) for path in tree.below(image.context)]
        matched = [path for path in inside if rules.excludes(path) and ("**" in pattern or "/" not in path)]
        sources = list(dict.fromkeys(path.partition("/")[0] for path in matched))[:_MOST]
    notes: tuple[Note, ...] = ()
    if fixed != pattern and not pattern.endswith(("/**", "/**/*", "/*")) and sources:
        text = f"`{pattern}`: a sync covers all files of its folder"
        notes = (Note(text=text, where=fields.where("src")),)
    found = []
    for source in sources:
        rest = source.removeprefix(strip).strip("/") if strip and source.startswith(strip) else source
        here = joined(image.context, source)
        if not tree.has(here) and here not in tree.folders:
            fields.note("src", f"`{source}` is left out: there is no such file or folder")
            continue
        destination = posixpath.normpath(posixpath.join(target, rest)) if rest else target
        found.append(DraftSync(image=image.name, source=here, destination=destination, notes=notes))
    return found


def _fixed(pattern: str) -> str:
    """Return the part of a pattern before its first wildcard."""
    parts = []
    for part in pattern.split("/"):
        if any(mark in part for mark in "*?[{"):
            break
        parts.append(part)
    return "/".join(parts)


def _inferred(patterns: Sequence[str], context: Context, image: DraftImage) -> list[DraftSync]:
    """Return the sync of all that the patterns match and the Dockerfile copies."""
    rules = IgnoreRules.parse("\n".join(patterns))
    matched = [path for path in context.files if rules.excludes(path) and context.lands(path)]
    whole = [fixed for each in patterns if (fixed := _fixed(posixpath.normpath(each))) and context.below(fixed)]
    rest = [path for path in matched if not any(path.startswith(f"{folder}/") for folder in whole)]
    sources = list(dict.fromkeys([*whole, *(path.partition("/")[0] for path in rest)]))[:_MOST]
    here = [joined(image.context, each) for each in sources]
    if len(here) == 1:
        return [DraftSync(image=image.name, source=here[0])]
    copies = tuple(DraftRule(name="copy", arguments=(each,)) for each in here)
    return [DraftSync(image=image.name, rules=copies)] if copies else []


def _hook_rules(hooks: Fields, syncs: Sequence[DraftSync]) -> list[DraftRule]:
    on = tuple(each.source for each in syncs if each.source is not None)
    on = on or tuple(argument for each in syncs for rule in each.rules for argument in rule.arguments)
    found = []
    for each in hooks.mappings("after"):
        if "container" in each:
            command = _words(each.mapping("container"))
            found.append(DraftRule(name="run", arguments=(command,), on=on))
    for each in hooks.mappings("before"):
        if "container" in each:
            each.left_out("container", "not carried over: devloop runs commands after a copy only")
    return found if on else []


def _words(fields: Fields) -> str:
    words = fields.texts("command")
    if len(words) == 3 and words[:2] in {("sh", "-c"), ("bash", "-c"), ("/bin/sh", "-c")}:
        return words[2]
    return shlex.join(words)


# --- hooks -----------------------------------------------------------------------------------------------------------


def tasks_of_hooks(
    hooks: Fields,
    name: str,
    folder: str,
    what: str,
    *,
    image: str | None = None,
    services: tuple[str, ...] = (),
    owner: Callable[[str, str], str | None] = lambda _pod, _container: None,
    containers: bool = True,
) -> list[DraftTask]:
    """Return the commands that Skaffold runs on the host before and after something, as tasks.

    Args:
        hooks: The hooks.
        name: The node's name.
        folder: Where the commands run.
        what: Before or after what they run: a build, a sync or a deploy.
        image: The image that a task after it needs.
        services: The services that a task after it needs.
        owner: Returns the service of a pod's and a container's names, where that is known.
        containers: Whether commands in containers are tasks, too.
    """
    found = []
    for key in ("before", "after"):
        commands = [
            command
            for each in hooks.mappings(key)
            if (command := _hook_command(each, folder, owner, containers=containers)) is not None
        ]
        if commands:
            task = f"{name}-{key}-{what}"
            found.append(
                DraftTask(
                    name=task,
                    commands=tuple(commands),
                    about=f"Skaffold runs this {key} each {what}; here `devloop run {task}` does.",
                    images=(image,) if image and key == "after" and what == "build" else (),
                    services=services if key == "after" else (),
                )
            )
    hooks.rest()
    return found


def _hook_command(
    each: Fields, folder: str, owner: Callable[[str, str], str | None], *, containers: bool
) -> Command | None:
    if "container" in each:
        container = each.mapping("container")
        if not containers:
            each.settled("container")
            return None
        command = _words(container)
        pod, name = container.text("podName") or "", container.text("containerName") or ""
        service = owner(pod, name)
        container.rest()
        if service is None:
            each.note("container", f"not carried over: it is not known which service `{pod or name}` belongs to")
            return None
        option = f"--container {name} " if name else ""
        return Command(text=f"devloop exec {option}{service} sh -c {shlex.quote(command)}")
    own = each.mapping("host") if "host" in each else each
    own.settled("os")
    where = own.text("dir")
    command = _words(own)
    own.rest()
    each.settled("host")
    if not command:
        return None
    return Command(text=command, folder=joined(folder, where) if where else folder)
