"""What all tests share: where they may run, and a clean place to run in."""

import functools
import inspect
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, settings

from tests.engine import Engine, remove_all
from tests.outside import (
    ROOT,
    Cluster,
    cluster_missing,
    current_context,
    docker_missing,
    eventually,
    kubeconfig,
    output,
)

_OUTSIDE_MARKS = ("docker", "cluster", "e2e")

settings.register_profile("devloop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("devloop")

# A job in a script's background ignores Ctrl-C, and so would every devloop that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that wait for a real engine or cluster more time than the others."""
    for item in items:
        if _is_outside(item) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose engine or cluster is not there, and say how to bring it up."""
    marks = {mark.name for mark in item.iter_markers()}
    missing = docker_missing() if marks & {"docker", "e2e"} else None
    missing = missing or (cluster_missing() if marks & {"cluster", "e2e"} else None)
    if missing:
        pytest.skip(missing)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Let an async test run out of time inside its event loop: ended from outside, its fixtures could not be ended."""
    test = pyfuncitem.obj
    if pyfuncitem.get_closest_marker("anyio") and inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def in_time(**arguments: Any) -> None:
            with anyio.fail_after(_seconds(pyfuncitem) - 1):
                await test(**arguments)

        pyfuncitem.obj = in_time


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Give the fixtures of a test that pytest-timeout ended a while, and go on without them if they hang."""
    if signal.getitimer(signal.ITIMER_REAL)[0]:  # the test's own time is still running
        return (yield)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("its fixtures hang"))
    signal.setitimer(signal.ITIMER_REAL, 15, 5)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With DEVLOOP_REQUIRE_CLUSTER=1 (CI), a skipped test of the real engine or cluster is a failed one."""
    report = yield
    required = os.environ.get("DEVLOOP_REQUIRE_CLUSTER") == "1"
    if required and report.skipped and _is_outside(item) and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"DEVLOOP_REQUIRE_CLUSTER=1, and this was skipped: {reason}"
    return report


def _is_outside(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in _OUTSIDE_MARKS)


def _seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0] if mark else item.config.getini("timeout"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as devloop does."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what devloop remembers, and what the user has set, away from the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for name in [
            name for name in os.environ if name.startswith(("DEVLOOP_SET_", "FORCE_COLOR", "NO_COLOR", "COLUMNS"))
        ]:
            patch.delenv(name)
        yield


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies `examples/NAME` into the test's own folder and says where."""

    def copy(name: str) -> Path:
        return shutil.copytree(ROOT / "examples" / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))

    return copy


@pytest.fixture
def project_dir(example: Callable[[str], Path]) -> Path:
    """A copy of `examples/quickstart`, to be edited freely."""
    return example("quickstart")


@pytest.fixture
def unique_name() -> str:
    """A name no other test uses, fit for namespaces and image repositories."""
    return f"devloop-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def images(unique_name: str) -> Iterator[str]:
    """A prefix for image repositories; images under it are removed after the test."""
    yield unique_name
    named = output("docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}", f"--filter=reference={unique_name}*")
    nested = output(
        "docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}", f"--filter=reference={unique_name}*/*"
    )
    if names := {*named.split(), *nested.split()}:
        output("docker", "image", "rm", "--force", *names)


@pytest.fixture
def kubernetes(unique_name: str) -> Iterator[Cluster]:
    """A namespace of its own in the real cluster, deleted after the test."""
    space = Cluster(kubeconfig=kubeconfig(), context=current_context(), namespace=unique_name)
    space.kubectl("create", "namespace", unique_name)
    try:
        eventually(lambda: space.kubectl("get", "serviceaccount", "default"))  # no pod starts before it exists
        yield space
    finally:
        space.kubectl("delete", "namespace", unique_name, "--wait=false")


@pytest.fixture
def engine_alone(unique_name: str) -> Iterator[Cluster]:
    """A namespace of its own on the engine, removed after the test."""
    yield Engine.of(unique_name)
    remove_all(unique_name)


@pytest.fixture
def cluster(kubernetes: Cluster) -> Cluster:
    """Where a test deploys: a namespace of its own in the real cluster, if it says nothing else."""
    return kubernetes
