"""Content decides, never time: what is done, and what is left alone."""

import os
import signal

import pytest

from tests.e2e.driver import Loop
from tests.e2e.project import Project, pair, web
from tests.outside import eventually, output

FIRST_WORD = """\
FROM busybox AS words
COPY words.txt /
RUN cut -d' ' -f1 /words.txt >/word

FROM busybox
COPY --from=words /word /www/word
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""


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


def test_a_comment_in_a_dockerfile_makes_no_new_pod(project: Project) -> None:
    web(project)
    loop = project.up()
    mark = loop.settles()
    before, versions = project.identity(), project.versions()
    project.write("web/Dockerfile", (project.folder / "web/Dockerfile").read_text() + "# a comment\n")
    loop.settles(since=mark)
    assert project.identity() == before
    assert project.versions() == versions


def test_a_build_that_makes_the_same_image_makes_no_new_pod(project: Project) -> None:
    web(project, dockerfile=FIRST_WORD).count_builds()
    project.write("web/words.txt", "one and more\n")
    loop = project.up()
    mark = loop.settles()
    before, versions = project.identity(), project.versions()
    project.write("web/words.txt", "one and something else\n")
    mark = loop.settles(since=mark)
    assert project.builds() == 2
    assert project.identity() == before
    assert project.versions() == versions
    project.write("web/words.txt", "two and something else\n")
    loop.settles(since=mark)
    assert project.read_in(project.pod(), "/www/word") == "two\n"


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
    assert project.shows(project.url, "one") == "one\n"
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


@pytest.fixture
def branches(project: Project) -> Project:
    """A web server of 2,500 pages in a git repository with the branches `old` and `new`."""
    web(project, sync=False)
    for branch in ("old", "new"):
        for number in range(2500):
            page = project.folder / f"web/pages/{number % 50}/{number}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(f"{branch} {number}\n")
        if branch == "old":
            git(project, "init", "--quiet", "--initial-branch=old")
        else:
            project.write("web/pages/index.html", "two\n")
            git(project, "switch", "--quiet", "--create=new")
        git(project, "add", ".")
        git(project, "-c", "user.name=e2e", "-c", "user.email=e2e@localhost", "commit", "--quiet", "--message", branch)
    git(project, "switch", "--quiet", "old")
    return project


def git(project: Project, *arguments: str) -> None:
    output("git", "-C", str(project.folder), *arguments)


def switch(loop: Loop, project: Project, branch: str) -> None:
    """Check a branch out at one stroke: on a busy machine git alone would take seconds, with long pauses."""
    loop.process.send_signal(signal.SIGSTOP)
    git(project, "switch", "--quiet", branch)
    loop.process.send_signal(signal.SIGCONT)


def pages_with(project: Project, word: str) -> int:
    """Return how many of the container's pages hold a word."""
    script = f"cat $(find /www -name '*.html') | grep -c {word}"
    return int(project.cluster.kubectl("exec", project.pod()["metadata"]["name"], "--", "sh", "-c", script))


def test_a_checkout_of_thousands_of_files_is_one_build(branches: Project) -> None:
    branches.count_builds()
    loop = branches.up()
    mark = loop.settles()
    switch(loop, branches, "new")
    branches.shows(branches.url, "two")
    loop.settles(since=mark)
    assert pages_with(branches, "new") == 2500
    assert branches.builds() == 2


def test_a_checkout_of_thousands_of_files_is_synced_as_one_batch(branches: Project) -> None:
    loop = web(branches).up()
    mark = loop.settles()
    before = branches.identity()
    switch(loop, branches, "new")
    branches.shows(branches.url, "two")
    loop.settles(since=mark)
    eventually(lambda: pages_with(branches, "new") == 2500)
    assert branches.identity() == before
    batches = [event for event in loop.events[mark:] if event["type"] == "RunStarted" and event["action"] == "sync"]
    assert len(batches) == 1
