"""The other commands: exit codes, what they do to the cluster, and output that programs can read."""

import json
from typing import Any

import pytest
import yaml

from tests.e2e.project import Project, pair, web
from tests.outside import eventually, output

CHECK = """

@check
def answers(web: Service):
    from urllib.request import urlopen

    with urlopen(web.url, timeout=10) as answer:
        assert answer.read() == b"one\\n", "the page is another"
"""

TASK = """

@task
def seed(web: Service):
    sh("echo seeded >seeded.txt; echo the task speaks")


@task
def fails():
    sh("echo it breaks; exit 7")
"""


def add(project: Project, text: str) -> None:
    devfile = project.folder / "devfile.py"
    devfile.write_text(devfile.read_text() + text)


def images(project: Project) -> list[str]:
    return output("docker", "image", "ls", "--format={{.Repository}}", f"--filter=reference={project.image}*").split()


# --- single passes ---


def test_build_builds_and_deploys_nothing(project: Project) -> None:
    pair(project)
    done = project.run("build")
    assert done.returncode == 0, done.stderr
    assert set(images(project)) == {f"{project.image}-web", f"{project.image}-other"}
    assert project.cluster.get("deployments")["items"] == []


def test_build_of_one_node_builds_only_that(project: Project) -> None:
    pair(project)
    assert project.run("build", "web").returncode == 0
    assert set(images(project)) == {f"{project.image}-web"}


def test_a_failing_build_exits_with_1(project: Project) -> None:
    web(project, dockerfile="FROM busybox\nCOPY pages /www\nRUN echo what went wrong; false\n")
    done = project.run("build")
    assert done.returncode == 1
    assert "what went wrong" in done.stderr


def test_deploy_builds_deploys_and_waits_until_it_is_ready(project: Project) -> None:
    web(project)
    done = project.run("deploy", place=True)
    assert done.returncode == 0, done.stderr
    assert project.cluster.get("deployment", "web")["status"]["readyReplicas"] == 1


def test_a_rollout_that_stays_failing_makes_deploy_exit_with_1(project: Project) -> None:
    web(project, dockerfile='FROM busybox\nCOPY pages /www\nCMD ["sh", "-c", "echo the last words; exit 3"]\n')
    done = project.run("deploy", "--timeout", "2", place=True)
    assert done.returncode == 1
    assert "the last words" in done.stderr


def test_ci_runs_the_checks_and_exits_with_0_when_they_pass(project: Project) -> None:
    web(project)
    add(project, CHECK)
    done = project.run("ci", place=True)
    assert done.returncode == 0, done.stderr
    assert project.pod()


def test_ci_exits_with_1_when_a_check_fails(project: Project) -> None:
    web(project)
    add(project, CHECK)
    project.write("web/pages/index.html", "another\n")
    done = project.run("ci", "--down", place=True)
    assert done.returncode == 1
    assert "the page is another" in done.stderr
    assert project.cluster.get("deployments")["items"] == []


def test_run_runs_a_task_after_what_it_needs(project: Project) -> None:
    web(project)
    add(project, TASK)
    done = project.run("run", "seed", place=True)
    assert done.returncode == 0, done.stderr
    assert (project.folder / "seeded.txt").read_text() == "seeded\n"
    assert "the task speaks" in done.stdout + done.stderr
    assert project.pod()


def test_a_failing_task_exits_with_1_and_deploys_nothing_that_it_does_not_need(project: Project) -> None:
    web(project)
    add(project, TASK)
    done = project.run("run", "fails", place=True)
    assert done.returncode == 1
    assert "it breaks" in done.stderr
    assert project.cluster.get("deployments")["items"] == []


@pytest.mark.parametrize("command", ["build", "deploy", "ci"])
def test_output_json_of_a_pass_is_the_event_stream(project: Project, command: str) -> None:
    web(project)
    done = project.run(command, "--output", "json", place=command != "build")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert events[0]["type"] == "ProjectLoaded"
    assert events[-1]["type"] == "Stopped"
    assert events[-1]["exit_code"] == 0
    assert [each["seq"] for each in events] == list(range(1, len(events) + 1))


# --- reading ---


