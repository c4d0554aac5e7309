"""How long a rollout may fail before it is given up."""

from devloop.core.cluster.rollout import Failing, Rollout

__all__ = ["Patience"]


class Patience:
    """Counts how long a rollout fails: a crash loop's short good moments do not start it anew.

    Args:
        seconds: How long it may.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._failing_since: float | None = None
        self._good_since: float | None = None

    def left(self, state: Rollout, now: float) -> float | None:
        """Return the seconds until patience ends, or None while nothing fails."""
        if isinstance(state, Failing):
            if self._good_since is not None and now - self._good_since >= self._seconds:
                self._failing_since = None
            self._good_since = None
            self._failing_since = now if self._failing_since is None else self._failing_since
            return self._failing_since + max(self._seconds, state.usual) - now
        if self._good_since is None:
            self._good_since = now
        return None
