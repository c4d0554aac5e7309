"""Discovery: the graph that a project's files declare, and every mistake in them with its place and a way out."""

from pathlib import Path

import pytest

from devloop.core.graph import ImageDetail, ServiceDetail, TaskDetail
from devloop.errors import Where
from devloop.model import Kind, NodeId, RelPath
from tests.runtime.projects import DEPLOYMENT, discovered, found, only, write

API = {"api/Dockerfile": "FROM scratch\nCOPY src /app\n", "api/src/app.py": ""}
IMAGE = "@image('api')\ndef api_image(): ...\n"


# --- what is inferred ------------------------------------------------------------------------------------------------


def test_arguments_manifests_and_dockerfiles_make_edges(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "devfile.py": """
                @image("api")
                def api_image(): ...
                @image("base")
                def base_image(): ...
                @service("api.yaml")
                def api(postgres: Service): ...
                @service("db.yaml.j2")
                def postgres(): ...
            """,
            "base/Dockerfile": "FROM scratch\n",
            "api/Dockerfile": "FROM base\n",
            "api.yaml": DEPLOYMENT,
            "db.yaml.j2": "apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {ports: [{port: 5432}]}\n",
        },
    )

    project = discovered(tmp_path)

    assert project.mistakes == ()
    edges = {(str(node.id), str(edge.to), edge.reason) for node in project.graph.nodes.values() for edge in node.edges}
    assert edges == {
        ("image:api", "image:base", "FROM base"),
        ("service:api", "service:postgres", "argument `postgres`"),
        ("service:api", "image:api", "image api"),
    }
    nodes = list(project.graph.nodes)
    assert nodes.index(NodeId(Kind.IMAGE, "base")) < nodes.index(NodeId(Kind.IMAGE, "api"))


RUNNER = "apiVersion: example.org/v1\nkind: Runner\nmetadata: {name: r}\nspec: {uses: api, env: {TOOL: 'api:1'}}\n"


def test_an_image_at_a_place_that_the_service_declares_makes_an_edge(tmp_path: Path) -> None:
    devfile = IMAGE + "@service('r.yaml', images={'example.org/Runner': 'spec.uses'})\ndef runner(): ...\n"
    write(tmp_path, {"devfile.py": devfile, **API, "r.yaml": RUNNER})

    project = discovered(tmp_path)

    assert project.mistakes == ()
    (edge,) = project.graph.nodes[NodeId(Kind.SERVICE, "runner")].edges
    assert (str(edge.to), edge.reason, str(edge.where)) == ("image:api", "image api", "r.yaml:4:14")


def test_a_place_that_the_project_declares_holds_for_all_services_that_have_it(tmp_path: Path) -> None:
    devfile = (
        "project(images={'*': ['spec.uses', 'spec.nowhere']})\n"
        + IMAGE
        + "@service('r.yaml')\ndef runner(): ...\n@service('c.yaml')\ndef other(): ...\n"
    )
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
    write(tmp_path, {"devfile.py": devfile, **API, "r.yaml": RUNNER, "c.yaml": other})

    project = discovered(tmp_path)

    assert project.mistakes == ()
    needs = {node.id.name: [str(need) for need in node.needs] for node in project.graph.of_kind(Kind.SERVICE)}
    assert needs == {"runner": ["image:api"], "other": []}


def test_a_place_more_is_a_change_of_the_service(tmp_path: Path) -> None:
    service = "@service('r.yaml', images={'Runner': %s})\ndef runner(): ...\n"
    recipes = []
    for paths in ("'spec.uses'", "['spec.uses', 'spec.env.TOOL']"):
        write(tmp_path, {"devfile.py": IMAGE + service % paths, **API, "r.yaml": RUNNER})
        recipes.append(discovered(tmp_path).graph.nodes[NodeId(Kind.SERVICE, "runner")].recipe)
    assert recipes[0]["r.yaml"] == recipes[1]["r.yaml"]
    assert recipes[0] != recipes[1]


