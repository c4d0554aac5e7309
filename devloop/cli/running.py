"""The commands that run the loop or a single pass: up, sync, build, deploy, ci, run."""

from typing import TYPE_CHECKING, Annotated

import typer

from devloop.cli.application import app
from devloop.cli.calling import call_session, options_of
from devloop.cli.parameters import (
    Context,
    File,
    Kubeconfig,
    Namespace,
    NoCache,
    Nodes,
    Pull,
    Set,
    Stream,
    Target,
    Timeout,
)

if TYPE_CHECKING:
    from devloop.app.options import Options

__all__ = ["build", "ci", "deploy", "run_task", "sync_files", "up"]


@app.command()
def up(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Stream = "auto",
    down: Annotated[bool, typer.Option("--down/--keep", help="Remove what was deployed when it ends.")] = False,
    logs: Annotated[bool, typer.Option("--logs/--no-logs", help="Show the containers' logs.")] = True,
    ports: Annotated[bool, typer.Option("--ports/--no-ports", help="Forward the services' ports.")] = True,
    no_cache: NoCache = False,
    pull: Pull = False,
) -> None:
    """Run the loop: build, deploy, then watch. Ctrl-C ends it, a second one at once."""

    def options() -> "Options":
        from devloop.app.options import UP

        return options_of(
            UP,
            nodes,
            file,
            settings,
            context,
            kubeconfig,
            namespace,
            target=target,
            no_cache=no_cache,
            pull=pull,
            logs=logs,
            ports=ports,
        )

    call_session(options, output, down=down)


@app.command("sync")
def sync_files(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Stream = "auto",
    once: Annotated[
        bool, typer.Option("--once/--watch", help="End when all containers hold what they should.")
    ] = False,
) -> None:
    """Only copy files, into what runs already, whoever built and deployed it; then watch. Nothing is built or deployed.

    A container that devloop did not build gets all files that its syncs name, then what changes. With `--once` the exit
    code is 1 when something could not be copied, or when no container runs that a sync feeds.
    """

    def options() -> "Options":
        from dataclasses import replace

        from devloop.app.options import SYNC

        mode = replace(SYNC, once=once)
        return options_of(
            mode, nodes, file, settings, context, kubeconfig, namespace, target=target, logs=False, ports=False
        )

    call_session(options, output)


@app.command()
def build(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    output: Stream = "auto",
    no_cache: NoCache = False,
    pull: Pull = False,
) -> None:
    """Build the images whose content changed, once."""

    def options() -> "Options":
        from devloop.app.options import BUILD

        return options_of(BUILD, nodes, file, settings, no_cache=no_cache, pull=pull)

    call_session(options, output)


@app.command()
def deploy(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Stream = "auto",
    timeout: Timeout = 60.0,
) -> None:
    """Build and deploy what changed, once, and wait until it is ready."""

    def options() -> "Options":
        from devloop.app.options import DEPLOY

        return options_of(
            DEPLOY,
            nodes,
            file,
            settings,
            context,
            kubeconfig,
            namespace,
            target=target,
            timeout=timeout,
            logs=False,
            ports=False,
        )

    call_session(options, output)


@app.command()
def ci(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Stream = "auto",
    timeout: Timeout = 60.0,
    down: Annotated[bool, typer.Option("--down/--keep", help="Remove what was deployed when it ends.")] = False,
) -> None:
    """Build, deploy and run the checks, once; the exit code says whether all passed."""

    def options() -> "Options":
        from devloop.app.options import CI

        return options_of(CI, nodes, file, settings, context, kubeconfig, namespace, target=target, timeout=timeout)

    call_session(options, output, down=down)


@app.command("run")
def run_task(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task or a check of the devfile.")],
    file: File = None,
    settings: Set = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Stream = "auto",
    timeout: Timeout = 60.0,
) -> None:
    """Run a task or a check, after what it needs is built, deployed and ready."""

    def options() -> "Options":
        from devloop.app.options import CI

        return options_of(
            CI,
            [task],
            file,
            settings,
            context,
            kubeconfig,
            namespace,
            target=target,
            timeout=timeout,
            logs=False,
            asked=True,
        )

    call_session(options, output)
