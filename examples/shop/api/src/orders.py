"""The shop's API: take an order, tell about orders."""

import os
import time
from typing import Any

from prices import price
from shopkit import store

CURRENCY = os.environ.get("CURRENCY", "EUR")


def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
    """Return the status and the JSON value for a request."""
    match method, path.strip("/"):
        case "GET", "healthz":
            return 200, {"ok": True}
        case "GET", "orders":
            orders = sorted(store.find("order-").values(), key=lambda order: order["number"])
            return 200, {"orders": orders, "shop": "devloop shop"}
        case "POST", "orders":
            return 201, _take(body)
        case _:
            return 404, {"error": f"nothing at {path}"}


def _take(order: dict[str, Any]) -> dict[str, Any]:
    number = time.time_ns() // 1000
    item, count = str(order.get("item", "tea")), int(order.get("count", 1))
    taken = {
        "number": number,
        "item": item,
        "count": count,
        "state": "ordered",
        "total": f"{price(item, count)} {CURRENCY}",
    }
    store.put(f"order-{number}", taken)
    store.push("orders", number)
    return taken