@pytest.mark.parametrize(
    ("images", "message", "hint"),
    [
        ("'spec.uses'", "`` is not a kind that has images", "write the kind"),
        (
            "{'Runner': 'spec..uses'}",
            "`spec..uses` is not a path to an image, from `..uses` on",
            "write keys with dots",
        ),
        ("{'Runner': 3}", "the images of `Runner` are at 3, which is no path", "write a path"),
        (
            "{'Runner': 'spec.use'}",
            "`spec.use` leads to nothing in any `Runner` of the manifests",
            "`spec` has `uses`, `env`",
        ),
        (
            "{'Job': 'spec.uses'}",
            "images of `Job` are declared, but the manifests have no such object",
            "they have `Runner`",
        ),
    ],
)
def test_a_place_that_is_none_is_told_with_the_devfiles_line(
    tmp_path: Path, images: str, message: str, hint: str
) -> None:
    devfile = IMAGE + f"@service('r.yaml', images={images})\ndef runner(): ...\n"
    write(tmp_path, {"devfile.py": devfile, **API, "r.yaml": RUNNER})

    (mistake,) = discovered(tmp_path).mistakes

    assert mistake.message == message
    assert hint in str(mistake.hint)
    assert (mistake.where and mistake.where.path, mistake.where and mistake.where.text) == (
        "devfile.py",
        "def runner()",
    )


def test_a_place_of_the_project_that_is_none_is_told_once_with_its_line(tmp_path: Path) -> None:
    devfile = (
        "project(images={'Runner': ''})\n@service('r.yaml')\ndef runner(): ...\n@service('c.yaml')\ndef c(): ...\n"
    )
    write(tmp_path, {"devfile.py": devfile, "r.yaml": RUNNER, "c.yaml": RUNNER.replace("name: r", "name: c")})

    (mistake,) = discovered(tmp_path).mistakes

    assert mistake.message == "`` is not a path to an image"
    assert mistake.where is not None
    assert mistake.where.text == "project(images={'Runner': ''})"


def test_a_service_comes_after_the_one_that_declares_what_its_pods_use(tmp_path: Path) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: credentials}\n"
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
        "spec: {containers: [{name: c, image: x, envFrom: [{secretRef: {name: credentials}}]}]}\n"
    )
    devfile = "@service('p.yaml')\ndef api(): ...\n@service('s.yaml')\ndef db(): ...\n"
    write(tmp_path, {"devfile.py": devfile, "p.yaml": pod, "s.yaml": secret})

    project = discovered(tmp_path)

    assert [node.name for node in project.graph.nodes] == ["db", "api"]
    (edge,) = project.graph.nodes[NodeId(Kind.SERVICE, "api")].edges
    assert (edge.reason, str(edge.where)) == ("secret/credentials", "p.yaml:4:70")


def test_a_service_is_seen_by_others_with_its_host_and_port(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "devfile.py": """
                @service("db.yaml")
                def db(): ...
                @service("web.yaml.j2")
                def web(db: Service):
                    return {"dsn": f"{db.host}:{db.port}"}
            """,
            "db.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: postgres}\nspec: {ports: [{port: 5432}]}\n",
            "web.yaml.j2": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {dsn: '{{ dsn }}'}\n",
        },
    )

    detail = discovered(tmp_path).graph.nodes[NodeId(Kind.SERVICE, "web")].detail

    assert isinstance(detail, ServiceDetail)
    assert detail.manifests[0].document["data"] == {"dsn": "postgres:5432"}


def test_settings_reach_templates_and_build_arguments(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "devfile.py": """
                @image("api")
                def api_image(debug: bool = False):
                    return {"DEBUG": debug}
                @service("api.yaml.j2")
                def api(api_image: Image, replicas: int = 1): ...
            """,
            "api/Dockerfile": "FROM scratch\nARG DEBUG\n",
            "api.yaml.j2": DEPLOYMENT.replace("spec:", "spec:\n  replicas: {{ replicas }}", 1),
        },
    )

    before, after = discovered(tmp_path), discovered(tmp_path, debug="yes", replicas="3")

    for node, part in ((NodeId(Kind.IMAGE, "api"), "build arguments"), (NodeId(Kind.SERVICE, "api"), "api.yaml.j2")):
        assert before.graph.nodes[node].recipe[part] != after.graph.nodes[node].recipe[part]
    assert {each.name: each.value for each in after.settings} == {"debug": True, "replicas": 3}


