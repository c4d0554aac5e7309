"""The engine and the cluster as tests see them: from outside, through `docker` and `kubectl`, never through devloop."""

import functools
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import urlopen

import yaml

ROOT = Path(__file__).resolve().parents[1]
BRING_UP = "source <(tests/cluster/up --env)"
_OWN_RUN = Path(os.environ.get("DEVLOOP_CLUSTER_RUN", "/var/lib/devloop-cluster"))
_OWN_BIN = Path(os.environ.get("DEVLOOP_CLUSTER_CACHE", Path.home() / ".cache/devloop-cluster")) / "bin"
# Tests create and delete namespaces: only where that cannot hurt, or where DEVLOOP_TEST_CONTEXT says so.
_LOCAL_CONTEXTS = ("docker-desktop", "minikube", "kind-*", "k3d-*", "rancher-desktop", "orbstack", "colima", "microk8s")


T = TypeVar("T")


def output(*command: str, stdin: str | None = None, timeout: float = 60, env: dict[str, str] | None = None) -> str:
    """Return what `command` prints; raise with its error text when it fails."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(env or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(str(error)) from error
    if done.returncode:
        message = f"`{' '.join(command)}` exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        raise AssertionError(message)
    return done.stdout


def eventually(probe: Callable[[], T], *, within: float = 30, every: float = 0.05) -> T:
    """Return the first true value of `probe`; an AssertionError or OSError inside it means "not yet"."""
    end = time.monotonic() + within
    while True:
        failure: Exception | None = None
        try:
            if value := probe():
                return value
        except (AssertionError, OSError) as error:
            failure = error
        if time.monotonic() > end:
            message = f"not within {within} s"
            raise AssertionError(message) from failure
        time.sleep(every)


def http(url: str, *, timeout: float = 2) -> str:
    """Return the body that a GET of `url` answers with."""
    try:
        with urlopen(url, timeout=timeout) as answer:
            return str(answer.read().decode())
    except (URLError, HTTPException) as error:
        message = f"{url}: {error}"
        raise AssertionError(message) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One namespace of a real cluster, for one test."""

    kubeconfig: Path
    context: str
    namespace: str

    @property
    def env(self) -> dict[str, str]:
        """What a child process needs in its environment to reach this cluster."""
        return {"KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Return what kubectl prints, asked within this namespace."""
        where = (f"--kubeconfig={self.kubeconfig}", f"--context={self.context}", f"--namespace={self.namespace}")
        return output(kubectl_program(), *where, *arguments, stdin=stdin, timeout=timeout)

    def get(self, *arguments: str) -> Any:
        """Return `kubectl get` as parsed JSON."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def pods(self, selector: str = "") -> list[Any]:
        """Return the pods that are not being deleted, the oldest first."""
        pods = [
            pod
            for pod in self.get("pods", f"--selector={selector}")["items"]
            if "deletionTimestamp" not in pod["metadata"]
        ]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


@functools.cache
def docker_missing() -> str | None:
    """Return why no Docker engine can be used, or None."""
    try:
        output("docker", "version", "--format", "{{.Server.Version}}", timeout=30)
        output("docker", "buildx", "version", timeout=30)
    except (OSError, AssertionError) as error:
        return f"no Docker engine with buildx ({_last_line(error)}); bring one up: {BRING_UP}"
    return None


@functools.cache
def cluster_missing() -> str | None:
    """Return why no cluster can be used, or None."""
    config = kubeconfig()
    if not config.is_file():
        return f"no kubeconfig at {config}; bring a cluster up: {BRING_UP}"
    context = current_context()
    if not any(fnmatch(context, pattern) for pattern in (*_LOCAL_CONTEXTS, os.environ.get("DEVLOOP_TEST_CONTEXT", ""))):
        return f"context `{context}` is not a local one; set DEVLOOP_TEST_CONTEXT={context} to let tests use it"
    try:
        output(
            kubectl_program(), f"--kubeconfig={config}", "--request-timeout=25s", "get", "--raw", "/readyz", timeout=30
        )
    except (OSError, AssertionError) as error:
        return f"the cluster of context `{context}` does not answer ({_last_line(error)}); bring one up: {BRING_UP}"
    return None


def kubeconfig() -> Path:
    """Return the first file of KUBECONFIG, else the project's own test cluster's, else the user's."""
    if named := os.environ.get("KUBECONFIG"):
        return Path(named.split(os.pathsep)[0])
    own = _OWN_RUN / "kubeconfig"
    return own if own.is_file() else Path.home() / ".kube/config"


def current_context() -> str:
    """Return the name of the context that tests use."""
    return str((yaml.safe_load(kubeconfig().read_text()) or {}).get("current-context", ""))


def kubectl_program() -> str:
    """Return the test cluster's own kubectl when it is there, else the one on the PATH."""
    own = _OWN_BIN / "kubectl"
    return str(own) if own.is_file() else "kubectl"


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1]
