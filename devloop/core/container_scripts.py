"""Shell scripts for single commands in a container, and what comes out of them."""

import shlex
from collections.abc import Callable
from typing import Final

from devloop.core.supervisor import RESTART_COMMAND

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

# Restarted means: process 1 has a child that it did not have before, and which is no copy of the supervisor any more.
_RESTART: Final = r"""
name=devloop-supervisor
grep -qs $name /proc/1/cmdline || exit NOT_SUPERVISED
kids() {
for f in /proc/[0-9]*/status; do
while read -r k v _; do
[ "$k" = PPid: ] || continue
[ "$v" != 1 ] || { f=${f#/proc/}; echo "${f%/status}"; }
break
done <"$f"
done 2>/dev/null
}
before=" $(echo $(kids)) "
RESTART || exit NOT_RESTARTED
i=0
while [ $i -lt 300 ]; do
for p in $(kids); do
case $before in *" $p "*) continue ;; esac
grep -qs -e $name -e 0.1000 /proc/$p/cmdline || exit 0
done
sleep 0.05 2>/dev/null || { sleep 1; i=$((i+19)); }
i=$((i+1))
done
exit NOT_RESTARTED
"""


def run_script() -> str:
    """Return the script for `sh -c` that runs its first argument, and ends it when its own standard input ends."""
    return _RUN.strip()


def restart_script() -> str:
    """Return the script for `sh -c` that has the supervisor restart its command, and ends when that runs again.

    It exits with `NOT_SUPERVISED` or `NOT_RESTARTED` where it cannot be.
    """
    script = _RESTART.strip().replace("NOT_SUPERVISED", str(NOT_SUPERVISED))
    return script.replace("NOT_RESTARTED", str(NOT_RESTARTED)).replace("RESTART", shlex.join(RESTART_COMMAND))


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
