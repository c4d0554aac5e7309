"""A `Tailer` that tells the lines which a test lets containers print."""

from collections.abc import Callable, Sequence

from devloop.core.cluster.pods import Pod
from devloop.runtime.ports import LogLine

__all__ = ["FakeTailer"]


class FakeTailer:
    """Remembers the pods it was told of; tells what `prints` lets their containers say.

    Args:
        emit: Told of each line, as the real one does.
    """

    def __init__(self, emit: Callable[[LogLine], None]) -> None:
        self.updates: list[tuple[Pod, ...]] = []
        self._emit = emit

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods it was told of last."""
        return self.updates[-1] if self.updates else ()

    def prints(self, pod: str, container: str, *lines: str) -> None:
        """Let a container of a pod that is followed print lines."""
        service = next(followed.service for followed in self.pods if followed.name == pod)
        for line in lines:
            self._emit(
                LogLine(
                    service=service or "",
                    pod=pod,
                    container=container,
                    time="2026-01-01T00:00:00.000000000Z",
                    text=line,
                )
            )

    def update(self, pods: Sequence[Pod]) -> None:
        """Remember the pods."""
        self.updates.append(tuple(pods))
