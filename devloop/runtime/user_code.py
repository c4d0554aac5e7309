"""Calling the user's Python: what it raises becomes an error with the user's own frames only."""

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from devloop.errors import DevloopError, InputError, Where

__all__ = ["call", "input_error", "relative"]

_R = TypeVar("_R")


def call(function: Callable[..., _R], arguments: Mapping[str, Any], *, root: str, where: Where, what: str) -> _R:
    """Return what a decorated function returns.

    Args:
        function: The plain function.
        arguments: Its arguments by name.
        root: The project's root; only frames below it are shown.
        where: The function's place.
        what: What it is, for messages: ``service `api` ``.

    Raises:
        InputError: It raised something.
    """
    try:
        return function(**arguments)
    except InputError as error:
        raise _placed(error, root, where) from error
    except DevloopError:
        raise
    except Exception as error:
        raise input_error(error, root=root, what=what, fallback=where) from error


def input_error(error: Exception, *, root: str, what: str, fallback: Where) -> InputError:
    """Return an exception from the user's code as an input error, placed at the innermost frame of theirs."""
    if isinstance(error, SyntaxError) and error.filename:
        where = Where(
            path=relative(error.filename, root),
            line=error.lineno,
            column=error.offset or None,
            text=(error.text or "").strip() or None,
        )
        return InputError(f"{what} is not valid Python: {error.msg}", where=where)
    frames = list(_own_frames(error, root))
    where = frames[-1] if frames else fallback
    text = str(error)
    message = f"{what} raises {type(error).__name__}" + (f": {text}" if text else "")
    return InputError(message, where=where, chain=tuple(reversed(frames[:-1])), hint=_hint(error))


def relative(filename: str, root: str) -> str:
    """Return a file's path relative to the project's root, POSIX form."""
    return os.path.relpath(os.path.realpath(filename), root).replace(os.sep, "/")


def _own_frames(error: Exception, root: str) -> Iterator[Where]:
    for frame in traceback.extract_tb(error.__traceback__):
        path = relative(frame.filename, root) if os.path.isabs(frame.filename) else ".."
        if not path.startswith("..") and "site-packages" not in path:
            yield Where(path=path, line=frame.lineno, text=frame.line or None)


def _placed(error: InputError, root: str, where: Where) -> InputError:
    if error.where is not None:
        return error
    frames = list(_own_frames(error, root))
    return InputError(error.message, where=frames[-1] if frames else where, hint=error.hint, chain=error.chain)


def _hint(error: Exception) -> str | None:
    if isinstance(error, ModuleNotFoundError):
        return f"put `{error.name}.py` beside the devfile, or install the package into devloop's environment"
    return None
