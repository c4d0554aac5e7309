"""The commands that work with what runs: status, logs, exec, trigger, doctor, down."""

import os
import sys
from typing import Annotated

import typer

from devloop.cli.application import app
from devloop.cli.calling import FAILED, call, check_choice, place_options, print_data, write
from devloop.cli.parameters import Context, Data, File, Kubeconfig, Namespace, Node, Nodes, Target

__all__ = ["doctor", "down", "exec", "logs", "status", "trigger"]


@app.command()
def status(
    nodes: Nodes = None,
    file: File = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Data = "text",
) -> None:
    """Show what runs: services, pods, ports. Exit code 1 when something is not ready."""

    async def command() -> int:
        from devloop.app.working import deployed
        from devloop.ui.tables import status_text

        async with deployed(place_options(nodes, file, context, kubeconfig, namespace, target=target)) as place:
            rows = await place.status()
        print_data(rows, status_text(rows), output)
        return 0 if all(row.status in {"ready", "deployed"} for row in rows) else FAILED

    call(command)


@app.command()
def logs(
    nodes: Nodes = None,
    file: File = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on until Ctrl-C.")] = False,
    since: Annotated[str | None, typer.Option(help="From this RFC 3339 time on.")] = None,
    output: Data = "text",
) -> None:
    """Print the logs of all containers of the services, in order of time."""

    async def command() -> None:
        from devloop.app.working import deployed
        from devloop.ui.lines import PlainFront, json_line
        from devloop.ui.text import colour_wanted

        check_choice("--output", output, ("text", "json"))
        plain = PlainFront(sys.stdout, colour=colour_wanted(os.environ, terminal=sys.stdout.isatty()))
        text = json_line if output == "json" else plain.text
        async with deployed(place_options(nodes, file, context, kubeconfig, namespace, target=target)) as place:
            await place.logs(lambda line: write(text(line)), follow=follow, since=since)

    call(command)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def exec(  # noqa: A001 - the command's name
    node: Node,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The program and its arguments.")],
    file: File = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    container: Annotated[
        str | None, typer.Option("--container", "-c", help="The container (default: the first).")
    ] = None,
) -> None:
    """Run a command in a running container of a service; its exit code is this one's."""

    async def execute() -> int:
        from devloop.app.working import deployed
        from devloop.errors import InputError

        program = command[1:] if command[0] == "--" else command  # as kubectl takes it
        if not program:
            raise InputError("no command is given", hint=f"for example `devloop exec {node} sh`")
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        async with deployed(place_options([node], file, context, kubeconfig, namespace, target=target)) as place:
            (service,) = place.wanted
            return await place.exec(service, program, container=container, terminal=terminal)

    call(execute)


@app.command()
def trigger(
    nodes: Annotated[list[str], typer.Argument(metavar="NODE...", help="Nodes: `api`, `image:api`.")],
    file: File = None,
    output: Data = "text",
) -> None:
    """Let the loop that runs do these nodes again, though nothing changed."""

    async def command() -> None:
        from devloop.adapters.control import ask_to_run
        from devloop.adapters.state import state_directory
        from devloop.app.options import find_devfile

        state = state_directory(find_devfile(file).parent)
        names = await ask_to_run(state, nodes)
        print_data(names, "".join(f"{name} runs again\n" for name in names), output)

    call(command)


@app.command()
def doctor(
    file: File = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Data = "text",
) -> None:
    """Examine engine, cluster and watcher, and say how to mend what is wrong. Exit code 1 when something is."""

    async def command() -> int:
        from devloop.app.doctor import examine
        from devloop.ui.tables import doctor_text

        rows = await examine(place_options(None, file, context, kubeconfig, namespace, target=target))
        print_data(rows, doctor_text(rows), output)
        return 0 if all(row.ok for row in rows) else FAILED

    call(command)


@app.command()
def down(
    nodes: Nodes = None,
    file: File = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Remove the data of claims too, which the Docker engine keeps.")
    ] = False,
    output: Data = "text",
) -> None:
    """Remove what devloop deployed, and nothing else."""

    async def command() -> None:
        from devloop.app.working import deployed

        async with deployed(place_options(nodes, file, context, kubeconfig, namespace, target=target)) as place:
            removed = await place.down(sorted(place.wanted) or None, volumes=volumes)
        names = [str(each) for each in removed]
        print_data(names, "".join(f"removed {name}\n" for name in names) or "nothing was deployed\n", output)

    call(command)
