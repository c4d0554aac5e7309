"""The Docker engine: builds through buildx, everything else by the Engine API."""

from devloop.adapters.docker.builder import DockerBuilder
from devloop.adapters.docker.endpoint import Endpoint, find_endpoint
from devloop.adapters.docker.engine import Engine

__all__ = ["DockerBuilder", "Endpoint", "Engine", "find_endpoint"]
