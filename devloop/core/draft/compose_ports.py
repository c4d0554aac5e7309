"""What a Compose service listens on, and the local ports that lead there."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from devloop.core.draft.fields import Fields, plain
from devloop.core.draft.naming import last_part
from devloop.core.draft.objects import Port
from devloop.errors import InputError

__all__ = ["known_ports", "published_ports"]

_KNOWN_PORTS: Final[Mapping[str, tuple[int, ...]]] = {
    "cassandra": (9042,),
    "elasticsearch": (9200,),
    "httpd": (80,),
    "mailhog": (1025, 8025),
    "mailpit": (1025, 8025),
    "mariadb": (3306,),
    "memcached": (11211,),
    "minio": (9000, 9001),
    "mongo": (27017,),
    "mysql": (3306,),
    "nats": (4222,),
    "nginx": (80,),
    "postgres": (5432,),
    "postgis": (5432,),
    "rabbitmq": (5672, 15672),
    "redis": (6379,),
    "valkey": (6379,),
}


def published_ports(fields: Fields) -> tuple[list[Port], dict[int, int]]:
    """Return what a service listens on, and the local ports that lead there."""
    ports: dict[Port, None] = {}
    forwards: dict[int, int] = {}
    raw = fields.raw("ports")
    for number, item in enumerate(raw if isinstance(raw, list) else []):
        mark = fields.mark.at(("ports", number))
        own = Fields(
            item if isinstance(item, dict) else {}, mark, fields.path, fields.notes, f"{fields.name}.ports[{number}]"
        )
        for local, target, protocol in _published(own, item):
            ports.setdefault(Port(target, protocol))
            if protocol == "TCP" and local is not None:
                forwards.setdefault(local, target)
            elif protocol != "TCP":
                own.note(None, "is not forwarded: devloop forwards TCP")
    for text in fields.texts("expose"):
        for target in _range(text.partition("/")[0], fields, "expose"):
            ports.setdefault(Port(target, _protocol(text.partition("/")[2])))
    return list(ports), forwards


def _published(fields: Fields, item: Any) -> Iterator[tuple[int | None, int, str]]:
    if isinstance(item, dict):
        published, target = fields.text("published"), fields.text("target") or ""
        protocol, address = fields.text("protocol") or "tcp", fields.text("host_ip")
        fields.settled("mode", "name", "app_protocol")
        fields.rest()
    else:
        text, _, protocol = plain(item).partition("/")
        rest, _, target = text.rpartition(":")
        address, _, published = rest.rpartition(":")
    if address not in {None, "", "127.0.0.1", "0.0.0.0", "[::]", "[::1]", "::1", "localhost"}:  # noqa: S104 - read, not bound
        fields.note(None, f"is forwarded from this machine only, not from `{address}`")
    targets = list(_range(target, fields, None))
    locals_: list[int | None] = [*_range(published, fields, None)] if published else [*targets]
    for local, each in zip(locals_ if len(locals_) == len(targets) else [*targets], targets, strict=True):
        yield local, each, _protocol(protocol)


def _range(text: str, fields: Fields, key: str | None) -> Iterator[int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise InputError(f"`{text}` is not a port", where=fields.where(key))
    yield from range(int(first), int(last or first) + 1)


def _protocol(text: str) -> str:
    return text.upper() or "TCP"


def known_ports(image: str) -> list[Port]:
    """Return what a well-known image listens on: in Compose its neighbours reach that without a word."""
    return [Port(number) for number in _KNOWN_PORTS.get(last_part(image), ())]
