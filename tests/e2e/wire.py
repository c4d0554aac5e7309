"""The wires between devloop and what it talks to, which tests can cut."""

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path

__all__ = ["Address", "Wire"]

Address = tuple[str, int] | str
"""A host and a port, or the path of a Unix socket."""


class Wire:
    """A proxy that can be cut: connections end, and new ones are refused.

    Args:
        target: Where it leads to.
        here: Where it is listened on; port 0 stands for any that is free.
    """

    def __init__(self, target: Address, here: Address = ("127.0.0.1", 0)) -> None:
        self._target = target
        self._server: socket.socket | None = _listen(here)
        self.here: Address = self._server.getsockname()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._accept(self._server)

    def cut(self) -> None:
        """End all connections and take no new ones."""
        with self._lock:
            server, self._server = self._server, None
            pairs, self._pairs = self._pairs, []
        if server is not None:
            _reset(server)
        if isinstance(self.here, str):
            Path(self.here).unlink(missing_ok=True)
        for pair in pairs:
            for end in pair:
                _reset(end)

    def mend(self) -> None:
        """Take connections again."""
        server = self._server = _listen(self.here)
        self._accept(server)

    def close(self) -> None:
        """End everything, for good."""
        self.cut()

    def _accept(self, server: socket.socket) -> None:
        threading.Thread(target=self._serve, args=[server], daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            try:
                upstream = _connect(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                if server is not self._server:  # it was cut while this connection was made
                    _reset(client)
                    _reset(upstream)
                    return
                self._pairs.append((client, upstream))
            threading.Thread(target=_pump, args=[client, upstream], daemon=True).start()


def _listen(here: Address) -> socket.socket:
    server = socket.socket(_family(here))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(here)
    server.listen(128)
    return server


def _connect(target: Address) -> socket.socket:
    upstream = socket.socket(_family(target))
    try:
        upstream.connect(target)
    except OSError:
        upstream.close()
        raise
    return upstream


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_UNIX if isinstance(address, str) else socket.AF_INET


def _pump(client: socket.socket, upstream: socket.socket) -> None:
    other = {client: upstream, upstream: client}
    try:
        while True:
            for end in select.select([client, upstream], [], [])[0]:
                data = end.recv(65536)
                if not data:
                    return
                other[end].sendall(data)
    except (OSError, ValueError):
        return
    finally:
        _reset(client)
        _reset(upstream)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
