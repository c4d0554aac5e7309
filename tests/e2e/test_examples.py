"""`examples/quickstart` and `examples/shop` do what they promise: the issue's "Done when"."""

import json
from collections.abc import Callable
from urllib.request import Request, urlopen

import pytest

from tests.e2e.project import Project
from tests.outside import Cluster, eventually, http

FromExample = Callable[[str], Project]


@pytest.fixture(params=["kubernetes", "engine_alone"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Each example runs in a cluster, and on the engine alone."""
    place: Cluster = request.getfixturevalue(request.param)
    return place


@pytest.fixture
def quickstart(from_example: FromExample) -> Project:
    project = from_example("quickstart")
    project.port = project.ports["8000"]
    return project


@pytest.fixture
def shop(from_example: FromExample) -> Project:
    return from_example("shop")


def test_quickstart_shows_its_page_in_the_forwarded_port(quickstart: Project) -> None:
    loop = quickstart.up()
    page = quickstart.shows(quickstart.url, "Hello, world!")
    assert quickstart.pod()["metadata"]["name"] in page
    assert loop.stop() == 130


def test_editing_the_quickstarts_source_changes_the_page_without_a_new_pod(quickstart: Project) -> None:
    loop = quickstart.up()
    loop.settles()
    before = quickstart.identity()
    quickstart.replace("web/src/page.html", "Served by pod", "Given to you by pod")
    quickstart.shows(quickstart.url, "Given to you by pod")
    quickstart.shows(quickstart.inside("web"), "Given to you by pod")
    quickstart.replace("web/src/app.py", '"world"', '"everybody"')
    quickstart.shows(quickstart.url, "Hello, everybody!")
    assert quickstart.identity() == before


@pytest.mark.parametrize(("path", "line"), [("web/Dockerfile", "ENV ADDED=1"), ("web/requirements.txt", "# nothing")])
def test_editing_the_quickstarts_dockerfile_or_requirements_makes_a_new_pod(
    quickstart: Project, path: str, line: str
) -> None:
    loop = quickstart.up()
    mark = loop.settles()
    before = quickstart.pod()
    file = quickstart.folder / path
    file.write_text(f"{file.read_text().rstrip()}\n{line}\n")
    loop.settles(since=mark)
    after = quickstart.pod()
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert quickstart.image_of(after) != quickstart.image_of(before)
    if path.endswith("requirements.txt"):
        assert "# nothing" in (quickstart.read_in(after, "/app/requirements.txt") or "")


def test_editing_the_quickstarts_manifest_redeploys_without_a_build(quickstart: Project) -> None:
    quickstart.count_builds()
    loop = quickstart.up()
    mark = loop.settles()
    before, builds = quickstart.pod(), quickstart.builds()
    quickstart.replace("k8s/web.yaml.j2", "value: {{ greeting | tojson }}", 'value: "Moin"')
    loop.settles(since=mark)
    quickstart.shows(quickstart.url, "Moin, world!")
    after = quickstart.pod()
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["imageID"] == before["status"]["containerStatuses"][0]["imageID"]
    assert quickstart.builds() == builds == 1


def test_the_shop_takes_orders_and_the_worker_ships_them(shop: Project) -> None:
    shop.up().settles()
    assert order(shop)["total"] == "7.00 EUR"
    eventually(lambda: all(each["state"] == "shipped" for each in orders(shop)), within=60)
    shop.shows(f"http://127.0.0.1:{shop.ports['8080']}/", "shop")


def test_editing_the_shops_base_makes_api_and_worker_anew_and_only_those(shop: Project) -> None:
    loop = shop.up()
    mark = loop.settles()
    before = {app: shop.identity(app) for app in ("shop-api", "shop-worker", "shop-front", "shop-store")}
    shop.write("base/shopkit/__init__.py", '"""Edited."""\n')
    loop.settles(since=mark)
    after = {app: shop.identity(app) for app in before}
    assert {app for app in before if before[app] != after[app]} == {"shop-api", "shop-worker"}
    for app in ("shop-api", "shop-worker"):
        assert shop.read_in(shop.pod(app), "/opt/shop/shopkit/__init__.py") == '"""Edited."""\n'


def test_editing_the_shops_front_page_or_api_source_copies_it_into_the_same_pods(shop: Project) -> None:
    loop = shop.up()
    loop.settles()
    before = {app: shop.identity(app) for app in ("shop-api", "shop-worker", "shop-front", "shop-store")}
    shop.write("front/www/added.html", "a new page\n")
    shop.replace("api/src/prices.py", '"tea": 350', '"tea": 100')
    shop.shows(f"http://127.0.0.1:{shop.ports['8080']}/added.html", "a new page")
    eventually(lambda: order(shop)["total"] == "2.00 EUR", within=60)
    assert {app: shop.identity(app) for app in before} == before


def test_editing_the_shops_worker_moves_nothing_else(shop: Project) -> None:
    loop = shop.up()
    mark = loop.settles()
    others = {app: shop.identity(app) for app in ("shop-api", "shop-front", "shop-store")}
    worker = shop.identity("shop-worker")
    shop.replace("worker/worker.py", "shipped order", "sent order")
    loop.settles(since=mark)
    assert shop.identity("shop-worker") != worker
    assert "sent order" in (shop.read_in(shop.pod("shop-worker"), "/app/worker.py") or "")
    assert {app: shop.identity(app) for app in others} == others


def test_editing_the_shops_manifests_redeploys_without_a_build(shop: Project) -> None:
    shop.count_builds()
    loop = shop.up()
    mark = loop.settles()
    builds, before = shop.builds(), shop.image_of(shop.pod("shop-api"))
    shop.replace("k8s/api.yaml.j2", "value: {{ currency | tojson }}", "value: GBP")
    loop.settles(since=mark)
    assert order(shop)["total"] == "7.00 GBP"
    assert shop.image_of(shop.pod("shop-api")) == before
    assert shop.builds() == builds


def order(shop: Project) -> dict[str, str]:
    url = f"http://127.0.0.1:{shop.ports['8001']}/orders"
    with urlopen(Request(url, data=b'{"item": "tea", "count": 2}', method="POST"), timeout=30) as answer:
        taken: dict[str, str] = json.load(answer)
    return taken


def orders(shop: Project) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(http(f"http://127.0.0.1:{shop.ports['8001']}/orders"))["orders"]
    assert found
    return found
