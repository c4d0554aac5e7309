"""A small shop: orders come in at the front, wait in the store, and a worker ships them.

    front ──▶ api ──▶ store ◀── worker          api and worker are built on the image `base`

Edit api/src/*            copied into the running pods of the api
Edit front/www/*          copied into the front end
Edit worker/worker.py     a new image and pod of the worker; nothing else moves
Edit base/shopkit/*       a new base, then api and worker on it
Edit k8s/*.yaml           deployed anew, without a build
"""

import json
from urllib.request import Request, urlopen

from devloop import Image, Service, check, image, project, service, sync

project(name="shop")


@image("base")
def base_image() -> None: ...


@image("api")  # its Dockerfile says FROM base: built on the image above
def api_image() -> None: ...


@image("worker")
def worker_image(pace: float = 0.5) -> dict[str, float]:  # a setting that ends up in the image: --set worker.pace=2
    return {"PACE": pace}


@image("front")
def front_image() -> None: ...


@service("k8s/store.yaml", ports={})  # no image of ours: a manifest alone
def shop_store() -> None: ...


@service("k8s/api.yaml.j2", ports={8001: 80})
def shop_api(api_image: Image, shop_store: Service, replicas: int = 1, currency: str = "EUR") -> dict[str, str]:
    return {"store_url": f"http://{shop_store.host}"}


@service("k8s/worker.yaml.j2")
def shop_worker(worker_image: Image, shop_store: Service) -> dict[str, str]:
    return {"store_url": f"http://{shop_store.host}"}


@service("k8s/front.yaml.j2", ports={8080: 80})  # http://localhost:8080
def shop_front(front_image: Image, shop_api: Service) -> dict[str, str]:
    return {"api_url": f"http://{shop_api.host}"}


@sync("api/src", "/app/src")
def api_code(api_image: Image) -> None: ...


@sync  # without paths: every file that front/Dockerfile copies, to where it copies it
def front_pages(front_image: Image) -> None: ...


@check
def orders_are_taken(shop_api: Service) -> None:
    """Order something, and find it among the orders."""
    order = Request(f"{shop_api.url}/orders", data=b'{"item": "tea", "count": 2}', method="POST")
    with urlopen(order, timeout=5) as answer:
        number = json.load(answer)["number"]
    with urlopen(f"{shop_api.url}/orders", timeout=5) as answer:
        assert number in [each["number"] for each in json.load(answer)["orders"]]
