"""Kubernetes quantities (`500m`, `128Mi`) as numbers."""

import math
import re
from decimal import Decimal
from typing import Final

__all__ = ["divided", "number"]

_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    **{f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", 1)},
}
_QUANTITY: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([numkKMGTPE]?i?)\Z")


def number(quantity: object) -> Decimal | None:
    """Return what a quantity means in its base unit (cores, bytes), or None when it is none."""
    found = _QUANTITY.match(str(quantity).strip())
    if found is None or found[2] not in _SUFFIXES:
        return None
    return Decimal(found[1]) * _SUFFIXES[found[2]]


def divided(quantity: Decimal, divisor: object) -> str:
    """Return a quantity in units of the divisor, rounded up, as the downward API gives it."""
    unit = number(divisor) or Decimal(1)
    return str(math.ceil(quantity / unit))
