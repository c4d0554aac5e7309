"""Small HTTP requests from eight threads, as a process: python -m benchmarks.http_load HOST PORT SECONDS KEEP."""

import socket
import sys
import threading
import time
from dataclasses import dataclass

THREADS = 8
ANSWER = b"hello\n"


@dataclass(frozen=True, slots=True)
class Figures:
    """What a load saw."""

    per_second: float
    failures: int

    @classmethod
    def read(cls, text: str) -> "Figures":
        per_second, failures = text.split()
        return cls(float(per_second), int(failures))

    def __str__(self) -> str:
        return f"{self.per_second:7.0f} requests/s" + (f" ({self.failures} failed)" if self.failures else "")


def request(*, keep: bool) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: server\r\nConnection: %s\r\n\r\n" % (b"keep-alive" if keep else b"close")


def ask(host: str, port: int) -> None:
    """Ask once, on a new connection."""
    with socket.create_connection((host, port), timeout=15) as connection:
        exchange(connection, keep=False)


def exchange(connection: socket.socket, *, keep: bool) -> None:
    connection.sendall(request(keep=keep))
    answer = b""
    while not answer.endswith(ANSWER):
        if not (data := connection.recv(4096)):
            raise ConnectionResetError("closed before the answer")
        answer += data


def load(host: str, port: int, seconds: float, *, keep: bool) -> Figures:
    """Return what eight threads get done."""
    done, failed = [0] * THREADS, [0] * THREADS
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        connection: socket.socket | None = None
        while time.monotonic() < end:
            try:
                if not keep:
                    ask(host, port)
                else:
                    connection = connection or socket.create_connection((host, port), timeout=15)
                    exchange(connection, keep=True)
                done[number] += 1
            except OSError:
                failed[number] += 1
                connection = None
        if connection:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Figures(sum(done) / seconds, sum(failed))


if __name__ == "__main__":
    figures = load(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), keep=bool(int(sys.argv[4])))
    print(figures.per_second, figures.failures)
