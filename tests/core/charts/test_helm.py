"""Charts: what Helm is asked, what its values can be, what its text says."""

import pytest

from devloop.core.charts.helm import arguments, origins, values, without_unused_hooks
from devloop.core.manifest import parse
from devloop.dsl import Image
from devloop.errors import InputError, Where
from devloop.model import HelmSource

HERE = Where(path="devfile.py", line=3)


def test_all_options_become_arguments() -> None:
    source = HelmSource(
        chart="charts/api",
        values=("a.yaml", "b.yaml"),
        release="prod",
        files={"config": "app.conf"},
        hooks=False,
        crds=False,
        kube_version="1.29",
        api_versions=("example.org/v1",),
        repository="https://charts.example.org",
        version="1.2.3",
    )
    assert arguments(source, release="api", namespace="dev", with_values=True) == (
        "template",
        "prod",
        "charts/api",
        "--namespace=dev",
        "--repo=https://charts.example.org",
        "--version=1.2.3",
        "--values=a.yaml",
        "--values=b.yaml",
        "--values=-",
        "--set-file=config=app.conf",
        "--skip-crds",
        "--no-hooks",
        "--kube-version=1.29",
        "--api-versions=example.org/v1",
    )


def test_a_plain_chart_is_rendered_with_its_resource_definitions_under_the_services_name() -> None:
    found = arguments(HelmSource(chart="charts/api"), release="api", namespace="dev", with_values=False)
    assert found == ("template", "api", "charts/api", "--namespace=dev", "--include-crds")


def test_values_are_plain_data_and_images_their_reference() -> None:
    returned = {"image": Image("api", "api:dev-1"), "list": (1, None, {"deep": True}), 7: "seven"}
    found = values(returned, texts=(Image,), where=HERE, what="service `api`")
    assert found == {"image": "api:dev-1", "list": [1, None, {"deep": True}], "7": "seven"}


def test_what_is_no_value_is_named_by_its_path() -> None:
    with pytest.raises(InputError) as raised:
        values({"a": {"b": [object()]}}, texts=(), where=HERE, what="service `api`")
    assert str(raised.value) == "service `api` returns object as `a.b.0`, which is no value for a chart"


def test_each_line_knows_its_template() -> None:
    text = "---\n# Source: api/templates/a.yaml\na: 1\n---\n# Source: api/charts/sub/templates/b.yaml\nb: 1\n"
    found = [each.path if each else None for each in origins(text, chart="charts/one")]
    a, b = "charts/one/templates/a.yaml", "charts/one/charts/sub/templates/b.yaml"
    assert found == [None, a, a, None, b, b, b]


@pytest.mark.parametrize(
    ("events", "kept"),
    [
        (None, True),
        ("pre-install", True),
        ("post-upgrade, post-delete", True),
        ("test", False),
        ("test-success", False),
        ("pre-delete,post-rollback", False),
    ],
)
def test_hooks_for_what_devloop_never_does_are_left_out(events: str | None, *, kept: bool) -> None:
    note = f"annotations: {{helm.sh/hook: '{events}'}}" if events else ""
    manifests = parse(f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  {note}\n", path="a.yaml")
    assert bool(without_unused_hooks(manifests)) is kept
