"""What Helm 3, Helm 4 and two generations of kustomize say, as errors with places; the texts are theirs."""

import pytest

from devloop.core.charts.rendering_errors import of_helm, of_kustomize
from devloop.errors import InputError, Where

HERE = Where(path="devfile.py", line=3)


def helm(said: str, folder: str = "") -> InputError:
    return of_helm(said, chart="charts/api", folder=folder, where=HERE, command="helm template api charts/api")


def kustomize(said: str) -> InputError:
    path = "k8s/dev/kustomization.yaml"
    return of_kustomize(said, kustomization=path, root="/src", where=HERE, command="kubectl kustomize k8s/dev")


DEBUG = "\n\nUse --debug flag to render out invalid YAML\n"


@pytest.mark.parametrize(
    ("said", "message", "place"),
    [
        (
            "Error: execution error at (shop/templates/z.yaml:1:3): name is needed" + DEBUG,
            "name is needed",
            "charts/api/templates/z.yaml:1:3",
        ),
        (
            'Error: template: shop/templates/z.yaml:1:13: executing "shop/templates/z.yaml" at <.Values.a.b>: '
            "nil pointer evaluating interface {}.b" + DEBUG,
            "nil pointer evaluating interface {}.b at <.Values.a.b>",
            "charts/api/templates/z.yaml:1:13",
        ),
        (
            'Error: shop/templates/z.yaml:1:13\n  executing "shop/templates/z.yaml" at <.Values.a.b>:\n'
            "    nil pointer evaluating interface {}.b" + DEBUG,
            "nil pointer evaluating interface {}.b at <.Values.a.b>",
            "charts/api/templates/z.yaml:1:13",
        ),
        (
            "Error: parse error at (shop/templates/z.yaml:2): missing value for if" + DEBUG,
            "missing value for if",
            "charts/api/templates/z.yaml:2",
        ),
        (
            "Error: YAML parse error on shop/templates/z.yaml: error converting YAML to JSON: yaml: line 2: mapping "
            "values are not allowed in this context" + DEBUG,
            (
                "the rendering is no YAML: mapping values are not allowed in this context, in line 2 of what the "
                "template renders"
            ),
            "charts/api/templates/z.yaml",
        ),
        (
            "Error: cannot load values.yaml: error converting YAML to JSON: yaml: line 1: did not find expected node",
            "`charts/api/values.yaml` is no YAML: did not find expected node",
            "charts/api/values.yaml:1",
        ),
        (
            (
                "Error: failed to parse bad.yaml: cannot unmarshal yaml document: error converting YAML to JSON: yaml: "
                "line 2: mapping values are not allowed in this context"
            ),
            "`bad.yaml` is no YAML: mapping values are not allowed in this context",
            "bad.yaml:2",
        ),
    ],
)
def test_helms_errors_stand_where_they_can_be_mended(said: str, message: str, place: str) -> None:
    error = helm(said)
    assert (error.message, str(error.where)) == (message, place)
    assert error.chain[-1] == HERE


def test_an_error_inside_an_include_stands_there_and_names_the_way() -> None:
    error = helm(
        'Error: template: shop/templates/a.yaml:5:3: executing "shop/templates/a.yaml" at <include "n" .>: error '
        'calling include: template: shop/templates/_h.tpl:2:4: executing "n" at <.Values.x.y>: nil pointer evaluating '
        "interface {}.y"
    )
    assert str(error.where) == "charts/api/templates/_h.tpl:2:4"
    assert [str(each) for each in error.chain] == ["charts/api/templates/a.yaml:5:3", "devfile.py:3"]
    assert error.message == "nil pointer evaluating interface {}.y at <.Values.x.y>"


def test_missing_subcharts_are_fetched_by_a_command() -> None:
    error = helm(
        "Error: An error occurred while checking for chart dependencies. You may need to run `helm dependency "
        "build` to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: redis"
    )
    assert (str(error.where), error.hint) == (
        "charts/api/Chart.yaml",
        "fetch them: `helm dependency build charts/api`",
    )


def test_what_names_no_file_stands_at_the_service() -> None:
    error = helm(
        "Error: values don't meet the specifications of the schema(s) in the following chart(s):\nshop:\n- at "
        "'/image': got string, want integer\n"
    )
    assert error.where == HERE
    assert "at '/image': got string, want integer" in error.message


def test_a_values_file_is_named_from_the_projects_root() -> None:
    error = helm("Error: failed to parse bad.yaml: error converting YAML to JSON: yaml: line 2: no", folder="svc")
    assert str(error.where) == "svc/bad.yaml:2"


@pytest.mark.parametrize(
    ("said", "message", "place"),
    [
        (
            (
                "# Warning: 'bases' is deprecated.\nerror: invalid Kustomization: yaml: line 3: mapping values are not "
                "allowed in this context"
            ),
            "kustomize: yaml: line 3: mapping values are not allowed in this context",
            "k8s/dev/kustomization.yaml:3",
        ),
        (
            "Error: yaml: line 3: mapping values are not allowed in this context",
            "kustomize: yaml: line 3: mapping values are not allowed in this context",
            "k8s/dev/kustomization.yaml:3",
        ),
        (
            "error: no matches for Id Deployment.v1.apps/nope.[noNs]; failed to find unique target for patch",
            "kustomize: no matches for Id Deployment.v1.apps/nope.[noNs]; failed to find unique target for patch",
            "k8s/dev/kustomization.yaml",
        ),
        (
            "Error: file '/src/x.yaml' is not in or below '/src/k8s/dev'\n",
            "kustomize: file 'x.yaml' is not in or below 'k8s/dev'",
            "k8s/dev/kustomization.yaml",
        ),
    ],
)
def test_kustomizes_errors_stand_at_the_kustomization(said: str, message: str, place: str) -> None:
    error = kustomize(said)
    assert (error.message, str(error.where)) == (message, place)


def test_a_tool_that_says_nothing_is_quoted_as_such() -> None:
    assert kustomize("").message == "kustomize: it ended with an error and said nothing"
