"""Serves src/app.py over HTTP, always its newest version: no restart, and no request is ever refused.

Before each request the times of the sources are looked at (far below a millisecond); when one differs, the modules are
imported anew. A version that fails to import answers with its traceback until it is mended.
"""

import importlib
import signal
import sys
import threading
import time
import traceback
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

SOURCES = Path(__file__).parent / "src"
PORT = 8000


class Newest:
    """The module `app` as its files say now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._app: ModuleType | None = None

    def app(self) -> ModuleType:
        """Return the module, imported anew if a file changed."""
        with self._lock:
            found = {str(path): path.stat().st_mtime_ns for path in SOURCES.rglob("*.py")}
            if self._app is None or found != self._seen:
                self._app = None
                self._app = self._import()
                self._seen = found
            return self._app

    def _import(self) -> ModuleType:
        started = time.perf_counter()
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(f"{SOURCES}/"):
                del sys.modules[name]
        importlib.invalidate_caches()
        app = importlib.import_module("app")
        print(f"loaded src/app.py in {(time.perf_counter() - started) * 1000:.0f} ms")
        return app


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests with what `app.page(path)` returns."""

    protocol_version = "HTTP/1.1"
    newest = Newest()

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/healthz":
            return self._answer(200, "ok\n", "text/plain")
        try:
            return self._answer(200, self.newest.app().page(self.path), "text/html")
        except Exception:  # noqa: BLE001 - whatever the app does wrong is shown in the browser
            traceback.print_exc()
            return self._answer(500, f"<pre>{escape(traceback.format_exc())}</pre>\n", "text/html")

    def _answer(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log what was asked for, but not the probes."""
        if self.path != "/healthz":
            super().log_request(code, size)


def main() -> None:
    """Serve until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container ignores it otherwise
    sys.path.insert(0, str(SOURCES))
    sys.dont_write_bytecode = True  # a cached .pyc is taken for fresh when two saves fall into one second
    print(f"serving on port {PORT}")
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
