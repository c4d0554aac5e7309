import json
from collections.abc import Sequence

import pytest
from inline_snapshot import snapshot

from devloop.errors import Where
from devloop.events import Problem
from devloop.model import Kind, NodeId
from devloop.ui.drawings import GraphFormat, graph_text
from devloop.ui.rows import CheckRow, Decision, Edge, ObjectRow, PlanRow, PodRow, PortRow, ServiceRow, SettingRow
from devloop.ui.tables import doctor_text, json_ready, plan_text, settings_text, status_text, table, why_text
from tests.ui.story import API, API_IMAGE, BASE, CODE, STORE, WORKER, WORKER_IMAGE

SERVICES = (
    ServiceRow(
        node=API,
        status="ready",
        objects=(ObjectRow(name="deployment/api", status="1 of 1 ready"), ObjectRow(name="service/api", status="")),
        pods=(PodRow(name="api-7d9f8c-x7k2p", status="Running", ready=True),),
        ports=(PortRow(local=8000, remote="80", url="http://localhost:8000"),),
    ),
    ServiceRow(
        node=WORKER,
        status="failing",
        detail="container `worker` crashes",
        objects=(ObjectRow(name="deployment/worker", status="0 of 1 ready"),),
        pods=(PodRow(name="worker-5b6d-2xv9c", status="CrashLoopBackOff", ready=False, restarts=3),),
    ),
    ServiceRow(node=STORE, status="not deployed", ports=(PortRow(local=6379, remote="redis"),)),
)
PLAN = (
    PlanRow(node=BASE, action=None, reasons=("no input changed",)),
    PlanRow(node=API_IMAGE, action="build", reasons=("api/main.py changed", "api/Dockerfile changed")),
    PlanRow(node=API, action="deploy", reasons=("image `api` may change",), after=(API_IMAGE,)),
)
SETTINGS = (
    SettingRow(
        name="api.replicas",
        type="int",
        value="3",
        default="1",
        origin="--set replicas=3",
        where=Where(path="devfile.py", line=25),
    ),
    SettingRow(name="debug", type="bool", value="False", default="False", origin="default"),
)
NODES = (BASE, API_IMAGE, WORKER_IMAGE, STORE, API, WORKER, CODE)
EDGES = (
    Edge(source=API_IMAGE, target=BASE, reasons=("FROM base (api/Dockerfile:1)",)),
    Edge(source=WORKER_IMAGE, target=BASE, reasons=("argument `base_image` (devfile.py:9)",)),
    Edge(source=API, target=API_IMAGE, reasons=("argument `api_image`", "image: api")),
    Edge(source=API, target=STORE, reasons=('says "store"',)),
    Edge(source=WORKER, target=WORKER_IMAGE),
    Edge(source=CODE, target=API_IMAGE, reasons=("argument `api_image`",)),
)


def test_columns_are_aligned_and_fit_the_width() -> None:
    text = table(("NAME", "WHY"), [("a", "short"), ("日本", "x" * 100)], width=20)
    assert text == snapshot("""\
NAME  WHY
a     short
日本  xxxxxxxxxxxxx…
""")


def test_without_a_limit_nothing_is_cut() -> None:
    assert "x" * 100 in table(("NAME", "WHY"), [("a", "x" * 100)], width=None)


def test_status_at_a_glance() -> None:
    assert status_text(SERVICES) == snapshot("""\
SERVICE  STATUS                               PODS  URL
api      ready                                1/1   http://localhost:8000
worker   failing: container `worker` crashes  0/1
store    not deployed

SERVICE  PORT  LEADS TO
api      8000  80
store    6379  redis (not open)

SERVICE  POD                RESTARTS  STATUS
api      api-7d9f8c-x7k2p   0         Running
worker   worker-5b6d-2xv9c  3         CrashLoopBackOff

SERVICE  OBJECT             STATUS
api      deployment/api     1 of 1 ready
api      service/api
worker   deployment/worker  0 of 1 ready
""")


def test_status_of_nothing() -> None:
    assert status_text(()) == "nothing is deployed\n"


def test_doctor_puts_the_way_out_below_what_is_wrong() -> None:
    rows = (
        CheckRow(name="engine", ok=True, found="Docker 26.1"),
        CheckRow(name="cluster", ok=False, found="it does not answer", hint="is it running?"),
    )
    assert doctor_text(rows) == (
        "ok  engine   Docker 26.1\nno  cluster  it does not answer\n             hint: is it running?\n"
    )


