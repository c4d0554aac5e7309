"""What the engine knows that decides how a Dockerfile is read: the configurations of base images, and its platform.

Asked while the project is being read, in a worker thread and before anything else needs the engine. So this speaks just
enough HTTP by itself: importing a client would take longer than all the questions (about 1 ms each). Nothing is pulled,
and an engine that does not answer is not waited for: what is not known, devloop takes the safe side on.
"""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from devloop.adapters.docker.endpoint import Endpoint, find_endpoint
from devloop.adapters.docker.engine import name_in_path
from devloop.core.dockerfile import BaseConfig
from devloop.core.dockerfile.bases import base_config
from devloop.errors import UnreachableError

__all__ = ["EngineImages"]

_PATIENCE: Final = 1.0
_PAUSE: Final = 30.0
"""How long an engine that did not answer is left alone."""
_PORTS: Final = {True: 2376, False: 2375}
_OK: Final = 200
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "i686": "386"}


class EngineImages:
    """Asks an engine about its images.

    Args:
        endpoint: Where it is; None to find it as the docker CLI does, at the first question.
        environment: The environment variables.
    """

    def __init__(self, endpoint: Endpoint | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._endpoint = endpoint
        self._environment = environment
        self._silent_until = 0.0
        self._platform: str | None = None

    def base(self, reference: str) -> BaseConfig | None:
        """Return what an image hands on to what is built on it, or None where the engine does not have or tell it."""
        image = self._ask(f"/images/{name_in_path(reference)}/json")
        return None if image is None else base_config(image)

    @property
    def platform(self) -> str:
        """What builds are for when nothing is said."""
        if chosen := self._environment.get("DOCKER_DEFAULT_PLATFORM"):
            return chosen
        if self._platform is None:
            version = self._ask("/version")
            if version is None:
                machine = os.uname().machine
                return f"linux/{_MACHINES.get(machine, machine)}"
            self._platform = f"{version.get('Os', 'linux')}/{version.get('Arch', 'amd64')}"
        return self._platform

    def _ask(self, path: str) -> Mapping[str, Any] | None:
        if time.monotonic() < self._silent_until:
            return None
        try:
            return self._answer(path)
        except (OSError, ValueError, UnreachableError):
            self._silent_until = time.monotonic() + _PAUSE
            return None

    def _answer(self, path: str) -> Mapping[str, Any] | None:
        if self._endpoint is None:
            self._endpoint = find_endpoint(self._environment)
        if self._endpoint.is_ssh:
            return None  # each connection would take longer than it is worth
        with _connected(self._endpoint) as connection:
            # Version 1.0: the answer comes in one piece, and ends with the connection.
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
            with connection.makefile("rb") as stream:
                answer = stream.read()
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(None, 2)[1:2]
        if not status:
            raise ValueError("no answer")
        found = json.loads(body) if int(status[0]) == _OK else None
        return found if isinstance(found, dict) else None


@contextmanager
def _connected(endpoint: Endpoint) -> Iterator[socket.socket]:
    if (path := endpoint.socket) is not None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(path)
            yield connection
        return
    tls = endpoint.tls_context()
    host, _, port = endpoint.host.partition("://")[2].partition(":")
    with socket.create_connection((host, int(port or _PORTS[tls is not None])), timeout=_PATIENCE) as connection:
        if tls is None:
            yield connection
            return
        with tls.wrap_socket(connection, server_hostname=host) as secured:
            yield secured
