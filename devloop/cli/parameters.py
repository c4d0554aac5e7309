"""Parameters that several commands share, with their help."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Context",
    "Data",
    "File",
    "Kubeconfig",
    "Namespace",
    "NoCache",
    "Node",
    "Nodes",
    "Pull",
    "Set",
    "Stream",
    "Target",
    "Timeout",
]

Nodes = Annotated[
    list[str] | None, typer.Argument(metavar="[NODE]...", help="Nodes with all that they need: `api`, `image:api`.")
]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A node: `api`, `service:api`.")]
File = Annotated[
    Path | None, typer.Option("--file", "-f", help="The devfile or its folder (default: here or in a folder above).")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting: `replicas=3`, `api.replicas=3`.")
]
Target = Annotated[
    str | None, typer.Option(help="docker: the engine alone, or kubernetes (default: a cluster if one is chosen).")
]
Context = Annotated[str | None, typer.Option(help="The Kubernetes context (default: the current one, if it is local).")]
Kubeconfig = Annotated[str | None, typer.Option(help="The kubeconfig (default: $KUBECONFIG, else ~/.kube/config).")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="The namespace (default: the project's).")]
Stream = Annotated[str, typer.Option("--output", "-o", help="auto, plain, or json: the event stream on stdout.")]
Data = Annotated[str, typer.Option("--output", "-o", help="text or json.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Build from nothing.")]
Pull = Annotated[bool, typer.Option("--pull", help="Ask registries for newer base images.")]
Timeout = Annotated[float, typer.Option(help="Seconds that a failing rollout may take to mend itself.")]
