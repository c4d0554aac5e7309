"""Loads devfiles: imports them afresh each time and records every file of the project that the import read."""

import importlib.machinery
import importlib.util
import linecache
import os
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Final

from devloop.core.delivery.cache import cache_options
from devloop.core.settings import Setting, of_project
from devloop.declarations import ProjectSpec, SettingSpec
from devloop.dsl import Collector, collecting
from devloop.errors import InputError, Where
from devloop.runtime.ports import Loaded
from devloop.runtime.user_code import input_error, relative

__all__ = ["PythonDevfile", "recording"]

_LOADING: Final = threading.RLock()
"""Importing afresh changes what the whole interpreter has imported: one load at a time."""

_reads: ContextVar[tuple[str, set[str]] | None] = ContextVar("devloop_reads", default=None)


class PythonDevfile:
    """A devfile on disk; implements `Devfile`.

    Args:
        path: The devfile; its folder is the project's root.
        given: Settings given by `--set`.
        environment: The environment variables.
    """

    def __init__(
        self, path: Path, *, given: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self.root = self.path.parent
        self._given = given or {}
        self._environment = environment or {}

    def load(self) -> Loaded:
        """Return what the devfile and those that it includes declare, with the mistakes found on the way."""
        settings: dict[str, Setting] = {}

        def value_of(spec: SettingSpec) -> object:
            settings[spec.name] = of_project(spec, self._given, self._environment)
            return settings[spec.name].value

        collector = Collector(root=str(self.root), value_of=value_of)
        read: set[str] = set()
        with _LOADING, recording(self.root, read), _fresh_imports(self.root):
            self._load_one(self.path.name, collector, read, asked_by=None)
            done = {self.path.name}
            while collector.includes:
                path, where = collector.includes.pop(0)
                if path not in done:
                    done.add(path)
                    self._load_one(path, collector, read, asked_by=where)
        return Loaded(
            declarations=tuple(collector.declarations),
            project=_the_project(collector),
            settings=tuple(settings.values()),
            errors=tuple(collector.errors),
            read=frozenset(read),
        )

    def _load_one(self, path: str, collector: Collector, read: set[str], *, asked_by: Where | None) -> None:
        absolute = self.root / path
        read.add(path)
        collector.folder = os.path.dirname(path)
        try:
            code = compile(absolute.read_bytes(), str(absolute), "exec", dont_inherit=True)
        except OSError:
            hint = (
                "write the path relative to the devfile that includes it"
                if asked_by
                else "run `devloop init`, or give the path with `--file`"
            )
            collector.errors.append(InputError(f"there is no devfile `{path}`", where=asked_by, hint=hint))
            return
        except (SyntaxError, ValueError) as error:
            collector.errors.append(
                input_error(error, root=str(self.root), what=f"`{path}`", fallback=Where(path=path))
            )
            return
        module = types.ModuleType("devfile" if asked_by is None else _module_name(path))
        module.__file__ = str(absolute)
        sys.modules[module.__name__] = module
        try:
            with collecting(collector), _on_path(absolute.parent):
                exec(code, module.__dict__)  # noqa: S102 - running the devfile is what loading means
        except InputError as error:
            collector.errors.append(error)
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises is theirs to see
            collector.errors.append(
                input_error(error, root=str(self.root), what=f"`{path}`", fallback=Where(path=path))
            )


def _module_name(path: str) -> str:
    return "devfile_" + "".join(each if each.isalnum() else "_" for each in path)


def _the_project(collector: Collector) -> ProjectSpec:
    if not collector.projects:
        return ProjectSpec()
    first, *others = collector.projects
    for other in others:
        where = (first.where,) if first.where else ()
        collector.errors.append(
            InputError(
                "`project(…)` is said twice", where=other.where, chain=where, hint="say it once, in the main devfile"
            )
        )
    for text in first.cache:
        try:
            cache_options(text, "image", first.where)
        except InputError as error:
            collector.errors.append(error)
    return first


# --- fresh imports -------------------------------------------------------------------------------------------------


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles the source each time: a cached `.pyc` may be older than an edit within the same second."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        code = self.source_to_code(self.get_data(path), path)
        assert isinstance(code, types.CodeType)
        return code


class _ProjectFinder(MetaPathFinder):
    """Finds the project's own modules and loads them from their source."""

    def __init__(self, root: Path) -> None:
        self._root = str(root) + os.sep

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return None
        if not spec.origin.startswith(self._root) or _installed(spec.origin):
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            spec.origin,
            loader=_FreshLoader(fullname, spec.origin),
            submodule_search_locations=spec.submodule_search_locations,
        )


def _installed(path: str) -> bool:
    return "site-packages" in path or "dist-packages" in path


@contextmanager
def _fresh_imports(root: Path) -> Iterator[None]:
    """Import the project's modules anew inside the block, and forget them after it."""
    importlib.invalidate_caches()
    finder = _ProjectFinder(root)
    sys.meta_path.insert(0, finder)
    kept = _forget(root)
    linecache.checkcache()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget(root)
        sys.modules.update(kept)


def _forget(root: Path) -> dict[str, types.ModuleType]:
    """Take the project's modules out of `sys.modules` and return them."""
    below = str(root) + os.sep
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != "__main__" and file and file.startswith(below) and not _installed(file):
            found[name] = sys.modules.pop(name)
    return found


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


# --- what was read -------------------------------------------------------------------------------------------------


@contextmanager
def recording(root: Path, read: set[str]) -> Iterator[None]:
    """Add to `read` the path of every file of the project that is opened inside the block, in this context."""
    _install_hook()
    token = _reads.set((str(root), read))
    try:
        yield
    finally:
        _reads.reset(token)


_hooked = False


def _install_hook() -> None:
    global _hooked  # noqa: PLW0603 - an audit hook cannot be removed, so there is one for the whole process
    if not _hooked:
        sys.addaudithook(_note_open)
        _hooked = True


def _note_open(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open":
        return
    recorder = _reads.get()
    path = arguments[0]
    if recorder is None or not isinstance(path, str | bytes):
        return
    root, read = recorder
    mode = arguments[1]
    absolute = os.path.abspath(os.fsdecode(path))
    if absolute.startswith(root + os.sep) and not _installed(absolute) and (mode is None or "w" not in str(mode)):
        read.add(relative(absolute, root))
