"""Jinja as devloop sets it up: strict, sandboxed, files by a function, and plain text compiled line by line.

`core.template` is the module to import.
"""

import base64
import difflib
import functools
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Self

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import Template
from jinja2.loaders import FunctionLoader
from jinja2.sandbox import SandboxedEnvironment

from devloop.core.yaml.documents import dump
from devloop.errors import Where

__all__ = [
    "LINES",
    "Environment",
    "Files",
    "Load",
    "UndefinedText",
    "UnknownNameError",
    "frame_place",
    "place_of_chunk",
    "suggestion",
]

Load = Callable[[str], str | None]
"""Returns the text of a file by its path relative to the project's root, or None where there is none."""


@dataclass(slots=True)
class Files:
    """The templates of one render: every file is loaded once."""

    load: Load
    texts: dict[str, str | None] = field(default_factory=dict)
    tried: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def reads(self) -> Iterator[str]:
        """Return the files that were there."""
        return (path for path, text in self.texts.items() if text is not None)

    @property
    def misses(self) -> Iterator[str]:
        """Return the paths where there was no file."""
        return (path for path, text in self.texts.items() if text is None)

    def text(self, path: str) -> str | None:
        """Return a file's text, or None where there is none."""
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
        return UndefinedText(super()._undefined_message, self)


class UndefinedText(str):
    """An error's text together with the undefined value that caused it."""

    __slots__ = ("undefined",)

    undefined: Undefined

    def __new__(cls, text: str, undefined: Undefined) -> Self:
        """Return the text with what it is about."""
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


LINES = re.compile(r"[^\n]*\n|[^\n]+")
"""Finds the lines of a text, with their ends, as Jinja counts them."""


def _by_line(node: nodes.Expr) -> Iterator[nodes.Expr]:
    if not isinstance(node, nodes.TemplateData):
        yield node
        return
    for number, line in enumerate(LINES.findall(node.data)):
        yield nodes.TemplateData(line, lineno=node.lineno + number)


class Environment(SandboxedEnvironment):
    """Jinja as devloop sets it up; one for each render."""

    code_generator_class = _LineTracing

    def __init__(self, load: Load) -> None:
        self.files = Files(load)
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
                raise UnknownNameError(kind, node.name, known, node.lineno, name)
        return tree

    def join_path(self, template: str, parent: str) -> str:
        """Return the path of an included template."""
        return self.files.resolve(template, parent)


class UnknownNameError(TemplateSyntaxError):
    """A filter or test that there is not."""

    def __init__(self, kind: str, wanted: str, known: Iterable[str], line: int, name: str | None) -> None:
        super().__init__(f"no {kind} named `{wanted}`", line, name, name)
        self.hint = suggestion(wanted, known, "there are", ())


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


# --- which line made which ---------------------------------------------------------------------------------


def place_of_chunk(chunks: Generator[str, None, None]) -> Where | None:
    """Return the template's line that made the chunk just given, inside included and inherited templates too."""
    innermost: Any = chunks
    frame: FrameType | None = innermost.gi_frame
    while frame is not None:
        deeper = innermost.gi_yieldfrom or frame.f_locals.get("gen")  # `gen` is what an include iterates over
        if not isinstance(deeper, Generator) or getattr(deeper, "gi_frame", None) is None:
            return frame_place(frame, frame.f_lineno)
        innermost, frame = deeper, getattr(deeper, "gi_frame", None)
    return None


def frame_place(frame: FrameType, line: int) -> Where | None:
    """Return the template's line behind a line of Python's, or None where no template is behind it."""
    template = frame.f_globals.get("__jinja_template__")
    if not isinstance(template, Template) or template.name is None:
        return None
    return Where(path=template.name, line=next((own for own, made in _lines(template) if made <= line), 1))


@functools.lru_cache(maxsize=8)
def _lines(template: Template) -> tuple[tuple[int, int], ...]:
    """Return which of the template's lines made which of Python's, the last first; Jinja finds it out at each call."""
    return tuple(reversed(template.debug_info))


def suggestion(name: str, candidates: Iterable[str], verb: str, listed: Iterable[str]) -> str | None:
    """Return the candidate that was meant, else what there is to choose from, if it is not too much."""
    if close := difflib.get_close_matches(name, sorted(candidates), n=1):
        return f"did you mean `{close[0]}`?"
    shown = sorted(listed)
    return f"{verb} {', '.join(f'`{part}`' for part in shown)}" if 0 < len(shown) <= _MANY else None


_MANY = 12
