"""Who set which field last, as the API server notes it."""

import pytest

from devloop.adapters.kube.drift import drifted

APPLIED = {
    "metadata": {"labels": {"tier": "front"}, "finalizers": ["ours"]},
    "spec": {
        "replicas": 1,
        "ports": [{"port": 80, "name": "web"}],
        "containers": [{"name": "app", "image": "one", "args": ["a", "b"]}],
    },
}


def changed_by(manager: str, fields: object) -> bool:
    return drifted(APPLIED, {"managedFields": [{"manager": manager, "fieldsV1": fields}]}, manager="devloop")


@pytest.mark.parametrize(
    "fields",
    [
        {"f:spec": {"f:replicas": {}}},
        {"f:metadata": {"f:labels": {"f:tier": {}}}},
        {"f:metadata": {"f:finalizers": {'v:"ours"': {}}}},
        {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:image": {}}}}},
        {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:args": {}}}}},
        {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:args": {"i:1": {}}}}}},
        {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:name": {}}}}},
    ],
)
def test_a_field_of_ours_that_another_set_is_drift(fields: object) -> None:
    assert changed_by("kubectl-edit", fields)
    assert not changed_by("devloop", fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"f:status": {"f:replicas": {}}},
        {"f:metadata": {"f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}}},
        {"f:metadata": {"f:labels": {".": {}, "f:other": {}}}},
        {"f:metadata": {"f:finalizers": {'v:"theirs"': {}}}},
        {"f:spec": {"f:containers": {".": {}, 'k:{"name":"sidecar"}': {".": {}, "f:image": {}}}}},
        {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:args": {"i:5": {}}}}}},
        {"f:spec": {"f:ports": {'k:{"port":81,"protocol":"TCP"}': {"f:name": {}}}}},
        {"f:spec": {"f:replicas": {"f:below": {}}}},
    ],
)
def test_what_only_others_set_is_none(fields: object) -> None:
    assert not changed_by("kube-controller-manager", fields)


def test_an_object_without_notes_has_not_drifted() -> None:
    assert not drifted(APPLIED, {"name": "web"}, manager="devloop")
