"""A draft as the text of a devfile: as a person would write it, and as `ruff format` leaves it."""

import posixpath
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from devloop.core.draft.literals import WIDTH, call, literal
from devloop.core.draft.model import (
    Code,
    Command,
    Draft,
    DraftImage,
    DraftRule,
    DraftService,
    DraftSync,
    DraftTask,
    Format,
    Handle,
    Note,
    Value,
)
from devloop.core.draft.naming import Functions, slug, unique
from devloop.core.draft.profiles import Block, merged
from devloop.model import Kind

__all__ = ["comment", "devfile", "notes_of"]


def devfile(draft: Draft) -> str:
    """Return the text of the devfile."""
    names = _Names.of((draft, *draft.profiles.values()), switches=draft.profiles)
    blocks = merged(_blocks(draft, names), {name: _blocks(each, names) for name, each in draft.profiles.items()})
    body = "".join(f"\n\n{text}" for text in (block.text() for block in blocks) if text)
    ahead = "".join(_line_of_switch(name, each) for name, each in draft.profiles.items())
    if draft.project:
        ahead = call("project", (), draft.project) + "\n" + (f"\n{ahead}" if ahead else "")
    notes = "".join(f"{line}\n" for each in draft.notes for line in comment(each))
    parts = [_docstring(draft.about), _imports(ahead + body)]
    if ahead:
        parts.append(ahead)
    text = "\n".join(part for part in parts if part) + body
    if notes:
        text += f"\n\n# --- what is left to you {'-' * 60}\n\n{notes}"
    return text


def notes_of(draft: Draft) -> tuple[str, ...]:
    """Return all notes of a draft as text, each once."""
    owners = (draft, *draft.profiles.values())
    nodes: list[DraftImage | DraftService | DraftSync | DraftTask] = []
    for each in owners:
        nodes += [*each.images, *each.services, *each.syncs, *each.tasks]
    notes = [note for node in nodes for note in node.notes]
    return tuple(dict.fromkeys(f"{note.text}{_place(note)}" for note in (*notes, *draft.notes)))


def _place(note: Note) -> str:
    if note.where is None:
        return ""
    return f" ({note.where.path}:{note.where.line})" if note.where.line else f" ({note.where.path})"


