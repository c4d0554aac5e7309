"""The command line. Only typer and the standard library are imported here; each command imports what it needs."""

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

if TYPE_CHECKING:
    from devloop.app.options import Options
    from devloop.core.plan import Mode

__all__ = ["app", "main"]

_FAILED: Final = 1
_WRONG_INPUT: Final = 2
_INTERRUPTED: Final = 130

app = typer.Typer(
    name="devloop",
    help="The inner development loop for Docker and Kubernetes: save a file, see it running.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

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
Context = Annotated[str | None, typer.Option(help="The Kubernetes context (default: the current one, if it is local).")]
Kubeconfig = Annotated[str | None, typer.Option(help="The kubeconfig (default: $KUBECONFIG, else ~/.kube/config).")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="The namespace (default: the project's).")]
Stream = Annotated[str, typer.Option("--output", "-o", help="auto, plain, or json: the event stream on stdout.")]
Data = Annotated[str, typer.Option("--output", "-o", help="text or json.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Build from nothing.")]
Pull = Annotated[bool, typer.Option("--pull", help="Ask registries for newer base images.")]
Timeout = Annotated[float, typer.Option(help="Seconds that a failing rollout may take to mend itself.")]


# --- the loop and single passes -----------------------------------------------------------------------------------


@app.command()
def up(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
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

        return _options(
            UP,
            nodes,
            file,
            settings,
            context,
            kubeconfig,
            namespace,
            no_cache=no_cache,
            pull=pull,
            logs=logs,
            ports=ports,
        )

    _run_session(options, output, down=down)


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

        return _options(BUILD, nodes, file, settings, no_cache=no_cache, pull=pull)

    _run_session(options, output)


@app.command()
def deploy(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Stream = "auto",
    timeout: Timeout = 60.0,
) -> None:
    """Build and deploy what changed, once, and wait until it is ready."""

    def options() -> "Options":
        from devloop.app.options import DEPLOY

        return _options(
            DEPLOY, nodes, file, settings, context, kubeconfig, namespace, timeout=timeout, logs=False, ports=False
        )

    _run_session(options, output)


@app.command()
def ci(
    nodes: Nodes = None,
    file: File = None,
    settings: Set = None,
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

        return _options(CI, nodes, file, settings, context, kubeconfig, namespace, timeout=timeout)

    _run_session(options, output, down=down)


@app.command("run")
def run_task(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task or a check of the devfile.")],
    file: File = None,
    settings: Set = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Stream = "auto",
    timeout: Timeout = 60.0,
) -> None:
    """Run a task or a check, after what it needs is built, deployed and ready."""

    def options() -> "Options":
        from devloop.app.options import CI

        return _options(
            CI, [task], file, settings, context, kubeconfig, namespace, timeout=timeout, logs=False, asked=True
        )

    _run_session(options, output)


# --- reading --------------------------------------------------------------------------------------------------------


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

        reading = await _reading(nodes, file, settings, context, kubeconfig, namespace)
        rows = reading.plan(changed or ())
        _print(rows, plan_text(rows), output)

    _run(command)


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

        decision = (await _reading(None, file, settings, context, kubeconfig, namespace)).why(node)
        _print(decision, why_text(decision), output)

    _run(command)


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

        reading = await _reading(nodes, file, settings)
        if inputs is not None:
            files = reading.inputs(inputs)
            _print([{"path": path, "from": origin} for path, origin in files], table(("FILE", "FROM"), files), output)
            return
        form = "json" if output == "json" else style
        _choice("--format", form, ("tree", "mermaid", "dot", "json"))
        sys.stdout.write(graph_text(tuple(reading.graph.nodes), reading.edges(), form, ascii_only=not _unicode()))

    _run(command)


@app.command()
def settings(file: File = None, settings: Set = None, output: Data = "text") -> None:
    """Show the settings: the arguments with a default, their values and where these come from."""

    async def command() -> None:
        from devloop.ui.tables import settings_text

        rows = (await _reading(None, file, settings)).settings()
        _print(rows, settings_text(rows), output)

    _run(command)


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
    """Print the manifests as they would be applied."""

    async def command() -> None:
        from devloop.core.manifest import to_yaml

        _choice("--output", output, ("yaml", "json"))
        reading = await _reading(nodes, file, settings, context, kubeconfig, namespace)
        manifests, unbuilt = reading.manifests()
        if output == "json":
            _print([manifest.document for manifest in manifests], "", "json")
        else:
            sys.stdout.write(to_yaml(manifests))
        if unbuilt:
            names = ", ".join(f"`{name}`" for name in unbuilt)
            sys.stderr.write(f"note: not built as they are now, so without a tag of their own: {names}\n")

    _run(command)


# --- working with what runs -----------------------------------------------------------------------------------------


@app.command()
def status(
    nodes: Nodes = None,
    file: File = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Data = "text",
) -> None:
    """Show what runs: services, pods, ports. Exit code 1 when something is not ready."""

    async def command() -> int:
        from devloop.app.working import deployed
        from devloop.ui.tables import status_text

        async with deployed(_place(nodes, file, context, kubeconfig, namespace)) as place:
            rows = await place.status()
        _print(rows, status_text(rows), output)
        return 0 if all(row.status in {"ready", "deployed"} for row in rows) else _FAILED

    _run(command)


@app.command()
def logs(
    nodes: Nodes = None,
    file: File = None,
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

        _choice("--output", output, ("text", "json"))
        plain = PlainFront(sys.stdout, colour=colour_wanted(os.environ, terminal=sys.stdout.isatty()))
        text = json_line if output == "json" else plain.text
        async with deployed(_place(nodes, file, context, kubeconfig, namespace)) as place:
            await place.logs(lambda line: _write(text(line)), follow=follow, since=since)

    _run(command)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def exec(  # noqa: A001 - the command's name
    node: Node,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The program and its arguments.")],
    file: File = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    container: Annotated[
        str | None, typer.Option("--container", "-c", help="The container (default: the first).")
    ] = None,
) -> None:
    """Run a command in a running container of a service; its exit code is this one's."""

    async def call() -> int:
        from devloop.app.working import deployed

        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        async with deployed(_place([node], file, context, kubeconfig, namespace)) as place:
            (service,) = place.wanted
            return await place.exec(service, command, container=container, terminal=terminal)

    _run(call)


@app.command()
def down(
    nodes: Nodes = None,
    file: File = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = None,
    output: Data = "text",
) -> None:
    """Remove what devloop deployed, and nothing else."""

    async def command() -> None:
        from devloop.app.working import deployed

        async with deployed(_place(nodes, file, context, kubeconfig, namespace)) as place:
            removed = await place.down(sorted(place.wanted) or None)
        names = [str(each) for each in removed]
        _print(names, "".join(f"removed {name}\n" for name in names) or "nothing was deployed\n", output)

    _run(command)


# --- running commands -----------------------------------------------------------------------------------------------


def main() -> None:
    """Run the command line; the process ends with the command's exit code."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


def _options(
    mode: "Mode",
    nodes: list[str] | None = None,
    file: Path | None = None,
    settings: list[str] | None = None,
    context: str | None = None,
    kubeconfig: str | None = None,
    namespace: str | None = None,
    **more: Any,
) -> "Options":
    from devloop.app.options import Options

    return Options(
        devfile=file,
        nodes=tuple(nodes or ()),
        settings=_settings(settings or ()),
        context=context,
        kubeconfig=kubeconfig,
        namespace=namespace,
        mode=mode,
        **more,
    )


def _place(
    nodes: list[str] | None, file: Path | None, context: str | None, kubeconfig: str | None, namespace: str | None
) -> "Options":
    from devloop.app.options import UP

    return _options(UP, nodes, file, None, context, kubeconfig, namespace)


async def _reading(
    nodes: list[str] | None,
    file: Path | None,
    settings: list[str] | None,
    context: str | None = None,
    kubeconfig: str | None = None,
    namespace: str | None = None,
) -> Any:
    from devloop.app.options import UP
    from devloop.app.reading import Reading

    return await Reading(_options(UP, nodes, file, settings, context, kubeconfig, namespace)).open()


def _settings(given: Any) -> dict[str, str]:
    from devloop.errors import InputError

    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise InputError(f"`--set {each}` gives no value", hint="write it as `--set name=value`")
        found[name.strip()] = value
    return found


def _run_session(options: "Callable[[], Options]", output: str, *, down: bool = False) -> None:
    async def command() -> int:
        from devloop.app.running import run_session

        _choice("--output", output, ("auto", "live", "plain", "json"))
        return await run_session(options(), output=output, down=down)

    _run(command)


def _run(command: Callable[[], Coroutine[Any, Any, int | None]]) -> NoReturn:
    """Run a command to its end, show its errors, and exit with its code."""
    import anyio

    from devloop.errors import DevloopError, InputError, InputErrors

    async def guarded() -> int:
        errors: list[DevloopError] = []
        code: int | None = 0
        try:
            code = await command()
        except* DevloopError as group:
            errors = _leaves(group)
        if not errors:
            return code or 0
        _show(errors)
        return _WRONG_INPUT if any(isinstance(each, InputError | InputErrors) for each in errors) else _FAILED

    code = anyio.run(guarded)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise SystemExit(code)


def _leaves(group: BaseException) -> list[Any]:
    if isinstance(group, BaseExceptionGroup):
        return [leaf for each in group.exceptions for leaf in _leaves(each)]
    return [group]


def _show(errors: list[Any]) -> None:
    from devloop.ui.problems import print_error
    from devloop.ui.text import colour_wanted

    colour = colour_wanted(os.environ, terminal=sys.stderr.isatty())
    for number, error in enumerate(dict.fromkeys(errors)):
        if number:
            sys.stderr.write("\n")
        print_error(error, sys.stderr, colour=colour)


def _choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    from devloop.errors import InputError

    if value not in choices:
        listed = ", ".join(f"`{each}`" for each in choices)
        raise InputError(f"`{option} {value}` is not known", hint=f"choose one of {listed}")


def _print(data: object, text: str, output: str) -> None:
    import json

    from devloop.ui.tables import json_ready

    _choice("--output", output, ("text", "json"))
    sys.stdout.write(json.dumps(json_ready(data), indent=2) + "\n" if output == "json" else text)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _unicode() -> bool:
    return "utf" in (sys.stdout.encoding or "").lower()
