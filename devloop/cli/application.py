"""The command-line application that the commands belong to."""

import typer

__all__ = ["app"]

app = typer.Typer(
    name="devloop",
    help="The inner development loop for Docker and Kubernetes: save a file, see it running.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
