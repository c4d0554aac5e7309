"""A rollout that fails says why, in the words that a user needs, and recovers when it is mended."""

import pytest

from tests.e2e.project import Project
from tests.outside import eventually

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
      containers:
        - name: app
          image: busybox
          imagePullPolicy: IfNotPresent
          command: [sh, -c, "COMMAND"]
"""
GOOD = APP.replace("COMMAND", "sleep 3600")
PROBE = "          readinessProbe: {exec: {command: [sh, -c, 'echo not yet; exit 1']}, periodSeconds: 1}\n"

BROKEN = {
    "image pull": (GOOD.replace("image: busybox", "image: no.such.registry.invalid/none:1"), "none:1"),
    "crash": (APP.replace("COMMAND", "echo the last words; exit 3"), "the last words"),
    "probe": (GOOD + PROBE, "not yet"),
    "unschedulable": (GOOD + "          resources: {requests: {cpu: '1000'}}\n", "cpu"),
    "no config map": (GOOD + "          envFrom: [{configMapRef: {name: missing-one}}]\n", "missing-one"),
    "command not found": (GOOD.replace('[sh, -c, "sleep 3600"]', "[no-such-program]"), "no-such-program"),
    "init container": (
        GOOD.replace(
            "      containers:\n",
            "      initContainers:\n        - {name: first, image: busybox, imagePullPolicy: IfNotPresent, "
            'command: [sh, -c, "echo init failed so; exit 4"]}\n      containers:\n',
        ),
        "init failed so",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_failing_rollout_says_why_and_recovers_when_it_is_mended(project: Project, how: str) -> None:
    text, reason = BROKEN[how]
    project.write("devfile.py", DEVFILE)
    project.write("k8s/app.yaml", text)
    loop = project.up()
    failed = loop.wait("RunFailed", node="service:app", within=90)
    (problem,) = failed["problems"]
    assert reason in " ".join([problem["message"], *problem["tail"]])
    mark = loop.settles(ok=False)
    project.write("k8s/app.yaml", GOOD)
    loop.settles(since=mark)
    pod = project.pod("app")
    assert pod["spec"]["containers"][0]["command"] == ["sh", "-c", "sleep 3600"]


def test_a_rollout_that_mends_itself_is_well_again_without_a_save(project: Project) -> None:
    project.write("devfile.py", DEVFILE)
    project.write("k8s/app.yaml", BROKEN["no config map"][0])
    loop = project.up()
    loop.wait("RunFailed", node="service:app")
    mark = loop.settles(ok=False)
    project.cluster.kubectl("create", "configmap", "missing-one")
    project.ready_pods("app", count=1)
    loop.settles(since=mark)


def test_a_crash_loop_of_the_new_version_leaves_the_old_pod_in_service(project: Project) -> None:
    project.write("devfile.py", DEVFILE)
    project.write("k8s/app.yaml", GOOD)
    loop = project.up()
    mark = loop.settles()
    old = project.identity("app")
    project.write("k8s/app.yaml", BROKEN["crash"][0])
    failed = loop.wait("RunFailed", since=mark, node="service:app")
    assert "the last words" in str(failed["problems"])
    ready = [pod for pod in project.cluster.pods("app=app") if pod["metadata"]["uid"] == old[0]]
    assert ready[0]["status"]["containerStatuses"][0]["ready"]
    project.write("k8s/app.yaml", GOOD)
    eventually(lambda: project.identity("app") == old, within=60)
    loop.settles(since=mark)
