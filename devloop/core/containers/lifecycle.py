"""What is to be done next for one pod: which containers start, in what order, and again after what pause."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.containers.creation import needs_sandbox
from devloop.core.containers.observed import Known, Run, Seen
from devloop.core.manifest.pod_templates import pick

__all__ = ["Sandbox", "Start", "Step", "pause", "steps", "stopping_order"]

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_GOOD_RUN: Final = 600.0
"""Seconds after which a run counts as a good one, and the next failure as the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Start the container that holds the pod's network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start a container.

    Attributes:
        container: As the manifest has it.
        attempt: How often it was started before.
        after: The run that ended, or None.
    """

    container: Mapping[str, Any]
    attempt: int
    after: Run | None = None


Step = Sandbox | Start


def steps(seen: Seen, known: Known) -> tuple[Step, ...]:
    """Return what can be done now; nothing when all is as it should be, or something must be waited for."""
    if known.ending:
        return ()
    if needs_sandbox(seen.identity.template) and not (seen.sandbox and seen.sandbox.running):
        return (Sandbox(),)
    found, blocked = _init_steps(seen, known)
    if blocked:
        return found
    mains = (each for each in seen.identity.spec.get("containers") or ())
    return (*found, *_mains(seen, mains))


def pause(attempt: int, seconds_run: float) -> float:
    """Return the seconds to wait before a container starts again: none, then 1, 2, 4, … 60.

    Args:
        attempt: How often it was started before.
        seconds_run: How long it ran the last time.
    """
    if attempt <= 1 or seconds_run > _GOOD_RUN:
        return 0.0
    return float(min(_FIRST_PAUSE * 2 ** min(attempt - 2, 10), _LONGEST_PAUSE))


def stopping_order(seen: Seen) -> tuple[tuple[Run, ...], ...]:
    """Return the runs to stop: all at once, but sidecars after the others."""
    sidecars = {str(each.get("name")) for each in seen.identity.spec.get("initContainers") or () if _stays(each)}
    running = [run for runs in seen.runs.values() for run in runs if run.running]
    return (
        tuple(run for run in running if run.container not in sidecars),
        tuple(run for run in running if run.container in sidecars),
    )


def _init_steps(seen: Seen, known: Known) -> tuple[tuple[Step, ...], bool]:
    """Return the next init container to start, and whether the others must wait."""
    begun = any(seen.current(str(each.get("name"))) for each in seen.identity.spec.get("containers") or ())
    found: list[Step] = []
    for said in seen.identity.spec.get("initContainers") or ():
        run = seen.current(str(said.get("name")))
        if _stays(said):
            found.extend(_kept(said, run))
            if not begun and (run is None or run.id not in known.started):
                return tuple(found), True
        elif begun or (run is not None and run.ended and run.exit_code == 0):
            continue
        elif run is None or run.status == "created":
            return (*found, Start(container=said, attempt=0)), True
        elif run.running or _policy(seen) == "Never":
            return tuple(found), True
        else:
            return (*found, Start(container=said, attempt=run.attempt + 1, after=run)), True
    return tuple(found), False


def _mains(seen: Seen, mains: Iterator[Mapping[str, Any]]) -> Iterator[Step]:
    policy = _policy(seen)
    for said in mains:
        run = seen.current(str(said.get("name")))
        if run is not None and run.ended and (policy == "Never" or (policy == "OnFailure" and run.exit_code == 0)):
            continue
        yield from _kept(said, run)


def _kept(said: Mapping[str, Any], run: Run | None) -> Iterator[Step]:
    if run is None or run.status == "created":
        yield Start(container=said, attempt=run.attempt if run else 0)
    elif run.ended:
        yield Start(container=said, attempt=run.attempt + 1, after=run)


def _policy(seen: Seen) -> str:
    return str(pick(seen.identity.spec, ("restartPolicy",), "Always"))


def _stays(said: Mapping[str, Any]) -> bool:
    return said.get("restartPolicy") == "Always"
