"""Jinja templates of manifests: what they need, and what they render.

Strict and sandboxed; nothing is cached, so that every render says what it read. Files come from a `load` function; the
disk is the caller's. A rendered line is traced back to the template's line, so that an error in the rendered YAML can
name the place that a person can mend.
"""

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from devloop.core.template.environment import LINES, Environment, Files, Load, place_of_chunk
from devloop.core.template.errors import explained, not_defined, not_found, place_of, syntax_error
from devloop.core.template.facts import Include, TemplateFacts, VariableUse, survey
from devloop.errors import InputError, InputErrors, Where

__all__ = ["Include", "Rendered", "TemplateFacts", "VariableUse", "facts", "mistakes", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What a template rendered.

    Attributes:
        text: The text.
        reads: The templates that it read, the template itself first.
        missing: Paths that were looked for before a template was found elsewhere; a new file there changes the result.
        lines: For each line of the text, the place in a template that made it, or None.
    """

    text: str
    reads: tuple[str, ...]
    missing: tuple[str, ...] = ()
    lines: tuple[Where | None, ...] = field(default=(), repr=False)


def facts(text: str, *, path: str) -> TemplateFacts:
    """Return what the template `text` needs, without rendering it.

    Raises:
        InputErrors: Where the text is not a template.
    """
    environment = Environment(_no_files)
    try:
        tree = environment.parse(text, name=path, filename=path)
        return survey(tree, environment.globals)
    except Exception as error:  # noqa: BLE001 - Jinja's parser lets Python's errors through (huge numbers, deep nesting)
        raise InputErrors([syntax_error(error, path, text)]) from None


def render(path: str, variables: Mapping[str, Any], load: Load) -> Rendered:
    """Return what the template at `path` renders with `variables`.

    Includes are looked for beside the including file first, then from the project's root.

    Args:
        path: The template, relative to the project's root.
        variables: What the template can use, by name.
        load: Returns a file's text, or None.

    Raises:
        InputError: At the first mistake, with the place in the template and the chain of includes that led there.
    """
    environment = Environment(load)
    if environment.files.text(path) is None:
        message = f"the template `{path}` does not exist"
        raise InputError(message, where=Where(path=path))
    try:
        text, lines = _traced(environment, path, variables)
    except (InputError, InputErrors):
        raise  # `load` may raise the user's mistakes by itself
    except Exception as error:  # whatever a template's expression raises is the template's mistake
        raise explained(error, path, environment, variables) from error
    files = environment.files
    return Rendered(text=text, reads=tuple(files.reads), missing=tuple(files.misses), lines=lines)


def mistakes(path: str, names: Collection[str], load: Load) -> tuple[InputError, ...]:
    """Return all that is wrong with a template, as far as its text says; a render stops at the first mistake.

    That is syntax errors, includes that do not exist, and variables that nothing provides, in the template and in those
    that it includes by constant names.

    Args:
        path: The template, relative to the project's root.
        names: The variables that it will get.
        load: Returns a file's text, or None.
    """
    check = _Check(names=names, files=Files(load))
    check.template(path, frozenset(names), ())
    return tuple(check.found.values())


@dataclass(slots=True, kw_only=True)
class _Check:
    """Gathers the mistakes of a template and of those that it includes."""

    names: Collection[str]
    files: Files
    found: dict[tuple[str, object], InputError] = field(default_factory=dict)
    seen: set[tuple[str, frozenset[str] | None]] = field(default_factory=set)

    def template(self, path: str, provided: frozenset[str] | None, chain: tuple[Where, ...]) -> None:
        """Check one template; `provided` is None where what it gets is not known."""
        text = self.files.text(path)
        if (path, provided) in self.seen:
            return
        self.seen.add((path, provided))
        if text is None:
            self._add(path, None, f"the template `{path}` does not exist", None, Where(path=path), chain)
            return
        try:
            known = facts(text, path=path)
        except InputErrors as group:
            for error in group.errors:
                self._add(path, None, error.message, error.hint, error.where, chain)
            return
        for use in known.required:
            if provided is not None and use.name not in provided:
                where = place_of(text, path, use.line, use.name)
                self._add(path, use.name, *not_defined(use.name, self.names, self.names), where, chain)
        for include in known.includes:
            if include.name is not None:
                where = place_of(text, path, include.line, include.name)
                self._include(include, include.name, path, provided, (where, *chain))

    def _include(
        self, include: Include, name: str, path: str, provided: frozenset[str] | None, chain: tuple[Where, ...]
    ) -> None:
        target = self.files.resolve(name, path)
        if self.files.text(target) is not None:
            self.template(target, None if provided is None or not include.sees else provided | include.bound, chain)
        elif not include.optional:
            where, *rest = chain
            self._add(path, include.line, *not_found([target], self.files, where), where, tuple(rest))

    def _add(
        self, path: str, what: object, message: str, hint: str | None, where: Where | None, chain: tuple[Where, ...]
    ) -> None:
        self.found.setdefault((path, what), InputError(message, where=where, hint=hint, chain=chain))


def _no_files(_path: str) -> str | None:
    return None


def _traced(environment: Environment, path: str, variables: Mapping[str, Any]) -> tuple[str, tuple[Where | None, ...]]:
    template = environment.get_template(path)
    chunks = template.root_render_func(template.new_context(dict(variables)))
    assert isinstance(chunks, Generator)
    texts: list[str] = []
    lines: list[Where | None] = []
    place: Where | None = None
    for text in chunks:
        here = place_of_chunk(chunks)
        texts.append(text)
        for part in LINES.findall(text):
            place = place or (here if part.strip() else None)
            if part.endswith("\n"):
                lines.append(place or here)
                place = None
    return "".join(texts), (*lines, place)
