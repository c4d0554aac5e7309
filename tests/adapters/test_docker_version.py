"""What an engine says that it is."""

from typing import Any

import pytest

from devloop.adapters.docker.version import EngineVersion, version_of

DOCKER = {
    "Version": "26.1.5+dfsg1",
    "ApiVersion": "1.45",
    "Arch": "amd64",
    "Components": [{"Name": "Engine"}, {"Name": "containerd"}],
}
PODMAN = {
    "Version": "4.3.1",
    "ApiVersion": "1.41",
    "Arch": "arm64",
    "Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}],
}


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (DOCKER, EngineVersion(product="Docker", number="26.1.5+dfsg1", api=(1, 45), processor="amd64")),
        (PODMAN, EngineVersion(product="Podman", number="4.3.1", api=(1, 41), processor="arm64")),
        ({}, EngineVersion(product="Docker", number="?", api=(), processor="")),
    ],
)
def test_an_engine_is_known_by_its_components(said: dict[str, Any], version: EngineVersion) -> None:
    assert version_of(said) == version
    assert version.is_podman is (version.product == "Podman")
