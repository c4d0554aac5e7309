"""Words of a Dockerfile that come to a given text, written in one of the many ways that the builder knows."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

__all__ = ["Scope", "Speller"]

_Written: TypeAlias = tuple[list[str], str]
"""The lines that have to stand before, and the word."""
_UNFIT: Final = frozenset("$ \\`'\"")


@dataclass(slots=True)
class Scope:
    """The variables that a stage sees, with their values.

    Attributes:
        seen: Those that it sees.
        unseen: Those of stages that it does not continue.
    """

    seen: dict[str, str] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)


class Speller:
    """Writes words.

    Args:
        chance: Decides how.
        escape: The escape character of the file.
    """

    def __init__(self, chance: random.Random, escape: str) -> None:
        self._chance = chance
        self.escape = escape
        self._numbers = iter(range(10_000))
        self.arguments: list[str] = []
        """The lines that must stand before the first `FROM`."""
        self.given: dict[str, str] = {}
        """The build arguments."""

    def name(self) -> str:
        """Return a new variable's name."""
        return f"V{next(self._numbers)}"

    def plainly(self, text: str) -> str:
        """Return a word without variables for the text; names with spaces are quoted."""
        escaped = text.replace("\\", self.escape + "\\" if self.escape == "\\" else "\\").replace(
            "$", f"{self.escape}$"
        )
        return f'"{escaped}"' if " " in text else escaped

    def in_array(self, text: str) -> str:
        """Return the text as a string of a JSON array."""
        return text.replace("\\", "\\\\").replace("$", "\\\\$" if self.escape == "\\" else "`$")

    def spelled(self, text: str, scope: Scope) -> _Written:
        """Return a word that comes to the text."""
        if self._chance.random() < 0.6 or _UNFIT & set(text):
            return [], self.plainly(text)
        forms: Sequence[Callable[[str, Scope], _Written]] = (
            self._held, self._held, self._given, self._default, self._trimmed, self._replaced, self._alternative,
            self._known, self._hidden, self._beaten, self._quoted, self._chained, self._nested,
        )  # fmt: skip
        return self._chance.choice(forms)(text, scope)

    # --- forms ------------------------------------------------------------------------------------------------------

    def _set(self, scope: Scope, value: str, verb: str | None = None) -> _Written:
        """Return the line that sets a new variable, and its name."""
        name = self.name()
        scope.seen[name] = value
        return [f'{verb or self._chance.choice(("ENV", "ENV", "ARG"))} {name}="{value}"'], name

    def _halves(self, text: str) -> tuple[str, str]:
        half = self._chance.randrange(len(text) + 1)
        return text[:half], text[half:]

    def _held(self, text: str, scope: Scope) -> _Written:
        start, end = self._halves(text)
        part = self._chance.choice(("whole", "start", "end"))
        lines, name = self._set(scope, {"whole": text, "start": start, "end": end}[part])
        word = {"whole": f"${name}", "start": f"${{{name}}}{end}", "end": f"{start}${name}"}[part]
        return lines, word

    def _given(self, text: str, scope: Scope) -> _Written:
        """Let the build or the top of the file give the value."""
        name = self.name()
        scope.seen[name] = text
        if self._chance.random() < 0.5:
            self.given[name] = text
            return [self._chance.choice((f"ARG {name}", f"ARG {name}=other", f"ARG OTHER=x {name}"))], f"${name}"
        if self._chance.random() < 0.3:
            start, end = self._halves(text)
            self.arguments += [f'ARG {name}a="{start}"', f'ARG {name}="${{{name}a}}{end}"']
        else:
            self.arguments.append(f'ARG {name}="{text}"')
        return [f"ARG {name}"], f"${{{name}}}"

    def _default(self, text: str, scope: Scope) -> _Written:
        name = self.name()
        if self._chance.random() < 0.5:
            return [], self._chance.choice((f"${{{name}:-{text}}}", f"${{{name}-{text}}}"))
        scope.seen[name] = ""
        return [f"ENV {name}="], self._chance.choice((f"${{{name}:-{text}}}", f"{text}${{{name}-no}}"))

    def _alternative(self, text: str, scope: Scope) -> _Written:
        lines, name = self._set(scope, "x")
        word = self._chance.choice((f"${{{name}:+{text}}}", f"${{{name}+{text}}}", f"{text}${{{name}Z:+no}}"))
        return lines, word

    def _trimmed(self, text: str, scope: Scope) -> _Written:
        value, form = self._chance.choice(
            (
                (f"no-no-{text}", "#no-no-"), (f"no-no-{text}", "##*no-no-"), (f"x=1=,{text}", "#*,"), (text, "#,"),
                (f"{text},1,2", "%%,*"), (f"{text}.bak", "%.bak"), (f"{text},1", "%,?"),
            )
        )  # fmt: skip
        lines, name = self._set(scope, value)
        return lines, f"${{{name}{form}}}"

    def _replaced(self, text: str, scope: Scope) -> _Written:
        start, end = self._halves(text)
        value, form = self._chance.choice(
            ((f"{start}@@{end}", "/@@/"), (f"@{start}@{end}@", "//@/"), (f"{start}@{end}", "/@"), (text, "/@@/no"))
        )
        lines, name = self._set(scope, value)
        return lines, f"${{{name}{form}/}}" if form == "/@" else f"${{{name}{form}}}"

    def _known(self, text: str, scope: Scope) -> _Written:
        """Use a variable that is there already, perhaps from a stage that this one continues."""
        fitting = [name for name, value in scope.seen.items() if value and text.startswith(value)]
        if not fitting:
            return self._held(text, scope)
        name = self._chance.choice(fitting)
        return [], f"${{{name}}}{text.removeprefix(scope.seen[name])}"

    def _hidden(self, text: str, scope: Scope) -> _Written:
        """Name a variable of a stage that this one does not continue."""
        names = [name for name in scope.unseen if name not in scope.seen]
        if not names:
            return self._default(text, scope)
        return [], f"${{{self._chance.choice(names)}:-{text}}}"

    def _beaten(self, text: str, scope: Scope) -> _Written:
        """Set a variable twice; the later of the two counts."""
        name = self.name()
        scope.seen[name] = text
        first, second = self._chance.sample(("ARG", "ENV"), 2)
        return [f"{first} {name}=wrong", f'{second} {name}="{text}"'], f"${name}"

    def _quoted(self, text: str, scope: Scope) -> _Written:
        start, end = self._halves(text)
        lines, name = self._set(scope, start)
        return lines, self._chance.choice((f'"${{{name}}}{end}"', f"\"${{{name}}}\"'{end}'"))

    def _chained(self, text: str, scope: Scope) -> _Written:
        """Let one variable hold another; all values of one `ENV` see the variables as they were before it."""
        lines, name = self._set(scope, text, "ENV")
        other = self.name()
        scope.seen |= {name: "changed", other: text}
        return [*lines, f"ENV {name}=changed {other}=${name}"], f"${other}"

    def _nested(self, text: str, scope: Scope) -> _Written:
        lines, name = self._set(scope, text)
        word = self._chance.choice(
            (f"${{{name}X:-${name}}}", f"${{{name}:+${{{name}}}}}", f"${{{name}X:-${{{name}Y-{text}}}}}")
        )
        return lines, word
