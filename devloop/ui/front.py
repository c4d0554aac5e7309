"""Which front-end suits where the output goes."""

import sys
from collections.abc import AsyncIterable, Mapping
from enum import StrEnum
from typing import Protocol, TextIO

from devloop.events import Event
from devloop.ui.lines import JsonFront, PlainFront
from devloop.ui.text import colour_wanted

__all__ = ["Front", "Output", "choose_front"]


class Output(StrEnum):
    """How a session is shown; `AUTO` and `LIVE` are the live view on a terminal and plain lines elsewhere."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    JSON = "json"


class Front(Protocol):
    """Shows a session to its end."""

    async def run(self, events: AsyncIterable[Event]) -> None:
        """Show events until they end, or until nobody is there to see them.

        Whatever ends it, cancellation and errors too, the terminal is as it was and nothing that was read is lost.
        """

    def close(self) -> None:
        """Leave the terminal as it was, now; only for a program that ends at once, without waiting for `run`."""


def choose_front(
    output: Output | str,
    *,
    stderr_is_terminal: bool,
    env: Mapping[str, str],
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> Front:
    """Return the front-end for this output.

    Args:
        output: What the user asked for.
        stderr_is_terminal: Whether a person looks at standard error.
        env: The environment: `TERM`, `NO_COLOR`, `FORCE_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`.
        stdout: Where data goes.
        stderr: Where text for people goes.
    """
    errors = stderr or sys.stderr
    colour = colour_wanted(env, terminal=stderr_is_terminal)
    output = Output(output)
    if output is Output.JSON:
        return JsonFront(stdout or sys.stdout)
    if output is Output.PLAIN or not stderr_is_terminal or env.get("TERM", "dumb") == "dumb":
        return PlainFront(errors, colour=colour)
    from devloop.ui.console import ConsoleFront

    return ConsoleFront(errors, colour=colour)
