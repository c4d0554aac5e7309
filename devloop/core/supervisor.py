"""Restarting a container's process without restarting the container.

A container whose files are synced may need its process started again. Killing the process ends the container, and a new
one has none of the synced files; so the command is wrapped in a small supervisor that runs as the container's first
process and starts the command again when it gets SIGUSR1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.objects import Manifest
from devloop.core.pod_templates import pick, put, template_pointer

__all__ = ["ANNOTATION", "MARK", "NAME", "RESTART_COMMAND", "SCRIPT", "ImageCommand", "command_line", "supervised"]

ANNOTATION: Final = "devloop.dev/supervised"
"""On the pod: the names of its supervised containers, with commas between them."""

RESTART_COMMAND: Final = ("/bin/sh", "-c", "kill -USR1 1")
"""What to run in a supervised container to start its command again."""

NAME: Final = "devloop-supervisor"
"""A word of the supervisor's command line, by which it is known."""

MARK: Final = "devloop "
"""What the supervisor calls itself in /proc/1/comm once its command runs, followed by the command's process ID."""

# For dash, busybox's ash and bash. Its constraints:
# * Kubernetes expands `$(NAME)` and `$$` in commands: neither may occur.
# * A trap must act by itself: had it set a flag only, a signal between the check and `wait` would be lost.
# * `wait` returns early when a trap runs; the child's own code is what the last `wait` returns (127: known already).
# * Between fork and exec the child has the supervisor's traps and would swallow a signal: `settle` waits for exec.
# * Process 1 gets no signal that it does not handle: hence a trap for each that an image may have as its STOPSIGNAL.
# * With `setsid` the command has a process group of its own, so that a restart also ends what it has started itself
#   (reloaders, workers) and its ports are free again.
# * Its own name (15 characters) is the one thing that it can always write and others can read: no file system need be
#   writable. It says which process runs the command now, and says it only when that no longer is a copy of the shell.
# * Shells report ended children on stderr, which is the log: the supervisor itself has none.
# * A shell starts what it does not wait for with SIGINT and SIGQUIT ignored; only GNU `env` can undo that.
# * busybox's `kill` takes no `--`.
SCRIPT: Final = """\
child= group= again= stop= caught= timer= own=
settle() { while grep -qs devloop-supervisor "/proc/$child/cmdline"; do :; done; }
send() { kill "-$1" "$group$child" || kill "-$1" "$child"; }
pass() {
  caught=1 stop=$1 again=
  [ -z "$child" ] || { settle; kill "-$1" "$child"; }
}
force() {
  for turn in 1 2 3 4 5 6 7 8 9 10; do
    for part in 1 2 3 4 5; do sleep 0.1 || sleep 1; kill -0 "$child" || return 0; done
  done
  send KILL
}
restart() {
  caught=1
  [ -z "$stop" ] || return 0
  again=1
  [ -n "$child" ] || return 0
  settle
  send TERM
  [ -n "$timer" ] || { force >/dev/null 3<&- 4>&- & timer=1; }
}
for name in TERM INT QUIT HUP USR2 WINCH; do trap "pass $name" "$name"; done
trap restart USR1
if [ ! -t 0 ] && command -v setsid >/dev/null 2>&1; then own=setsid group=-; fi
if env --default-signal=INT true >/dev/null 2>&1; then own="$own env --default-signal=INT,QUIT"; fi
exec 3<&0 4>&2 </dev/null 2>/dev/null
while :; do
  again= timer=
  $own "$@" <&3 2>&4 3<&- 4>&- &
  child=$!
  [ -z "$stop" ] || pass "$stop"
  [ -z "$again" ] || restart
  settle
  printf "devloop %s" "$child" >/proc/1/comm
  while :; do
    caught=
    wait "$child"
    code=$?
    [ -n "$caught" ] && kill -0 "$child" || break
  done
  wait "$child"
  last=$?
  [ "$last" = 127 ] || code=$last
  ended=$child child=
  [ -n "$again" ] && [ -z "$stop" ] || exit "$code"
  if [ -n "$group" ]; then
    for turn in 1 2 3 4 5 6 7 8 9 10; do
      kill -0 "-$ended" || break
      sleep 0.1 || break
    done
    kill -KILL "-$ended"
  fi
  [ -z "$stop" ] || exit "$code"
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCommand:
    """What an image runs when nothing else is said."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def command_line(container: Mapping[str, Any], image: ImageCommand) -> tuple[str, ...]:
    """Return what a container of a manifest runs, as Kubernetes decides it, in the form that a manifest has.

    The manifest's `command` replaces the image's entry point and its command; `args` alone replaces the command.
    """
    command, args = container.get("command"), container.get("args")
    if command:
        return tuple(map(str, (*command, *(args or ()))))
    if args:
        return (*map(_literal, image.entrypoint), *map(str, args))
    return tuple(map(_literal, (*image.entrypoint, *image.command)))


def _literal(word: str) -> str:
    """Return an image's word for a manifest, where Kubernetes would expand `$(NAME)` in it."""
    return word.replace("$", "$$")


def supervised(manifest: Manifest, containers: Mapping[str, ImageCommand]) -> Manifest:
    """Return the manifest with the named containers of its pod template wrapped in the supervisor.

    The image must have `/bin/sh`. Left as they are: init containers, containers that no command is known of, and pods
    whose containers share their processes (the supervisor would not be process 1). The pod's annotation
    `devloop.dev/supervised` names those that are wrapped.

    Args:
        manifest: A built-in workload; other kinds are returned unchanged.
        containers: What the image of each container to wrap runs by itself.
    """
    document = manifest.document
    template = template_pointer(document)
    if template is None or pick(document, (*template, "spec", "shareProcessNamespace")):
        return manifest
    wrapped = []
    for position, container in enumerate(pick(document, (*template, "spec", "containers"), [])):
        name = container.get("name")
        if name in containers and (words := command_line(container, containers[name])):
            wrapped.append(name)
            new = {**container, "command": ["/bin/sh", "-c", SCRIPT, NAME], "args": list(words)}
            document = put(document, (*template, "spec", "containers", position), new)
    if not wrapped:
        return manifest
    pointer = (*template, "metadata", "annotations", ANNOTATION)
    return manifest.with_document(put(document, pointer, ",".join(wrapped)))
