"""Where users declare that images are named: paths that are read, that lead somewhere, and that are refused."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.manifest import Manifest, manifest_of, parse
from devloop.core.manifest.image_places import place
from devloop.core.manifest.images import image_uses, missing, replace_images
from devloop.errors import InputError, Where
from devloop.model import ImagePath

_RUNNER = """\
apiVersion: example.org/v1
kind: Runner
metadata: {name: a, annotations: {example.org/runner: api:1}}
spec:
  runner: {use: "docker://api:1"}
  steps: [{uses: api:1}, {uses: [none, api:2]}]
  engine: {repo: r.io/api, version: 1.5, sum: ""}
  args: [--image=api:3, -v, --image, "api:4"]
  env:
  - {name: RUNNER_IMAGE, value: "api:5"}
  - {name: OTHER, value: "api:6"}
  by.name: {api: "api:7"}
"""


def _runner() -> Manifest:
    (manifest,) = parse(_RUNNER, path="k8s/runner.yaml")
    return manifest


def _places(*paths: object, kind: str = "Runner") -> Manifest:
    return replace(_runner(), places=tuple(place(ImagePath(kind=kind, path=path)) for path in paths))


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("spec.runner.use", ["api:1"]),
        ("$.spec.runner.use", ["api:1"]),
        ("{.spec.runner.use}", ["api:1"]),
        ("spec.steps[0].uses", ["api:1"]),
        ("spec.steps.0.uses", ["api:1"]),
        ("spec.steps[*].uses[1]", ["api:2"]),
        ("spec.*[*].uses", ["api:1"]),
        ("spec.args[*]", ["api:3", "api:4"]),
        ("spec.args[0]", ["api:3"]),
        ("spec.env[name=RUNNER_IMAGE].value", ["api:5"]),
        ("spec.env[?(@.name=='RUNNER_IMAGE')].value", ["api:5"]),
        ("spec.env[*].value", ["api:5", "api:6"]),
        ("spec['by.name'].api", ["api:7"]),
        ('spec["by.name"][*]', ["api:7"]),
        ("metadata.annotations['example.org/runner']", ["api:1"]),
        ({"repository": "spec.engine.repo", "tag": "spec.engine.version"}, ["r.io/api:1.5"]),
        ("spec.nothing[*].here", []),
        ("spec.runner", []),
    ],
)
def test_a_path_leads_to_the_references(path: object, texts: list[str]) -> None:
    assert [use.text for use in image_uses(_places(path))] == texts


@pytest.mark.parametrize(
    ("kind", "found"),
    [("Runner", True), ("example.org/Runner", True), ("*", True), ("Job", False), ("x.org/Runner", False)],
)
def test_a_path_is_for_objects_of_its_kind(kind: str, found: bool) -> None:
    assert bool(image_uses(_places("spec.runner.use", kind=kind))) is found


def test_what_is_replaced_at_a_declared_place_keeps_all_around_it() -> None:
    manifest = _places(
        "spec.runner.use", "spec.args[*]", {"repository": "spec.engine.repo", "tag": "spec.engine.version"}
    )
    new = "localhost:5000/api:dev"
    spec = replace_images(manifest, {"api:1": new, "api:3": new, "r.io/api:1.5": new}).document["spec"]
    assert spec["runner"] == {"use": f"docker://{new}"}
    assert spec["args"] == [f"--image={new}", "-v", "--image", "api:4"]
    assert spec["engine"] == {"repo": "localhost:5000/api", "version": "dev", "sum": ""}
    assert {key: value for key, value in spec.items() if key not in ("runner", "args", "engine")} == {
        key: value for key, value in _runner().document["spec"].items() if key not in ("runner", "args", "engine")
    }


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        ("", "spec", "`` is not a kind that has images"),
        ("my runner", "spec", "`my runner` is not a kind"),
        ("/Runner", "spec", "`/Runner` is not a kind"),
        ("Runner", "", "`` is not a path to an image"),
        ("Runner", "spec..image", "`spec..image` is not a path to an image, from `..image` on"),
        ("Runner", "spec.steps[].image", "from `[].image` on"),
        ("Runner", "spec.steps[-1]", "from `[-1]` on"),
        ("Runner", "spec steps", "from ` steps` on"),
        ("Runner", 3, "the images of `Runner` are at 3, which is no path"),
        ("Runner", {"repository": 3}, "which is no path"),
        ("Runner", {"repo": "spec.repo"}, "have the part `repo`, which references do not have"),
        ("Runner", {"tag": "spec.tag"}, "no path leads to the `repository`"),
        ("Runner", {"repository": "spec.a.repo", "tag": "spec.tag"}, "are not keys of one mapping"),
        ("Runner", {"repository": "spec.*"}, "are not keys of one mapping"),
    ],
)
def test_what_is_no_place_is_refused(kind: str, path: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        place(ImagePath(kind=kind, path=path))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        (
            "spec.runer.use",
            "`spec.runer.use` leads to nothing in any `Runner`",
            "`spec` has `runner`, `steps`, `engine`",
        ),
        ("spec.runner.uses", "leads to nothing", "`spec.runner` has `use`"),
        ("spec.steps.uses", "leads to nothing", "`spec.steps` is a list: `[*]` means each item"),
        ("spec.env[name=X].value", "leads to nothing", "`spec.env` is a list"),
        ("spec.runner.use.x", "leads to nothing", "`spec.runner.use` is the last on the way"),
        ("spec.steps", "leads to no image reference", "`spec` has"),
    ],
)
def test_a_place_that_leads_nowhere_is_a_mistake_that_says_how_far_it_gets(path: str, message: str, hint: str) -> None:
    where = Where(path="devfile.py", line=3)
    error = missing(place(ImagePath(kind="Runner", path=path)), [_runner()], where)
    assert error is not None
    assert message in error.message
    assert hint in str(error.hint)
    assert (error.where, [str(each) for each in error.chain]) == (where, ["k8s/runner.yaml:1:1"])


def test_a_place_of_a_kind_that_is_not_there_is_a_mistake() -> None:
    error = missing(place(ImagePath(kind="Job", path="spec")), [_runner()], Where(path="devfile.py"))
    assert error is not None
    assert error.message == "images of `Job` are declared, but the manifests have no such object"
    assert error.hint == "they have `Runner`"
    assert missing(place(ImagePath(kind="Runner", path="spec.runner.use")), [_runner()], Where(path="x")) is None


@given(st.text(alphabet="abs.*[]{}$'\"=?(@)0 /\n", max_size=24) | st.text(max_size=12), st.text(max_size=8))
def test_any_path_is_a_place_or_an_input_error(path: str, kind: str) -> None:
    document: Mapping[str, Any] = {
        "apiVersion": "v1",
        "kind": "T",
        "metadata": {"name": "a"},
        "a": {"b": ["s", {"a": "s"}]},
    }
    for each in (kind, "T"):
        try:
            found = place(ImagePath(kind=each, path=path))
        except InputError:
            continue
        manifest = replace(manifest_of(document, path="x"), places=(found,))
        replace_images(manifest, {use.text: "new" for use in image_uses(manifest)})
        missing(found, [manifest], Where(path="x"))
