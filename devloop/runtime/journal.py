"""The journal: the last decision on each node, for `devloop why`: which file, which rule, how it went, how long."""

from collections.abc import Mapping
from typing import Any

from devloop.events import Event, Held, Planned, RunCancelled, RunFailed, RunStarted, RunSucceeded, Skipped

__all__ = ["Journal"]


class Journal:
    """Folds the stream of events into one decision for each node."""

    def __init__(self) -> None:
        self._decisions: dict[str, dict[str, Any]] = {}

    @property
    def decisions(self) -> dict[str, dict[str, Any]]:
        """For each node (`kind:name`): `at`, `action`, `reasons`, `outcome`, and `seconds` once it is over."""
        return self._decisions

    def remember(self, decisions: Mapping[str, Mapping[str, Any]]) -> None:
        """Take in the decisions of earlier sessions; those of this one stand."""
        self._decisions = {**{node: dict(each) for node, each in decisions.items()}, **self._decisions}

    def take(self, event: Event) -> None:
        """Take in one event."""
        if event.node is None:
            return
        node = str(event.node)
        match event:
            case Planned() | RunStarted():
                self._decisions[node] = {
                    "at": event.at,
                    "action": event.action,
                    "reasons": list(event.reasons),
                    "outcome": "running",
                    "seconds": None,
                }
            case RunSucceeded():
                outcome = event.summary if event.changed else f"{event.summary} (nothing changed)"
                self._end(node, outcome, event.seconds)
            case RunFailed():
                message = event.problems[0].message if event.problems else "failed"
                self._end(node, f"failed: {message}", event.seconds)
            case RunCancelled():
                self._end(node, f"cancelled: {event.reason}", event.seconds)
            case Held():
                self._decisions[node] = _rest(event.at, "hold", event.reason)
            case Skipped():
                self._decisions[node] = _rest(event.at, "skip", event.reason)
            case _:
                return

    def _end(self, node: str, outcome: str, seconds: float) -> None:
        if node in self._decisions:
            self._decisions[node] |= {"outcome": outcome, "seconds": round(seconds, 3)}


def _rest(at: float, action: str, reason: str) -> dict[str, Any]:
    return {"at": at, "action": action, "reasons": [reason], "outcome": "", "seconds": None}