def test_plan_says_what_and_why() -> None:
    assert plan_text(PLAN) == snapshot("""\
NODE         ACTION  WHY
image:api    build   api/main.py changed, api/Dockerfile changed
service:api  deploy  image `api` may change (after image:api)

1 node up to date
""")


def test_plan_of_nothing() -> None:
    assert plan_text(PLAN[:1]) == "nothing to do: 1 node up to date\n"


def test_why_tells_the_decision_and_what_came_of_it() -> None:
    failed = Decision(
        node=API_IMAGE,
        action="build",
        reasons=("api/main.py changed",),
        outcome="failed",
        at="2 minutes ago",
        seconds=1.25,
        problems=(Problem(message="step `RUN make` failed", tail=("main.c:1: error",)),),
    )
    held = Decision(node=API, action=None, reasons=("waits for image `api`, which failed",), outcome="held")
    assert why_text(failed) == snapshot("""\
build image:api: failed in 1.2s, 2 minutes ago
  because api/main.py changed
error: step `RUN make` failed
  | main.c:1: error
""")
    assert why_text(held) == snapshot("""\
service:api: held
  because waits for image `api`, which failed
""")


def test_settings_say_where_they_come_from() -> None:
    assert settings_text(SETTINGS) == snapshot("""\
SETTING       TYPE  VALUE  FROM              DEFINED
api.replicas  int   3      --set replicas=3  devfile.py:25
debug         bool  False  default
""")


@pytest.mark.parametrize("rows", [SERVICES, PLAN, SETTINGS, EDGES])
def test_rows_have_a_json_form(rows: Sequence[object]) -> None:
    assert json.loads(json.dumps(json_ready(rows)))


def test_the_json_form_names_nodes_as_the_command_line_does() -> None:
    assert json_ready(PLAN[2]) == {
        "node": "service:api",
        "action": "deploy",
        "reasons": ["image `api` may change"],
        "after": ["image:api"],
    }


def test_the_graph_as_a_tree() -> None:
    assert graph_text(NODES, EDGES) == snapshot("""\
service:api
├── image:api       argument `api_image`, image: api
│   └── image:base  FROM base (api/Dockerfile:1)
└── service:store   says "store"
service:worker
└── image:worker
    └── image:base  argument `base_image` (devfile.py:9)
sync:api-code
└── image:api       argument `api_image` (see above)
""")


def test_the_graph_as_a_tree_in_ascii() -> None:
    assert graph_text(NODES, EDGES, ascii_only=True).isascii()


def test_the_graph_for_mermaid() -> None:
    assert graph_text(NODES, EDGES, GraphFormat.MERMAID) == snapshot("""\
graph LR
  n0["image:base"]
  n1["image:api"]
  n2["image:worker"]
  n3(["service:store"])
  n4(["service:api"])
  n5(["service:worker"])
  n6[/"sync:api-code"/]
  n1 -->|"FROM base (api/Dockerfile:1)"| n0
  n2 -->|"argument #96;base_image#96; (devfile.py:9)"| n0
  n4 -->|"argument #96;api_image#96;, image: api"| n1
  n4 -->|"says #quot;store#quot;"| n3
  n5 --> n2
  n6 -->|"argument #96;api_image#96;"| n1
""")


def test_the_graph_for_graphviz() -> None:
    assert graph_text(NODES, EDGES, "dot") == snapshot("""\
digraph devloop {
  rankdir=LR;
  "image:base" [shape=box];
  "image:api" [shape=box];
  "image:worker" [shape=box];
  "service:store" [shape=ellipse];
  "service:api" [shape=ellipse];
  "service:worker" [shape=ellipse];
  "sync:api-code" [shape=parallelogram];
  "image:api" -> "image:base" [label="FROM base (api/Dockerfile:1)"];
  "image:worker" -> "image:base" [label="argument `base_image` (devfile.py:9)"];
  "service:api" -> "image:api" [label="argument `api_image`, image: api"];
  "service:api" -> "service:store" [label="says \\"store\\""];
  "service:worker" -> "image:worker";
  "sync:api-code" -> "image:api" [label="argument `api_image`"];
}
""")


def test_the_graph_as_json() -> None:
    data = json.loads(graph_text(NODES, EDGES, "json"))
    assert data["nodes"][0] == {"id": "image:base", "kind": "image", "name": "base"}
    assert data["edges"][2] == {
        "source": "service:api",
        "target": "image:api",
        "reasons": ["argument `api_image`", "image: api"],
    }


def test_a_graph_of_one_node() -> None:
    assert graph_text([NodeId(Kind.IMAGE, "api")], []) == "image:api\n"
