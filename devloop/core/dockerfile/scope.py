"""The variables of a Dockerfile: global arguments, and what `ARG` and `ENV` make of them inside a stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from devloop.core.dockerfile.build import BaseConfig
from devloop.core.dockerfile.expansion import ExpansionError, Lexer
from devloop.core.dockerfile.instructions import Dockerfile, Instruction
from devloop.errors import InputError

__all__ = ["GlobalScope", "Scope", "Value", "global_scope"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The outcome of an expansion.

    Attributes:
        text: The text, as far as it is known.
        doubtful: The variables whose value is not known.
    """

    text: str
    doubtful: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalScope:
    """The variables that `FROM` sees.

    Attributes:
        values: Their values.
        given: The arguments of the build.
        consumes: For each variable, the declared arguments that its value depends on.
        declared: For each declared argument, the line and the text of its declarations.
    """

    values: Mapping[str, str]
    given: Mapping[str, str]
    consumes: Mapping[str, frozenset[str]]
    declared: Mapping[str, tuple[int, str]]


def global_scope(
    dockerfile: Dockerfile,
    instructions: tuple[Instruction, ...],
    *,
    given: Mapping[str, str],
    platforms: tuple[str, str],
    target: str,
    errors: list[InputError],
) -> GlobalScope:
    """Return the variables that the `ARG` instructions before the first `FROM` define.

    Args:
        dockerfile: The file.
        instructions: The instructions before the first `FROM`.
        given: The arguments of the build.
        platforms: The platforms of the builder and of the target.
        target: The name of the target stage.
        errors: Where mistakes are added.
    """
    lexer = Lexer(escape=dockerfile.escape)
    values = {name: given.get(name, value) for name, value in _predefined(*platforms, target).items()}
    consumes: dict[str, frozenset[str]] = {}
    declared: dict[str, tuple[int, str]] = {}
    for instruction in instructions:
        for word in instruction.arguments:
            name, has_default, default = word.partition("=")
            used: frozenset[str] = frozenset()
            try:
                name = lexer.expand(name, {}).text
                if name in given:
                    values[name] = given[name]
                elif has_default:
                    expanded = lexer.expand(default, values)
                    values[name] = expanded.text
                    used = frozenset().union(*(consumes.get(each, ()) for each in expanded.used))
            except ExpansionError as error:
                errors.append(InputError(str(error), where=dockerfile.place(instruction)))
            consumes[name] = consumes.get(name, frozenset()) | used | {name}
            earlier = f"{declared[name][1]} " if name in declared else ""
            declared[name] = (instruction.line, earlier + word)
    return GlobalScope(values=values, given=given, consumes=consumes, declared=declared)


def _predefined(build: str, target: str, stage: str) -> dict[str, str]:
    variables = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        system, architecture, variant, *_ = [*platform.split("/"), "", ""]
        variables |= {
            f"{prefix}PLATFORM": platform,
            f"{prefix}OS": system,
            f"{prefix}OSVERSION": "",
            f"{prefix}ARCH": architecture,
            f"{prefix}VARIANT": variant,
        }
    return variables


@dataclass(slots=True, kw_only=True)
class Scope:
    """The variables inside a stage while its instructions are read.

    Attributes:
        lexer: The word processing of this file.
        values: What expansions see: `ENV` and `ARG`, the later one wins.
        environment: What the image keeps: `ENV` alone.
        complete: Whether variables that are not in `values` are unset for certain.
        doubtful: Variables whose value is not known.
    """

    lexer: Lexer
    values: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    doubtful: set[str] = field(default_factory=set)

    @classmethod
    def on(cls, base: BaseConfig, lexer: Lexer) -> "Scope":
        """Return the variables at the start of a stage on this image."""
        environment = dict(base.environment)
        return cls(lexer=lexer, values=dict(environment), environment=environment, complete=base.complete)

    def continued(self) -> "Scope":
        """Return a copy, for a stage that continues this one."""
        return Scope(
            lexer=self.lexer,
            values=dict(self.values),
            environment=dict(self.environment),
            complete=self.complete,
            doubtful=set(self.doubtful),
        )

    def expand(self, word: str, values: Mapping[str, str] | None = None) -> Value:
        """Return the word with its variables replaced.

        Raises:
            ExpansionError: The builder would refuse the word, whatever the base image sets.
        """
        try:
            expanded = self.lexer.expand(word, self.values if values is None else values)
        except ExpansionError as error:
            if error.unset is None or (self.complete and error.unset not in self.doubtful):
                raise
            return Value(text=word, doubtful=(error.unset,))
        doubtful = expanded.used & self.doubtful
        if not self.complete:
            doubtful |= expanded.missing
        return Value(text=expanded.text, doubtful=tuple(sorted(doubtful)))

    def set(self, name: str, value: Value, *, lasting: bool) -> None:
        """Give a variable a value; `lasting` is `ENV`."""
        self.values[name] = value.text
        if lasting:
            self.environment[name] = value.text
        if value.doubtful:
            self.doubtful.add(name)
        else:
            self.doubtful.discard(name)

    def declare(self, instruction: Instruction, scope: GlobalScope) -> frozenset[str]:
        """Read an `ARG` inside the stage and return the build arguments that it depends on.

        Raises:
            ExpansionError: The builder would refuse it.
        """
        consumed: set[str] = set()
        # Engines disagree whether a default sees the arguments before it on the same line; where it matters, the value
        # is not known.
        before = dict(self.values)
        for word in instruction.arguments:
            written, has_default, default = word.partition("=")
            name = self.expand(written).text
            consumed.add(name)
            if name in scope.given:
                self.set(name, Value(text=scope.given[name]), lasting=False)
            elif has_default:
                value, earlier = self.expand(default), self.expand(default, before)
                if value.text != earlier.text:
                    value = Value(text=value.text, doubtful=(*value.doubtful, name))
                self.set(name, value, lasting=False)
            elif name in scope.values:
                consumed |= scope.consumes.get(name, frozenset())
                self.set(name, Value(text=scope.values[name]), lasting=False)
        return frozenset(consumed)
