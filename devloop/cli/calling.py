"""How a command runs: its options from the command line, its errors on stderr, its data on stdout, its exit code."""

import gc
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from devloop.app.options import Options
    from devloop.core.plan import Mode

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "WRONG_INPUT",
    "call",
    "call_session",
    "check_choice",
    "open_reading",
    "options_of",
    "place_options",
    "print_data",
    "terminal_width",
    "unicode_works",
    "write",
]

FAILED: Final = 1
WRONG_INPUT: Final = 2
INTERRUPTED: Final = 130


def options_of(
    mode: "Mode",
    nodes: list[str] | None = None,
    file: Path | None = None,
    settings: list[str] | None = None,
    context: str | None = None,
    kubeconfig: str | None = None,
    namespace: str | None = None,
    *,
    target: str | None = None,
    **more: Any,
) -> "Options":
    """Return what is asked for; `more` are further fields of Options."""
    from devloop.app.options import Options

    return Options(
        devfile=file,
        nodes=tuple(nodes or ()),
        settings=_settings(settings or ()),
        target=target,
        context=context,
        kubeconfig=kubeconfig,
        namespace=namespace,
        mode=mode,
        **more,
    )


def place_options(
    nodes: list[str] | None,
    file: Path | None,
    context: str | None,
    kubeconfig: str | None,
    namespace: str | None,
    *,
    target: str | None = None,
) -> "Options":
    """Return what is asked for by a command that works with what runs."""
    from devloop.app.options import UP

    return options_of(UP, nodes, file, None, context, kubeconfig, namespace, target=target)


async def open_reading(
    nodes: list[str] | None,
    file: Path | None,
    settings: list[str] | None,
    context: str | None = None,
    kubeconfig: str | None = None,
    namespace: str | None = None,
    *,
    target: str | None = None,
) -> Any:
    """Return the project, read from disk."""
    from devloop.app.options import UP
    from devloop.app.reading import Reading

    options = options_of(UP, nodes, file, settings, context, kubeconfig, namespace, target=target)
    return await Reading(options).open()


def _settings(given: Any) -> dict[str, str]:
    from devloop.errors import InputError

    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise InputError(f"`--set {each}` gives no value", hint="write it as `--set name=value`")
        found[name.strip()] = value
    return found


def call_session(options: "Callable[[], Options]", output: str, *, down: bool = False) -> None:
    """Run a session to its end, and exit with its code."""

    async def command() -> int:
        gc.disable()  # until the session has begun: nothing of what is imported is garbage
        from devloop.app.running import run_session

        check_choice("--output", output, ("auto", "live", "plain", "json"))
        return await run_session(options(), output=output, down=down)

    call(command)


def call(command: Callable[[], Coroutine[Any, Any, int | None]]) -> NoReturn:
    """Run a command to its end, show its errors, and exit with its code."""
    import anyio

    from devloop.errors import DevloopError, InputError, InputErrors

    async def guarded() -> int:
        errors: list[DevloopError] = []
        code: int | None = 0
        try:
            code = await command()
        except* DevloopError as group:
            errors = _leaves(group)
        if not errors:
            return code or 0
        _show(errors)
        return WRONG_INPUT if any(isinstance(each, InputError | InputErrors) for each in errors) else FAILED

    code = anyio.run(guarded)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise SystemExit(code)


def _leaves(group: BaseException) -> list[Any]:
    if isinstance(group, BaseExceptionGroup):
        return [leaf for each in group.exceptions for leaf in _leaves(each)]
    return [group]


def _show(errors: list[Any]) -> None:
    from devloop.ui.problems import print_error
    from devloop.ui.text import colour_wanted

    colour = colour_wanted(os.environ, terminal=sys.stderr.isatty())
    for number, error in enumerate(dict.fromkeys(errors)):
        if number:
            sys.stderr.write("\n")
        print_error(error, sys.stderr, colour=colour)


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Check the value of an option.

    Raises:
        InputError: It is none of the choices.
    """
    from devloop.errors import InputError

    if value not in choices:
        listed = ", ".join(f"`{each}`" for each in choices)
        raise InputError(f"`{option} {value}` is not known", hint=f"choose one of {listed}")


def print_data(data: object, text: str, output: str) -> None:
    """Print what a command found: as JSON where that is asked for, else as text."""
    import json

    from devloop.ui.tables import json_ready

    check_choice("--output", output, ("text", "json"))
    sys.stdout.write(json.dumps(json_ready(data), indent=2) + "\n" if output == "json" else text)


def write(text: str) -> None:
    """Write to stdout at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def terminal_width() -> int | None:
    """Return how wide the terminal is; None where the output goes elsewhere, which takes whole lines."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def unicode_works() -> bool:
    """Return whether stdout takes more than ASCII."""
    return "utf" in (sys.stdout.encoding or "").lower()
