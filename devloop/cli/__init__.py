"""The command line. Only typer and the standard library are imported here; each command imports what it needs."""

from devloop.cli import running  # the order of these is the order in which `--help` lists the commands

# isort: split
from devloop.cli import reading

# isort: split
from devloop.cli import working

# isort: split
from devloop.cli import beginning

# isort: split
from devloop.cli import cluster

# isort: split
from devloop.cli import builder

# isort: split
from devloop.cli.application import app
from devloop.cli.calling import INTERRUPTED

__all__ = ["app", "beginning", "builder", "cluster", "main", "reading", "running", "working"]


def main() -> None:
    """Run the command line; the process ends with the command's exit code."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
