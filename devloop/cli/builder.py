"""The command that makes builders."""

import sys
from typing import Annotated

import typer

from devloop.cli.application import app
from devloop.cli.calling import call
from devloop.cli.parameters import Context, Kubeconfig

__all__ = ["builder", "create"]

builder = typer.Typer(name="builder", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(builder)


@builder.callback()
def about() -> None:
    """Make builders with a BuildKit of their own, for `project(builder=…)` and `@image(builder=…)`."""


@builder.command()
def create(
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="In a cluster, for a team (left out: in one container here).")
    ] = False,
    name: Annotated[str, typer.Option(help="Its name; the same name in the same namespace is shared.")] = "devloop",
    replicas: Annotated[int, typer.Option(help="How many pods build in the cluster.")] = 1,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where its pods run.")] = "devloop-builders",
    cpu: Annotated[str | None, typer.Option(help="CPU that each pod asks for: `4`, `500m`.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory that each pod asks for: `8Gi`.")] = None,
    platform: Annotated[list[str] | None, typer.Option(help="A platform that its nodes build for.")] = None,
    image: Annotated[str | None, typer.Option(help="The image of BuildKit (default: buildx's own choice).")] = None,
    rootless: Annotated[bool, typer.Option("--rootless", help="Run BuildKit without privileges.")] = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Make a builder and wait until it answers. In a cluster, buildx's Kubernetes driver makes it.

    The namespace must be there. Everyone who is to use the builder runs the same command: the first makes it, the
    others find it.
    """

    async def command() -> None:
        from devloop.app.builders import check_cluster, create_builder
        from devloop.core.delivery.builders import ContainerBuilder, KubernetesBuilder

        if not kubernetes:
            await create_builder(ContainerBuilder(name=name, image=image), _tell)
        else:
            check_cluster(context, kubeconfig)
            wanted = KubernetesBuilder(
                name=name,
                namespace=namespace,
                replicas=replicas,
                cpu=cpu,
                memory=memory,
                image=image,
                rootless=rootless,
                platforms=tuple(platform or ()),
            )
            await create_builder(wanted, _tell, kubeconfig)
        _tell(f'use it by `project(builder="{name}")`')

    call(command)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
