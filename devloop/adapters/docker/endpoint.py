"""Where the Docker engine is: by `DOCKER_HOST`, else by the docker context that is current, else the usual sockets.

The same order as the docker CLI's, read from its own files, so that devloop and `docker` always mean the same engine.
"""

import hashlib
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devloop.errors import UnreachableError

__all__ = ["Endpoint", "find_endpoint"]

_DEFAULT_SOCKET: Final = "/var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How to reach an engine.

    Attributes:
        host: As `DOCKER_HOST` has it: `unix://…`, `tcp://…`, `ssh://…`.
        origin: Where that was found, for messages.
        environment: What a docker CLI must be told in its environment to reach the same engine; empty where it finds it
            by itself.
        tls: The directory that holds `ca.pem`, `cert.pem`, `key.pem`; None without TLS.
        verified: Whether the server's certificate is checked.
    """

    host: str
    origin: str
    environment: tuple[tuple[str, str], ...] = ()
    tls: str | None = None
    verified: bool = True

    @property
    def socket(self) -> str | None:
        """Return the path of the Unix socket, or None for another kind of host."""
        return self.host.removeprefix("unix://") if self.host.startswith("unix://") else None

    @property
    def is_ssh(self) -> bool:
        """Return whether the engine is reached through ssh, which only the docker CLI does."""
        return self.host.startswith("ssh://")

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the TLS settings, or None where the engine is spoken to in the clear.

        Raises:
            UnreachableError: The certificates cannot be read.
        """
        if self.tls is None:
            return None
        folder = Path(self.tls)
        try:
            authority = folder / "ca.pem"
            context = ssl.create_default_context(cafile=str(authority) if authority.is_file() else None)
            if not self.verified:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if (folder / "cert.pem").is_file():
                context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        except OSError as error:
            raise UnreachableError(
                f"the certificates for the Docker engine at `{self.host}` cannot be read from `{folder}`: {error}"
            ) from error
        return context


def find_endpoint(environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return where the engine is.

    Args:
        environment: The variables to go by; None for the process's own.

    Raises:
        UnreachableError: The docker context that is asked for does not exist or cannot be read.
    """
    variables = os.environ if environment is None else environment
    folder = config_folder(variables)
    if host := variables.get("DOCKER_HOST"):
        return _from_environment(host, variables, folder)
    named = variables.get("DOCKER_CONTEXT")
    name = named or str(docker_config(folder).get("currentContext") or "default")
    if name != "default":
        return _from_context(name, folder, "DOCKER_CONTEXT" if named else str(folder / "config.json"))
    return _usual(variables)


def config_folder(variables: Mapping[str, str]) -> Path:
    """Return the docker CLI's configuration folder."""
    named = variables.get("DOCKER_CONFIG")
    return Path(named) if named else Path(variables.get("HOME") or Path.home()) / ".docker"


def docker_config(folder: Path) -> Mapping[str, Any]:
    """Return the docker CLI's `config.json`; empty where there is none or it is broken: the CLI warns and goes on."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _from_environment(host: str, variables: Mapping[str, str], folder: Path) -> Endpoint:
    checks = bool(variables.get("DOCKER_TLS_VERIFY"))
    secured = host.startswith("tcp://") and (checks or bool(variables.get("DOCKER_TLS")))
    certificates = variables.get("DOCKER_CERT_PATH") or str(folder)
    # The CLI takes a host without a scheme for TCP.
    return Endpoint(
        host=host if "://" in host else f"tcp://{host}",
        origin="DOCKER_HOST",
        tls=certificates if secured else None,
        verified=checks or not secured,
    )


def _from_context(name: str, folder: Path, origin: str) -> Endpoint:
    identity = hashlib.sha256(name.encode()).hexdigest()
    file = folder / "contexts" / "meta" / identity / "meta.json"
    try:
        endpoint = json.loads(file.read_text(encoding="utf-8"))["Endpoints"]["docker"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreachableError(
            f"the docker context `{name}` (from {origin}) does not exist or cannot be read",
            command=("docker", "context", "inspect", name),
            hint="`docker context ls` lists those that exist, `docker context use NAME` chooses one",
        ) from error
    host = str(endpoint.get("Host") or f"unix://{_DEFAULT_SOCKET}")
    certificates = folder / "contexts" / "tls" / identity / "docker"
    skips = bool(endpoint.get("SkipTLSVerify"))
    secured = host.startswith("tcp://") and (skips or certificates.is_dir())
    return Endpoint(
        host=host,
        origin=f"docker context `{name}`",
        tls=str(certificates) if secured else None,
        verified=not skips,
    )


def _usual(variables: Mapping[str, str]) -> Endpoint:
    """Return the first of the usual sockets that exists: products that leave /var/run alone use the user's folder."""
    for socket in (_DEFAULT_SOCKET, *_user_sockets(variables)):
        if Path(socket).exists():
            host = f"unix://{socket}"
            known = socket == _DEFAULT_SOCKET
            environment = () if known else (("DOCKER_HOST", host),)
            return Endpoint(host=host, origin="the usual place", environment=environment)
    return Endpoint(host=f"unix://{_DEFAULT_SOCKET}", origin="the usual place")


def _user_sockets(variables: Mapping[str, str]) -> Sequence[str]:
    home = variables.get("HOME") or str(Path.home())
    running = variables.get("XDG_RUNTIME_DIR")
    return (
        *((f"{running}/docker.sock",) if running else ()),
        f"{home}/.docker/run/docker.sock",  # Docker Desktop
        f"{home}/.docker/desktop/docker.sock",  # Docker Desktop on Linux
        f"{home}/.orbstack/run/docker.sock",
        f"{home}/.colima/default/docker.sock",
        f"{home}/.colima/docker.sock",
        f"{home}/.rd/docker.sock",  # Rancher Desktop
        *((f"{running}/podman/podman.sock",) if running else ()),
        "/run/podman/podman.sock",
    )
