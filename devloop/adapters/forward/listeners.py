"""The listening sockets of a forward: on loopback of both families, all of them or none."""

import errno
import socket
import sys
from typing import Final

__all__ = ["PortTakenError", "open_listeners"]

_LOOPBACK: Final = ("127.0.0.1", "::1")
_BACKLOG: Final = 1024
_NO_SUCH_ADDRESS: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class PortTakenError(OSError):
    """Another program listens on the port."""


def open_listeners(port: int, address: str | None) -> list[socket.socket]:
    """Return sockets that listen on a port.

    Args:
        port: The port.
        address: The IP address to listen on; None for 127.0.0.1 and, where there is IPv6, ::1.

    Raises:
        PortTakenError: Another program listens there.
        OSError: The system does not let us.
    """
    opened: list[socket.socket] = []
    try:
        for host in _LOOPBACK if address is None else (address,):
            try:
                opened.append(_listen(host, port))
            except OSError as error:
                if address is None and host != _LOOPBACK[0] and error.errno in _NO_SUCH_ADDRESS:
                    continue  # a machine without IPv6
                if error.errno == errno.EADDRINUSE:
                    raise PortTakenError(error.errno, error.strerror) from error
                raise
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if sys.platform != "linux" and _answers(family, host, port):
        # Elsewhere SO_REUSEADDR would let us take an address away from who listens on all of them.
        raise OSError(errno.EADDRINUSE, "address already in use")
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - its only form
    except OSError:
        listener.close()
        raise
    return listener


def _answers(family: socket.AddressFamily, host: str, port: int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((host, port)) == 0
