"""Importing httpx without its command line.

Where click and rich are installed, `import httpx` brings in the `httpx` command too: rich, pygments and click, 150 ms
that nobody needs here. httpx does without when click cannot be imported, so for that moment it cannot.
"""

import sys

__all__ = ["import_httpx"]


def import_httpx() -> None:
    """Import httpx, unless it is there already."""
    if "httpx" in sys.modules:
        return
    known = sys.modules.get("click")
    sys.modules["click"] = None  # type: ignore[assignment] # what Python takes for "cannot be imported"
    try:
        import httpx  # noqa: F401 - for those who import it next
    finally:
        if known is None:
            del sys.modules["click"]
        else:
            sys.modules["click"] = known
