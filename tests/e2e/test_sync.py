"""Saved files reach the running containers, and stay there whatever happens to these."""

import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from typing import Any, Self

import pytest

from tests.e2e.project import PAGES, Project, web, workload
from tests.outside import eventually, http, output

# Serves what config.txt held when its process started, and everything else as it is.
STARTS = """\
FROM busybox
COPY start.sh /start.sh
COPY pages /www
CMD ["sh", "/start.sh"]
"""
START = "cp /www/config.txt /www/started.txt; exec httpd -f -p 8000 -h /www\n"


def pages_in(project: Project, pod: Any) -> list[str]:
    """Return the files below /www in a pod's container."""
    found = project.cluster.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", "cd /www && find . -type f")
    return sorted(line.removeprefix("./") for line in found.splitlines())


def holds_pages(project: Project, pod: Any, pages: list[str]) -> bool:
    return pages_in(project, pod) == pages


def holds(project: Project, pod: Any, text: str, *, container: str | None = None) -> bool:
    return project.read_in(pod, "/www/index.html", container=container) == text


def kill_container(project: Project, *, app: str = "web") -> None:
    """Kill a pod's container, so that the kubelet starts another."""
    container = project.identity(app)[1].removeprefix("docker://")
    output("docker", "kill", container)


def test_changed_new_renamed_and_deleted_files_reach_all_replicas(project: Project) -> None:
    web(project).replace("k8s/web.yaml.j2", "{{ replicas | default(1) }}", "3")
    project.write("web/pages/renamed.html", "renamed\n")
    project.write("web/pages/deleted.html", "deleted\n")
    project.write("web/pages/sub/deleted.html", "deleted\n")
    loop = project.up()
    loop.settles()
    before = project.ready_pods(count=3)
    project.write("web/pages/index.html", "two\n")
    project.write("web/pages/new/deep/er.html", "new\n")
    (project.folder / "web/pages/renamed.html").rename(project.folder / "web/pages/other name.html")
    (project.folder / "web/pages/deleted.html").unlink()
    (project.folder / "web/pages/sub/deleted.html").unlink()
    (project.folder / "web/pages/sub").rmdir()
    for pod in before:
        eventually(partial(holds_pages, project, pod, ["index.html", "new/deep/er.html", "other name.html"]))
        assert project.read_in(pod, "/www/index.html") == "two\n"
        assert project.read_in(pod, "/www/new/deep/er.html") == "new\n"
        assert project.read_in(pod, "'/www/other name.html'") == "renamed\n"
    after = project.ready_pods(count=3)
    assert [pod["metadata"]["uid"] for pod in after] == [pod["metadata"]["uid"] for pod in before]


def test_a_synced_script_keeps_its_mode(project: Project) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    project.write("web/pages/cgi-bin/hello", "#!/bin/sh\nprintf '\\r\\nhello\\n'\n", mode=0o755)
    project.shows(f"{project.url}/cgi-bin/hello", "hello")


def test_binary_and_empty_and_large_files_arrive_as_they_are(project: Project) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    data = bytes(range(256)) * 20000
    large = project.folder.parent / "large.bin"
    large.write_bytes(data)
    large.rename(project.folder / "web/pages/large.bin")
    (project.folder / "web/pages/empty.txt").touch()
    (project.folder / "web/pages/binary.bin").write_bytes(bytes(range(256)))
    wanted = ["binary.bin", "empty.txt", "index.html", "large.bin"]
    eventually(lambda: pages_in(project, project.pod()) == wanted, within=60)
    container = project.identity()[1].removeprefix("docker://")
    copied = project.folder.parent / "copied"
    output("docker", "cp", f"{container}:/www", str(copied))
    assert (copied / "large.bin").read_bytes() == data
    assert (copied / "empty.txt").read_bytes() == b""
    assert (copied / "binary.bin").read_bytes() == bytes(range(256))


def test_a_replaced_pod_gets_everything_that_was_synced(project: Project) -> None:
    web(project)
    project.write("web/pages/deleted.html", "deleted\n")
    loop = project.up()
    loop.settles()
    project.write("web/pages/index.html", "two\n")
    project.write("web/pages/new.html", "new\n")
    (project.folder / "web/pages/deleted.html").unlink()
    project.shows(f"{project.url}/new.html", "new")
    old = project.identity()
    project.cluster.kubectl("delete", "pod", "--selector=app=web", "--wait=false")
    eventually(lambda: project.identity() != old, within=60)
    eventually(lambda: pages_in(project, project.pod()) == ["index.html", "new.html"])
    assert project.read_in(project.pod(), "/www/index.html") == "two\n"


