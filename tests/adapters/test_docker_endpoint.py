"""Where the engine and its buildx plugin are looked for: as the docker CLI does it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from devloop.adapters.docker.buildx import build_arguments, find_buildx
from devloop.adapters.docker.endpoint import Endpoint, find_endpoint
from devloop.errors import UnreachableError
from devloop.runtime.ports import BuildRequest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("devloop.adapters.docker.endpoint._DEFAULT_SOCKET", str(tmp_path / "run/docker.sock"))
    monkeypatch.setattr("devloop.adapters.docker.buildx._SYSTEM_FOLDERS", (str(tmp_path / "usr/cli-plugins"),))
    return tmp_path


def write(file: Path, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def add_context(home: Path, name: str, **endpoint: Any) -> Path:
    identity = hashlib.sha256(name.encode()).hexdigest()
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    write(home / ".docker/contexts/meta" / identity / "meta.json", json.dumps(meta))
    return home / ".docker/contexts/tls" / identity / "docker"


def test_docker_host_comes_first(home: Path) -> None:
    add_context(home, "other", Host="unix:///other.sock")
    variables = {"HOME": str(home), "DOCKER_HOST": "unix:///mine.sock", "DOCKER_CONTEXT": "other"}
    assert find_endpoint(variables) == Endpoint(host="unix:///mine.sock", origin="DOCKER_HOST")


def test_docker_context_comes_before_the_current_one(home: Path) -> None:
    add_context(home, "a", Host="unix:///a.sock")
    add_context(home, "b", Host="unix:///b.sock")
    write(home / ".docker/config.json", '{"currentContext": "a"}')
    assert find_endpoint({"HOME": str(home)}).socket == "/a.sock"
    assert find_endpoint({"HOME": str(home), "DOCKER_CONTEXT": "b"}).socket == "/b.sock"


def test_the_configuration_folder_can_be_elsewhere(home: Path) -> None:
    add_context(home, "a", Host="unix:///a.sock")
    write(home / ".docker/config.json", '{"currentContext": "a"}')
    (home / ".docker").rename(home / "elsewhere")
    assert find_endpoint({"HOME": str(home), "DOCKER_CONFIG": str(home / "elsewhere")}).socket == "/a.sock"


def test_the_context_named_default_is_the_usual_place(home: Path) -> None:
    write(home / ".docker/config.json", '{"currentContext": "default"}')
    assert find_endpoint({"HOME": str(home)}).socket == f"{home}/run/docker.sock"


def test_a_context_that_does_not_exist_is_an_error_with_a_hint(home: Path) -> None:
    with pytest.raises(UnreachableError, match=r"the docker context `gone` \(from DOCKER_CONTEXT\)") as caught:
        find_endpoint({"HOME": str(home), "DOCKER_CONTEXT": "gone"})
    assert "docker context ls" in (caught.value.hint or "")


def test_a_broken_configuration_file_is_passed_over(home: Path) -> None:
    write(home / ".docker/config.json", "{")
    assert find_endpoint({"HOME": str(home)}).origin == "the usual place"


@pytest.mark.parametrize(
    "socket", [".docker/run/docker.sock", ".orbstack/run/docker.sock", ".colima/default/docker.sock", ".rd/docker.sock"]
)
def test_the_users_own_socket_is_found_where_there_is_no_other(home: Path, socket: str) -> None:
    write(home / socket)
    endpoint = find_endpoint({"HOME": str(home)})
    assert endpoint.socket == str(home / socket)
    assert dict(endpoint.environment) == {"DOCKER_HOST": f"unix://{home / socket}"}


def test_a_rootless_engines_socket_is_found(home: Path) -> None:
    write(home / "user/docker.sock")
    assert (
        find_endpoint({"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "user")}).socket == f"{home}/user/docker.sock"
    )


def test_the_systems_socket_comes_before_the_users(home: Path) -> None:
    write(home / "run/docker.sock")
    write(home / ".rd/docker.sock")
    assert find_endpoint({"HOME": str(home)}).socket == f"{home}/run/docker.sock"


def test_tcp_with_tls_takes_its_certificates_from_the_folder_named(home: Path) -> None:
    variables = {"HOME": str(home), "DOCKER_HOST": "tcp://10.0.0.1:2376", "DOCKER_TLS_VERIFY": "1"}
    assert find_endpoint({**variables, "DOCKER_CERT_PATH": "/certs"}).tls == "/certs"
    assert find_endpoint(variables).tls == f"{home}/.docker"


def test_tcp_without_tls_is_plain(home: Path) -> None:
    endpoint = find_endpoint({"HOME": str(home), "DOCKER_HOST": "10.0.0.1:2375"})
    assert (endpoint.host, endpoint.tls, endpoint.tls_context()) == ("tcp://10.0.0.1:2375", None, None)


def test_a_contexts_certificates_are_used(home: Path) -> None:
    certificates = add_context(home, "far", Host="tcp://far:2376", SkipTLSVerify=False)
    certificates.mkdir(parents=True)
    endpoint = find_endpoint({"HOME": str(home), "DOCKER_CONTEXT": "far"})
    assert (endpoint.tls, endpoint.verified) == (str(certificates), True)
    assert endpoint.tls_context() is not None


def test_a_context_may_do_without_checking(home: Path) -> None:
    add_context(home, "far", Host="tcp://far:2376", SkipTLSVerify=True)
    endpoint = find_endpoint({"HOME": str(home), "DOCKER_CONTEXT": "far"})
    context = endpoint.tls_context()
    assert context is not None
    assert not context.check_hostname


def test_broken_certificates_are_an_error_that_names_the_folder(home: Path) -> None:
    write(home / "certs/cert.pem", "no certificate")
    write(home / "certs/key.pem", "no key")
    endpoint = Endpoint(host="tcp://far:2376", origin="DOCKER_HOST", tls=str(home / "certs"))
    with pytest.raises(UnreachableError, match=f"cannot be read from `{home}/certs`"):
        endpoint.tls_context()


def test_an_ssh_host_is_left_to_the_docker_cli(home: Path) -> None:
    endpoint = find_endpoint({"HOME": str(home), "DOCKER_HOST": "ssh://me@far"})
    assert (endpoint.is_ssh, endpoint.socket) == (True, None)


def test_the_plugin_is_found_in_the_users_folder_first(home: Path) -> None:
    for file in (home / ".docker/cli-plugins/docker-buildx", home / "usr/cli-plugins/docker-buildx"):
        write(file).chmod(0o755)
    assert find_buildx({"HOME": str(home)}) == (f"{home}/.docker/cli-plugins/docker-buildx",)


def test_folders_that_the_configuration_names_come_before_that(home: Path) -> None:
    write(home / ".docker/config.json", json.dumps({"cliPluginsExtraDirs": [str(home / "extra")]}))
    for file in (home / ".docker/cli-plugins/docker-buildx", home / "extra/docker-buildx"):
        write(file).chmod(0o755)
    assert find_buildx({"HOME": str(home)}) == (f"{home}/extra/docker-buildx",)


def test_a_plugin_that_cannot_be_run_is_none(home: Path) -> None:
    write(home / ".docker/cli-plugins/docker-buildx").chmod(0o644)
    assert find_buildx({"HOME": str(home)}) == ("docker", "buildx")


def test_the_arguments_are_what_a_person_would_give() -> None:
    request = BuildRequest(
        name="api",
        context="/p/api",
        dockerfile="/p/api/Dockerfile",
        target="dev",
        args={"A": "1 2"},
        contexts={"base": "docker-image://base:dev-1"},
        labels={"l": "v"},
        secrets=("id=npm,src=.npmrc",),
        ssh=("default",),
        platforms=("linux/amd64", "linux/arm64"),
        cache_from=("type=gha",),
        cache_to=("type=inline",),
        no_cache=True,
    )
    assert list(build_arguments(request)) == [
        "build",
        "--provenance=false",
        "--sbom=false",
        "--file=/p/api/Dockerfile",
        "--load",
        "--target=dev",
        "--build-arg=A=1 2",
        "--build-context=base=docker-image://base:dev-1",
        "--label=l=v",
        "--secret=id=npm,src=.npmrc",
        "--ssh=default",
        "--platform=linux/amd64,linux/arm64",
        "--cache-from=type=gha",
        "--cache-to=type=inline",
        "--no-cache",
        "/p/api",
    ]


def test_pull_is_asked_for_where_no_base_was_just_built() -> None:
    request = BuildRequest(name="a", context="/a", dockerfile="/a/Dockerfile", pull=True, contexts={"d": "/dir"})
    assert "--pull" in build_arguments(request)
