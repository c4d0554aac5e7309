"""A `Forwarder` without sockets: which ports are taken is in the test's hands."""

from collections.abc import Callable, Collection, Sequence

from devloop.core.cluster.pods import Pod
from devloop.model import ForwardRule
from devloop.runtime.ports import PortState

__all__ = ["FakeForwarder"]


class FakeForwarder:
    """Remembers what it serves and the pods it was told of.

    Args:
        report: Told when a port that was taken is free, as the real one does.
    """

    def __init__(self, report: Callable[[PortState], None]) -> None:
        self.served: list[tuple[ForwardRule, ...]] = []
        self.updates: list[tuple[Pod, ...]] = []
        self.held_back: frozenset[str] = frozenset()
        self._report = report
        self._taken: dict[int, str] = {}

    # --- what a test says ---

    def take(self, port: int, holder: str = "`nginx` (pid 42)") -> None:
        """Let another program hold a port."""
        self._taken[port] = holder

    def free(self, port: int) -> None:
        """Let the other program give the port back."""
        del self._taken[port]
        for rule in self.rules:
            if rule.local == port:
                self._report(PortState(rule=rule))

    @property
    def rules(self) -> tuple[ForwardRule, ...]:
        """What it serves now, taken ports included."""
        return self.served[-1] if self.served else ()

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods it was told of last."""
        return self.updates[-1] if self.updates else ()

    # --- the port ---

    async def serve(self, rules: Sequence[ForwardRule]) -> tuple[PortState, ...]:
        """Serve exactly these rules."""
        self.served.append(tuple(rules))
        return tuple(PortState(rule=rule, error=self._error(rule)) for rule in rules)

    def update(self, pods: Sequence[Pod], held_back: Collection[str] = ()) -> None:
        """Remember the pods."""
        self.updates.append(tuple(pods))
        self.held_back = frozenset(held_back)

    def _error(self, rule: ForwardRule) -> str | None:
        first = next(other for other in self.rules if other.local == rule.local and other.listen == rule.listen)
        if first is not rule:
            return f"port {rule.local} is asked for by `{first.service}` as well"
        holder = self._taken.get(rule.local)
        return f"port {rule.local} is taken by {holder}" if holder else None
