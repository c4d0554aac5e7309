"""Forwards belong to the service, not to its pods; a taken port is an error, never another port."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from itertools import pairwise
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest

from tests.e2e.project import Project, free_port, web, workload
from tests.outside import eventually, http

PROBE = "          readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}"


class Poller:
    """A client that asks again and again, and notes when it had no answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[float, bool]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def _poll(self) -> None:
        while not self._stop.wait(0.02):
            began = time.monotonic()
            try:
                with urlopen(self.url, timeout=20) as answer:
                    answer.read()
                good = True
            except (URLError, OSError, HTTPException):
                good = False
            self.answers.append((began, good))
            self.answers.append((time.monotonic(), good))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    @property
    def good(self) -> int:
        return sum(good for _, good in self.answers)

    def dead(self) -> float:
        """Return the longest time between two good answers."""
        times = [at for at, good in self.answers if good]
        return max((after - before for before, after in pairwise(times)), default=0.0)


@contextmanager
def polling(url: str) -> Iterator[Poller]:
    with Poller(url) as poller:
        eventually(lambda: poller.good > 3)
        yield poller


def test_a_forward_survives_its_pod(project: Project) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    old = project.identity()
    with polling(project.url) as through_forward, polling(project.inside("web")) as through_service:
        project.cluster.kubectl("delete", "pod", "--selector=app=web", "--wait=false")
        eventually(lambda: project.identity() != old, within=60)
        for poller in (through_forward, through_service):
            before = poller.good
            eventually(lambda poller=poller, before=before: poller.good > before + 5)  # type: ignore[misc]
    assert through_forward.dead() < 2 * through_service.dead() + 1.5  # a busy machine takes its time for both


def test_a_rolling_redeploy_with_a_probe_leaves_the_forward_alive(project: Project) -> None:
    web(project)
    probed = (
        workload("web")
        .replace(
            "ports: [{name: http, containerPort: 8000}]",
            f"ports: [{{name: http, containerPort: 8000}}]\n{PROBE}",
        )
        .replace("terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: 3")
    )
    project.write("k8s/web.yaml.j2", probed)
    loop = project.up()
    mark = loop.settles()
    old = project.identity()
    with polling(project.url) as through_forward, polling(project.inside("web")) as through_service:
        project.replace("k8s/web.yaml.j2", 'default("hello")', 'replace("hello", "hi")')
        loop.settles(since=mark)
        eventually(lambda: project.identity() != old, within=60)
        before = through_forward.good
        eventually(lambda: through_forward.good > before + 5)
    assert through_forward.dead() < 2 * through_service.dead() + 1.5


def test_a_client_that_comes_before_the_first_pod_waits_for_it(project: Project) -> None:
    web(project)
    assert project.run("build").returncode == 0
    loop = project.up()
    loop.wait("PortOpened", local=project.port)
    page = ""
    while not page:
        came = time.monotonic()
        try:
            page = http(project.url, timeout=60)
        except (AssertionError, OSError):  # on a busy machine there may be no pod within the ten seconds that it waits
            assert time.monotonic() - came > 9
    assert page == "one\n"


def test_a_taken_local_port_is_an_error_that_names_its_holder(project: Project) -> None:
    web(project)
    with socket.create_server(("127.0.0.1", project.port)):
        loop = project.up()
        closed = loop.wait("PortClosed", local=project.port)
        loop.wait("RunSucceeded", node="service:web")
        message = closed["problem"]["message"]
        assert str(os.getpid()) in message
        assert psutil.Process().name() in message
        assert _listening(loop.process.pid) <= {project.port}
        project.shows(project.inside("web"), "one")


def test_a_port_that_becomes_free_is_opened_by_the_next_edit_of_the_devfile(project: Project) -> None:
    web(project)
    with socket.create_server(("127.0.0.1", project.port)):
        loop = project.up()
        loop.wait("PortClosed", local=project.port)
        loop.wait("RunSucceeded", node="service:web")
    other = free_port()
    project.replace("devfile.py", f"{{{project.port}: 80}}", f"{{{other}: 80}}")
    project.shows(f"http://127.0.0.1:{other}", "one")


def test_an_edited_port_moves_the_forward_without_a_new_pod(project: Project) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    before = project.identity()
    other = free_port()
    project.replace("devfile.py", f"{{{project.port}: 80}}", f"{{{other}: 80}}")
    project.shows(f"http://127.0.0.1:{other}", "one")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", project.port)).close()
    assert project.identity() == before


def test_ports_that_the_manifests_declare_are_forwarded(project: Project) -> None:
    web(project)
    project.replace("devfile.py", f", ports={{{project.port}: 80}}", "")
    project.replace("k8s/web.yaml.j2", "port: 80", f"port: {project.port}")
    project.up()
    project.shows(project.url, "one")


def test_a_forward_carries_large_answers_and_many_clients(project: Project) -> None:
    web(project)
    (project.folder / "web/pages/large.txt").write_text("0123456789" * 500_000)
    loop = project.up()
    loop.settles()
    assert len(http(f"{project.url}/large.txt", timeout=60)) == 5_000_000
    with polling(project.url), polling(project.url), polling(project.url) as last:
        eventually(lambda: last.good > 20)
    assert all(good for _, good in last.answers)


def _listening(pid: int) -> set[int]:
    return {each.laddr.port for each in psutil.Process(pid).net_connections("tcp") if each.status == psutil.CONN_LISTEN}
