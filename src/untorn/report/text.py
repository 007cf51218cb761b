"""Words and figures for people: safe to print, short."""

from __future__ import annotations

from typing import Final

_RAISED: Final = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def power_of_two(exponent: float) -> str:
    """``2¹⁷`` for 17."""
    return "2" + f"{exponent:.0f}".translate(_RAISED)


def printable(text: str) -> str:
    """A message with whatever a terminal would act on escaped; line breaks too."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def size_of(count: int) -> str:
    """Bytes for people."""
    power = min(max(count.bit_length() - 1, 0) // 10, 4)
    unit = ("bytes", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{count / (1 << 10 * power):.1f}".removesuffix(".0") + f" {unit}"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 commit``, ``2 commits``; thousands set apart."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def clipped(text: str, length: int) -> str:
    """The text with its middle left out if it is longer."""
    if len(text) <= length:
        return text
    head = (length - 1) // 3
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"
