"""The commands that only read: plan, why, graph, settings, render."""

import sys
from typing import Annotated

import typer

from devloop.cli.application import app
from devloop.cli.calling import call, check_choice, open_reading, print_data, terminal_width, unicode_works
from devloop.cli.parameters import Context, Data, File, Kubeconfig, Namespace, Nodes, Set, Target

__all__ = ["graph", "plan", "render", "settings", "why"]


@app.command()
def plan(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    changed: Annotated[
        list[str] | None, typer.Option("--changed", metavar="PATH", help="As if this file or folder had changed.")
    ] = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Data = "text",
) -> None:
    """Show what would run and why; nothing runs."""

    async def command() -> None:
        from devloop.ui.tables import plan_text

        reading = await open_reading(nodes, file, settings, context, kubeconfig, namespace, target=target)
        rows = reading.plan(changed or ())
        print_data(rows, plan_text(rows), output)

    call(command)


@app.command()
def why(
    node: Annotated[str, typer.Argument(metavar="NODE|PATH", help="A node, or a file or folder of the project.")],
    file: File = None,
    settings: Set = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Data = "text",
) -> None:
    """Show the last decision on a node (which file, which line, how it went), or what becomes of a file and why."""

    async def command() -> None:
        from devloop.ui.explained import causes_text, path_text, with_causes
        from devloop.ui.tables import why_text

        reading = await open_reading(None, file, settings, context, kubeconfig, namespace, target=target)
        named = reading.named(node)
        if isinstance(named, str):
            row = reading.path(named)
            print_data(row, path_text(row), output)
            return
        decision = reading.why(named)
        causes = reading.causes(decision)
        print_data(with_causes(decision, causes), why_text(decision) + causes_text(causes), output)

    call(command)


@app.command()
def graph(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    style: Annotated[str, typer.Option("--format", help="tree, mermaid, dot or json.")] = "tree",
    inputs: Annotated[
        str | None,
        typer.Option("--inputs", metavar="NODE", help="List instead all that a node reads, and the lines that say so."),
    ] = None,
    output: Data = "text",
) -> None:
    """Show the inferred graph: who needs whom, and what says so."""

    async def command() -> None:
        from devloop.ui.drawings import graph_text
        from devloop.ui.explained import inputs_text

        reading = await open_reading(nodes, file, settings)
        if inputs is not None:
            found = reading.inputs(inputs)
            print_data(found, inputs_text(found, width=terminal_width()), output)
            return
        form = "json" if output == "json" else style
        check_choice("--format", form, ("tree", "mermaid", "dot", "json"))
        sys.stdout.write(graph_text(tuple(reading.graph.nodes), reading.edges(), form, ascii_only=not unicode_works()))

    call(command)


@app.command()
def settings(file: File = None, settings: Set = None, output: Data = "text") -> None:
    """Show the settings: the arguments with a default, their values and where these come from."""

    async def command() -> None:
        from devloop.ui.tables import settings_text

        rows = (await open_reading(None, file, settings)).settings()
        print_data(rows, settings_text(rows), output)

    call(command)


@app.command()
def render(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    target: Target = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Annotated[str, typer.Option("--output", "-o", help="yaml or json.")] = "yaml",
) -> None:
    """Print the manifests as they would be applied, comments and layout as they were written."""

    async def command() -> None:
        from devloop.core.manifest.rewriting import rewritten

        check_choice("--output", output, ("yaml", "json"))
        reading = await open_reading(nodes, file, settings, context, kubeconfig, namespace, target=target)
        manifests, unbuilt = reading.manifests()
        if output == "json":
            print_data([manifest.document for manifest in manifests], "", "json")
        else:
            sys.stdout.write(rewritten(manifests))
        if unbuilt:
            names = ", ".join(f"`{name}`" for name in unbuilt)
            sys.stderr.write(f"note: not built as they are now, so without a tag of their own: {names}\n")

    call(command)
