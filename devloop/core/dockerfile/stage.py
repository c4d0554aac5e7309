"""One stage of a Dockerfile: its instructions → what it does to its file system, and what it reads."""

import csv
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from devloop.core.dockerfile.build import BaseConfig, BaseUse, Feature
from devloop.core.dockerfile.expansion import ExpansionError
from devloop.core.dockerfile.instructions import Instruction
from devloop.core.dockerfile.scope import GlobalScope, Scope, Value
from devloop.core.dockerfile.sources import Source, SourceKind, context_path
from devloop.core.dockerfile.stages import Copy, CopySource, MakeDirectory, Operation, Run, Unknown
from devloop.core.dockerfile.words import Problem, heredoc_of
from devloop.core.patterns import Glob, PatternError, clean, is_glob

__all__ = ["StageReader"]

_REMOTE: Final = re.compile(r"https?://|git://|ssh://|git@|[\w.-]+@[\w.-]+:", re.ASCII)


@dataclass(slots=True, kw_only=True)
class StageReader:
    """What is known of a stage while its instructions are read, in order.

    Attributes:
        index: Its place in the file.
        scope: Its variables.
        config: What an image made of it would hand on.
        globals: The variables of the file.
        find_stage: Returns the index of the stage that a `--from` names, or None; raises Problem when it comes late.
        operations: What the stage does to its file system.
        sources: What it reads of the context.
        elsewhere: What it reads of images and named contexts, each with the name.
        bases: The images from outside that it copies from or mounts.
        stages: The other stages that it copies from or mounts.
        consumed: The build arguments that it depends on, with the line.
        recipe: Its instructions.
    """

    index: int
    scope: Scope
    config: BaseConfig
    globals: GlobalScope
    find_stage: Callable[[str, bool], int | None]
    operations: list[Operation] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    elsewhere: list[tuple[str, Source]] = field(default_factory=list)
    bases: list[BaseUse] = field(default_factory=list)
    stages: set[int] = field(default_factory=set)
    consumed: dict[str, int] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    ssh: list[str] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    recipe: list[str] = field(default_factory=list)
    command_set: bool = False

    def read(self, instruction: Instruction) -> None:
        """Take in the next instruction.

        Raises:
            Problem: The builder would refuse it.
        """
        self.recipe.append(instruction.canonical)
        if instruction.heredocs:
            self._feature("heredoc", instruction)
        try:
            self._read(instruction)
        except ExpansionError as error:
            raise Problem(str(error)) from error

    def _read(self, instruction: Instruction) -> None:
        match instruction.keyword:
            case "ARG":
                for name in sorted(self.scope.declare(instruction, self.globals)):
                    self.consumed.setdefault(name, instruction.line)
            case "ENV":
                self._environment(instruction)
            case "WORKDIR":
                self._workdir(instruction)
            case "COPY" | "ADD":
                self._copy(instruction)
            case "RUN":
                self._run(instruction)
            case "ONBUILD" if instruction.trigger:
                text = instruction.trigger.canonical
                self.config = replace(self.config, triggers=(*self.config.triggers, text))
            case "USER":
                user = self.scope.expand(instruction.arguments[0])
                self.config = replace(self.config, user=None if user.doubtful else user.text)
            case "ENTRYPOINT":
                command = self.config.command if self.command_set else ()
                self.config = replace(self.config, entrypoint=self._command_line(instruction), command=command)
            case "CMD":
                self.command_set = True
                self.config = replace(self.config, command=self._command_line(instruction))
            case "SHELL":
                self.config = replace(self.config, shell=instruction.arguments)
            case _:
                pass

    def _command_line(self, instruction: Instruction) -> tuple[str, ...]:
        if instruction.is_json or not instruction.arguments:
            return instruction.arguments
        return (*self.config.shell, *instruction.arguments)

    def _environment(self, instruction: Instruction) -> None:
        words = instruction.arguments
        # All values of one ENV see the variables as they were before it.
        pairs = [
            (self.scope.expand(name).text, self.scope.expand(value))
            for name, value in zip(words[::2], words[1::2], strict=True)
        ]
        for name, value in pairs:
            self.scope.set(name, value, lasting=True)

    def _workdir(self, instruction: Instruction) -> None:
        value = self.scope.expand(instruction.arguments[0])
        path = None if value.doubtful else self._absolute(value.text)
        self.config = replace(self.config, workdir=path)
        self.operations.append(MakeDirectory(line=instruction.line, path=path))

    def _absolute(self, path: str) -> str | None:
        if path.startswith("/"):
            return clean(path)
        return None if self.config.workdir is None else clean(posixpath.join(self.config.workdir, path))

    def _feature(self, name: str, instruction: Instruction) -> None:
        self.features.append(Feature(name=name, line=instruction.line))

    def _doubt(self, what: str, value: Value, instruction: Instruction, instead: str) -> None:
        names = ", ".join(f"`{name}`" for name in value.doubtful)
        message = f"{what} depends on {names}, which the base image may set; {instead}"
        self.unknown.append(Unknown(message=message, line=instruction.line))

    # --- COPY and ADD -----------------------------------------------------------------------------------------------

    def _copy(self, instruction: Instruction) -> None:
        adds = instruction.keyword == "ADD"
        *written, last = instruction.arguments
        if _document(last) and not instruction.is_json:
            raise Problem(f"a heredoc cannot be the destination of `{instruction.keyword}`")
        documents = tuple(name for word in written if (name := _document(word)))
        plain = [word for word in written if not _document(word)]
        stage, image = (None, None) if adds else self._origin(instruction)
        values = [self.scope.expand(word) for word in plain]
        remote = [value for value in values if _REMOTE.match(value.text)]
        if remote and not adds:
            hint = "`ADD` fetches addresses, `COPY` does not"
            raise Problem(f"`COPY` cannot fetch `{remote[0].text}`", hint)
        sources = [self._copy_source(value, instruction) for value in values if value not in remote]
        destination = self.scope.expand(last)
        if destination.doubtful:
            self._doubt("the destination", destination, instruction, "files cannot be synced to it")
        excludes = self._excludes(instruction)
        copy = Copy(
            line=instruction.line,
            stage=stage,
            image=image,
            sources=tuple(sources),
            documents=documents,
            remote=bool(remote),
            destination=None if destination.doubtful else self._absolute(destination.text),
            into_directory=_is_directory(destination.text),
            excludes=excludes,
            unpacks=adds and _is_set(instruction, "unpack", default=True),
            link=_is_set(instruction, "link"),
        )
        self.operations.append(copy)
        self._note_copy(copy, instruction, values, remote)

    def _note_copy(self, copy: Copy, instruction: Instruction, values: list[Value], remote: list[Value]) -> None:
        for name in ("link", "parents", "exclude", "checksum", "keep-git-dir", "unpack", "chmod"):
            if instruction.flag(name):
                self._feature(f"{instruction.keyword.lower()} --{name}", instruction)
        for value in remote:
            message = f"`{value.text}` is fetched by the builder; its changes are not seen"
            self.unknown.append(Unknown(message=message, line=instruction.line))
        kind = SourceKind.ADD if instruction.keyword == "ADD" else SourceKind.COPY
        local = [value for value in values if value not in remote]
        for value, source in zip(local, copy.sources, strict=True):
            if source is None:
                instead = "every file counts as an input" if copy.from_context else "every path may be meant"
                self._doubt("the source", value, instruction, instead)
            if copy.stage is None:
                read = Source(
                    pattern=source.pattern if source else "",
                    below=source.below if source else None,
                    kind=kind,
                    line=instruction.line,
                    instruction=instruction.text.strip(),
                    excludes=copy.excludes if source else (),
                    stage=self.index,
                )
                self._note_source(copy.image, read)

    def _note_source(self, image: str | None, source: Source) -> None:
        if image is None:
            self.sources.append(source)
        else:
            self.elsewhere.append((image, source))

    def read_all_of(self, name: str, start: Instruction) -> None:
        """Note that the stage starts from all of an image or named context."""
        kind, text = SourceKind.COPY, start.text.strip()
        source = Source(pattern="", kind=kind, line=start.line, instruction=text, stage=self.index)
        self.elsewhere.append((name, source))

    def _copy_source(self, value: Value, instruction: Instruction) -> CopySource | None:
        if value.doubtful:
            return None
        text, below = value.text, None
        if instruction.keyword == "COPY" and _is_set(instruction, "parents"):
            text, pivot, after = text.partition("/./")
            text, below = (text, after) if pivot else ("", text)
            below = context_path(below)
        pattern = context_path(text)
        if is_glob(pattern):
            try:
                Glob(pattern)
            except PatternError as error:
                raise Problem(f"malformed pattern `{pattern}`: {error}") from error
        return CopySource(pattern=pattern, below=below)

    def _excludes(self, instruction: Instruction) -> tuple[str, ...]:
        found: list[str] = []
        for flag in instruction.flags:
            if flag.name == "exclude":
                value = self.scope.expand(flag.value or "")
                if value.doubtful:
                    self._doubt("`--exclude`", value, instruction, "nothing is excluded")
                else:
                    found.append(value.text)
        return tuple(found)

    def _origin(self, instruction: Instruction) -> tuple[int | None, str | None]:
        flag = instruction.flag("from")
        if flag is None or not flag.value:
            return None, None
        if self.scope.lexer.expand(flag.value, {}).text != flag.value:
            hint = "start a stage `FROM` the argument and copy from that stage"
            raise Problem("`--from` cannot hold a variable", hint)
        return self._from(flag.value, instruction, by_index=True)

    def _from(self, name: str, instruction: Instruction, *, by_index: bool) -> tuple[int | None, str | None]:
        stage = self.find_stage(name, by_index)
        if stage is not None:
            self.stages.add(stage)
            return stage, None
        if name != "scratch":
            via: Literal["COPY --from", "RUN --mount from"] = "COPY --from" if by_index else "RUN --mount from"
            self.bases.append(BaseUse(reference=name, line=instruction.line, via=via))
        return None, name

    # --- RUN --------------------------------------------------------------------------------------------------------

    def _run(self, instruction: Instruction) -> None:
        mounts: list[tuple[int, str]] = []
        for flag in instruction.flags:
            if flag.name != "mount":
                self._feature(f"run --{flag.name}", instruction)
                continue
            self._feature("run --mount", instruction)
            mount = self._mount(dict(_mount_fields(flag.value or "")), instruction)
            if mount is not None:
                mounts.append(mount)
        self.operations.append(Run(line=instruction.line, mounts=tuple(mounts)))

    def _mount(self, fields: dict[str, str], instruction: Instruction) -> tuple[int, str] | None:
        """Note what a mount reads, and return the stage that it mounts, with the path there."""
        origin = fields.get("from", "")
        if re.search(r"\$.", origin):
            raise Problem("`from` cannot hold a variable", "start a stage `FROM` the argument and mount that stage")
        values = {key: self.scope.expand(value) for key, value in fields.items() if key != "from"}
        kind = values.get("type", Value(text="bind"))
        name = values.get("id") or values.get("source") or Value(text="")
        match kind.text.lower():
            case "secret":
                target = posixpath.basename(values.get("target", Value(text="")).text)
                self.secrets.append(name.text or target)
                return None
            case "ssh":
                self.ssh.append(name.text or "default")
                return None
            case "tmpfs":
                return None
            case "cache" if not origin:
                return None
            case "bind" | "cache":
                pass
            case other:
                raise Problem(f"unknown type of mount `{other}`", "the types are bind, cache, secret, ssh and tmpfs")
        source = values.get("source", Value(text=""))
        if origin:
            stage, image = self._from(origin, instruction, by_index=False)
            if stage is not None:
                return stage, "" if source.doubtful else context_path(source.text)
            self._bind(source, instruction, image)
            return None
        self._bind(source, instruction, None)
        return None

    def _bind(self, source: Value, instruction: Instruction, image: str | None) -> None:
        if source.doubtful:
            self._doubt("the source of the mount", source, instruction, "every file counts as an input")
        read = Source(
            pattern="" if source.doubtful else context_path(source.text),
            kind=SourceKind.BIND,
            line=instruction.line,
            stage=self.index,
            instruction=instruction.text.strip(),
        )
        self._note_source(image, read)


def _document(word: str) -> str | None:
    """Return the name of the heredoc that this word stands for; what is none is a name like any other."""
    try:
        document = heredoc_of(word)
    except Problem:
        return None
    return document.name if document else None


_ALIASES: Final = {"src": "source", "dst": "target", "destination": "target"}


def _mount_fields(text: str) -> Iterator[tuple[str, str]]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise Problem(f"malformed mount `{text}`: {error}") from error
    for column in rows[0] if rows else ():
        key, _, value = column.partition("=")
        yield _ALIASES.get(key.lower(), key.lower()), value


def _is_directory(path: str) -> bool:
    # A relative `x/.` is not taken for a directory, an absolute one is.
    return path in {"", "."} or path.endswith("/") or (path.startswith("/") and path.endswith("/."))


def _is_set(instruction: Instruction, name: str, *, default: bool = False) -> bool:
    flag = instruction.flag(name)
    return default if flag is None else flag.enabled
