"""Content decides, never time: what is done, and what is left alone."""

import os

import pytest

from tests.e2e.project import Project, pair, web
from tests.outside import http, output


def touch(project: Project, path: str) -> None:
    os.utime(project.folder / path)


def test_touching_or_saving_the_same_bytes_does_nothing(project: Project) -> None:
    pair(project).count_builds()
    loop = project.up()
    loop.settles()
    before, builds = project.versions(), project.builds("web")
    for path in ("web/pages/index.html", "web/Dockerfile", "k8s/web.yaml.j2", "devfile.py"):
        touch(project, path)
        project.write(path, (project.folder / path).read_text())
    mark = loop.mark()
    project.write("other/pages/index.html", "second\n")  # what comes after it in the same stream of file events
    loop.settles(since=mark)
    project.shows(project.inside("other"), "second")
    after = project.versions()
    assert {name for name in before if "web" in name and before[name] != after.get(name)} == set()
    assert project.builds("web") == builds
    assert project.builds("other") == 2


def test_a_comment_in_a_dockerfile_builds_the_same_image_and_no_new_pod(project: Project) -> None:
    web(project).count_builds()
    loop = project.up()
    mark = loop.settles()
    before, versions = project.identity(), project.versions()
    project.write("web/Dockerfile", (project.folder / "web/Dockerfile").read_text() + "# a comment\n")
    loop.settles(since=mark)
    assert project.identity() == before
    assert project.versions() == versions
    assert project.builds() == 2


def test_a_comment_in_a_manifest_changes_nothing_in_the_cluster(project: Project) -> None:
    web(project).count_builds()
    loop = project.up()
    mark = loop.settles()
    versions = project.versions()
    project.write("k8s/web.yaml.j2", "# a comment\n" + (project.folder / "k8s/web.yaml.j2").read_text())
    project.write("web/pages/index.html", "two\n")
    loop.settles(since=mark)
    project.shows(project.url, "two")
    assert project.versions() == versions
    assert project.builds() == 1


@pytest.mark.parametrize("sync", [True, False], ids=["with sync", "without sync"])
def test_a_second_up_with_nothing_changed_builds_and_deploys_nothing(project: Project, sync: bool) -> None:
    web(project, sync=sync).count_builds()
    first = project.up()
    first.settles()
    assert first.stop() == 130
    before, versions = project.identity(), project.versions()
    second = project.up()
    second.settles()
    assert http(project.url) == "one\n"
    assert project.identity() == before
    assert project.versions() == versions
    assert project.builds() == 1


def test_a_second_up_with_nothing_changed_says_so(project: Project) -> None:
    web(project)
    first = project.up()
    first.settles()
    first.stop()
    second = project.up()
    second.settles()
    skipped = second.wait("Skipped", node="image:web")
    assert "nothing changed" in skipped["reason"]
    deployed = second.wait("RunSucceeded", node="service:web")
    assert "unchanged" in deployed["summary"]
    assert deployed["changed"] is False


def test_a_removed_image_is_built_again_at_the_next_up(project: Project) -> None:
    web(project).count_builds()
    first = project.up()
    first.settles()
    ref = project.image_of(project.pod())
    first.stop()
    project.cluster.kubectl("delete", "deployment", "web")
    output("docker", "image", "rm", "--force", ref)
    project.up().settles()
    project.shows(project.url, "one")
    assert project.builds() == 2


def test_thousands_of_files_at_once_are_one_build(project: Project) -> None:
    web(project, sync=False).count_builds()
    for number in range(2500):
        project.write(f"web/pages/{number % 50}/{number}.html", "old\n")
    loop = project.up()
    mark = loop.settles()
    for number in range(2500):
        project.write(f"web/pages/{number % 50}/{number}.html", f"new {number}\n")
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    loop.settles(since=mark)
    pod = project.pod()
    script = "cat $(find /www -name '*.html') | grep -c new"
    assert project.cluster.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", script).strip() == "2500"
    succeeded = [each for each in loop.events if each["type"] == "RunSucceeded" and each["action"] == "build"]
    assert len(succeeded) == 2
    assert project.builds() <= 3  # the burst's first half may have started one, which the second half cancelled


def test_thousands_of_files_at_once_are_synced_as_a_batch(project: Project) -> None:
    web(project)
    loop = project.up()
    mark = loop.settles()
    before = project.identity()
    for number in range(2500):
        project.write(f"web/pages/{number % 50}/{number}.html", f"new {number}\n")
    project.shows(f"{project.url}/49/2499.html", "new 2499")
    loop.settles(since=mark)
    pod = project.pod()
    script = "cat $(find /www -name '*.html') | grep -c new"
    assert project.cluster.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", script).strip() == "2500"
    assert project.identity() == before
    syncs = [each for each in loop.events[mark:] if each["type"] == "RunSucceeded" and each["action"] == "sync"]
    assert len(syncs) <= 10
