"""The commands that only read: plan, why, graph, settings, render."""

import sys
from typing import Annotated

import typer

from devloop.cli.application import app
from devloop.cli.calling import call, check_choice, open_reading, print_data, unicode_works
from devloop.cli.parameters import Context, Data, File, Kubeconfig, Namespace, Node, Nodes, Set

__all__ = ["graph", "plan", "render", "settings", "why"]


@app.command()
def plan(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    changed: Annotated[
        list[str] | None, typer.Option("--changed", metavar="PATH", help="As if this file or folder had changed.")
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Data = "text",
) -> None:
    """Show what would run and why; nothing runs."""

    async def command() -> None:
        from devloop.ui.tables import plan_text

        reading = await open_reading(nodes, file, settings, context, kubeconfig, namespace)
        rows = reading.plan(changed or ())
        print_data(rows, plan_text(rows), output)

    call(command)


@app.command()
def why(
    node: Node,
    file: File = None,
    settings: Set = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Data = "text",
) -> None:
    """Show the last decision on a node: which file, which rule, how it went, how long it took."""

    async def command() -> None:
        from devloop.ui.tables import why_text

        decision = (await open_reading(None, file, settings, context, kubeconfig, namespace)).why(node)
        print_data(decision, why_text(decision), output)

    call(command)


@app.command()
def graph(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    style: Annotated[str, typer.Option("--format", help="tree, mermaid, dot or json.")] = "tree",
    inputs: Annotated[
        str | None, typer.Option("--inputs", metavar="NODE", help="List the files that a node reads instead.")
    ] = None,
    output: Data = "text",
) -> None:
    """Show the inferred graph: who needs whom, and what says so."""

    async def command() -> None:
        from devloop.ui.drawings import graph_text
        from devloop.ui.tables import table

        reading = await open_reading(nodes, file, settings)
        if inputs is not None:
            files = reading.inputs(inputs)
            print_data(
                [{"path": path, "from": origin} for path, origin in files], table(("FILE", "FROM"), files), output
            )
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
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Annotated[str, typer.Option("--output", "-o", help="yaml or json.")] = "yaml",
) -> None:
    """Print the manifests as they would be applied, comments and layout as they were written."""

    async def command() -> None:
        from devloop.core.rewriting import rewritten

        check_choice("--output", output, ("yaml", "json"))
        reading = await open_reading(nodes, file, settings, context, kubeconfig, namespace)
        manifests, unbuilt = reading.manifests()
        if output == "json":
            print_data([manifest.document for manifest in manifests], "", "json")
        else:
            sys.stdout.write(rewritten(manifests))
        if unbuilt:
            names = ", ".join(f"`{name}`" for name in unbuilt)
            sys.stderr.write(f"note: not built as they are now, so without a tag of their own: {names}\n")

    call(command)
