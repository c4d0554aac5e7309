"""File names that are not UTF-8, as text that can be shown, stored and sent, and back again.

Python gives such names with lone surrogates, which no output stream accepts. Each of these bytes becomes one character
of the private range U+EF80 to U+EFFF, which is set aside for exactly this (OPTU-8).
"""

__all__ = ["from_system", "to_system"]

_TO_PRIVATE = {0xDC00 + byte: 0xEF00 + byte for byte in range(0x80, 0x100)}
_FROM_PRIVATE = {private: surrogate for surrogate, private in _TO_PRIVATE.items()}


def from_system(name: str) -> str:
    """Return a name as the operating system's calls give it (`surrogateescape`), fit to be encoded as UTF-8."""
    return name if name.isascii() else name.translate(_TO_PRIVATE)


def to_system(name: str) -> str:
    """Return the name that `from_system` was given."""
    return name if name.isascii() else name.translate(_FROM_PRIVATE)
