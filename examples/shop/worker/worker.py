"""Takes orders off the queue and ships them, one after another."""

import os
import signal
import sys
import time

from shopkit import store

PACE = float(os.environ.get("PACE", "0.5"))


def main() -> None:
    """Work until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"worker is ready, one order in {PACE} s")
    while True:
        number = store.pop("orders")
        if number is None:
            continue
        order = store.get(f"order-{number}")
        time.sleep(PACE)
        store.put(f"order-{number}", {**order, "state": "shipped"})
        print(f"shipped order {number}: {order['count']} {order['item']}")


if __name__ == "__main__":
    main()
