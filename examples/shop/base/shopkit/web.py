"""A small JSON-over-HTTP server that serves the newest version of a module under /app/src."""

import importlib
import json
import signal
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any


class Newest:
    """A module, imported anew whenever a source beside it has changed."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._module: ModuleType | None = None

    def module(self) -> ModuleType:
        """Return the module as its files say now."""
        with self._lock:
            found = {str(path): path.stat().st_mtime_ns for path in self._folder.rglob("*.py")}
            if self._module is None or found != self._seen:
                self._module = None
                for name, module in list(sys.modules.items()):
                    if (getattr(module, "__file__", None) or "").startswith(f"{self._folder}/"):
                        del sys.modules[name]
                importlib.invalidate_caches()
                self._module = importlib.import_module(self._name)
                self._seen = found
                print(f"loaded {self._name}")
            return self._module


def serve(name: str, folder: str = "/app/src", port: int = 8000) -> None:
    """Serve the module's `answer(method, path, body)`, which returns a status and a value to send as JSON."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.path.insert(0, folder)
    newest = Newest(name, Path(folder))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, value = newest.module().answer(self.command, self.path, json.loads(body or b"null"))
            except Exception as error:  # noqa: BLE001 - a broken save is shown, not fatal
                traceback.print_exc()
                status, value = 500, {"error": repr(error)}
            self._send(status, value)

        do_GET = do_POST = _answer  # noqa: N815 - the base class's names

        def _send(self, status: int, value: Any) -> None:
            text = json.dumps(value).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            if self.path != "/healthz":
                print(f"{self.command} {self.path} {code}")

    print(f"serving {name} on port {port}")
    ThreadingHTTPServer(("", port), Handler).serve_forever()
