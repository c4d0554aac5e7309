"""What an earlier session left behind, as far as it is still there."""

from collections.abc import Mapping

from anyio import create_task_group

from devloop.core import reference
from devloop.core.trace import Trace
from devloop.errors import UnreachableError
from devloop.model import Kind, NodeId
from devloop.runtime.tools import Tools

__all__ = ["still_there"]


async def still_there(traces: Mapping[NodeId, Trace], tools: Tools) -> dict[NodeId, Trace]:
    """Return the traces whose results still exist: an image may have been removed from the engine or the cluster.

    Raises:
        UnreachableError: The engine or the cluster does not answer.
    """
    kept: dict[NodeId, Trace] = {}
    failures: list[UnreachableError] = []

    async def look(node: NodeId, trace: Trace) -> None:
        image = trace.result.digest
        try:
            if tools.delivery is None:
                there = await tools.builder.resolve(trace.result.ref) == image
            else:
                there = await tools.delivery.has(image, reference.parse(trace.result.ref))
        except UnreachableError as error:
            failures.append(error)
            return
        if there:
            kept[node] = trace

    async with create_task_group() as tasks:
        for node, trace in traces.items():
            if node.kind is Kind.IMAGE:
                tasks.start_soon(look, node, trace)
            else:
                kept[node] = trace
    if failures:
        raise failures[0]
    return kept
