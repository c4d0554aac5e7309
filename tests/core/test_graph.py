"""The graph: arguments become edges, nodes come in order, names are found, and mistakes are told with a way out."""

from itertools import pairwise

import pytest

from devloop.core.graph import Edge, Graph, Node, bind, ordered, suggestion
from devloop.declarations import Declaration, Parameter
from devloop.errors import InputError
from devloop.model import ImageSpec, Kind, NodeId
from tests.core.declaring import asks, at, declared, setting

API = declared("api_image", Kind.IMAGE, line=1)
DB = declared("db", Kind.SERVICE, line=3)
WEB = declared("web", Kind.SERVICE, asks("api_image", Kind.IMAGE), asks("db"), setting("replicas", 1), line=5)


def graph(*declarations: Declaration) -> Graph:
    bindings, errors = bind(declarations)
    assert errors == []
    return Graph.of(
        [
            Node(id=node, declaration=each.declaration, arguments=each.arguments, edges=each.edges)
            for node, each in bindings.items()
        ],
        {},
    )


def mistake(*declarations: Declaration) -> InputError:
    _, errors = bind(declarations)
    (error,) = errors
    return error


# --- binding ---------------------------------------------------------------------------------------------------------


def test_an_argument_is_an_edge_to_the_node_of_that_function() -> None:
    bindings, errors = bind([WEB, API, DB])

    web = bindings[WEB.id]
    assert errors == []
    assert web.arguments == {"api_image": API.id, "db": DB.id}
    assert web.edges == (
        Edge(to=API.id, reason="argument `api_image`", where=at(5)),
        Edge(to=DB.id, reason="argument `db`", where=at(5)),
    )


def test_an_argument_with_a_default_is_a_setting() -> None:
    bindings, _ = bind([WEB, API, DB])

    assert [each.name for each in bindings[WEB.id].settings] == ["replicas"]


def test_an_argument_whose_default_is_a_node_binds_by_reference() -> None:
    web = declared("web", Kind.SERVICE, Parameter(name="img", kind=Kind.IMAGE, node=API.id))

    bindings, errors = bind([API, web])

    assert (errors, bindings[web.id].arguments) == ([], {"img": API.id})


def test_a_custom_builder_is_told_the_reference_to_build_under() -> None:
    builder = declared("tools_image", Kind.IMAGE, asks("ref"), spec=ImageSpec(inputs=("tools",)))

    bindings, errors = bind([builder])

    assert (errors, bindings[builder.id].edges) == ([], ())


def test_an_unknown_name_is_told_with_the_nearest_known_one() -> None:
    error = mistake(API, declared("web", Kind.SERVICE, asks("api_imgae"), line=5))

    assert error == InputError(
        "service `web` asks for `api_imgae`, which nothing defines",
        where=at(5),
        hint="did you mean `api_image` (image, devfile.py:1)?",
    )


def test_a_name_that_resembles_nothing_may_have_been_meant_as_a_setting() -> None:
    error = mistake(API, declared("web", Kind.SERVICE, asks("xyz")))

    assert error.hint == "give it a default to make it a setting, or declared nodes: `api_image`, `web`"


def test_two_nodes_of_one_name_and_kind_are_a_mistake_with_both_places() -> None:
    error = mistake(API, declared("api", Kind.IMAGE, line=9))

    assert (str(error), error.where, error.chain) == ("image `api` is declared twice", at(9), (at(1),))


def test_two_functions_of_one_name_are_a_mistake() -> None:
    error = mistake(declared("api", Kind.IMAGE), declared("api", Kind.SERVICE, line=2))

    assert str(error) == "two nodes are called `api`: image:api and service:api"


def test_a_service_may_be_called_like_an_image() -> None:
    _, errors = bind([declared("api_image", Kind.IMAGE), declared("api", Kind.SERVICE)])

    assert errors == []


def test_an_annotation_of_another_kind_is_a_mistake() -> None:
    error = mistake(API, declared("web", Kind.SERVICE, asks("api_image", Kind.SERVICE), line=5))

    assert error == InputError(
        "service `web` wants `api_image` to be a service, but it is an image",
        where=at(5),
        chain=(at(1),),
        hint="annotate it as `Image`, or ask for a service",
    )


