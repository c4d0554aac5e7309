"""A client of the store: named values, and queues."""

import json
import os
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

URL = os.environ.get("STORE_URL", "http://shop-store")


def put(key: str, value: Any) -> None:
    """Keep a value under a key."""
    _ask("PUT", f"/values/{key}", value)


def get(key: str, default: Any = None) -> Any:
    """Return the value under a key."""
    return _ask("GET", f"/values/{key}", absent=default)


def find(prefix: str) -> dict[str, Any]:
    """Return all values whose keys start with a prefix."""
    return dict(_ask("GET", f"/values/?prefix={prefix}"))


def push(queue: str, value: Any) -> None:
    """Add a value to the end of a queue."""
    _ask("POST", f"/queues/{queue}", value)


def pop(queue: str) -> Any:
    """Take the first value of a queue; None when there is none for a while."""
    return _ask("DELETE", f"/queues/{queue}")


def _ask(method: str, path: str, value: Any = None, absent: Any = None) -> Any:
    """Ask the store, patiently: it may just be starting."""
    for attempt in range(1, 31):
        try:
            request = Request(URL + path, data=None if value is None else json.dumps(value).encode(), method=method)
            with urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code == 404:
                return absent
            raise
        except (URLError, TimeoutError, ConnectionError) as error:
            if attempt == 30:
                raise
            print(f"waiting for the store: {error}")
            time.sleep(1)
    return absent
