"""The reference parser against a real engine, which must accept, refuse and write out in full the same texts."""

import random
import re
import subprocess

import pytest

from devloop.core import reference
from devloop.errors import InputError

pytestmark = pytest.mark.docker

_HEX = "0123456789abcdef" * 4
_PIECES = (
    *("a", "b0", "A", "x.y", "r.io", "localhost", "index.docker.io", "docker.io", "library", "[::1]", "host:5000", "-"),
    *("_", "__", "--", ".", "..", "/", "/", "/", ":", ":", "@", "1", "v1.0", "a" * 127, "g" * 64, "~", "%", "$", "é"),
    *(f"@sha256:{_HEX}", f"@sha512:{_HEX * 2}", f"@sha384:{_HEX}", f"sha256:{_HEX}", _HEX),
)
_LONG = ("a/" * 127 + "a", "a/" * 128 + "a", f"r.io/{'a' * 255}", f"r.io/{'a' * 256}", "a" * 247, "a" * 248, "a" * 255)


def _samples() -> list[str]:
    """Return random texts, without those that the engine's HTTP interface or its short IDs would make others of."""
    source = random.Random(20_260)
    made = ("".join(source.choices(_PIECES, k=source.randint(1, 6))) for _ in range(900))
    return [
        text
        for text in dict.fromkeys((*made, *_LONG))
        if not text.startswith("-")
        and not any(part in ("", ".", "..") for part in text.split("/"))
        and not re.fullmatch(r"(sha256:)?[0-9a-f]+", text)
    ]


def _asked(texts: list[str]) -> list[str]:
    """Return what the engine says of each text."""
    command = ["docker", "image", "inspect", *texts]
    asked = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    return [line for line in asked.splitlines() if line.startswith("Error")]


def test_the_engine_accepts_and_refuses_the_same_references() -> None:
    texts = _samples()
    answers = _asked(texts)
    assert len(answers) == len(texts)
    wrong = [
        (text, answer)
        for text, answer in zip(texts, answers, strict=True)
        if _accepted(text) != ("No such image" in answer)
    ]
    assert wrong == []


def _accepted(text: str) -> bool:
    try:
        reference.parse(text)
    except InputError:
        return False
    return True
