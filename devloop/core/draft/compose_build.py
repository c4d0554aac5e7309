"""The `build:` and `develop:` of a Compose service → an image and its syncs."""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

from devloop.core import reference
from devloop.core.draft.compose_file import Compose
from devloop.core.draft.fields import Fields
from devloop.core.draft.model import Code, DraftImage, DraftRule, DraftSync, Note, Value
from devloop.core.draft.naming import slug
from devloop.core.draft.tree import Tree, joined
from devloop.errors import InputError

__all__ = ["image_of", "repository_of", "syncs_of"]

_NOT_BUILT_SO: Final = "not carried over: devloop's builds take no such option"


def repository_of(service: str, fields: Fields) -> str:
    """Return what the service's image is called, without a tag."""
    text = fields.text("image")
    if text is None or "build" not in fields:
        return text or slug(service)
    try:
        return reference.parse(text).repository
    except InputError as error:
        raise InputError(error.message, where=fields.where("image"), hint=error.hint) from None


def image_of(
    compose: Compose, tree: Tree, service: str, fields: Fields, names: Mapping[str, str]
) -> tuple[DraftImage, dict[str, str]] | None:
    """Return the image that a service builds, with the files to write for it; None where it builds none.

    Args:
        compose: The whole.
        tree: The project's files.
        service: The service's name.
        fields: What it says.
        names: The names of the images by service.
    """
    if "build" not in fields:
        return None
    folder = compose.folders.get(service, ".")
    raw = fields.raw("build")
    build = _build_fields(fields, raw)
    notes: list[Note] = []
    build.notes = notes
    context = build.text("context") or "."
    if "://" in context or context.startswith(("git@", "github.com/")):
        build.note("context", "not carried over: devloop builds what is on disk, not what a repository holds")
        fields.notes.extend(notes)
        return None
    context = joined(folder, context)
    dockerfile = joined(context, build.text("dockerfile") or "Dockerfile")
    written: dict[str, str] = {}
    if (inline := build.text("dockerfile_inline")) is not None:
        dockerfile = joined(context, f"{slug(service)}.Dockerfile")
        written[dockerfile] = inline
    elif not tree.has(dockerfile):
        text = f"`{service}` is not built: there is no `{dockerfile}`"
        fields.notes.append(Note(text=text, where=build.where("context")))
        return None
    options, returned = _options(build, compose, folder, names)
    for key in ("no_cache", "pull", "tags", "labels"):
        build.left_out(
            key, "not carried over: `devloop up --no-cache`, `--pull`" if key in {"no_cache", "pull"} else _NOT_BUILT_SO
        )
    for key in (
        "network",
        "extra_hosts",
        "privileged",
        "entitlements",
        "isolation",
        "ulimits",
        "shm_size",
        "provenance",
        "sbom",
    ):
        build.left_out(key, _NOT_BUILT_SO)
    build.rest()
    if (platform := fields.text("platform")) is not None and "platforms" not in options:
        options["platforms"] = platform
    image = DraftImage(
        name=slug(service),
        repository=repository_of(service, fields),
        context=context,
        dockerfile=dockerfile,
        options=options,
        returned=returned,
        notes=tuple(notes),
    )
    return image, written


def _build_fields(fields: Fields, raw: Any) -> Fields:
    if isinstance(raw, str):
        return Fields({"context": raw}, fields.mark.at(("build",)), fields.path, fields.notes, f"{fields.name}.build")
    return fields.mapping("build")


def _options(
    build: Fields, compose: Compose, folder: str, names: Mapping[str, str]
) -> tuple[dict[str, Value], dict[str, Value]]:
    args = build.pairs("args")
    options: dict[str, Value] = {}
    if target := build.text("target"):
        options["target"] = target
    if known := {name: value for name, value in args.items() if value is not None}:
        options["args"] = known
    returned: dict[str, Value] = {
        name: Code(f'environ.get("{name}", "")') for name, value in args.items() if value is None
    }
    if contexts := dict(_contexts(build, folder, names)):
        options["contexts"] = contexts
    if secrets := tuple(_secrets(build, compose, folder)):
        options["secrets"] = secrets[0] if len(secrets) == 1 else secrets
    if ssh := tuple(name if value is None else f"{name}={value}" for name, value in _listed(build, "ssh")):
        options["ssh"] = ssh[0] if len(ssh) == 1 else ssh
    for key in ("platforms", "cache_from", "cache_to"):
        if texts := build.texts(key):
            options[key] = texts[0] if len(texts) == 1 else texts
    return options, returned


