"""A parsed Dockerfile → `BuildFacts`: which stages the target needs, and what they need in turn."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

from devloop.core import reference
from devloop.core.dockerfile.build import (
    UNKNOWN_BASE,
    Argument,
    BaseConfig,
    BaseUse,
    BuildFacts,
)
from devloop.core.dockerfile.expansion import ExpansionError, Lexer
from devloop.core.dockerfile.instructions import Dockerfile, Instruction
from devloop.core.dockerfile.scope import GlobalScope, Scope, global_scope
from devloop.core.dockerfile.sources import Source
from devloop.core.dockerfile.stage import StageReader
from devloop.core.dockerfile.stages import Stage
from devloop.core.dockerfile.syntax import parse_trigger
from devloop.core.dockerfile.words import Problem
from devloop.errors import InputError, InputErrors, Where

__all__ = ["build_facts"]

# The builder reads these without a declaration.
_ALWAYS_READ: Final = ("SOURCE_DATE_EPOCH", "BUILDKIT_")
# These reach RUN without a declaration, and do not count for its cache.
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"})


def build_facts(
    dockerfile: Dockerfile,
    *,
    target: str | None = None,
    build_args: Mapping[str, str] | None = None,
    platform: str = "linux/amd64",
    build_platform: str | None = None,
    bases: Mapping[str, BaseConfig] | None = None,
    contexts: Collection[str] = (),
) -> BuildFacts:
    """Return what can be known of a build.

    Args:
        dockerfile: The parsed file.
        target: The stage to build; the last one when it is None.
        build_args: The arguments given to the build.
        platform: What is built for.
        build_platform: What the builder runs on; the same when it is None.
        bases: What is known of base images, by the reference as written in the file after expansion.
        contexts: The names of the named contexts given to the build; they replace stages and images of that name.

    Raises:
        InputErrors: What the builder would refuse, as far as the needed stages are concerned.
    """
    reading = _Reading(
        dockerfile=dockerfile,
        bases=bases or {},
        contexts=frozenset(name.lower() for name in contexts),
        lexer=Lexer(escape=dockerfile.escape),
    )
    meta, blocks = _split(dockerfile)
    reading.globals = global_scope(
        dockerfile,
        meta,
        given=build_args or {},
        platforms=(build_platform or platform, platform),
        target=target or "",
        errors=reading.errors,
    )
    reading.declare(blocks)
    reading.fail_on_errors()
    chosen = reading.choose(target)
    reading.read(chosen)
    reading.fail_on_errors()
    return reading.facts(chosen)


def _split(dockerfile: Dockerfile) -> tuple[tuple[Instruction, ...], list[list[Instruction]]]:
    meta: list[Instruction] = []
    blocks: list[list[Instruction]] = []
    errors: list[InputError] = []
    for instruction in dockerfile.instructions:
        if instruction.keyword == "FROM":
            blocks.append([instruction])
        elif blocks:
            blocks[-1].append(instruction)
        elif instruction.keyword == "ARG":
            meta.append(instruction)
        else:
            where = dockerfile.place(instruction)
            message = f"`{instruction.keyword}` stands before the first `FROM`"
            errors.append(InputError(message, where=where, hint="only `ARG` may stand there"))
    if errors:
        raise InputErrors(errors)
    return tuple(meta), blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """A stage before its instructions are read."""

    index: int
    name: str | None
    reference: str
    base: int | None
    platform: str | None
    used: frozenset[str]
    start: Instruction
    body: tuple[Instruction, ...]
    replaced: bool

    @property
    def label(self) -> str:
        return self.name or str(self.index)


@dataclass(slots=True, kw_only=True)
class _Reading:
    dockerfile: Dockerfile
    bases: Mapping[str, BaseConfig]
    contexts: frozenset[str]
    lexer: Lexer
    globals: GlobalScope = field(default_factory=lambda: GlobalScope(values={}, given={}, consumes={}, declared={}))
    stages: list[_Declared] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    readers: dict[int, StageReader] = field(default_factory=dict)
    errors: list[InputError] = field(default_factory=list)

    def fail_on_errors(self) -> None:
        if self.errors:
            raise InputErrors(self.errors)

    def _report(self, instruction: Instruction, message: str, hint: str | None = None) -> None:
        where = self.dockerfile.place(instruction)
        self.errors.append(InputError(message, where=where, hint=hint))

    # --- which stages there are -------------------------------------------------------------------------------------

    def declare(self, blocks: Iterable[list[Instruction]]) -> None:
        for index, (start, *body) in enumerate(blocks):
            try:
                stage = self._declared(index, start, tuple(body))
            except ExpansionError as error:
                self._report(start, str(error))
                continue
            self.stages.append(stage)
            if stage.name:
                self.names[stage.name] = index

    def _declared(self, index: int, start: Instruction, body: tuple[Instruction, ...]) -> _Declared:
        expanded = self.lexer.expand(start.arguments[0], self.globals.values)
        if not expanded.text:
            names = ", ".join(f"`{name}`" for name in sorted(expanded.missing | expanded.used)) or "it"
            self._report(
                start, f"the base image is empty: {names} has no value", "give the `ARG` before `FROM` a default"
            )
        name = start.arguments[2].lower() if len(start.arguments) > 2 else None
        base = self.names.get(expanded.text)
        if base is None:
            self._check_reference(start, expanded.text)
        flag = start.flag("platform")
        platform = self.lexer.expand(flag.value or "", self.globals.values) if flag else None
        return _Declared(
            index=index,
            name=name,
            reference=expanded.text,
            base=base,
            platform=platform.text if platform else None,
            used=expanded.used | (platform.used if platform else frozenset()),
            start=start,
            body=body,
            replaced=name is not None and name in self.contexts,
        )

    def choose(self, target: str | None) -> int:
        if target is None:
            return len(self.stages) - 1
        index = self.names.get(target.lower())
        if index is None:
            names = sorted(self.names)
            close = get_close_matches(target.lower(), names, n=1)
            listed = ", ".join(f"`{name}`" for name in names)
            known = f"the file has {listed}" if names else "no stage of the file has a name"
            hint = f"did you mean `{close[0]}`? {known}" if close else known
            where = Where(path=self.dockerfile.path)
            raise InputErrors([InputError(f"the Dockerfile has no stage `{target}`", where=where, hint=hint)])
        return index

    def find(self, current: int, name: str, by_index: bool) -> int | None:  # noqa: FBT001
        found = self._find(name, by_index=by_index)
        if found is not None and found >= current:
            hint = "a stage can only copy from stages that stand before it"
            message = f"stage `{self.stages[current].label}` copies from `{name}`"
            raise Problem(f"{message}, which is itself" if found == current else f"{message}, which comes later", hint)
        return found

    def _find(self, name: str, *, by_index: bool) -> int | None:
        try:
            index = int(name) if by_index else None
        except ValueError:
            index = None
        if index is None:
            return self.names.get(name.lower())
        if not 0 <= index < len(self.stages):
            raise Problem(
                f"there is no stage number {index}", f"the file has {len(self.stages)} stages, counted from 0"
            )
        return index

    # --- what they do -----------------------------------------------------------------------------------------------

    def read(self, index: int) -> None:
        """Read a stage and all that it needs."""
        if index in self.readers:
            return
        stage = self.stages[index]
        if stage.base is not None and not stage.replaced:
            self.read(stage.base)
        reader = self._reader(stage)
        self.readers[index] = reader
        for instruction in (*self._triggers(stage), *self._body(stage)):
            try:
                reader.read(instruction)
            except Problem as problem:
                self._report(instruction, problem.message, problem.hint)
        for needed in sorted(reader.stages):
            self.read(needed)

    def _reader(self, stage: _Declared) -> StageReader:
        base = self._base(stage)
        scope = Scope.on(base, self.lexer)
        if stage.base is not None and not stage.replaced:
            scope = self.readers[stage.base].scope.continued()
        reader = StageReader(
            index=stage.index,
            scope=scope,
            config=replace(base, triggers=()),
            globals=self.globals,
            find_stage=lambda name, by_index: self.find(stage.index, name, by_index),
        )
        if stage.replaced:
            reader.bases.append(BaseUse(reference=stage.name or "", line=stage.start.line, via="FROM"))
            reader.read_all_of(stage.name or "", stage.start)
            return reader
        if stage.base is not None:
            reader.stages.add(stage.base)
        elif stage.reference != "scratch":
            use = BaseUse(reference=stage.reference, line=stage.start.line, via="FROM", platform=stage.platform)
            reader.bases.append(use)
            reader.read_all_of(stage.reference, stage.start)
        for name in sorted(stage.used):
            for consumed in sorted(self.globals.consumes.get(name, ())):
                reader.consumed[consumed] = self.globals.declared[consumed][0]
        return reader

    def _check_reference(self, instruction: Instruction, name: str) -> None:
        if not name or name.lower() in self.contexts:
            return
        try:
            reference.parse(name)
        except InputError as error:
            hint = f"`FROM` minds capitals: write `{name.lower()}`" if name.lower() in self.names else error.hint
            self._report(instruction, f"{error.message}, and no stage before this one is called so", hint)

    def _base(self, stage: _Declared) -> BaseConfig:
        if stage.replaced:
            return self.bases.get(stage.name or "", UNKNOWN_BASE)
        if stage.base is not None:
            return self.readers[stage.base].config
        if stage.reference == "scratch":
            return BaseConfig()
        return self.bases.get(stage.reference, UNKNOWN_BASE)

    def _triggers(self, stage: _Declared) -> Iterable[Instruction]:
        if stage.replaced:
            return ()
        if stage.base is not None:
            return [each.trigger for each in self._body(self.stages[stage.base]) if each.trigger]
        found: list[Instruction] = []
        for text in self._base(stage).triggers:
            try:
                found.append(parse_trigger(text, path=self.dockerfile.path, line=stage.start.line))
            except InputErrors as errors:
                self.errors.extend(errors.errors)
        return found

    def _body(self, stage: _Declared) -> tuple[Instruction, ...]:
        return () if stage.replaced else stage.body

    # --- all of it together -----------------------------------------------------------------------------------------

    def facts(self, chosen: int) -> BuildFacts:
        order = sorted(self.readers)
        readers = [self.readers[index] for index in order]
        reader = self.readers[chosen]
        scope = reader.scope
        environment = {name: value for name, value in scope.environment.items() if name not in scope.doubtful}
        complete = scope.complete and len(environment) == len(scope.environment)
        return BuildFacts(
            path=self.dockerfile.path,
            target=self.stages[chosen].label,
            bases=tuple(use for each in readers for use in each.bases),
            sources=tuple(source for each in readers for source in each.sources),
            elsewhere=_by_name(found for each in readers for found in each.elsewhere),
            arguments=self._arguments(readers),
            unused=self._unused(),
            secrets=tuple(dict.fromkeys(secret for each in readers for secret in each.secrets)),
            ssh=tuple(dict.fromkeys(agent for each in readers for agent in each.ssh)),
            features=tuple(feature for each in readers for feature in each.features),
            unknown=tuple(unknown for each in readers for unknown in each.unknown),
            stages={index: self._stage(index) for index in order},
            config=replace(reader.config, environment=environment, complete=complete),
            recipe=self._recipe(order),
        )

    def _stage(self, index: int) -> Stage:
        stage = self.stages[index]
        outside = stage.base is None and stage.reference != "scratch"
        return Stage(
            index=index,
            name=stage.name,
            line=stage.start.line,
            base=None if stage.replaced else stage.base,
            image=stage.name if stage.replaced else stage.reference if outside else None,
            operations=tuple(self.readers[index].operations),
        )

    def _arguments(self, readers: Iterable[StageReader]) -> tuple[Argument, ...]:
        given = self.globals.given
        lines: dict[str, int | None] = {}
        for reader in readers:
            for name, line in reader.consumed.items():
                lines.setdefault(name, line)
        for name in sorted(given):
            if name.startswith(_ALWAYS_READ):
                lines.setdefault(name, None)
        return tuple(Argument(name=name, line=line, value=given.get(name)) for name, line in lines.items())

    def _unused(self) -> tuple[str, ...]:
        declared = set(self.globals.declared) | set(self.globals.values)
        for stage in self.stages:
            for each in stage.body:
                holder = each.trigger or each
                if holder.keyword == "ARG":
                    declared |= {word.partition("=")[0] for word in holder.arguments}
        read = {name for reader in self.readers.values() for name in reader.consumed}
        return tuple(
            name
            for name in self.globals.given
            if name not in declared | read and name.lower() not in _PROXIES and not name.startswith(_ALWAYS_READ)
        )

    def _recipe(self, order: list[int]) -> tuple[str, ...]:
        place = {index: str(position) for position, index in enumerate(order)}
        lines = [f"# {each.name}={each.value}" for each in self.dockerfile.directives]
        consumed = {name for index in order for name in self.readers[index].consumed}
        lines += [f"ARG {text}" for name, (_, text) in self.globals.declared.items() if name in consumed]
        for index in order:
            reader, stage = self.readers[index], self.stages[index]
            # Stage numbers in the text mean something else when a stage is added; the places of what is meant tell.
            needs = " ".join(place[needed] for needed in sorted(reader.stages))
            lines += [stage.start.canonical, f"# needs {needs}", *reader.recipe]
        return tuple(lines)


def _by_name(found: Iterable[tuple[str, Source]]) -> dict[str, tuple[Source, ...]]:
    named: dict[str, tuple[Source, ...]] = {}
    for name, source in found:
        named[name] = (*named.get(name, ()), source)
    return named
