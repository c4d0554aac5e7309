"""The `sync:` of Skaffold's artifacts → syncs."""

import posixpath
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from devloop.core.draft.dockerfiles import facts_of
from devloop.core.draft.fields import Fields
from devloop.core.draft.model import DraftImage, DraftRule, DraftSync, DraftTask, Note
from devloop.core.draft.proposals import Context
from devloop.core.draft.skaffold_hooks import tasks_of_hooks, words_of
from devloop.core.draft.tree import Tree, joined
from devloop.core.patterns import IgnoreRules

__all__ = ["syncs_of_artifact"]

_MOST: Final = 8


def syncs_of_artifact(tree: Tree, fields: Fields, image: DraftImage) -> tuple[list[DraftSync], list[DraftTask]]:
    """Return the syncs of an artifact, and its hooks on the host as tasks.

    Args:
        tree: The project's files.
        fields: The artifact.
        image: Its image.
    """
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
            command = words_of(each.mapping("container"))
            found.append(DraftRule(name="run", arguments=(command,), on=on))
    for each in hooks.mappings("before"):
        if "container" in each:
            each.left_out("container", "not carried over: devloop runs commands after a copy only")
    return found if on else []