def test_a_dockerfile_may_be_named_instead_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path, {"devfile.py": "@image('api/Dockerfile.dev')\ndef api(): ...\n", "api/Dockerfile.dev": "FROM x\n"})

    detail = discovered(tmp_path).graph.nodes[NodeId(Kind.IMAGE, "api")].detail

    assert isinstance(detail, ImageDetail)
    assert (detail.context, detail.dockerfile) == ("api", "api/Dockerfile.dev")


def test_an_included_devfiles_paths_are_relative_to_its_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "devfile.py": "include('svc/devfile.py')\n@service('web.yaml')\ndef web(api): ...\n",
            "svc/devfile.py": """
                @image(".")
                def api_image(): ...
                @service("k8s.yaml")
                def api(api_image): ...
                @sync("src", "/app")
                def code(api_image):
                    yield run("make", on=["*.c", "!old.c"])
                @task(inputs="docs/*.md")
                def spell(): ...
            """,
            "svc/Dockerfile": "FROM scratch\nCOPY src /app\n",
            "svc/src/x": "",
            "svc/k8s.yaml": DEPLOYMENT,
            "web.yaml": DEPLOYMENT.replace("name: api", "name: web"),
        },
    )

    project = discovered(tmp_path)

    assert project.mistakes == ()
    assert project.graph.nodes[NodeId(Kind.SERVICE, "api")].recipe.keys() == {"svc/k8s.yaml"}
    placement = project.graph.placements[NodeId(Kind.IMAGE, "api")]
    assert placement.place(RelPath("svc/src/x"), ()) == ("/app/x",)
    assert [bool(placement.due([RelPath(path)])) for path in ("svc/a.c", "svc/old.c", "a.c")] == [True, False, False]
    detail = project.graph.nodes[NodeId(Kind.TASK, "spell")].detail
    assert isinstance(detail, TaskDetail)
    assert detail.inputs is not None
    assert detail.inputs.excludes("svc/docs/a.md")


def test_a_sync_without_a_destination_takes_it_from_the_dockerfile(tmp_path: Path) -> None:
    write(tmp_path, {"devfile.py": IMAGE + "@sync\ndef code(api_image): ...\n", **API})

    placement = discovered(tmp_path).graph.placements[NodeId(Kind.IMAGE, "api")]

    path = RelPath("api/src/app.py")
    assert placement.place(path, {path}) == ("/app/app.py",)


def test_what_was_read_is_remembered_even_if_it_was_not_there(tmp_path: Path) -> None:
    write(tmp_path, {"devfile.py": IMAGE + "@service('gone.yaml')\ndef web(): ...\n", **API})

    read = discovered(tmp_path).read

    assert {"devfile.py", "api/Dockerfile", "api/.dockerignore", "gone.yaml"} <= read.keys()
    assert read[RelPath("gone.yaml")] == "absent"


# --- mistakes of the devfile -----------------------------------------------------------------------------------------


def test_an_unknown_name_is_told_with_a_suggestion(tmp_path: Path) -> None:
    devfile = IMAGE + "@service('api.yaml')\ndef api(api_imgae: Image): ...\n"

    error = only(tmp_path, {"devfile.py": devfile, **API, "api.yaml": DEPLOYMENT})

    assert str(error) == "service `api` asks for `api_imgae`, which nothing defines"
    assert error.where == Where(path="devfile.py", line=5, text="def api(api_imgae: Image)")
    assert error.hint == "did you mean `api_image` (image, devfile.py:3)?"


