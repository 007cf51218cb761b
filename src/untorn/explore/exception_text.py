"""An exception of somebody's code in words that fit into a story."""

from __future__ import annotations

from typing import Final

from untorn.explore.interpose.bypass_watch import neutral

_LINES: Final = 12
_CHARACTERS: Final = 2000


def message_of(error: BaseException) -> str:
    """What it says, without the name that the explored directory has in this process; not at any length."""
    try:
        text = neutral(str(error))
    except Exception as worse:
        return f"its message cannot be had: {type(worse).__name__}"
    lines = text.splitlines()
    if len(lines) > _LINES:
        text = "\n".join([*lines[:_LINES], f"({len(lines) - _LINES:,} more lines)"])
    if len(text) > _CHARACTERS:
        text = f"{text[:_CHARACTERS]}... ({len(text) - _CHARACTERS:,} more characters)"
    return text
