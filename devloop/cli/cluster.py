"""The commands of the cluster of one's own: start, stop, status."""

import sys
from typing import Annotated

import typer

from devloop.cli.application import app
from devloop.cli.calling import FAILED, call, print_data
from devloop.cli.parameters import Data, Kubeconfig

__all__ = ["cluster", "start", "status", "stop"]

cluster = typer.Typer(name="cluster", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(cluster)


@cluster.callback()
def about() -> None:
    """Run a single-node Kubernetes of your own, in one container of the Docker engine."""


@cluster.command()
def start(
    image: Annotated[str | None, typer.Option(help="The image of k3s (default: rancher/k3s:v1.31.5-k3s1).")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until the node must be ready.")] = 180,
    kubeconfig: Kubeconfig = None,
    output: Data = "text",
) -> None:
    """Make the cluster or start it again, wait until it is ready, and make its context the current one."""

    async def command() -> None:
        from devloop.app.own_cluster import OwnCluster
        from devloop.ui.tables import cluster_text

        row = await OwnCluster(kubeconfig).start(image, timeout, _tell)
        print_data(row, cluster_text(row), output)

    call(command)


@cluster.command()
def stop(
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Keep what the cluster holds for a later start.")
    ] = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Remove the cluster, what it holds, and its entries in the kubeconfig."""

    async def command() -> None:
        from devloop.app.own_cluster import OwnCluster

        await OwnCluster(kubeconfig).stop(keep_data=keep_data, tell=_tell)

    call(command)


@cluster.command()
def status(kubeconfig: Kubeconfig = None, output: Data = "text") -> None:
    """Show whether the cluster runs. Exit code 1 when it is not ready."""

    async def command() -> int:
        from devloop.app.own_cluster import OwnCluster
        from devloop.ui.tables import cluster_text

        row = await OwnCluster(kubeconfig).status()
        print_data(row, cluster_text(row), output)
        return 0 if row.state == "ready" else FAILED

    call(command)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
