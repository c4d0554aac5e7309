"""Which files a kustomization names."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.charts.kustomization import Way, is_remote, plugin_references, references

EVERYTHING = """
resources: [deployment.yaml, ../base, https://example.org/a.yaml]
bases: [../old]
components: [../components/tls]
generators: [gen.yaml, "kind: Inline\\nmetadata: {}"]
transformers: [trans]
validators: [check.yaml]
crds: [crds.json]
configurations: [config.yaml]
patchesStrategicMerge: [merge.yaml, "kind: Inline\\nspec: {}"]
patchesJson6902:
  - {target: {kind: Deployment}, path: json.yaml}
  - {target: {kind: Deployment}, patch: "- op: remove\\n  path: /x"}
patches:
  - path: patch.yaml
  - plain.yaml
replacements:
  - path: replacement.yaml
  - {source: {kind: ConfigMap}, targets: []}
openapi: {path: schema.json}
configMapGenerator:
  - name: one
    files: [app.conf, renamed=conf/other.conf]
    envs: [one.env]
    literals: [a=b]
secretGenerator:
  - {name: two, env: two.env}
helmCharts:
  - {name: redis, valuesFile: redis.yaml, additionalValuesFiles: [more.yaml]}
newField: [future.yaml]
"""


def named(text: str, *ways: Way) -> list[str]:
    return [each.text for each in references(textwrap.dedent(text)) if each.way in ways]


def test_entries_that_may_be_files_folders_or_addresses() -> None:
    assert named(EVERYTHING, Way.RESOURCE) == [
        "deployment.yaml",
        "../base",
        "https://example.org/a.yaml",
        "../old",
        "../components/tls",
    ]


def test_plugins_are_named_by_path_or_stand_there_themselves() -> None:
    assert named(EVERYTHING, Way.PLUGIN) == ["gen.yaml", "trans", "check.yaml"]


def test_files_of_patches_generators_and_settings() -> None:
    assert named(EVERYTHING, Way.FILE) == [
        "crds.json",
        "config.yaml",
        "merge.yaml",
        "json.yaml",
        "patch.yaml",
        "plain.yaml",
        "replacement.yaml",
        "schema.json",
        "app.conf",
        "conf/other.conf",
        "one.env",
        "two.env",
    ]


def test_a_chart_is_a_whole_folder() -> None:
    assert named(EVERYTHING, Way.FOLDER) == ["charts/redis"]
    moved = "helmGlobals: {chartHome: vendor}\nhelmCharts: [{name: redis}]\n"
    assert named(moved, Way.FOLDER) == ["vendor/redis"]


def test_texts_of_other_fields_may_be_files() -> None:
    maybe = named(EVERYTHING, Way.MAYBE)
    assert {"future.yaml", "redis.yaml", "more.yaml"} <= set(maybe)


def test_each_reference_knows_its_line() -> None:
    lines = {each.text: each.line for each in references(EVERYTHING)}
    assert (lines["deployment.yaml"], lines["json.yaml"], lines["two.env"]) == (2, 12, 27)


def test_a_plugins_configuration_may_name_files_anywhere() -> None:
    found = plugin_references("kind: PatchTransformer\npath: patch.yaml\nfiles: [key=value.txt]\n")
    assert [(each.text, each.line) for each in found] == [
        ("PatchTransformer", 1),
        ("patch.yaml", 2),
        ("key=value.txt", 3),
        ("value.txt", 3),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/a.yaml",
        "github.com/org/repo",
        "github.com/org/repo/deploy?ref=v1",
        "git@example.org:org/repo",
        "example.org/org/repo//folder",
        "ssh://git@example.org/repo.git",
    ],
)
def test_addresses_are_remote(text: str) -> None:
    assert is_remote(text)


@pytest.mark.parametrize("text", ["../base", "deployment.yaml", "k8s/github.com"])
def test_paths_are_not_remote(text: str) -> None:
    assert not is_remote(text)


@pytest.mark.parametrize("text", ["", "a: b: c", "[]", "resources: 3", "resources: [3, null, {}]", "patches: {a: b}"])
def test_what_is_no_kustomization_names_nothing_to_follow(text: str) -> None:
    assert named(text, Way.FILE, Way.RESOURCE, Way.PLUGIN, Way.FOLDER) == []


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    references(text)
    plugin_references(text)
