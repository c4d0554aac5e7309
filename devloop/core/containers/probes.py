"""Probes: what a manifest asks for, and what a series of answers means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from devloop.core.manifest.pod_templates import pick

__all__ = ["ExecCheck", "HttpCheck", "Probe", "TcpCheck", "Verdict", "check_of", "port_number", "probe_of"]

Kind = Literal["startup", "readiness", "liveness"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecCheck:
    """A command that must end with 0."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """A request that must be answered with a status from 200 to 399."""

    port: int
    path: str
    secure: bool = False
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpCheck:
    """A port that must take connections."""

    port: int


Check = ExecCheck | HttpCheck | TcpCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A probe with its numbers; all times in seconds."""

    kind: Kind
    check: Check
    delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3


def probe_of(container: Mapping[str, Any], kind: Kind) -> Probe | None:
    """Return a container's probe, or None where it has none that can be asked."""
    said = container.get(f"{kind}Probe")
    check = check_of(said, container) if said else None
    if check is None or said is None:
        return None
    return Probe(
        kind=kind,
        check=check,
        delay=said.get("initialDelaySeconds") or 0,
        period=said.get("periodSeconds") or 10,
        timeout=said.get("timeoutSeconds") or 1,
        successes=said.get("successThreshold") or 1,
        failures=said.get("failureThreshold") or 3,
    )


def check_of(said: Mapping[str, Any], container: Mapping[str, Any]) -> Check | None:
    """Return what a probe or a hook does; a gRPC probe is asked whether its port takes connections."""
    if command := pick(said, ("exec", "command")):
        return ExecCheck(command=tuple(str(word) for word in command))
    if (http := said.get("httpGet")) is not None:
        port = port_number(http.get("port"), container)
        headers = tuple((str(each.get("name")), str(each.get("value"))) for each in http.get("httpHeaders") or ())
        path = str(http.get("path") or "/")
        secure = http.get("scheme") == "HTTPS"
        return port and HttpCheck(
            port=port, path=path, secure=secure, host=str(http.get("host") or ""), headers=headers
        )
    for part in ("tcpSocket", "grpc"):
        if (found := said.get(part)) is not None:
            port = port_number(found.get("port"), container)
            return port and TcpCheck(port=port)
    return None


def port_number(port: Any, container: Mapping[str, Any]) -> Any:
    """Return a port by number or by the name that the container gives it; None where it gives none."""
    if isinstance(port, int):
        return port
    if isinstance(port, str) and port.isdigit():
        return int(port)
    named: Sequence[Mapping[str, Any]] = container.get("ports") or ()
    return next((each.get("containerPort") for each in named if each.get("name") == port), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the answers so far mean: `good` is None before the first threshold is reached."""

    good: bool | None = None
    in_a_row: int = 0
    last: bool = field(default=False)

    def after(self, passed: bool, probe: Probe) -> "Verdict":  # noqa: FBT001 - the answer itself
        """Return the verdict after one more answer."""
        count = self.in_a_row + 1 if passed == self.last and self.in_a_row else 1
        if count >= (probe.successes if passed else probe.failures):
            return Verdict(passed, count, passed)
        return Verdict(self.good, count, passed)
