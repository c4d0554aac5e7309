"""Shell scripts for single commands in a container, and what comes out of them."""

from collections.abc import Callable
from typing import Final

from devloop.core.sync.supervisor import MARK, NAME

__all__ = ["NOT_RESTARTED", "NOT_SUPERVISED", "Lines", "restart_script", "run_script"]

# The connection's end is the only sign that a command was cancelled; it ends the command's whole process group where
# the image has `setsid`.
_RUN: Final = r"""
s=; if command -v setsid >/dev/null; then s=setsid; fi
exec 3<&0 </dev/null
$s sh -c "$1" 3<&- & p=$!
over() { while read -r _; do :; done; if [ -n "$s" ]; then kill -TERM -$p; else kill -TERM $p; fi; }
over <&3 >/dev/null 2>&1 & w=$!
exec 3<&-
wait $p; r=$?
kill $w 2>/dev/null
exit $r
"""

NOT_SUPERVISED: Final = 93
NOT_RESTARTED: Final = 94

# Restarted means: the supervisor names another process than before as the one that runs the command.
_RESTART: Final = r"""
grep -qs NAME /proc/1/cmdline || exit NOT_SUPERVISED
i=0
later() { i=$((i+1)); [ $i -lt 600 ] || exit NOT_RESTARTED; sleep 0.025 2>/dev/null || { sleep 1; i=$((i+39)); }; }
named() { read -r now </proc/1/comm && case $now in "MARK"*) ;; *) return 1 ;; esac; }
until named; do later; done
before=$now
kill -USR1 1 || exit NOT_RESTARTED
until named && [ "$now" != "$before" ]; do later; done
"""


def run_script() -> str:
    """Return the script for `sh -c` that runs its first argument, and ends it when its own standard input ends."""
    return _RUN.strip()


def restart_script() -> str:
    """Return the script for `sh -c` that has the supervisor restart its command, and ends when that runs again.

    It exits with `NOT_SUPERVISED` or `NOT_RESTARTED` where it cannot be.
    """
    script = _RESTART.strip().replace("NAME", NAME).replace("MARK", MARK)
    return script.replace("NOT_SUPERVISED", str(NOT_SUPERVISED)).replace("NOT_RESTARTED", str(NOT_RESTARTED))


class Lines:
    """Cuts output into lines.

    Args:
        report: Told of each line, without its end.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._report(line.removesuffix(b"\r").decode(errors="replace"))

    def end(self) -> None:
        """Tell the last line, where it has no end."""
        if self._pending:
            self.feed(b"\n")
