"""From a kubeconfig to credentials: what stands in it is read, what must be fetched comes through kr8s."""

import base64
import json
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from devloop.adapters.kube.config import read_contexts
from devloop.adapters.kube.login import Credentials, log_in
from devloop.core.cluster.contexts import choose
from devloop.errors import InputError, ToolError

pytestmark = pytest.mark.anyio


def write(path: Path, *, user: dict[str, Any], **cluster: Any) -> Path:
    config = {
        "clusters": [{"name": "kind-x", "cluster": {"server": "https://127.0.0.1:6443", **cluster}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "kind-x", "context": {"cluster": "kind-x", "user": "me", "namespace": "team"}}],
        "current-context": "kind-x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


async def credentials(kubeconfig: Path) -> Credentials:
    return await log_in(choose(read_contexts(kubeconfig)), kubeconfig)


def authority(folder: Path) -> tuple[bytes, bytes]:
    """Return a certificate that signs itself, and its key."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=devloop", "-days", "1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return (folder / "cert.pem").read_bytes(), (folder / "key.pem").read_bytes()


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go during the test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_token_is_read(tmp_path: Path) -> None:
    found = await credentials(write(tmp_path / "config", user={"token": "secret"}))
    assert (found.server, found.token) == ("https://127.0.0.1:6443", "secret")
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED


async def test_a_name_with_a_password_is_read(tmp_path: Path) -> None:
    found = await credentials(write(tmp_path / "config", user={"username": "me", "password": "x:y"}))
    assert found.headers == (("Authorization", f"Basic {base64.b64encode(b'me:x:y').decode()}"),)


async def test_who_is_impersonated_is_read(tmp_path: Path) -> None:
    user = {
        "token": "secret",
        "as": "somebody",
        "as-uid": "17",
        "as-groups": ["one", "two"],
        "as-user-extra": {"Scope/a": ["x", "y"]},
    }
    assert (await credentials(write(tmp_path / "config", user=user))).headers == (
        ("Impersonate-User", "somebody"),
        ("Impersonate-Uid", "17"),
        ("Impersonate-Group", "one"),
        ("Impersonate-Group", "two"),
        ("Impersonate-Extra-Scope%2Fa", "x"),
        ("Impersonate-Extra-Scope%2Fa", "y"),
    )


async def test_file_names_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from file\n")
    found = await credentials(write(tmp_path / "config", user={"tokenFile": "secret"}))
    assert found.token == "from file"


async def test_certificates_are_taken_as_data_and_as_files_and_leave_nothing_behind(
    tmp_path: Path, scratch: Path
) -> None:
    certificate, key = authority(tmp_path)
    data = {"client-certificate-data": base64.b64encode(certificate), "client-key-data": base64.b64encode(key)}
    files = {"client-certificate": "cert.pem", "client-key": "key.pem"}
    for user, cluster in (
        ({name: value.decode() for name, value in data.items()}, {"certificate-authority": "cert.pem"}),
        (files, {"certificate-authority-data": base64.b64encode(certificate).decode()}),
    ):
        found = await credentials(write(tmp_path / "config", user=user, **cluster))
        assert found.tls is not None
        assert [each["subject"] for each in found.tls.get_ca_certs()] == [((("commonName", "devloop"),),)]
    assert files_in(scratch) == []


async def test_an_insecure_cluster_is_not_verified(tmp_path: Path) -> None:
    found = await credentials(write(tmp_path / "config", user={}, **{"insecure-skip-tls-verify": True}))
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_NONE


async def test_a_missing_key_is_told(tmp_path: Path) -> None:
    config = write(tmp_path / "config", user={"client-certificate": "none.pem"})
    with pytest.raises(InputError, match=r"credentials of context `kind-x` cannot be used.*none.pem"):
        await credentials(config)


async def test_a_plugin_is_run_and_leaves_nothing_behind(tmp_path: Path, scratch: Path) -> None:
    certificate, _ = authority(tmp_path)
    answer = json.dumps({"status": {"token": "fetched"}})
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", f"print({answer!r})"],
    }
    config = write(
        tmp_path / "config",
        user={"exec": plugin},
        **{"certificate-authority-data": base64.b64encode(certificate).decode()},
    )
    found = await credentials(config)
    assert (found.server, found.token) == ("https://127.0.0.1:6443", "fetched")
    assert found.tls is not None
    assert len(found.tls.get_ca_certs()) == 1
    assert files_in(scratch) == []


async def test_a_failing_plugin_is_told(tmp_path: Path) -> None:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", "import sys; sys.exit('no login today')"],
    }
    with pytest.raises(ToolError, match=r"logging in to context `kind-x` failed.*") as error:
        await credentials(write(tmp_path / "config", user={"exec": plugin}))
    assert error.value.hint == "does `kubectl get pods` work with it?"


async def test_what_is_no_kubeconfig_is_told(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a: [")
    with pytest.raises(InputError, match="cannot be read"):
        read_contexts(tmp_path / "config")
    (tmp_path / "config").write_text("- a")
    with pytest.raises(InputError, match="is not a kubeconfig"):
        read_contexts(tmp_path / "config")


def test_reading_contexts_loads_no_client() -> None:
    script = (
        "import sys, devloop.adapters.kube.config, devloop.core.cluster.contexts;"
        "sys.exit(bool({'httpx', 'httpcore', 'kr8s', 'anyio', 'asyncio'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_copies_of_the_kubeconfig_of_this_machines_k3s_are_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"server": "https://127.0.0.1:6443", "certificate-authority-data": "b3du"}
    config = {
        "current-context": "default",
        "clusters": [{"name": "default", "cluster": own}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
    }
    (tmp_path / "copy").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="is not a local cluster"):
        choose(read_contexts(tmp_path / "copy"))
    (tmp_path / "k3s.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr("devloop.adapters.kube.config._K3S", tmp_path / "k3s.yaml")
    assert choose(read_contexts(tmp_path / "copy")).here