def comment(note: Note, indent: str = "") -> list[str]:
    """Return a note as the lines of a comment."""
    lead = f"{indent}# "
    return textwrap.wrap(
        note.text + _place(note),
        width=WIDTH,
        initial_indent=lead,
        subsequent_indent=f"{lead}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


# --- names -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """The function of each node, and whether its name has to be said."""

    functions: Mapping[tuple[Kind, str], str] = field(default_factory=dict)
    told: frozenset[tuple[Kind, str]] = frozenset()

    @classmethod
    def of(cls, drafts: Iterable[Draft], switches: Iterable[str]) -> "_Names":
        functions = Functions(switches)
        found: dict[tuple[Kind, str], str] = {}
        told: set[tuple[Kind, str]] = set()
        for draft in drafts:
            for kind, name in _nodes(draft):
                if (kind, name) not in found:
                    found[kind, name], plain = functions.name(kind, name)
                    if not plain:
                        told.add((kind, name))
        return cls(functions=found, told=frozenset(told))

    def named(self, kind: Kind, name: str) -> dict[str, Value]:
        return {"name": name} if (kind, name) in self.told else {}

    def parameters(self, images: Iterable[str] = (), services: Iterable[str] = ()) -> list[str]:
        found = [f"{self.functions[Kind.IMAGE, name]}: Image" for name in dict.fromkeys(images)]
        return found + [f"{self.functions[Kind.SERVICE, name]}: Service" for name in dict.fromkeys(services)]

    def resolved(self, value: Value) -> Value:
        """Return a value with the functions of images in place of `Handle`s."""
        match value:
            case Handle():
                return Code(f"{self.functions[Kind.IMAGE, value.image]}{value.attribute}")
            case Format():
                return Code(f'f"{"".join(self._inside(each) for each in value.parts)}"')
            case Mapping():
                return {key: self.resolved(each) for key, each in value.items()}
            case _:
                return value

    def _inside(self, part: str | Code | Handle) -> str:
        """Return a part of an f-string in double quotes."""
        if isinstance(part, str):
            escaped = part.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return escaped.replace("{", "{{").replace("}", "}}")
        return f"{{{literal(self.resolved(part))}}}"


def _nodes(draft: Draft) -> Iterable[tuple[Kind, str]]:
    yield from ((Kind.IMAGE, each.name) for each in draft.images)
    yield from ((Kind.SERVICE, each.name) for each in draft.services)
    yield from ((Kind.SYNC, name) for name, _ in _numbered(draft.syncs))
    yield from ((Kind.CHECK if each.check else Kind.TASK, each.name) for each in draft.tasks)


# --- nodes -----------------------------------------------------------------------------------------------------------


def _blocks(draft: Draft, names: _Names) -> list[Block]:
    blocks = [_image(each, names) for each in draft.images]
    blocks += [_service(each, names) for each in draft.services]
    blocks += [_sync(name, each, names) for name, each in _numbered(draft.syncs)]
    return blocks + [_task(each, names) for each in draft.tasks]


def _numbered(syncs: Sequence[DraftSync]) -> list[tuple[str, DraftSync]]:
    """Return the syncs with a name for each."""
    found: list[tuple[str, DraftSync]] = []
    for sync in syncs:
        part = posixpath.splitext(posixpath.basename(sync.source))[0] if sync.destination and sync.source else "code"
        name = unique(f"{sync.image}-{slug(part)}", (each for each, _ in found))
        found.append((name, sync))
    return found


def _image(image: DraftImage, names: _Names) -> Block:
    node = (Kind.IMAGE, image.name)
    options: dict[str, Value] = dict(names.named(*node))
    positional: Value = image.context
    if image.dockerfile is not None:
        folder, file = posixpath.split(image.dockerfile)
        if (folder or ".") == image.context and file != "Dockerfile" and "file" in file.lower():
            positional = image.dockerfile
        elif image.dockerfile != posixpath.normpath(posixpath.join(image.context, "Dockerfile")):
            options["dockerfile"] = image.dockerfile
    if image.repository != image.name:
        options["ref"] = image.repository
    options |= {name: value for name, value in image.options.items() if value}
    parameters = names.parameters(images=image.bases.values())
    if image.inputs is not None:
        options["inputs"] = image.inputs
        parameters.insert(0, "ref: str")
    returned: dict[str, Value] = {
        name: Code(names.functions[Kind.IMAGE, base]) for name, base in image.bases.items()
    } | {name: names.resolved(value) for name, value in image.returned.items()}
    body = [_command(each, names) for each in image.commands]
    return Block(
        key=("image", image.name),
        function=names.functions[node],
        decorator="image",
        positional=(positional,),
        options=options,
        comment=image.comment,
        parameters=tuple(parameters),
        returned=returned,
        body=tuple(body),
        notes=tuple(line for note in image.notes for line in comment(note)),
    )


def _service(service: DraftService, names: _Names) -> Block:
    node = (Kind.SERVICE, service.name)
    positional = tuple(
        each if isinstance(each, str) else Code(call(each.tool, (each.path,), each.options, indent=4))
        for each in service.manifests
    )
    options = dict(names.named(*node))
    if service.ports is not None:
        options["ports"] = {local: remote for local, remote in service.ports.items()}  # noqa: C416 - another type
    return Block(
        key=("service", service.name),
        function=names.functions[node],
        decorator="service",
        positional=positional,
        options=options,
        comment=service.comment,
        parameters=tuple(names.parameters(service.images, service.services)),
        returned={name: names.resolved(value) for name, value in service.returned.items()},
        notes=tuple(line for note in service.notes for line in comment(note)),
    )


def _sync(name: str, sync: DraftSync, names: _Names) -> Block:
    positional = tuple(each for each in (sync.source, sync.destination) if each is not None)
    return Block(
        key=("sync", name),
        function=names.functions[Kind.SYNC, name],
        decorator="sync",
        positional=positional,
        options=names.named(Kind.SYNC, name),
        parameters=tuple(names.parameters(images=(sync.image,))),
        body=tuple(_rule(each) for each in sync.rules),
        notes=tuple(line for note in sync.notes for line in comment(note)),
    )


def _rule(rule: DraftRule) -> str:
    on: Value = rule.on[0] if len(rule.on) == 1 else Code(literal(rule.on, brackets="[]", indent=8))
    return f"yield {call(rule.name, rule.arguments, {'on': on} if rule.on else {}, indent=4, lead=6)}"


def _task(task: DraftTask, names: _Names) -> Block:
    kind = Kind.CHECK if task.check else Kind.TASK
    options = dict(names.named(kind, task.name))
    if task.inputs:
        options["inputs"] = Code(literal(task.inputs, brackets="[]"))
    return Block(
        key=(str(kind), task.name),
        function=names.functions[kind, task.name],
        decorator=str(kind),
        options=options,
        parameters=tuple(names.parameters(task.images, task.services)),
        body=(f'"""{task.about}"""', *(_command(each, names) for each in task.commands)),
        notes=tuple(line for note in task.notes for line in comment(note)),
    )


def _command(command: Command, names: _Names) -> str:
    options: dict[str, Value] = {} if command.folder == "." else {"cwd": command.folder}
    if command.env:
        options["env"] = names.resolved(command.env)
    return call("sh", (names.resolved(command.text),), options, indent=4)


# --- the rest --------------------------------------------------------------------------------------------------------


def _docstring(about: Sequence[str]) -> str:
    first, *more = about
    if not more:
        return f'"""{first}"""\n'
    rest = "\n".join(textwrap.fill(each, width=WIDTH, break_on_hyphens=False) for each in more)
    return f'"""{first}\n\n{rest}\n"""\n'


def _line_of_switch(name: str, draft: Draft) -> str:
    line = f'{name} = setting("{name}", default=False)'
    about = draft.about[0] if draft.about else ""
    if len(line) + len(about) + 4 <= WIDTH:
        return f"{line}  # {about}\n" if about else f"{line}\n"
    return "\n".join([*comment(Note(text=about)), line]) + "\n"


_WORDS: Final = (
    "Image",
    "Service",
    "check",
    "copy",
    "helm",
    "ignore",
    "image",
    "kustomize",
    "project",
    "restart",
    "run",
    "service",
    "setting",
    "sh",
    "sync",
    "task",
)


def _imports(code: str) -> str:
    import re

    bare = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', code)
    bare = re.sub(r"#.*", "", bare)
    used = [word for word in _WORDS if re.search(rf"(?<![\w.]){word}(?=\(|\b(?!\s*=))", bare) and _calls(word, bare)]
    lines = []
    if re.search(r"\benviron\b", bare):
        lines.append("from os import environ\n")
    line = f"from devloop import {', '.join(used)}"
    if len(line) > WIDTH:
        line = "from devloop import (\n" + "".join(f"    {word},\n" for word in used) + ")"
    return "\n".join([*lines, line + "\n"])


def _calls(word: str, code: str) -> bool:
    import re

    patterns = rf"@{word}\b|\b{word}\(|: {word}\b"
    return re.search(patterns, code) is not None
