"""`devloop builder`: makes builders with a BuildKit of their own, by buildx's drivers."""

import os
from collections.abc import Callable
from typing import Final

from devloop.adapters.docker.buildx import find_buildx
from devloop.adapters.kube.config import read_contexts
from devloop.core.cluster.contexts import choose
from devloop.core.delivery.builders import ContainerBuilder, KubernetesBuilder, create_arguments
from devloop.errors import InputError, ToolError
from devloop.runtime.processes import run_lines

__all__ = ["check_cluster", "create_builder"]

_TAIL: Final = 20


async def create_builder(
    builder: ContainerBuilder | KubernetesBuilder, tell: Callable[[str], None], kubeconfig: str | None = None
) -> None:
    """Make the builder, and wait until it answers.

    Args:
        builder: Which.
        tell: Told each line that buildx prints.
        kubeconfig: The kubeconfig of its cluster; None for the user's own.

    Raises:
        InputError: There is no such builder.
        ToolError: buildx does not make it.
    """
    command = (*find_buildx(), *create_arguments(builder))
    printed: list[str] = []

    def receive(line: str) -> None:
        printed.append(line)
        tell(line)

    environment = {"KUBECONFIG": kubeconfig} if kubeconfig else {}
    if code := await run_lines(command, receive, env=environment):
        message = f"buildx could not make the builder `{builder.name}`"
        raise ToolError(message, command=("docker", "buildx", *command[1:]), exit_code=code, tail=printed[-_TAIL:])


def check_cluster(context: str | None, kubeconfig: str | None) -> None:
    """Check that buildx will use the cluster that was chosen: its driver takes the current context, whatever that is.

    Args:
        context: The context that was named; None for the current one, if it is local.
        kubeconfig: The kubeconfig; None for the user's own.

    Raises:
        InputError: There is no such context, nobody chose it, or it is not the current one.
    """
    contexts = read_contexts(kubeconfig)
    chosen = choose(contexts, named=context)
    if chosen.name != contexts.current:
        file = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise InputError(
            f"buildx makes builders in the current context, which is `{contexts.current}`, not `{chosen.name}`",
            hint=f"`kubectl config use-context {chosen.name}` (in `{file}`)",
        )
