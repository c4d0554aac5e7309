"""The supervisor around a container's command, as a change of the manifest; tests/adapters runs the script."""

from typing import Any

import pytest

from devloop.core.manifest import Manifest, manifest_of
from devloop.core.sync.supervisor import (
    ANNOTATION,
    SCRIPT,
    TOOLS,
    ImageCommand,
    command_line,
    supervised,
    without_shell,
)

_IMAGE = ImageCommand(entrypoint=("/entry", "$HOME"), command=("serve", "$(date)"))


def _deployment(*containers: dict[str, Any], **pod: Any) -> Manifest:
    return manifest_of(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "a"},
            "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [*containers], **pod}}},
        },
        path="x",
    )


def _template(manifest: Manifest) -> Any:
    return manifest.document["spec"]["template"]


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({}, ("/entry", "$$HOME", "serve", "$$(date)")),
        ({"args": ["x", 1]}, ("/entry", "$$HOME", "x", "1")),
        ({"command": ["/own", "$(POD)"]}, ("/own", "$(POD)")),
        ({"command": ["/own"], "args": ["x"]}, ("/own", "x")),
        ({"command": [], "args": []}, ("/entry", "$$HOME", "serve", "$$(date)")),
    ],
)
def test_the_manifests_command_and_args_win_as_kubernetes_has_it(container: Any, words: tuple[str, ...]) -> None:
    assert command_line(container, _IMAGE) == words


def test_the_named_containers_are_wrapped_and_nothing_else_changes() -> None:
    api = {"name": "api", "image": "api", "args": ["x y"], "ports": [{"containerPort": 80}]}
    side = {"name": "side", "image": "side"}
    before = _deployment(api, side, initContainers=[{"name": "api-init", "image": "api"}])
    template = _template(supervised(before, {"api": _IMAGE, "api-init": _IMAGE, "other": _IMAGE}))
    assert template["metadata"] == {"labels": {"a": "b"}, "annotations": {ANNOTATION: "api"}}
    assert template["spec"]["containers"] == [
        {
            **api,
            "command": ["/bin/sh", "-c", SCRIPT, "devloop-supervisor"],
            "args": ["/entry", "$$HOME", "x y"],
        },
        side,
    ]
    assert template["spec"]["initContainers"] == [{"name": "api-init", "image": "api"}]
    assert "command" not in api


def test_a_container_without_a_shell_mounts_one_that_an_init_container_makes() -> None:
    bare = ImageCommand(command=("/serve",), shell=False)
    before = _deployment({"name": "api", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, volumes=[{"name": "v"}])
    after = supervised(before, {"api": bare}, "busybox:musl")
    spec = _template(after)["spec"]
    (maker,) = spec["initContainers"]
    (container,) = spec["containers"]
    tools = {"name": "devloop-tools", "mountPath": TOOLS}
    assert (maker["image"], maker["volumeMounts"]) == ("busybox:musl", [tools])
    assert container["volumeMounts"] == [{"name": "v", "mountPath": "/v"}, tools]
    assert spec["volumes"] == [{"name": "v"}, {"name": "devloop-tools", "emptyDir": {}}]
    assert (container["command"][0], container["args"]) == (f"{TOOLS}/sh", ["/serve"])
    assert container["command"][2].startswith(f"tools={TOOLS}/\n")
    assert without_shell(before, {"api": bare}) == ("api",)


def test_a_container_in_which_only_commands_are_run_gets_a_shell_and_no_supervisor() -> None:
    before = _deployment({"name": "api"})
    after = supervised(before, {"api": ImageCommand(command=("/serve",), shell=False, restarted=False)}, "busybox:musl")
    (container,) = _template(after)["spec"]["containers"]
    assert set(container) == {"name", "volumeMounts"}
    assert ANNOTATION not in _template(after)["metadata"].get("annotations", {})


def test_what_cannot_be_supervised_stays_as_it_is() -> None:
    nothing_to_run = _deployment({"name": "api", "image": "api"})
    assert supervised(nothing_to_run, {"api": ImageCommand()}) == nothing_to_run
    shared = _deployment({"name": "api", "image": "api"}, shareProcessNamespace=True)
    assert supervised(shared, {"api": _IMAGE}) == shared
    other = manifest_of({"apiVersion": "x.io/v1", "kind": "T", "metadata": {"name": "a"}}, path="x")
    assert supervised(other, {"api": _IMAGE}) == other


def test_kubernetes_finds_nothing_to_expand_in_the_script() -> None:
    assert "$(" not in SCRIPT
    assert "$$" not in SCRIPT
