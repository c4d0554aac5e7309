"""Edits while something is being built: the old build ends for real, nothing is missed, nothing is forgotten."""

import psutil

from tests.e2e.project import PAGES, WEB, Project, pair, web
from tests.outside import eventually

SLOW = """\
FROM busybox
COPY pages /www
COPY slow.txt /slow.txt
RUN sleep $(cat /slow.txt); echo $MARKER
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""


def slow(project: Project) -> Project:
    """Write a web server whose image takes as many seconds to build as slow.txt says."""
    web(project, sync=False, dockerfile=SLOW.replace("$MARKER", project.image))
    project.write("web/slow.txt", "0\n")
    return project


def running(project: Project) -> list[psutil.Process]:
    """Return the processes of the project's RUN, as the machine shows them, in the builder's containers."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if f"echo {project.image}" in line and "sleep" in line:
            found.append(process)
    return found


def buildx(project: Project) -> list[psutil.Process]:
    """Return devloop's own build processes."""
    return [
        process for loop in project.loops for process in loop.children() if any("buildx" in x for x in cmdline(process))
    ]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_new_edit_during_a_build_ends_that_builds_processes(project: Project) -> None:
    slow(project)
    loop = project.up()
    loop.settles()
    project.write("web/slow.txt", "600\n")
    old = eventually(lambda: running(project), within=60)
    clients = eventually(lambda: buildx(project))
    project.write("web/slow.txt", "0.1\n")
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    eventually(lambda: not any(each.is_running() for each in old), within=30)
    assert not any(each.is_running() for each in clients)


def test_an_edit_during_the_very_first_build_is_not_missed(project: Project) -> None:
    slow(project)
    project.write("web/slow.txt", "5\n")
    project.up()
    eventually(lambda: running(project), within=60)
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")


def test_an_edit_to_a_synced_file_during_the_very_first_build_is_not_missed(project: Project) -> None:
    web(project, dockerfile=SLOW.replace("$MARKER", project.image))
    project.write("web/slow.txt", "5\n")
    loop = project.up()
    eventually(lambda: running(project), within=60)
    project.write("web/pages/index.html", "two\n")
    project.write("web/pages/added.html", "added\n")
    project.shows(project.url, "two")
    project.shows(f"{project.url}/added.html", "added")
    loop.settles()


def test_a_manifest_edit_during_the_very_first_build_is_not_missed(project: Project) -> None:
    slow(project)
    project.write("web/slow.txt", "5\n")
    loop = project.up()
    eventually(lambda: running(project), within=60)
    project.replace("k8s/web.yaml.j2", "name: GREETING", "name: EDITED")
    loop.settles()
    env = project.pod()["spec"]["containers"][0]["env"]
    assert [each["name"] for each in env] == ["EDITED"]


def test_an_edit_during_a_rollout_is_deployed_without_waiting_for_the_old_one(project: Project) -> None:
    web(project, sync=False)
    loop = project.up()
    loop.settles()
    never = "          readinessProbe: {exec: {command: [cat, /never]}}\n          env:"
    project.replace("k8s/web.yaml.j2", "          env:", never)
    eventually(lambda: len(project.cluster.pods("app=web")) == 2, within=60)
    project.replace("k8s/web.yaml.j2", never, "          env:")
    project.write("web/pages/index.html", "two\n")
    project.shows(project.inside("web"), "two")
    eventually(lambda: len(project.cluster.pods("app=web")) == 1, within=60)


def test_when_two_changed_and_one_failed_the_other_is_not_forgotten(project: Project) -> None:
    pair(project)
    for name in ("web", "other"):
        project.write(f"{name}/Dockerfile", PAGES + "RUN sh /www/step.sh\n")
        project.write(f"{name}/pages/step.sh", "true\n")
    loop = project.up()
    mark = loop.settles()
    project.write("web/pages/step.sh", "exit 1\n")
    project.write("other/pages/index.html", "second\n")
    project.shows(project.inside("other"), "second")
    loop.wait("RunFailed", since=mark, node="image:web")
    project.write("web/pages/step.sh", "true\n")
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    project.shows(project.inside("other"), "second")


def test_when_a_base_failed_what_else_changed_on_it_is_not_forgotten(project: Project) -> None:
    web(project, sync=False, dockerfile=PAGES.replace("FROM busybox", f"FROM {project.image}-base"))
    project.write("devfile.py", WEB + '\n\n@image("base", ref="$IMAGE-base")\ndef base_image(): ...\n')
    project.write("base/Dockerfile", "FROM busybox\nCOPY step.sh /\nRUN sh /step.sh\n")
    project.write("base/step.sh", "echo base one >/base.txt\n")
    loop = project.up()
    mark = loop.settles()
    project.write("base/step.sh", "exit 1\n")
    project.write("web/pages/index.html", "two\n")
    loop.wait("RunFailed", since=mark, node="image:base")
    project.write("base/step.sh", "echo base two >/base.txt\n")
    project.shows(project.url, "two")
    eventually(lambda: project.read_in(project.pod(), "/base.txt") == "base two\n")
