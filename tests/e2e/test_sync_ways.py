"""Files reach containers of every sort: without a shell, with another user, with a read-only root, in a volume."""

from tests.e2e.project import PAGES, Project, web, workload
from tests.outside import eventually, http, output

# The web server alone: no shell, no tools.
BARE = """\
FROM busybox AS tools
FROM scratch
COPY --from=tools /bin/busybox /bin/httpd
COPY pages /www
CMD ["/bin/httpd", "-f", "-p", "8000", "-h", "/www"]
"""


def with_pod(project: Project, *lines: str) -> None:
    """Add lines to the container of the manifest."""
    text = workload("web").replace(
        "          ports:", "".join(f"          {line}\n" for line in lines) + "          ports:"
    )
    project.write("k8s/web.yaml.j2", text)


def notes(project: Project, words: str) -> list[str]:
    events = project.loops[-1].events
    return [event["message"] for event in events if event["type"] == "Noted" and words in event["message"]]


def test_a_container_without_a_shell_gets_files_by_a_helper(project: Project) -> None:
    web(project, dockerfile=BARE).count_builds()
    project.write("web/pages/deleted.html", "deleted\n")
    project.up().settles()
    before = project.identity()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    project.write("web/pages/new/deep.html", "new\n")
    (project.folder / "web/pages/deleted.html").unlink()
    project.shows(f"{project.url}/new/deep.html", "new")
    eventually(lambda: "404" in _error(f"{project.url}/deleted.html"))
    assert project.identity() == before
    assert project.builds() == 1
    assert len(notes(project, "a helper container")) == 1


def test_a_process_without_a_shell_is_restarted_and_commands_run_beside_it(project: Project) -> None:
    on = 'on="web/pages/config.txt"'
    rules = f'[run("wc -c </www/config.txt >/www/size.txt", {on}), restart({on})]'
    web(project, dockerfile=BARE.replace('"/www"]', '"/www/serve"]'), rules=rules).count_builds()
    project.write("web/pages/serve/index.html", "one\n")
    project.write("web/pages/config.txt", "one\n")
    loop = project.up()
    loop.settles()
    before, began = project.identity(), process_of(project)
    project.write("web/pages/config.txt", "twelve\n")
    loop.wait("RunSucceeded", action="follow-up")
    assert process_of(project) != began
    assert project.identity() == before
    assert project.builds() == 1
    container = before[1].removeprefix("docker://")
    copied = output("docker", "exec", container, "/.devloop-tools/cat", "/www/size.txt")
    assert copied.strip() == "7"
    project.shows(project.inside("web"), "one")


def process_of(project: Project) -> str:
    """Return the process that serves, as the engine numbers it."""
    container = project.identity()[1].removeprefix("docker://")
    listed = [line.split(maxsplit=1) for line in output("docker", "top", container, "-o", "pid,args").splitlines()]
    (found,) = [pid for pid, arguments in listed if arguments.startswith("/bin/httpd")] or [""]
    return found


def _error(url: str) -> str:
    try:
        return http(url)
    except AssertionError as error:
        return str(error)


def test_a_container_without_a_shell_that_crashed_gets_everything_again(project: Project) -> None:
    web(project, dockerfile=BARE).count_builds()
    project.up().settles()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    old = project.identity()
    output("docker", "kill", old[1].removeprefix("docker://"))
    eventually(lambda: project.identity() != old, within=60)
    project.shows(project.inside("web"), "two")
    assert project.builds() == 1


def test_files_that_the_containers_user_may_not_write_are_synced_all_the_same(project: Project) -> None:
    web(project, dockerfile=PAGES + "USER 65534:65534\n").count_builds()
    project.up().settles()
    before = project.identity()
    for text in ("two", "three"):
        project.write("web/pages/index.html", text + "\n")
        project.shows(project.url, text)
    assert project.identity() == before
    assert project.builds() == 1
    assert notes(project, "user `65534` of container `web` may not write to `/www`")


def test_a_read_only_root_is_named_once_and_the_image_is_built_instead(project: Project) -> None:
    web(project).count_builds()
    with_pod(project, "securityContext: {readOnlyRootFilesystem: true}")
    loop = project.up()
    mark = loop.settles()
    for count, text in enumerate(("two", "three"), start=2):
        project.write("web/pages/index.html", text + "\n")
        project.shows(project.inside("web"), text)
        mark = loop.settles(since=mark)
        assert project.builds() == count
    assert notes(project, "its containers take no files") == [
        "its containers take no files: the file system at `/www` of container `web` is read-only"
    ]


def test_what_only_this_container_has_in_the_way_is_built_once_and_synced_again_later(project: Project) -> None:
    web(project).count_builds()
    loop = project.up()
    mark = loop.settles()
    pod = project.pod()["metadata"]["name"]
    project.cluster.kubectl("exec", pod, "--", "sh", "-c", "mkdir -p /www/page.html/own && touch /www/page.html/own/x")
    project.write("web/pages/page.html", "one\n")
    project.shows(f"{project.inside('web')}/page.html", "one")
    loop.settles(since=mark)
    assert project.builds() == 2
    before = project.identity()
    project.write("web/pages/page.html", "two\n")
    project.shows(f"{project.inside('web')}/page.html", "two")
    assert project.identity() == before
    assert project.builds() == 2


def test_a_small_save_arrives_while_a_large_file_is_on_its_way(project: Project) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    large = project.folder.parent / "large.bin"
    with large.open("wb") as file:
        file.truncate(500_000_000)
    large.rename(project.folder / "web/pages/large.bin")
    started = loop.wait("RunStarted", where=lambda event: "large.bin" in str(event["reasons"]))
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    small = loop.wait("RunSucceeded", where=lambda event: event["summary"].startswith("web/pages/index.html "))
    ended = loop.wait("RunSucceeded", run=started["run"], within=90)
    assert small["seq"] < ended["seq"], "the small one did not wait for the large one"


def test_a_pod_that_is_replaced_in_the_middle_of_a_transfer_is_followed_by_one_that_gets_everything(
    project: Project,
) -> None:
    web(project).count_builds()
    loop = project.up()
    loop.settles()
    old = project.identity()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    mark = loop.mark()
    large = project.folder.parent / "large.bin"
    with large.open("wb") as file:
        file.truncate(500_000_000)
    large.rename(project.folder / "web/pages/large.bin")
    loop.wait("RunStarted", since=mark, where=lambda event: "large.bin" in str(event["reasons"]))
    project.cluster.kubectl("delete", "pod", "--selector=app=web", "--grace-period=0", "--force", "--wait=false")
    eventually(lambda: project.identity() != old, within=60)
    script = "wc -c </www/large.bin; cat /www/index.html; ls -A /www"
    name = project.pod()["metadata"]["name"]
    wanted = "500000000\ntwo\nindex.html\nlarge.bin\n"
    eventually(lambda: project.cluster.kubectl("exec", name, "--", "sh", "-c", script) == wanted, within=90)
    assert project.builds() == 1
