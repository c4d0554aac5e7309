"""Jinja templates of manifests: what they need, and what they render.

Strict and sandboxed; nothing is cached, so that every render says what it read. Files come from a `load` function; the
disk is the caller's. A rendered line is traced back to the template's line, so that an error in the rendered YAML can
name the place that a person can mend.
"""

import base64
import difflib
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from jinja2 import StrictUndefined, TemplateNotFound, TemplateSyntaxError, Undefined, UndefinedError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import Template
from jinja2.loaders import FunctionLoader
from jinja2.sandbox import SandboxedEnvironment

from devloop.core.template_facts import Include, TemplateFacts, VariableUse, survey
from devloop.core.yaml_documents import dump
from devloop.errors import InputError, InputErrors, Where

__all__ = ["Include", "Rendered", "TemplateFacts", "VariableUse", "facts", "render"]

Load = Callable[[str], str | None]
"""Returns the text of a file by its path relative to the project's root, or None where there is none."""


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
    environment = _Environment(_no_files)
    try:
        tree = environment.parse(text, name=path, filename=path)
        return survey(tree, environment.globals)
    except Exception as error:  # noqa: BLE001 - Jinja's parser lets Python's errors through (huge numbers, deep nesting)
        raise InputErrors([_syntax_error(error, path, text)]) from None


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
    environment = _Environment(load)
    if environment.files.text(path) is None:
        message = f"the template `{path}` does not exist"
        raise InputError(message, where=Where(path=path))
    try:
        text, lines = _traced(environment, path, variables)
    except Exception as error:  # noqa: BLE001 - whatever a template's expression raises is the template's mistake
        _refuse(error, environment, path, variables)
    files = environment.files
    return Rendered(text=text, reads=tuple(files.reads), missing=tuple(files.misses), lines=lines)


# --- the environment ---------------------------------------------------------------------------------------


def _no_files(_path: str) -> str | None:
    return None


@dataclass(slots=True)
class _Files:
    """The templates of one render: every file is loaded once."""

    load: Load
    texts: dict[str, str | None] = field(default_factory=dict)
    tried: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def reads(self) -> Iterator[str]:
        return (path for path, text in self.texts.items() if text is not None)

    @property
    def misses(self) -> Iterator[str]:
        return (path for path, text in self.texts.items() if text is None)

    def text(self, path: str) -> str | None:
        if path not in self.texts:
            self.texts[path] = self.load(path)
        return self.texts[path]

    def resolve(self, name: str, parent: str) -> str:
        """Return the path that an include's name means; where nothing exists, the first that was tried."""
        folder, _, _ = parent.rpartition("/")
        ways = (name.lstrip("/"),) if name.startswith("/") else (f"{folder}/{name}" if folder else name, name)
        paths = tuple(dict.fromkeys(map(_cleaned, ways)))
        self.tried[paths[0]] = paths
        return next((path for path in paths if self.text(path) is not None), paths[0])

    def source(self, path: str) -> tuple[str, str, None] | None:
        """Return what Jinja's loader wants to know of a template."""
        text = self.text(path)
        return None if text is None else (text, path, None)