def test_a_duplicate_is_told_with_both_places(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": IMAGE + IMAGE, **API})

    assert str(error) == "image `api` is declared twice"
    assert (error.where and error.where.line, [each.line for each in error.chain]) == (5, [3])


def test_a_cycle_is_drawn_as_a_path(tmp_path: Path) -> None:
    devfile = "@service('a.yaml')\ndef a(b): ...\n@service('b.yaml')\ndef b(a): ...\n"

    error = only(tmp_path, {"devfile.py": devfile})

    assert str(error) in {
        "these nodes need one another in a circle: service:a → service:b → service:a",
        "these nodes need one another in a circle: service:b → service:a → service:b",
    }


def test_a_cycle_of_dockerfiles_is_drawn_with_their_lines(tmp_path: Path) -> None:
    devfile = "@image('a')\ndef a(): ...\n@image('b')\ndef b(): ...\n"

    error = only(tmp_path, {"devfile.py": devfile, "a/Dockerfile": "FROM b\n", "b/Dockerfile": "# two\nFROM a\n"})

    assert "in a circle: image:" in str(error)
    assert {(where.path, where.line, where.text) for where in (error.where, *error.chain) if where} == {
        ("a/Dockerfile", 1, "FROM b"),
        ("b/Dockerfile", 2, "FROM a"),
    }


def test_a_wrong_kind_is_told(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": IMAGE + "@service('a.yaml')\ndef a(api_image: Service): ...\n", **API})

    assert str(error) == "service `a` wants `api_image` to be a service, but it is an image"


@pytest.mark.parametrize(
    ("devfile", "message", "hint"),
    [
        (
            "@image('api')\ndef api_image(): return 3\n",
            "image `api` returns int, but build arguments are a mapping",
            'return {"NAME": value, …}, or nothing',
        ),
        (
            "@service('api.yaml')\ndef api(): return [1]\n",
            "service `api` returns list, but variables for its templates are a mapping",
            'return {"name": value, …}, or nothing',
        ),
        (
            IMAGE + "@sync('api/src', '/app')\ndef code(api_image): yield 'api/src'\n",
            "sync `code` yields str, which is no rule",
            "yield `copy(…)`, `run(…, on=…)`, `restart(on=…)` or `ignore(…)`",
        ),
        (
            IMAGE + "@sync('api/src', '/app')\ndef code(api_image): return 7\n",
            "sync `code` yields int, which is no rule",
            "yield `copy(…)`, `run(…, on=…)`, `restart(on=…)` or `ignore(…)`",
        ),
    ],
)
def test_a_wrong_return_is_told(tmp_path: Path, devfile: str, message: str, hint: str) -> None:
    error = only(tmp_path, {"devfile.py": devfile, **API, "api.yaml": DEPLOYMENT})

    assert (str(error), error.hint) == (message, hint)
    assert error.where is not None
    assert (error.where.text or "").startswith("def ")


@pytest.mark.parametrize(
    ("devfile", "message"),
    [
        ("@image('nowhere')\ndef a(): ...\n", "image `a` has no Dockerfile: there is no `nowhere/Dockerfile`"),
        ("@service('no.yaml')\ndef a(): ...\n", "service `a` names the manifest `no.yaml`, which does not exist"),
        ("include('no/devfile.py')\n", "there is no devfile `no/devfile.py`"),
        (IMAGE + "@sync('api/no', '/x')\ndef a(api_image): ...\n", "sync `a` copies `api/no`, which does not exist"),
        (IMAGE + "@sync('api/src', 'x')\ndef a(api_image): ...\n", "sync `a` copies to `x`, which is not absolute"),
        ("@sync('api/src', '/x')\ndef a(): ...\n", "sync `a` does not say whose containers it feeds"),
        (
            "@image('api', ref='api:1')\ndef a(): ...\n",
            "image `a` has a tag in its `ref`, but its tag follows its content",
        ),
        ("@image('api', target='no')\ndef a(): ...\n", "the Dockerfile has no stage `no`"),
    ],
)
def test_what_is_not_there_or_cannot_be_is_told_with_its_place(tmp_path: Path, devfile: str, message: str) -> None:
    error = only(tmp_path, {"devfile.py": devfile, **API})

    assert message in str(error)
    assert error.where is not None
    assert error.hint


def test_a_variable_that_nothing_provides_is_told_with_the_templates_line(tmp_path: Path) -> None:
    devfile = "@service('api.yaml.j2')\ndef api(replicas: int = 1): ...\n"
    template = DEPLOYMENT.replace("spec:", "spec:\n  replicas: {{ replcas }}", 1)

    error = only(tmp_path, {"devfile.py": devfile, "api.yaml.j2": template})

    assert "replcas" in str(error)
    assert error.where is not None
    assert (error.where.path, error.where.line, error.where.text) == ("api.yaml.j2", 5, "replicas: {{ replcas }}")
    assert "`replicas`" in (error.hint or "")
    assert [(each.path, each.line) for each in error.chain] == [("devfile.py", 3)]


def test_invalid_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    devfile = "@service('api.yaml')\ndef api(): ...\n"

    error = only(tmp_path, {"devfile.py": devfile, "api.yaml": "kind: Service\nmetadata: [\n"})

    assert error.where is not None
    assert (error.where.path, error.where.line) in {("api.yaml", 2), ("api.yaml", 3)}


def test_an_exception_in_the_devfile_is_told_with_the_users_frames_only(tmp_path: Path) -> None:
    devfile = """
        def inner():
            return {}["missing"]

        def outer():
            return inner()

        outer()
    """

    error = only(tmp_path, {"devfile.py": devfile})

    assert str(error) == "`devfile.py` raises KeyError: 'missing'"
    assert [(where.line, where.text) for where in (error.where, *error.chain) if where] == [
        (3, 'return {}["missing"]'),
        (6, "return inner()"),
        (8, "outer()"),
    ]


def test_an_exception_in_a_nodes_function_is_told_with_its_line(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": "@image('api')\ndef api_image():\n    return {}['x']\n", **API})

    assert str(error) == "image `api` raises KeyError: 'x'"
    assert error.where == Where(path="devfile.py", line=4, text="return {}['x']")


def test_an_exception_in_a_helper_module_is_told_with_its_own_file(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": "import helper\n", "helper.py": "1 / 0\n"})

    assert error.where == Where(path="helper.py", line=1, text="1 / 0")
    assert [each.path for each in error.chain] == ["devfile.py"]


def test_a_missing_module_is_told_with_what_to_do(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": "import helper_that_is_not_there\n"})

    assert "put `helper_that_is_not_there.py` beside the devfile" in (error.hint or "")


def test_a_syntax_error_is_told_with_line_and_column(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": "x = (1,\n"})

    assert error.where == Where(path="devfile.py", line=2, column=5, text="x = (1,")


def test_a_host_that_a_service_does_not_have_is_told_at_the_line_that_asks(tmp_path: Path) -> None:
    devfile = """
        @service("db.yaml")
        def db(): ...
        @service("web.yaml.j2")
        def web(db: Service):
            return {"dsn": db.host}
    """
    files = {"devfile.py": devfile, "db.yaml": DEPLOYMENT, "web.yaml.j2": DEPLOYMENT.replace("name: api", "name: web")}

    error = only(tmp_path, files)

    assert str(error) == "service `db` has no host: its manifests declare no Kubernetes Service"
    assert error.where == Where(path="devfile.py", line=6, text='return {"dsn": db.host}')


def test_two_objects_of_one_name_in_two_files_are_told(tmp_path: Path) -> None:
    files = {"devfile.py": "@service('a.yaml', 'b.yaml')\ndef api(): ...\n", "a.yaml": DEPLOYMENT, "b.yaml": DEPLOYMENT}

    error = only(tmp_path, files)

    assert str(error) == "deployment/api is declared twice"
    assert (error.where and error.where.path, [each.path for each in error.chain]) == ("b.yaml", ["a.yaml"])


def test_an_object_that_two_services_declare_is_told(tmp_path: Path) -> None:
    devfile = "@service('a.yaml')\ndef a(): ...\n@service('b.yaml')\ndef b(): ...\n"

    errors = found(tmp_path, {"devfile.py": devfile, "a.yaml": DEPLOYMENT, "b.yaml": DEPLOYMENT})

    assert [str(error) for error in errors] == ["deployment/api is declared by two services: `a` and `b`"]


def test_a_port_that_two_services_ask_for_is_told(tmp_path: Path) -> None:
    devfile = "@service('a.yaml', ports={80: 80})\ndef a(): ...\n@service('b.yaml', ports={80: 80})\ndef b(): ...\n"
    ported = DEPLOYMENT.replace("image: api", "image: api, ports: [{containerPort: 80}]")

    errors = found(
        tmp_path, {"devfile.py": devfile, "a.yaml": ported, "b.yaml": ported.replace("name: api}", "name: b}")}
    )

    assert len(errors) == 1
    assert "80" in str(errors[0])


def test_a_setting_that_does_not_fit_is_told(tmp_path: Path) -> None:
    files = {"devfile.py": "@image('api')\ndef api_image(debug: bool = False): ...\n", **API}

    (error,) = found(tmp_path, files, debug="maybe")

    assert str(error) == "setting `debug` of image:api cannot be `maybe`: it must be true or false"


def test_decorating_a_function_twice_is_told(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": "@service('x.yaml')\n@image('api')\ndef api(): ...\n", **API})

    assert str(error) == "`api` is decorated twice: it already is image:api"


@pytest.mark.parametrize("signature", ["*rest", "**rest", "x, /"])
def test_an_argument_that_can_name_nothing_is_told(tmp_path: Path, signature: str) -> None:
    error = only(tmp_path, {"devfile.py": f"@image('api')\ndef api({signature}): ...\n", **API})

    assert "a node's arguments name other nodes or settings" in str(error)


def test_an_annotation_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": "@image('api')\ndef api(base: 'Imge'): ...\n", **API})

    assert str(error) == "an annotation of `api` cannot be read: name 'Imge' is not defined"


def test_a_service_without_a_manifest_is_told(tmp_path: Path) -> None:
    error = only(tmp_path, {"devfile.py": "@service\ndef api(): ...\n"})

    assert str(error) == "@service of `api` names no manifest"
    assert error.where is not None
    assert error.where.path == "devfile.py"


# --- several at once -------------------------------------------------------------------------------------------------


def test_all_mistakes_of_the_devfile_are_told_together(tmp_path: Path) -> None:
    devfile = """
        @image("api")
        def api_image(): ...
        @image("api")
        def api_image(): ...
        @service("web.yaml")
        def web(nobody, db: Image): ...
        @service("db.yaml")
        def db(): ...
    """

    errors = found(tmp_path, {"devfile.py": devfile, **API})

    assert [str(error) for error in errors] == [
        "image `api` is declared twice",
        "service `web` asks for `nobody`, which nothing defines",
        "service `web` wants `db` to be an image, but it is a service",
    ]


def test_mistakes_of_several_nodes_files_are_told_together(tmp_path: Path) -> None:
    devfile = """
        @image("nowhere")
        def other(): ...
        @service("one.yaml", "two.yaml.j2", "three.yaml")
        def web(): ...
    """

    errors = found(tmp_path, {"devfile.py": devfile, "one.yaml": "kind: [", "two.yaml.j2": "a: {{ nothing }}\n"})

    assert [error.where.path for error in errors if error.where] == [
        "devfile.py",
        "one.yaml",
        "two.yaml.j2",
        "devfile.py",
    ]


def test_a_mistake_in_one_nodes_files_leaves_the_others_alone(tmp_path: Path) -> None:
    devfile = IMAGE + "@service('broken.yaml')\ndef broken(): ...\n"
    write(tmp_path, {"devfile.py": devfile, **API, "broken.yaml": "kind: ["})

    project = discovered(tmp_path)

    assert project.errors == ()
    assert project.graph.nodes[NodeId(Kind.IMAGE, "api")].problems == ()
    assert len(project.graph.nodes[NodeId(Kind.SERVICE, "broken")].problems) == 1


def test_what_a_custom_builder_does_and_its_settings_are_part_of_its_recipe(tmp_path: Path) -> None:
    devfile = "@image(inputs=['src'])\ndef api(ref, level: int = 1):\n    sh('make')\n"

    def recipe(text: str, **settings: str) -> object:
        write(tmp_path, {"devfile.py": text})
        (node,) = discovered(tmp_path, **settings).graph.nodes.values()
        return node.recipe

    before = recipe(devfile)

    assert recipe(devfile) == before
    assert recipe("\n\n" + devfile) == before
    assert recipe(devfile.replace("make", "make all")) != before
    assert recipe(devfile, level="2") != before
