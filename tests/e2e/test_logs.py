"""Every line of every container is shown, once and in order."""

import re

from tests.e2e.project import Project, pair, web, workload
from tests.outside import eventually, output

DEVFILE = """\
from devloop import *

project(name="$IMAGE")


@service("k8s/app.yaml", ports={})
def app(): ...
"""

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      initContainers:
        - {name: first, image: busybox, imagePullPolicy: IfNotPresent, command: [echo, "from the init container"]}
      containers:
        - {name: one, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, "echo from one; sleep 3600"]}
        - {name: two, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, "echo from two >&2; sleep 3600"]}
"""

COUNTS = (
    'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo "line $i"; [ $((i % 20)) = 0 ] && sleep 0.02; done; sleep 3600'
)


def numbers(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.fullmatch(r"line (\d+)", line))]


def restarts(project: Project) -> int:
    """Return how often the container that was started again most often was."""
    pods = project.cluster.pods("app=app")
    return max((each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", ())), default=0)


def test_all_containers_are_shown_init_containers_too(project: Project) -> None:
    project.write("devfile.py", DEVFILE)
    project.write("k8s/app.yaml", APP)
    loop = project.up()
    for container, line in [("first", "from the init container"), ("one", "from one"), ("two", "from two")]:
        loop.wait("PodOutput", node="service:app", container=container, line=line)
    assert sorted(loop.lines("service:app")) == ["from one", "from the init container", "from two"]


def test_the_last_lines_of_a_crashed_container_are_shown(project: Project) -> None:
    project.write("devfile.py", DEVFILE)
    script = "echo run; if [ -e /once/was ]; then sleep 3600; fi; touch /once/was; echo before the crash; exit 1"
    project.write(
        "k8s/app.yaml",
        APP.replace('"echo from one; sleep 3600"]', f'"{script}"], volumeMounts: [{{name: once, mountPath: /once}}]')
        + "      volumes: [{name: once, emptyDir: {}}]\n",
    )
    loop = project.up()
    loop.wait("PodOutput", container="one", line="before the crash")
    eventually(lambda: restarts(project) == 1, within=60)
    eventually(lambda: loop.lines("service:app").count("run") == 2, within=60)
    mine = [line for line in loop.lines("service:app") if line in {"run", "before the crash"}]
    assert mine == ["run", "before the crash", "run"]


def test_two_thousand_lines_while_another_service_is_rebuilt_come_once_and_in_order(project: Project) -> None:
    pair(project)
    project.write(
        "k8s/web.yaml.j2",
        workload("web").replace("          env:", f"          command: [sh, -c, '{COUNTS}']\n          env:"),
    )
    loop = project.up()
    loop.wait("PodOutput", node="service:web", line="line 1")
    mark = loop.mark()
    project.write("other/pages/index.html", "second\n")
    project.shows(project.inside("other"), "second")
    loop.settles(since=mark)
    loop.wait("PodOutput", node="service:web", line="line 2000")
    assert numbers(loop.lines("service:web")) == list(range(1, 2001))


def test_two_thousand_lines_over_a_redeploy_of_their_own_service_come_once_and_in_order(project: Project) -> None:
    project.write("devfile.py", DEVFILE)
    counting = APP.replace("echo from one; sleep 3600", COUNTS.replace('"', '\\"'))
    project.write("k8s/app.yaml", counting)
    loop = project.up()
    first = loop.wait("PodOutput", line="line 1")
    loop.wait("PodOutput", line="line 2000", pod=first["pod"])
    mark = loop.mark()
    project.write("k8s/app.yaml", counting.replace("labels: {app: app}", "labels: {app: app, edited: again}"))
    second = loop.wait("PodOutput", since=mark, line="line 2000")
    assert second["pod"] != first["pod"]
    assert numbers(loop.lines("service:app")) == [*range(1, 2001), *range(1, 2001)]


def test_two_thousand_lines_at_once_are_all_there_when_the_container_ends(project: Project) -> None:
    project.write("devfile.py", DEVFILE)
    burst = APP.replace("echo from one; sleep 3600", "for i in $(seq 1 2000); do echo line $i; done")
    project.write("k8s/app.yaml", burst)
    loop = project.up()
    loop.wait("PodOutput", line="line 2000")
    eventually(lambda: restarts(project) >= 1, within=60)
    loop.wait(
        "PodOutput",
        line="line 2000",
        since=next(place for place, event in enumerate(loop.events) if event.get("line") == "line 2000") + 1,
    )
    assert numbers(loop.lines("service:app"))[:4000] == [*range(1, 2001), *range(1, 2001)]


def test_a_line_without_its_end_and_bytes_that_are_no_text_are_shown(project: Project) -> None:
    project.write("devfile.py", DEVFILE)
    odd = "printf 'odd \\\\377 bytes\\\\n'; printf 'no end'; sleep 1; exit 0"
    project.write("k8s/app.yaml", APP.replace("echo from one; sleep 3600", odd))
    loop = project.up()
    loop.wait("PodOutput", container="one", where=lambda event: event["line"].startswith("odd "))
    loop.wait("PodOutput", container="one", line="no end")


def test_logs_of_what_runs_already_begin_with_the_session(project: Project) -> None:
    web(project)
    first = project.up()
    first.settles()
    first.stop()
    container = project.identity()[1].removeprefix("docker://")
    output("docker", "exec", container, "sh", "-c", "echo before >/proc/1/fd/1")
    second = project.up()
    second.settles()
    output("docker", "exec", container, "sh", "-c", "echo after >/proc/1/fd/1")
    second.wait("PodOutput", line="after")
