"""Mode strings and options of ``untorn.open``, checked with the errors of ``builtins.open``."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from untorn.sizes import BLOCK, FOLIO_SIZE, is_folio_size

CommitMode = Literal["flush", "close", "write", "explicit"]
OnDamage = Literal["raise", "apply", "discard"]
DesignName = Literal["cow", "folio-flag", "mapping-flag", "writethrough", "plain"]

BinaryMode = Literal[
    "rb", "br", "wb", "bw", "xb", "bx", "ab", "ba",
    "rb+", "r+b", "+rb", "br+", "b+r", "+br", "wb+", "w+b", "+wb", "bw+", "b+w", "+bw",
    "xb+", "x+b", "+xb", "bx+", "b+x", "+bx", "ab+", "a+b", "+ab", "ba+", "b+a", "+ba",
]  # fmt: skip
TextMode = Literal[
    "r", "w", "x", "a", "rt", "tr", "wt", "tw", "xt", "tx", "at", "ta", "r+", "+r", "w+", "+w", "x+", "+x", "a+", "+a",
    "rt+", "r+t", "+rt", "tr+", "t+r", "+tr", "wt+", "w+t", "+wt", "tw+", "t+w", "+tw",
    "xt+", "x+t", "+xt", "tx+", "t+x", "+tx", "at+", "a+t", "+at", "ta+", "t+a", "+ta",
]  # fmt: skip
"""Every mode of its kind, for type checkers."""

TIMEOUT: Final = 5.0
"""Seconds that one waits for another handle, or for another thread's transaction, unless told otherwise; as sqlite3."""


class Mode(NamedTuple):
    """A mode string taken apart. ``action`` is one of r, w, x, a."""

    action: str
    text: bool
    readable: bool
    writable: bool

    @property
    def binary_name(self) -> str:
        """As io.BufferedIOBase objects show it: ``rb``, ``wb``, ``ab+``..., and ``rb+`` for ``w+b`` too."""
        update = self.readable and self.writable
        return ("r" if update and self.action == "w" else self.action) + ("b+" if update else "b")


def parse_mode(mode: str) -> Mode:
    """Takes a mode string apart; TypeError and ValueError as builtins.open raises them."""
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
    modes = set(mode)
    if modes - set("rwxatb+") or len(mode) > len(modes):
        raise ValueError(f"invalid mode: {mode!r}")
    actions = modes & set("rwxa")
    if "t" in modes and "b" in modes:
        raise ValueError("can't have text and binary mode at once")
    if len(actions) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    (action,) = actions
    update = "+" in modes
    return Mode(action, "b" not in modes, action == "r" or update, action != "r" or update)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a file is to be cached, committed and logged."""

    commit: CommitMode = "flush"
    design: DesignName = "cow"
    folio_size: int = FOLIO_SIZE
    cache_bytes: int = 1 << 26
    checkpoint_bytes: int = 1 << 26
    timeout: float | None = TIMEOUT

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("commit", self.commit, get_args(CommitMode)),
            ("design", self.design, get_args(DesignName)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        if self.design != "cow" and self.commit != "flush":
            raise ValueError(f"design {self.design!r} writes back when it must: commit={self.commit!r} needs 'cow'")
        if not is_folio_size(self.folio_size):
            raise ValueError(f"folio_size must be a power of two from 4096 to 1048576, not {self.folio_size}")
        for name, size in (("cache_bytes", self.cache_bytes), ("checkpoint_bytes", self.checkpoint_bytes)):
            if size < BLOCK:
                raise ValueError(f"{name} must be at least {BLOCK}, not {size}")
        if self.timeout is not None and not 0 <= self.timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"timeout must be None or a number of seconds from 0 on, not {self.timeout!r}")


DEFAULTS: Final = Options()