def test_a_node_of_a_devfile_that_is_not_included_cannot_be_bound() -> None:
    error = mistake(declared("web", Kind.SERVICE, Parameter(name="img", node=API.id)))

    assert str(error) == "service `web` binds `img` to image:api, which another devfile declares"
    assert error.hint == "add that devfile's nodes by `include(…)`"


def test_a_cycle_is_drawn_as_a_path_in_the_direction_of_the_arguments() -> None:
    a = declared("a", Kind.SERVICE, asks("b"), line=1)
    b = declared("b", Kind.SERVICE, asks("c"), line=2)
    c = declared("c", Kind.SERVICE, asks("a"), line=3)

    error = mistake(a, b, c)

    path = str(error).removeprefix("these nodes need one another in a circle: ").split(" → ")
    steps = set(pairwise(path))
    assert steps == {("service:a", "service:b"), ("service:b", "service:c"), ("service:c", "service:a")}
    assert {error.where, *error.chain} == {at(1), at(2), at(3)}


def test_a_node_that_needs_itself_is_a_cycle() -> None:
    error = mistake(declared("a", Kind.SERVICE, asks("a")))

    assert str(error) == "these nodes need one another in a circle: service:a → service:a"


def test_all_mistakes_are_told_together() -> None:
    _, errors = bind([WEB, declared("web", Kind.SERVICE, line=9)])

    assert [str(error) for error in errors] == [
        "service `web` is declared twice",
        "service `web` asks for `api_image`, which nothing defines",
        "service `web` asks for `db`, which nothing defines",
    ]


# --- order and names -------------------------------------------------------------------------------------------------


def test_nodes_come_after_those_that_they_need() -> None:
    order = list(graph(WEB, DB, API).nodes)

    assert order.index(WEB.id) > max(order.index(API.id), order.index(DB.id))


def test_the_order_is_the_same_each_time() -> None:
    edges = {NodeId(Kind.IMAGE, name): () for name in "qwertzuiop"}

    assert ordered(edges) == ordered(dict(edges))


def test_dependents_are_those_that_need_a_node_directly() -> None:
    assert graph(API, DB, WEB).dependents(API.id) == (WEB.id,)


@pytest.mark.parametrize("name", ["web", "service:web"])
def test_a_node_is_found_by_its_name_and_by_kind_and_name(name: str) -> None:
    assert graph(API, DB, WEB).find(name) == WEB.id


def test_a_node_is_found_by_the_name_of_its_function() -> None:
    assert graph(API, DB, WEB).find("api_image") == API.id


def test_a_bare_name_means_the_service_first() -> None:
    assert graph(API, declared("api", Kind.SERVICE)).find("api") == NodeId(Kind.SERVICE, "api")
    assert graph(API).find("api") == API.id


def test_a_name_of_several_nodes_must_be_said_with_the_kind() -> None:
    nodes = graph(API, declared("api_task", Kind.TASK))

    with pytest.raises(InputError, match="`api` is the name of several nodes") as raised:
        nodes.find("api")

    assert raised.value.hint == "say which: `image:api`, `task:api`"


def test_an_unknown_node_is_told_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match="there is no node `wbe`") as raised:
        graph(API, DB, WEB).find("wbe")

    assert (raised.value.hint or "").startswith("did you mean `web`? declared nodes: ")


def test_the_closure_holds_what_is_needed_and_the_syncs_that_feed_it() -> None:
    code = declared("api_code", Kind.SYNC, asks("api_image"))
    other, other_code = declared("other_image", Kind.IMAGE), declared("other_code", Kind.SYNC, asks("other_image"))

    narrowed = graph(API, DB, WEB, code, other, other_code).closure([WEB.id])

    assert set(narrowed.nodes) == {API.id, DB.id, WEB.id, code.id}


def test_a_long_list_of_names_is_cut() -> None:
    assert suggestion("x", [f"name-{number:02}" for number in range(20)], "nodes").endswith("`name-11`, …")


def test_where_nothing_is_declared_that_is_said() -> None:
    assert suggestion("x", [], "settings") == "no settings are declared"