def _cleaned(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


class _Missing(StrictUndefined):
    """An undefined value whose error keeps what was asked of what."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return _Message(super()._undefined_message, self)


class _Message(str):
    """An error's text together with the undefined value that caused it."""

    __slots__ = ("undefined",)

    undefined: Undefined

    def __new__(cls, text: str, undefined: Undefined) -> Self:
        message = super().__new__(cls, text)
        message.undefined = undefined
        return message


class _LineTracing(CodeGenerator):
    """Compiles so that every line of a template's plain text is output by itself, under its own line number."""

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:  # noqa: N802 - the name is Jinja's
        """Write the parts of a piece of text one by one."""
        for child in node.nodes:
            for part in _by_line(child):
                self.newline(part)
                super().visit_Output(nodes.Output([part], lineno=part.lineno), frame)


def _by_line(node: nodes.Expr) -> Iterator[nodes.Expr]:
    if not isinstance(node, nodes.TemplateData):
        yield node
        return
    for number, line in enumerate(node.data.splitlines(keepends=True)):
        yield nodes.TemplateData(line, lineno=node.lineno + number)


class _Environment(SandboxedEnvironment):
    """Jinja as devloop sets it up; one for each render."""

    code_generator_class = _LineTracing

    def __init__(self, load: Load) -> None:
        self.files = _Files(load)
        super().__init__(
            loader=FunctionLoader(self.files.source),
            undefined=_Missing,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
            cache_size=0,
            auto_reload=False,
        )
        self.filters |= {"b64encode": _b64encode, "quote": _quote, "toyaml": _toyaml}
        self.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": str}
        # What differs from one render to the next would deploy again and again.
        del self.globals["lipsum"], self.filters["random"]

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Return the parsed template; Jinja itself notices unknown filters and tests only when it compiles."""
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((nodes.Filter, nodes.Test)):
            kind, known = ("filter", self.filters) if isinstance(node, nodes.Filter) else ("test", self.tests)
            if node.name not in known:
                raise _UnknownError(kind, node.name, known, node.lineno, name)
        return tree

    def join_path(self, template: str, parent: str) -> str:
        """Return the path of an included template."""
        return self.files.resolve(template, parent)


class _UnknownError(TemplateSyntaxError):
    """A filter or test that there is not."""

    def __init__(self, kind: str, wanted: str, known: Iterable[str], line: int, name: str | None) -> None:
        super().__init__(f"no {kind} named `{wanted}`", line, name, name)
        self.hint = _suggestion(wanted, known, "there are", ())


def _toyaml(value: Any) -> str:
    return dump(_plain(value)).removesuffix("...\n").rstrip("\n")


def _plain(value: Any) -> Any:
    """Return a value of JSON's types; what is none of them (an `Image`) as its text."""
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset() | Iterator():
            return [_plain(item) for item in value]
        case _:
            return str(value)


def _b64encode(value: Any) -> str:
    raw = value if isinstance(value, bytes) else str(value).encode()
    return base64.b64encode(raw).decode()


def _quote(value: Any) -> str:
    return json.dumps(str(value), ensure_ascii=False)


# --- rendering, line by line -------------------------------------------------------------------------------


def _traced(environment: _Environment, path: str, variables: Mapping[str, Any]) -> tuple[str, tuple[Where | None, ...]]:
    template = environment.get_template(path)
    chunks = template.root_render_func(template.new_context(dict(variables)))
    assert isinstance(chunks, Generator)  # noqa: S101 - Jinja's compiled code is a generator; its type says less
    texts: list[str] = []
    lines: list[Where | None] = []
    place: Where | None = None
    for text in chunks:
        here = _place(chunks)
        texts.append(text)
        for part in text.splitlines(keepends=True):
            place = place or (here if part.strip() else None)
            if part.endswith("\n"):
                lines.append(place or here)
                place = None
    return "".join(texts), (*lines, place)


def _place(chunks: Generator[str, None, None]) -> Where | None:
    """Return the template's line that made the chunk just given, inside included and inherited templates too."""
    innermost: Any = chunks
    frame: FrameType | None = innermost.gi_frame
    while frame is not None:
        deeper = innermost.gi_yieldfrom or frame.f_locals.get("gen")  # `gen` is what an include iterates over
        if not isinstance(deeper, Generator) or getattr(deeper, "gi_frame", None) is None:
            return _frame_place(frame, frame.f_lineno)
        innermost, frame = deeper, getattr(deeper, "gi_frame", None)
    return None


def _frame_place(frame: FrameType, line: int) -> Where | None:
    template = frame.f_globals.get("__jinja_template__")
    if not isinstance(template, Template) or template.name is None:
        return None
    return Where(path=template.name, line=template.get_corresponding_lineno(line))


# --- errors ------------------------------------------------------------------------------------------------


def _refuse(error: Exception, environment: _Environment, path: str, variables: Mapping[str, Any]) -> NoReturn:
    """Raise what went wrong in a render as the user's mistake, at its place."""
    files = environment.files
    if isinstance(error, InputError | InputErrors):
        raise error  # `load` may raise the user's mistakes by itself
    if isinstance(error, TemplateSyntaxError):
        name = error.name or path
        raise _syntax_error(error, name, files.text(name) or "", tuple(_places(error, files))) from None
    where, *chain = [*_places(error, files)] or [Where(path=path)]
    message, hint = _explained(error, where, files, {*variables, *environment.globals}, variables)
    raise InputError(message, where=where, hint=hint, chain=chain) from error


def _places(error: Exception, files: _Files) -> Iterator[Where]:
    """Yield the places in templates that led to an error, the nearest first, without repetitions."""
    found: dict[tuple[str, int | None], Where] = {}
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if place := _frame_place(trace.tb_frame, trace.tb_lineno):
            key = (place.path, place.line)
            found.pop(key, None)
            found[key] = replace(place, text=_line(files.text(place.path) or "", place.line))
        trace = trace.tb_next
    return reversed(found.values())


def _line(text: str, number: int | None) -> str | None:
    lines = text.splitlines()
    return lines[number - 1].strip() if number is not None and 0 < number <= len(lines) else None


def _explained(
    error: Exception, where: Where, files: _Files, names: Iterable[str], variables: Mapping[str, Any]
) -> tuple[str, str | None]:
    match error:
        case UndefinedError(args=[_Message() as message, *_]):
            return _undefined(message, where, names, variables)
        case TemplateNotFound():
            return _not_found(error, files, where)
        case RecursionError():
            return "the template never ends: a template includes itself, or a macro calls itself", None
        case _:
            detail = f": {error}" if str(error) else ""
            return f"the template fails here: {type(error).__name__}{detail}", None


def _undefined(
    message: _Message, where: Where, names: Iterable[str], variables: Mapping[str, Any]
) -> tuple[str, str | None]:
    undefined = message.undefined
    if undefined._undefined_hint:  # noqa: SLF001 - Jinja keeps it nowhere else
        return _lowered(undefined._undefined_hint), None  # noqa: SLF001
    name, owner = undefined._undefined_name, undefined._undefined_obj  # noqa: SLF001
    if not isinstance(name, str):
        return f"{_described(owner)} has no element `{name}`", None
    if type(owner) is _MISSING:
        return f"`{name}` is not defined", _suggestion(name, names, "the template gets", variables)
    found = re.search(rf"([A-Za-z_][\w.]*)(?:\.{re.escape(name)}\b|\[.{re.escape(name)}.\])", where.text or "")
    subject = f"`{found[1]}`" if found else _described(owner)
    parts = list(map(str, owner)) if isinstance(owner, Mapping) else [part for part in dir(owner) if part[0] != "_"]
    return f"{subject} has no `{name}`", _suggestion(name, parts, "it has", parts)


_MISSING = type(Undefined()._undefined_obj)  # noqa: SLF001 - Jinja's own mark for "no object"


def _described(value: Any) -> str:
    kind = {"dict": "mapping", "str": "text"}.get(type(value).__name__, type(value).__name__)
    return f"the {kind}"


def _suggestion(name: str, candidates: Iterable[str], verb: str, listed: Iterable[str]) -> str | None:
    """Return the candidate that was meant, else what there is to choose from, if it is not too much."""
    if close := difflib.get_close_matches(name, sorted(candidates), n=1):
        return f"did you mean `{close[0]}`?"
    shown = sorted(listed)
    return f"{verb} {', '.join(f'`{part}`' for part in shown)}" if 0 < len(shown) <= _MANY else None


_MANY = 12
_SUFFIXES = (".j2", ".jinja", ".jinja2", ".yaml", ".yaml.j2", ".yml")


def _not_found(error: TemplateNotFound, files: _Files, where: Where) -> tuple[str, str | None]:
    names: Sequence[str] = [*(getattr(error, "templates", None) or [error.name or ""])]
    tried = tuple(path for name in names for path in files.tried.get(name, (name,)))
    for path in tried:
        if found := next((other for other in _neighbours(path, where) if files.load(other) is not None), None):
            return _no_template(tried), f"did you mean `{found}`?"
    return _no_template(tried), "names are relative to the including file, or to the project's root"


def _no_template(tried: Sequence[str]) -> str:
    *others, last = (f"`{path}`" for path in tried)
    return f"no template {', '.join(others)} or {last}" if others else f"no template {last}"


def _neighbours(path: str, where: Where) -> Iterator[str]:
    """Yield paths that a person may have meant by a path that leads nowhere."""
    folder, _, _ = where.path.rpartition("/")
    stem, _, last = path.rpartition("/")
    for suffix in _SUFFIXES:
        yield path + suffix
        yield path.removesuffix(suffix)
        yield f"{stem}/_{last}{suffix}".lstrip("/")
    yield f"{stem}/_{last}".lstrip("/")
    yield f"{folder}/{last}".lstrip("/")


def _syntax_error(error: Exception, path: str, text: str, chain: Sequence[Where] = ()) -> InputError:
    hint = error.hint if isinstance(error, _UnknownError) else None
    match error:
        case TemplateSyntaxError():
            line: int | None = error.lineno
            message = _lowered(error.message or "this is not a template")
        case RecursionError():
            line, message = None, "nested too deeply"
        case _:
            line, message = None, f"this is not a template: {error}"
    where = Where(path=path, line=line, text=_line(text, line))
    return InputError(f"template syntax: {message}", where=where, hint=hint, chain=chain)


def _lowered(text: str) -> str:
    """Return one of Jinja's sentences in devloop's voice."""
    text = re.sub(r"'([^']*)'", r"`\1`", text.strip()).removesuffix(".")
    return text[:1].lower() + text[1:]
