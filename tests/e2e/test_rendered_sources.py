"""Kustomizations and charts as sources of services, on a real cluster."""

import os
import shutil

import pytest

from tests.e2e.project import Project

BASE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: $IMAGE/web, ports: [{containerPort: 8000}]}]
"""
PATCH = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers: [{name: web, env: [{name: GREETING, value: one}]}]
"""
CHART_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}
spec:
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
          env: [{name: GREETING, value: {{ .Values.greeting }}}]
"""
CHART_TEST = """\
apiVersion: v1
kind: Pod
metadata: {name: smoke, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: smoke, image: busybox}]}
"""
DEVFILE = """\
from devloop import Image, helm, image, kustomize, service

@image("web", ref="$IMAGE/web")
def web_image(): ...
"""

pytestmark = [pytest.mark.cluster, pytest.mark.docker, pytest.mark.e2e]
needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")


def image(project: Project) -> None:
    project.write("web/Dockerfile", 'FROM busybox\nCMD ["sleep", "1000000"]\n')


def kustomized(project: Project) -> Project:
    image(project)
    project.write("devfile.py", DEVFILE + '@service(kustomize("k8s/dev"))\ndef web(): ...\n')
    project.write("k8s/base/kustomization.yaml", "resources: [web.yaml]\n")
    project.write("k8s/base/web.yaml", BASE)
    project.write("k8s/dev/kustomization.yaml", "bases: [../base]\npatchesStrategicMerge: [patch.yaml]\n")
    project.write("k8s/dev/patch.yaml", PATCH)
    return project


def charted(project: Project) -> Project:
    image(project)
    returned = '{"image": {"repository": web_image.repository, "tag": web_image.tag}}'
    service = f'@service(helm("chart", values="dev.yaml"))\ndef web(web_image: Image):\n    return {returned}\n'
    project.write("devfile.py", DEVFILE + service)
    project.write("chart/Chart.yaml", "apiVersion: v2\nname: anything\nversion: 0.1.0\n")
    project.write("chart/values.yaml", "greeting: none\n")
    project.write("chart/templates/web.yaml", CHART_DEPLOYMENT)
    project.write("chart/templates/smoke.yaml", CHART_TEST)
    project.write("dev.yaml", "greeting: one\n")
    return project


def greeting(project: Project) -> str:
    return str(project.pod()["spec"]["containers"][0]["env"][0]["value"])


def test_an_edited_patch_redeploys_without_a_build_and_a_comment_in_it_does_nothing(project: Project) -> None:
    kustomized(project).count_builds()
    loop = project.up()
    mark = loop.settles()
    assert greeting(project) == "one"
    assert ":dev-" in project.image_of(project.pod())
    project.replace("k8s/dev/patch.yaml", "value: one", "value: two")
    event = loop.wait("Planned", since=mark, node="service:web")
    assert event["reasons"] == ["k8s/dev/patch.yaml changed", "the rendering of k8s/dev changed"]
    mark = loop.settles(since=mark)
    assert greeting(project) == "two"
    versions = project.versions()
    project.write("k8s/dev/patch.yaml", "# a comment\n" + (project.folder / "k8s/dev/patch.yaml").read_text())
    project.replace("web/Dockerfile", "1000000", "1000001")  # what comes after it in the same stream of file events
    project.replace("web/Dockerfile", "1000001", "1000000")
    loop.settles(since=mark)
    assert project.versions() == versions
    assert project.image_of(project.pod()).startswith(f"{project.image}/web:dev-")


def test_a_broken_kustomization_leaves_what_runs_and_is_mended_by_the_next_save(project: Project) -> None:
    kustomized(project)
    loop = project.up()
    mark = loop.settles()
    before = project.identity()
    project.replace("k8s/dev/kustomization.yaml", "patch.yaml", "patches.yaml")
    rejected = loop.wait("ProjectRejected", since=mark, node="service:web")
    (problem,) = rejected["problems"]
    assert problem["message"] == "`k8s/dev/kustomization.yaml` names `patches.yaml`, which does not exist"
    assert (problem["where"]["path"], problem["where"]["line"]) == ("k8s/dev/kustomization.yaml", 2)
    mark = loop.settles(since=mark, ok=False)
    assert project.identity() == before
    project.write("k8s/dev/patches.yaml", PATCH.replace("one", "three"))
    loop.settles(since=mark)
    assert greeting(project) == "three"


@needs_helm
def test_a_charts_values_and_templates_redeploy_and_its_tests_are_left_out(project: Project) -> None:
    charted(project).count_builds()
    loop = project.up()
    mark = loop.settles()
    assert greeting(project) == "one"
    assert ":dev-" in project.image_of(project.pod())
    project.write("dev.yaml", "greeting: two\n")
    mark = loop.settles(since=mark)
    assert greeting(project) == "two"
    project.replace("chart/templates/web.yaml", ".Values.greeting", ".Values.greeting | upper")
    mark = loop.settles(since=mark)
    assert greeting(project) == "TWO"
    assert project.builds() == 1
    project.write("chart/templates/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n")
    loop.settles(since=mark)
    there = project.versions().keys()
    assert "ConfigMap/more" in there
    assert "Pod/smoke" not in there


@needs_helm
def test_a_broken_chart_is_told_by_template_and_line_and_recovers(project: Project) -> None:
    charted(project)
    loop = project.up()
    mark = loop.settles()
    before = project.identity()
    project.replace("chart/templates/web.yaml", ".Values.greeting", ".Values.no.such")
    rejected = loop.wait("ProjectRejected", since=mark, node="service:web")
    where = rejected["problems"][0]["where"]
    assert (where["path"], where["line"]) == ("chart/templates/web.yaml", 13)
    mark = loop.settles(since=mark, ok=False)
    assert project.identity() == before
    project.replace("chart/templates/web.yaml", ".Values.no.such", ".Values.greeting")
    loop.settles(since=mark)
    assert project.identity() == before


@needs_helm
def test_a_second_start_renders_nothing_again(project: Project) -> None:
    charted(project)
    assert project.run("deploy", place=True).returncode == 0
    calls = project.folder.parent / "calls"
    program = project.folder.parent / "bin" / "helm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1" >>{calls}\nexec {shutil.which("helm")} "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    for _ in range(2):
        assert project.run("deploy", place=True, env={"PATH": path}).returncode == 0
    assert calls.read_text().split() == ["version", "template", "template", "version"]