def test_render_prints_what_would_be_applied(project: Project) -> None:
    web(project)
    assert project.run("build").returncode == 0
    done = project.run("render", "--set", "greeting=Moin", place=True)
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    deployment = next(each for each in documents if each["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "GREETING", "value": "Moin"}]
    assert output("docker", "image", "inspect", container["image"])
    as_json = json.loads(project.run("render", "--set", "greeting=Moin", "--output", "json", place=True).stdout)
    assert as_json == documents
    project.cluster.kubectl("apply", "--dry-run=server", "--filename=-", stdin=done.stdout)


def test_plan_says_what_would_run_and_runs_nothing(project: Project) -> None:
    pair(project)
    rows = read(project, "plan")
    assert {row["node"]: row["action"] for row in rows} == {
        "image:web": "build",
        "image:other": "build",
        "service:web": "deploy",
        "service:other": "deploy",
    }
    assert images(project) == []


def test_plan_of_a_changed_file_names_just_what_depends_on_it(project: Project) -> None:
    pair(project)
    loop = project.up()
    loop.settles()
    loop.stop()
    todo = {row["node"] for row in read(project, "plan", "--changed", "web/pages/index.html") if row["action"]}
    idle = {row["node"] for row in read(project, "plan") if row["action"] == "build"}
    assert "image:web" in todo
    assert "image:other" not in todo
    assert idle == set()


def test_why_tells_the_last_decision(project: Project) -> None:
    web(project, sync=False)
    loop = project.up()
    mark = loop.settles()
    project.write("web/pages/index.html", "two\n")
    loop.settles(since=mark)
    loop.stop()
    decision = read(project, "why", "image:web")
    assert decision["action"] == "build"
    assert decision["outcome"] == "succeeded"
    assert any("web/pages/index.html" in reason for reason in decision["reasons"])
    assert "web/pages/index.html" in project.run("why", "image:web", place=True).stdout


def test_graph_draws_the_inferred_graph(project: Project) -> None:
    web(project)
    tree = project.run("graph").stdout
    assert "image:web" in tree or "web" in tree
    graph = json.loads(project.run("graph", "--format", "json").stdout)
    assert "image:web" in str(graph)
    assert project.run("graph", "--format", "mermaid").stdout.startswith(("graph", "flowchart"))
    assert project.run("graph", "--format", "dot").stdout.startswith("digraph")


def test_settings_shows_values_and_where_they_come_from(project: Project) -> None:
    web(project)
    rows = {row["name"]: row for row in read(project, "settings", "--set", "web.replicas=3")}
    assert rows["web.greeting"]["value"] == "hello"
    assert rows["web.replicas"]["value"] == "3"
    assert "--set" in rows["web.replicas"]["origin"]
    environment = {"DEVLOOP_SET_GREETING": "Moin"}
    done = project.run("settings", "--output", "json", env=environment)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["web.greeting"]["value"] == "Moin"
    assert "DEVLOOP_SET_GREETING" in rows["web.greeting"]["origin"]


def test_settings_reach_what_is_deployed(project: Project) -> None:
    web(project)
    loop = project.up("--set", "replicas=2", env={"DEVLOOP_SET_GREETING": "Moin"})
    loop.settles()
    pods = project.ready_pods(count=2)
    assert pods[0]["spec"]["containers"][0]["env"] == [{"name": "GREETING", "value": "Moin"}]


# --- working with what runs ---


def test_status_shows_what_runs_and_its_exit_code_whether_all_is_ready(project: Project) -> None:
    web(project)
    before = project.run("status", "--output", "json", place=True)
    assert before.returncode == 1
    assert project.run("deploy", place=True).returncode == 0
    after = project.run("status", "--output", "json", place=True)
    assert after.returncode == 0
    (row,) = json.loads(after.stdout)
    assert row["status"] == "ready"
    assert [each["name"] for each in row["pods"]] == [project.pod()["metadata"]["name"]]


def test_logs_prints_what_the_containers_printed(project: Project) -> None:
    web(project, dockerfile='FROM busybox\nCOPY pages /www\nCMD ["sh", "-c", "echo a line; sleep 3600"]\n')
    assert project.run("deploy", place=True).returncode == 0
    eventually(lambda: "a line" in project.run("logs", place=True).stdout)
    (line,) = project.run("logs", "--output", "json", place=True).stdout.splitlines()
    assert json.loads(line)["line"] == "a line"


@pytest.mark.parametrize("code", [0, 3])
def test_exec_passes_the_exit_code_on(project: Project, code: int) -> None:
    web(project)
    assert project.run("deploy", place=True).returncode == 0
    script = f"echo out; echo err >&2; exit {code}"
    done = project.run("exec", "web", "sh", "-c", script, place=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", "err\n")
    as_kubectl_takes_it = project.run("exec", "web", "--", "sh", "-c", script, place=True)
    assert as_kubectl_takes_it.stdout == "out\n"


def test_exec_passes_on_what_is_piped_in(project: Project) -> None:
    web(project)
    assert project.run("deploy", place=True).returncode == 0
    text = "".join(f"line {number}\n" for number in range(20_000))
    done = project.run("exec", "web", "sort", "-r", stdin=text, place=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(sorted(text.splitlines(keepends=True), reverse=True))


def test_trigger_lets_the_running_loop_do_a_node_again(project: Project) -> None:
    web(project)
    add(project, TASK)
    without = project.run("trigger", "web")
    assert without.returncode == 1
    assert "no loop of this project runs" in without.stderr
    loop = project.up()
    mark = loop.settles()
    done = project.run("trigger", "seed", "--output", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, ["task:seed"]), done.stderr
    mark = loop.settles(since=mark)
    seeded = project.folder / "seeded.txt"
    assert seeded.read_text() == "seeded\n"
    seeded.unlink()
    assert project.run("trigger", "task:seed").returncode == 0
    loop.settles(since=mark)
    assert seeded.read_text() == "seeded\n"
    unknown = project.run("trigger", "wep")
    assert unknown.returncode == 2
    assert "web" in unknown.stderr


def test_doctor_finds_all_well_here(project: Project) -> None:
    web(project)
    done = project.run("doctor", "--output", "json", place=True)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert [name for name, row in rows.items() if not row["ok"]] == []
    assert done.returncode == 0
    assert list(rows) == ["project", "files", "engine", "builder", "context", "cluster", "rights", "images"]


def test_doctor_says_what_is_wrong_and_how_to_mend_it(project: Project) -> None:
    web(project)
    add(project, "\nnonsense(\n")
    kubeconfig = project.folder / "kubeconfig"
    kubeconfig.write_text("clusters: [")
    done = project.run("doctor", env={"DOCKER_HOST": "unix:///nowhere", "KUBECONFIG": str(kubeconfig)})
    assert done.returncode == 1
    wrong = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("no ")]
    assert wrong == ["project", "engine", "context"]
    assert done.stdout.count("hint: ") == 3
    assert f"{kubeconfig}:2:1: " in done.stdout


# --- wrong input ---


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        pytest.param(["up", "wbe"], "error: ", id="unknown node"),
        pytest.param(["build", "--set", "nothing=1"], "error: ", id="unknown setting"),
        pytest.param(["build", "--set", "replicas"], "error: `--set replicas` gives no value", id="no value"),
        pytest.param(["build", "--set", "replicas=many"], "error: ", id="wrong value"),
        pytest.param(["up", "--output", "xml"], "error: `--output xml` is not known", id="unknown output"),
        pytest.param(["plan", "--file", "nowhere.py"], "error: there is no devfile `nowhere.py`", id="no devfile"),
        pytest.param(["why", "nothing"], "error: ", id="why of nothing"),
        pytest.param(["run", "nothing"], "error: ", id="run of nothing"),
    ],
)
def test_wrong_input_exits_with_2_and_says_what_where_and_what_to_do(
    project: Project, arguments: list[str], first: str
) -> None:
    web(project)
    done = project.run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.rstrip("\n").split("\n")
    assert lines[0].startswith(first)
    assert not lines[0].endswith(".")
    assert lines[-1].startswith("hint: ")


def test_all_mistakes_of_a_devfile_are_reported_together(project: Project) -> None:
    web(project)
    project.replace("devfile.py", "def web(web_image: Image", "def web(web_imgae: Image")
    add(project, '\n\n@service("k8s/web.yaml.j2")\ndef second(wbe: Service): ...\n')
    done = project.run("build")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 2
    assert "\n  devfile.py:" in done.stderr
    assert "did you mean `web_image`" in done.stderr


def test_an_unknown_option_exits_with_2(project: Project) -> None:
    web(project)
    done = project.run("up", "--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


def read(project: Project, *arguments: str) -> Any:
    done = project.run(*arguments, "--output", "json", place=arguments[0] in {"plan", "why"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