def test_a_crashed_container_gets_everything_that_was_synced(project: Project) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    uid, old = project.identity()
    kill_container(project)
    eventually(lambda: project.identity()[1] != old, within=60)
    project.shows(project.inside("web"), "two")
    assert project.identity()[0] == uid


def test_an_added_replica_gets_everything_that_was_synced(project: Project) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    project.cluster.kubectl("scale", "deployment/web", "--replicas=3")
    for pod in project.ready_pods(count=3):
        eventually(partial(holds, project, pod, "two\n"))


class Visitor:
    """Asks for a page again and again, and remembers all the answers."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[str] = Counter()
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._over.wait(0.002):
            with suppress(AssertionError, OSError, HTTPException):
                self.answers[http(self._url, timeout=5)] += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.parametrize("what", ["pod", "container", "replica", "redeploy"])
def test_a_newcomer_is_led_to_only_once_it_holds_what_was_synced(project: Project, what: str) -> None:
    web(project)
    for number in range(300):
        project.write(f"web/pages/more/{number}.html", "one\n")
    loop = project.up()
    loop.settles()
    for number in range(300):
        project.write(f"web/pages/more/{number}.html", "two\n")
    project.write("web/pages/index.html", "two\n")
    eventually(lambda: project.read_in(project.pod(), "/www/more/299.html") == "two\n")
    project.shows(project.url, "two")
    old = project.identity()
    with Visitor(project.url) as visitor:
        match what:
            case "pod":
                project.cluster.kubectl("delete", "pod", "--selector=app=web", "--wait=false")
            case "container":
                kill_container(project)
            case "replica":
                project.cluster.kubectl("scale", "deployment/web", "--replicas=3")
                project.ready_pods(count=3)
            case _:
                project.replace("k8s/web.yaml.j2", 'default("hello")', 'replace("hello", "hi")')
        if what != "replica":
            eventually(lambda: project.identity() != old, within=60)
        before = visitor.answers.total()
        eventually(lambda: visitor.answers.total() > before + 50, within=60)
    assert list(visitor.answers) == ["two\n"]


def test_a_redeployed_pod_gets_everything_that_was_synced(project: Project) -> None:
    web(project).count_builds()
    loop = project.up()
    loop.settles()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    old = project.identity()
    project.replace("k8s/web.yaml.j2", 'default("hello")', 'replace("hello", "hi")')
    eventually(lambda: project.identity() != old, within=60)
    project.shows(project.inside("web"), "two")
    assert project.builds() == 1


def test_a_file_that_no_rule_covers_is_built(project: Project) -> None:
    web(project, dockerfile=PAGES.replace("COPY", "COPY extra.txt /extra.txt\nCOPY"))
    project.write("web/extra.txt", "one\n")
    project.count_builds()
    loop = project.up()
    loop.settles()
    old = project.identity()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    assert project.builds() == 1
    project.write("web/extra.txt", "two\n")
    eventually(lambda: project.identity() != old, within=60)
    assert project.read_in(project.pod(), "/extra.txt") == "two\n"
    assert project.read_in(project.pod(), "/www/index.html") == "two\n"
    assert project.builds() == 2


def test_a_run_rule_runs_in_the_container_after_the_copy(project: Project) -> None:
    web(
        project,
        rules='[run("cp /www/source.txt /www/made.txt; echo $((1 + 1)) >>/www/made.txt", on="web/pages/source.txt")]',
    )
    project.write("web/pages/source.txt", "one\n")
    loop = project.up()
    loop.settles()
    before = project.identity()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    assert "made.txt" not in pages_in(project, project.pod())
    project.write("web/pages/source.txt", "two\n")
    eventually(lambda: project.read_in(project.pod(), "/www/made.txt") == "two\n2\n")
    assert project.identity() == before


def test_a_failing_run_rule_shows_what_it_printed_and_is_mended_by_the_next_save(project: Project) -> None:
    web(project, rules='[run("sh /www/step.sh", on="web/pages/step.sh")]')
    project.write("web/pages/step.sh", "true\n")
    loop = project.up()
    mark = loop.settles()
    project.write("web/pages/step.sh", "echo what went wrong; exit 3\n")
    failed = loop.wait("RunFailed", since=mark)
    assert "what went wrong" in str(failed["problems"]) or any(
        each["type"] == "RunOutput" and each["line"] == "what went wrong" for each in loop.events[mark:]
    )
    mark = loop.settles(since=mark, ok=False)
    project.write("web/pages/step.sh", "echo good >/www/good.txt\n")
    project.shows(f"{project.url}/good.txt", "good")
    loop.settles(since=mark)


def test_a_restart_rule_starts_the_process_anew_in_the_same_container(project: Project) -> None:
    web(project, rules='[restart(on="web/pages/config.txt")]', dockerfile=STARTS)
    project.write("web/start.sh", START)
    project.write("web/pages/config.txt", "one\n")
    loop = project.up()
    loop.settles()
    project.shows(f"{project.url}/started.txt", "one")
    before = project.identity()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    assert project.shows(f"{project.url}/started.txt", "one") == "one\n"
    project.write("web/pages/config.txt", "two\n")
    project.shows(f"{project.inside('web')}/started.txt", "two")
    assert project.identity() == before
    assert project.pod()["status"]["containerStatuses"][0]["restartCount"] == 0
    assert project.shows(f"{project.url}/", "two") == "two\n"


def test_a_restarted_process_has_what_was_synced_after_its_container_crashed(project: Project) -> None:
    web(project, rules='[restart(on="web/pages/config.txt")]', dockerfile=STARTS)
    project.write("web/start.sh", START)
    project.write("web/pages/config.txt", "one\n")
    loop = project.up()
    loop.settles()
    project.write("web/pages/config.txt", "two\n")
    project.shows(f"{project.url}/started.txt", "two")
    old = project.identity()
    kill_container(project)
    eventually(lambda: project.identity()[1] != old[1], within=60)
    project.shows(f"{project.inside('web')}/started.txt", "two")


def test_an_ignored_file_neither_syncs_nor_builds(project: Project) -> None:
    web(project, rules='[ignore("web/pages/*.md")]').count_builds()
    project.write("web/pages/notes.md", "one\n")
    loop = project.up()
    loop.settles()
    before = project.identity()
    project.write("web/pages/notes.md", "two\n")
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    assert project.read_in(project.pod(), "/www/notes.md") == "one\n"
    assert project.identity() == before
    assert project.builds() == 1


def test_a_pulled_file_comes_back_to_the_host(project: Project) -> None:
    web(
        project,
        rules='[run("wc -l /www/list.txt | cut -d\' \' -f1 >/tmp/lock.txt", on="web/pages/list.txt"), '
        'pull("/tmp/lock.txt", "web/lock.txt")]',
    )
    project.write("web/pages/list.txt", "a\n")
    loop = project.up()
    loop.settles()
    project.write("web/pages/list.txt", "a\nb\nc\n")
    eventually(lambda: (project.folder / "web/lock.txt").read_text() == "3\n")


def test_what_is_made_in_a_container_later_comes_back_and_what_is_deleted_there_goes(project: Project) -> None:
    web(project, rules='[pull("/tmp/migrations", "web/migrations")]')
    loop = project.up()
    loop.settles()
    made = project.folder / "web/migrations"
    project.inside_of(project.pod(), "mkdir -p /tmp/migrations/old; echo 1 >/tmp/migrations/1.sql")
    eventually(lambda: (made / "1.sql").read_text() == "1\n")
    project.inside_of(
        project.pod(), "cd /tmp/migrations; echo '#!/bin/sh' >old/run; chmod +x old/run; echo 2 >1.sql; echo 3 >3.sql"
    )
    eventually(lambda: (made / "3.sql").read_text() == "3\n")
    eventually(lambda: (made / "1.sql").read_text() == "2\n")
    eventually(lambda: (made / "old/run").stat().st_mode & 0o100)
    assert not (made / "1.sql").stat().st_mode & 0o100
    project.inside_of(project.pod(), "rm -r /tmp/migrations/old")
    eventually(lambda: not (made / "old").exists())
    loop.comes_to_rest()


def test_an_edit_of_the_host_is_never_overwritten_by_what_comes_back(project: Project) -> None:
    web(project, rules='[pull("/tmp/lock.txt", "web/lock.txt")]')
    loop = project.up()
    loop.settles()
    lock = project.folder / "web/lock.txt"
    project.inside_of(project.pod(), "echo one >/tmp/lock.txt")
    eventually(lambda: lock.read_text() == "one\n")
    lock.write_text("mine\n")
    mark = loop.mark()
    project.inside_of(project.pod(), "echo two >/tmp/lock.txt")
    told = loop.wait("Noted", since=mark)
    assert told["message"].startswith("`web/lock.txt` was changed both here and in pod")
    assert lock.read_text() == "mine\n"
    loop.wait("RunSucceeded", since=mark, where=lambda event: event["seq"] > told["seq"])
    mark = loop.mark()
    lock.write_text("two\n")
    project.inside_of(project.pod(), "touch /tmp/lock.txt")
    loop.wait("RunSucceeded", since=mark, changed=False)
    project.inside_of(project.pod(), "echo three >/tmp/lock.txt")
    eventually(lambda: lock.read_text() == "three\n")


def test_what_comes_back_and_is_synced_does_not_go_round_and_round(project: Project) -> None:
    web(project, rules='[pull("/www/index.html", "web/pages/index.html")]').replace(
        "k8s/web.yaml.j2", "{{ replicas | default(1) }}", "2"
    )
    loop = project.up()
    loop.settles()
    one, two = project.ready_pods(count=2)
    project.inside_of(one, "echo made >/www/index.html")
    eventually(lambda: (project.folder / "web/pages/index.html").read_text() == "made\n")
    eventually(partial(holds, project, two, "made\n"))
    loop.comes_to_rest(seconds=4)
    project.write("web/pages/index.html", "mine\n")
    for pod in (one, two):
        eventually(partial(holds, project, pod, "mine\n"))
    time.sleep(3)
    assert (project.folder / "web/pages/index.html").read_text() == "mine\n"


def test_what_came_back_is_still_known_after_a_new_start_and_in_a_new_container(project: Project) -> None:
    dockerfile = PAGES.replace("CMD", "RUN echo old >/tmp/lock.txt\nCMD")
    web(project, rules='[pull("/tmp/lock.txt", "web/lock.txt")]', dockerfile=dockerfile)
    loop = project.up()
    loop.settles()
    lock = project.folder / "web/lock.txt"
    eventually(lambda: lock.read_text() == "old\n")
    project.inside_of(project.pod(), "echo new >/tmp/lock.txt")
    eventually(lambda: lock.read_text() == "new\n")
    loop.stop()
    lock.write_text("mine\n")
    loop = project.up()
    loop.settles()
    lock.write_text("new\n")
    old = project.identity()
    mark = loop.mark()
    kill_container(project)
    eventually(lambda: project.identity() != old, within=60)
    loop.wait("RunSucceeded", since=mark, node="sync:web-pages", changed=False)
    time.sleep(3)
    assert lock.read_text() == "new\n"


@pytest.mark.parametrize("kind", ["changed", "new", "deleted", "reverted"])
def test_what_was_synced_files_do_while_devloop_is_stopped_is_caught_up_with(project: Project, kind: str) -> None:
    web(project).count_builds()
    project.write("web/pages/page.html", "one\n")
    loop = project.up()
    loop.settles()
    before = project.identity()
    project.write("web/pages/page.html", "two\n")
    project.shows(f"{project.url}/page.html", "two")
    assert loop.stop() == 130
    match kind:
        case "changed":
            project.write("web/pages/page.html", "three\n")
        case "new":
            project.write("web/pages/three.html", "three\n")
        case "deleted":
            (project.folder / "web/pages/page.html").unlink()
        case _:
            project.write("web/pages/page.html", "one\n")
    project.up().settles()
    wanted = {
        "changed": ["index.html", "page.html"],
        "new": ["index.html", "page.html", "three.html"],
        "deleted": ["index.html"],
        "reverted": ["index.html", "page.html"],
    }[kind]
    eventually(lambda: pages_in(project, project.pod()) == wanted)
    text = {"changed": "three\n", "new": "two\n", "deleted": None, "reverted": "one\n"}[kind]
    eventually(lambda: project.read_in(project.pod(), "/www/page.html") == text)
    assert project.identity() == before
    assert project.builds() == 1


def test_a_file_outside_every_sync_that_changed_while_devloop_was_stopped_is_built(project: Project) -> None:
    web(project, dockerfile=PAGES.replace("COPY", "COPY extra.txt /extra.txt\nCOPY"))
    project.write("web/extra.txt", "one\n")
    loop = project.up()
    loop.settles()
    loop.stop()
    project.write("web/extra.txt", "two\n")
    project.up().settles()
    assert project.read_in(project.pod(), "/extra.txt") == "two\n"


def test_a_pod_replaced_while_devloop_was_stopped_gets_what_was_synced(project: Project) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    loop.stop()
    project.cluster.kubectl("delete", "pod", "--selector=app=web")
    assert project.shows(f"http://{project.pod()['status']['podIP']}:8000", "one") == "one\n"
    project.up()
    project.shows(project.url, "two")


def test_a_sync_without_paths_goes_where_the_dockerfile_copies(project: Project) -> None:
    web(project, sync=False)
    project.write(
        "devfile.py",
        (project.folder / "devfile.py").read_text() + "\n\n@sync\ndef everything(web_image: Image): ...\n",
    )
    loop = project.up()
    loop.settles()
    before = project.identity()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    assert project.identity() == before


def test_two_containers_of_one_image_in_one_pod_both_get_the_files(project: Project) -> None:
    web(project)
    text = workload("web").replace(
        "---\n",
        "        - {name: second, image: {{ web_image }}, command: [sleep, '3600']}\n---\n",
    )
    project.write("k8s/web.yaml.j2", text)
    loop = project.up()
    loop.settles()
    project.write("web/pages/index.html", "two\n")
    for container in ("web", "second"):
        eventually(partial(holds, project, project.pod(), "two\n", container=container))
