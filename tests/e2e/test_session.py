"""The engine from Python, in a script of its own, as a notebook cell would drive it."""

import json
import subprocess
import sys
from typing import Any

from tests.e2e.driver import environment
from tests.e2e.project import Project, web

SCRIPT = """
import json, sys
from pathlib import Path
from urllib.request import urlopen

import anyio
import devloop


def page(url):
    with urlopen(url, timeout=10) as answer:
        return answer.read().decode()


async def main():
    told = {}
    async with devloop.session("devfile.py", namespace=NAMESPACE, settings={"greeting": "Moin"}) as loop:
        await loop.ready()
        told["url"] = loop.service("web").url
        told["host"] = loop.service("web").host
        told["page"] = await anyio.to_thread.run_sync(page, told["url"])
        told["plan"] = [str(row.node) for row in loop.plan(changed=["web/Dockerfile"]) if row.action]
        told["idle"] = [str(row.node) for row in loop.plan() if row.action]
        async def edit():
            Path("web/pages/index.html").write_text("two\\n")
        seen = []
        async with anyio.create_task_group() as tasks:
            events = loop.events()
            tasks.start_soon(edit)
            async for event in events:
                seen.append(type(event).__name__)
                if seen[-1] == "Settled":
                    break
        told["seen"] = seen
        told["edited"] = await anyio.to_thread.run_sync(page, told["url"])
    print(json.dumps(told))


anyio.run(main)
"""


def run(project: Project, script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script.replace("NAMESPACE", repr(project.cluster.namespace))],
        cwd=project.folder,
        env=environment(**project.cluster.env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_session_is_driven_from_python(project: Project) -> None:
    web(project)
    found = told(run(project, SCRIPT))
    assert found["url"] == f"http://localhost:{project.port}"
    assert found["host"] == "web"
    assert found["page"] == "one\n"
    assert "image:web" in found["plan"]
    assert found["idle"] == []
    assert "FilesChanged" in found["seen"]
    assert found["edited"] == "two\n"
    project.shows(project.inside("web"), "two\n")
    assert project.pod()["spec"]["containers"][0]["env"] == [{"name": "GREETING", "value": "Moin"}]


FAILING = """
import anyio, json
import devloop


async def main():
    async with devloop.session("devfile.py", namespace=NAMESPACE) as loop:
        try:
            await loop.ready()
        except devloop.errors.DevloopError as error:
            print(json.dumps(str(error)))


anyio.run(main)
"""


def test_ready_raises_when_something_failed(project: Project) -> None:
    web(project, dockerfile="FROM busybox\nCOPY pages /www\nRUN false\n")
    assert "image:web" in told(run(project, FAILING.replace("import devloop\n", "import devloop, devloop.errors\n")))


def test_leaving_a_session_leaves_no_task_thread_or_port(project: Project) -> None:
    web(project)
    script = """
import anyio, asyncio, json, threading, psutil
import devloop


async def main():
    async with devloop.session("devfile.py", namespace=NAMESPACE) as loop:
        await loop.ready()
    others = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    process = psutil.Process()
    ports = [each.laddr.port for each in process.net_connections("inet") if each.status == "LISTEN"]
    children = [each.name() for each in process.children(recursive=True)]
    print(json.dumps([others, ports, children]))


anyio.run(main)
"""
    assert told(run(project, script)) == [[], [], []]
