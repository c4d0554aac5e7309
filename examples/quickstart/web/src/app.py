"""The page. Save this file while `devloop up` runs, and reload the browser."""

import os
import socket
from pathlib import Path
from string import Template

PAGE = Path(__file__).with_name("page.html")


def page(path: str) -> str:
    """Return the HTML for a path."""
    return Template(PAGE.read_text()).substitute(
        greeting=os.environ.get("GREETING", "Hello"),
        name=path.strip("/") or "world",
        pod=socket.gethostname(),
    )
