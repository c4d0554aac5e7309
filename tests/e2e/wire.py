"""The wire between devloop and the API server, which tests can cut."""

import select
import socket
import threading
from contextlib import suppress

__all__ = ["Wire"]


class Wire:
    """A TCP proxy to the API server that can be cut: connections end, and new ones are refused."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server = self._listen(0)
        self.port = self._server.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._accept()

    def _listen(self, port: int) -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen(128)
        return server

    def cut(self) -> None:
        """End all connections and take no new ones."""
        _reset(self._server)
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)

    def mend(self) -> None:
        """Take connections again."""
        self._server = self._listen(self.port)
        self._accept()

    def close(self) -> None:
        """End everything, for good."""
        self.cut()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=[self._server], daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, upstream))
            threading.Thread(target=_pump, args=[client, upstream], daemon=True).start()


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
