"""The command that begins a project: init."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from devloop.cli.application import app
from devloop.cli.calling import WRONG_INPUT, call, check_choice, print_data
from devloop.cli.parameters import Data

__all__ = ["init"]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="The project's folder.")] = Path(),
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="A skaffold.yaml or compose.yaml (default: what says most)."),
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the devfile; write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing devfile.")] = False,
    output: Data = "text",
) -> None:
    """Write a devfile.py from what the project has: Dockerfiles, manifests, charts, skaffold.yaml, compose.yaml."""

    async def command() -> int:
        from anyio import to_thread

        from devloop.app.starting import start
        from devloop.errors import InputError
        from devloop.ui.beginnings import beginning_lines
        from devloop.ui.problems import problem_lines
        from devloop.ui.text import colour_wanted

        check_choice("--output", output, ("text", "json"))
        if not folder.is_dir():
            raise InputError(f"there is no folder `{folder}`", hint="give the project's folder")
        found = await to_thread.run_sync(lambda: start(folder, source=source, force=force, dry=show))
        print_data(found, found.devfile if show else "", output)
        colour = colour_wanted(os.environ, terminal=sys.stderr.isatty())
        lines = list(beginning_lines(found)) if output == "text" else []
        for problem in found.problems:
            lines += ["", *problem_lines(problem, colour=colour)]
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        return WRONG_INPUT if found.problems else 0

    call(command)
