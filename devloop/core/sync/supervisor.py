"""Restarting a container's process without restarting the container.

A container whose files are synced may need its process started again. Killing the process ends the container, and a new
one has none of the synced files; so the command is wrapped in a small supervisor that runs as the container's first
process and starts the command again when it gets SIGUSR1.

Where the image has no shell, the pod gets one: an init container puts the programs of a static busybox into a volume
that the container mounts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.manifest.objects import Manifest
from devloop.core.manifest.pod_templates import change, pick, put, template_pointer

__all__ = [
    "ANNOTATION",
    "MARK",
    "NAME",
    "SCRIPT",
    "TOOLS",
    "ImageCommand",
    "command_line",
    "supervised",
    "without_shell",
]

ANNOTATION: Final = "devloop.dev/supervised"
"""On the pod: the names of its supervised containers, with commas between them."""

TOOLS: Final = "/.devloop-tools"
"""Where a container whose image has no shell finds `sh` and the usual small tools."""

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
_SCRIPT: Final = """\
tools=TOOLS
child= group= again= stop= caught= timer= own=
settle() { while ${tools}grep -qs devloop-supervisor "/proc/$child/cmdline"; do :; done; }
send() { kill "-$1" "$group$child" || kill "-$1" "$child"; }
pass() {
  caught=1 stop=$1 again=
  [ -z "$child" ] || { settle; kill "-$1" "$child"; }
}
force() {
  for turn in 1 2 3 4 5 6 7 8 9 10; do
    for part in 1 2 3 4 5; do ${tools}sleep 0.1 || ${tools}sleep 1; kill -0 "$child" || return 0; done
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
if [ ! -t 0 ] && command -v "${tools}setsid" >/dev/null 2>&1; then own=${tools}setsid group=-; fi
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
      ${tools}sleep 0.1 || break
    done
    kill -KILL "-$ended"
  fi
  [ -z "$stop" ] || exit "$code"
done
"""
SCRIPT: Final = _SCRIPT.replace("TOOLS", "")
"""The script for the `-c` of a shell; then come `NAME` and the command."""

_OWN_TOOLS: Final = f"cp /bin/busybox {TOOLS} && {TOOLS}/busybox --install -s {TOOLS}"
_VOLUME: Final = TOOLS.removeprefix("/.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCommand:
    """What an image runs when nothing else is said, and what is wanted of its containers.

    Attributes:
        entrypoint: What it always runs.
        command: The arguments, when nothing else is said.
        shell: Whether it has `/bin/sh`.
        restarted: Whether its process is to be restarted; otherwise it is only given a shell where it has none.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    shell: bool = True
    restarted: bool = True


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


def supervised(manifest: Manifest, containers: Mapping[str, ImageCommand], tools: str = "") -> Manifest:
    """Return the manifest with the named containers of its pod template wrapped in the supervisor.

    Left as they are: init containers, containers that no command is known of, and pods whose containers share their
    processes (the supervisor would not be process 1). The pod's annotation `devloop.dev/supervised` names those that
    are wrapped.

    Args:
        manifest: A workload; what is none is returned unchanged.
        containers: What the image of each container to wrap runs by itself.
        tools: An image with a static `/bin/busybox`, for containers whose image has no shell.
    """
    document = manifest.document
    template = template_pointer(document)
    if template is None:
        return manifest
    shared = bool(pick(document, (*template, "spec", "shareProcessNamespace")))
    wrapped = []
    for position, container in enumerate(pick(document, (*template, "spec", "containers"), [])):
        known = containers.get(container.get("name"))
        if known is None:
            continue
        new = container
        if known.restarted and not shared and (words := command_line(container, known)):
            wrapped.append(container["name"])
            new = {**container, "command": _supervisor(known), "args": list(words)}
        if not known.shell:
            new = {**new, "volumeMounts": [*(new.get("volumeMounts") or ()), _mount()]}
        document = put(document, (*template, "spec", "containers", position), new)
    if wrapped:
        document = put(document, (*template, "metadata", "annotations", ANNOTATION), ",".join(wrapped))
    if without_shell(manifest, containers):
        document = change(document, (*template, "spec"), lambda spec: _with_tools(spec, tools))
    return manifest if document is manifest.document else manifest.with_document(document)


def without_shell(manifest: Manifest, containers: Mapping[str, ImageCommand]) -> tuple[str, ...]:
    """Return the containers of the manifest that have to be given a shell."""
    template = template_pointer(manifest.document) or ()
    named = [each.get("name") for each in pick(manifest.document, (*template, "spec", "containers"), [])]
    return tuple(name for name in named if name in containers and not containers[name].shell)


def _supervisor(image: ImageCommand) -> list[str]:
    if image.shell:
        return ["/bin/sh", "-c", SCRIPT, NAME]
    return [f"{TOOLS}/sh", "-c", _SCRIPT.replace("TOOLS", f"{TOOLS}/"), NAME]


def _with_tools(spec: Mapping[str, Any], image: str) -> Mapping[str, Any]:
    maker = {
        "name": _VOLUME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", _OWN_TOOLS],
        "volumeMounts": [_mount()],
    }
    return {
        **spec,
        "initContainers": [maker, *(spec.get("initContainers") or ())],
        "volumes": [*(spec.get("volumes") or ()), {"name": _VOLUME, "emptyDir": {}}],
    }


def _mount() -> dict[str, str]:
    return {"name": _VOLUME, "mountPath": TOOLS}