def _listed(build: Fields, key: str) -> Iterator[tuple[str, str | None]]:
    value = build.value.get(key)
    if isinstance(value, str):
        build.settled(key)
        yield value, None
    else:
        yield from build.pairs(key).items()


def _contexts(build: Fields, folder: str, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in build.pairs("additional_contexts").items():
        if value is None:
            continue
        if value.startswith("service:"):
            base = names.get(value.removeprefix("service:"))
            if base is None:
                build.note("additional_contexts", f"`{value}` is not carried over: that service builds no image")
            elif base != name:
                text = (
                    f"`{name}` stands for the image `{base}`: write `{base}` in the Dockerfile's FROM and COPY --from"
                )
                build.note("additional_contexts", text)
        else:
            yield name, value if "://" in value else joined(folder, value)


def _secrets(build: Fields, compose: Compose, folder: str) -> Iterator[str]:
    raw = build.raw("secrets")
    for item in raw if isinstance(raw, list) else []:
        source = item if isinstance(item, str) else item.get("source") if isinstance(item, dict) else None
        name = str(item.get("target") or source) if isinstance(item, dict) else str(source)
        declared = compose.secrets.get(str(source))
        if declared is None:
            raise InputError(f"there is no secret `{source}`", where=build.where("secrets"))
        if file := declared.text("file"):
            yield f"id={name},src={joined(folder, file)}"
        elif variable := declared.text("environment"):
            yield f"id={name},env={variable}"
        else:
            build.note("secrets", f"`{source}` is not carried over: it has neither a file nor a variable")


# --- syncs -----------------------------------------------------------------------------------------------------------


def syncs_of(compose: Compose, service: str, fields: Fields, image: DraftImage | None) -> list[DraftSync]:
    """Return the syncs of a service's `develop.watch`."""
    develop = fields.mapping("develop")
    watches = develop.mappings("watch")
    develop.rest()
    folder = compose.folders.get(service, ".")
    found: list[DraftSync] = []
    for watch in watches:
        path, action = joined(folder, watch.text("path") or "."), watch.text("action") or ""
        target = watch.text("target")
        ignored = tuple(joined(path, each) for each in watch.texts("ignore"))
        watch.left_out("include", "not carried over: a sync covers all files of its folder")
        hook = watch.mapping("exec")
        if image is None:
            watch.note(None, "not carried over: the service builds no image")
            continue
        if action == "rebuild":
            watch.settled(*watch)
            continue
        notes: list[Note] = []
        rules = tuple(_rules(action, path, hook, ignored))
        if action == "restart":
            found.append(DraftSync(image=image.name, source=path, rules=rules, notes=tuple(notes)))
        elif action in {"sync", "sync+restart", "sync+exec"}:
            destination = None if target is None else _destination(path, target)
            found.append(DraftSync(image=image.name, source=path, destination=destination, rules=rules))
        else:
            raise watch.error("action", "one of rebuild, restart, sync, sync+exec and sync+restart")
        watch.settled("initial_sync")
        watch.rest()
    return found


def _rules(action: str, path: str, hook: Fields, ignored: tuple[str, ...]) -> Iterator[DraftRule]:
    if "restart" in action:
        yield DraftRule(name="restart", on=(path,))
    if action == "sync+exec":
        raw = hook.raw("command")
        command = raw if isinstance(raw, str) else _shell(raw if isinstance(raw, list) else [])
        hook.left_out("user", "not carried over: commands run as the container's user")
        hook.left_out("privileged", "not carried over: commands run with the container's rights")
        if working := hook.text("working_dir"):
            command = f"cd {working} && {command}"
        hook.rest()
        yield DraftRule(name="run", arguments=(command,), on=(path,))
    if ignored:
        yield DraftRule(name="ignore", arguments=ignored)


def _shell(words: list[Any]) -> str:
    import shlex

    return shlex.join(str(word) for word in words)


def _destination(path: str, target: str) -> str:
    """Return where a file or folder goes: Compose puts a file into a target that ends with a slash."""
    if target.endswith("/") and target != "/":
        return (
            posixpath.join(target, posixpath.basename(path)) if "." in posixpath.basename(path) else target.rstrip("/")
        )
    return target
