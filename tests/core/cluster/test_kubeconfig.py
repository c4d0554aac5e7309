"""Entries in a kubeconfig: put in and taken out, with nothing else touched."""

import json

import pytest
import yaml

from devloop.core.cluster.kubeconfig import Entries, server_of, with_entries, without_entries
from devloop.errors import InputError

OWN = Entries(
    name="devloop",
    cluster={"server": "https://127.0.0.1:40001", "certificate-authority-data": "Y2E="},
    user={"client-certificate-data": "Y2VydA==", "client-key-data": "a2V5"},
)

WRITTEN = """\
# mine, by hand
apiVersion: v1
kind: Config
current-context: work   # the office
clusters:
- name: work            # the big one
  cluster:
    server: https://work.example.com
contexts:
  - context: {cluster: work, user: me}
    name: work
users:
- name: me
  user:
    token: "0123"
# the end
preferences: {}
"""

EMPTY = "apiVersion: v1\nclusters: []\ncontexts: null\nusers:\ncurrent-context: ''\nkind: Config\n"
JSON = json.dumps({"apiVersion": "v1", "clusters": [{"name": "a", "cluster": {"server": "x"}}], "current-context": "a"})
FLOW = "{apiVersion: v1, clusters: [{name: a, cluster: {server: x}}]}\n"
CURRENT = "current-context: a\ncontexts:\n- name: a\n  context: {}"

SHAPES = {"written": WRITTEN, "empty lists": EMPTY, "JSON": JSON, "flow": FLOW, "no newline": CURRENT, "nothing": ""}


@pytest.fixture(params=SHAPES)
def text(request: pytest.FixtureRequest) -> str:
    return SHAPES[request.param]


def test_the_entries_are_there_beside_all_that_was(text: str) -> None:
    before = yaml.safe_load(text) or {}
    after = yaml.safe_load(with_entries(text, OWN))
    assert after["clusters"] == [{"name": "devloop", "cluster": dict(OWN.cluster)}, *(before.get("clusters") or [])]
    assert after["users"] == [{"name": "devloop", "user": dict(OWN.user)}, *(before.get("users") or [])]
    assert after["contexts"][0]["name"] == "devloop"
    assert after["contexts"][1:] == (before.get("contexts") or [])
    assert after["current-context"] == "devloop"
    assert {key: value for key, value in before.items() if key in {"apiVersion", "kind", "preferences"}}.items() <= (
        after.items()
    )


def test_without_them_it_says_what_it_said_before(text: str) -> None:
    before, after = yaml.safe_load(text) or {}, yaml.safe_load(without_entries(with_entries(text, OWN), "devloop"))
    for key in ("clusters", "users", "contexts"):
        assert (after.get(key) or []) == (before.get(key) or [])
    named = {each["name"] for each in before.get("contexts") or []}
    current = before.get("current-context")
    assert after["current-context"] == (current if current in named else "")


def test_comments_order_and_quotes_stay() -> None:
    after = with_entries(WRITTEN, OWN)
    rest = iter(after.splitlines())
    assert all(line in rest for line in WRITTEN.splitlines() if not line.startswith("current-context"))
    assert "current-context: devloop   # the office\n" in after


def test_taking_them_out_gives_the_very_text_back() -> None:
    assert without_entries(with_entries(WRITTEN, OWN), "devloop") == WRITTEN


def test_putting_them_in_again_replaces_them() -> None:
    once = with_entries(WRITTEN, OWN)
    assert with_entries(once, OWN) == once
    moved = Entries(name="devloop", cluster={"server": "https://127.0.0.1:2"}, user=OWN.user)
    again = with_entries(once, moved)
    assert server_of(again, "devloop") == "https://127.0.0.1:2"
    assert without_entries(again, "devloop") == WRITTEN


def test_a_context_that_was_chosen_meanwhile_stays_current() -> None:
    chosen = with_entries(WRITTEN, OWN).replace("current-context: devloop", "current-context: work")
    assert yaml.safe_load(without_entries(chosen, "devloop"))["current-context"] == "work"


def test_a_context_that_is_gone_does_not_become_current_again() -> None:
    text = with_entries("current-context: old\n", OWN)
    assert yaml.safe_load(without_entries(text, "devloop"))["current-context"] == ""


def test_a_context_of_another_file_becomes_current_again() -> None:
    text = with_entries("current-context: elsewhere\n", OWN)
    assert yaml.safe_load(without_entries(text, "devloop", known=["elsewhere"]))["current-context"] == "elsewhere"


def test_what_is_not_there_is_not_taken_out() -> None:
    assert without_entries(WRITTEN, "devloop") == WRITTEN


def test_the_server_of_a_cluster_is_told() -> None:
    assert server_of(WRITTEN, "work") == "https://work.example.com"
    assert server_of(WRITTEN, "devloop") is None
    assert server_of("", "devloop") is None


@pytest.mark.parametrize("broken", ["- a\n", "a: [\n", "a: 1\n---\nb: 2\n"])
def test_what_is_no_kubeconfig_is_left_alone(broken: str) -> None:
    with pytest.raises(InputError, match="kubeconfig"):
        with_entries(broken, OWN)
