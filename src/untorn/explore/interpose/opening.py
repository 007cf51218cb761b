"""``open`` over explored files: CPython's own, so that each buffer is flushed where CPython flushes it.

The raw file is ``_pyio.FileIO``, CPython's own twin in Python of its ``io.FileIO``, which speaks only through ``os``
and so reaches the explored files. ``open`` is the twin too, with the buffers and text layer in C put under it: modes,
messages and buffer sizes (st_blksize until Python 3.13, 128 KiB since) are those of the Python that runs.
"""

from __future__ import annotations

import _pyio  # type: ignore[import-not-found]  # typeshed leaves it out
import io
import sys
import types
import warnings
import weakref
from typing import Any, Final


class RawFile(_pyio.FileIO):  # type: ignore[misc]
    """An explored file without a buffer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        opened.add(self)

    def __repr__(self) -> str:
        return str(super().__repr__()).replace(f"{type(self).__module__}.RawFile", "_io.FileIO")

    def fileno(self) -> int:
        """The number; numpy, which would hand it to C, is told that there is none and reads and writes in Python."""
        if sys._getframe(1).f_globals.get("__name__", "").startswith("numpy."):
            raise io.UnsupportedOperation("fileno")
        return int(super().fileno())

    def _dealloc_warn(self, source: object) -> None:
        """Called by a buffer that nobody closed."""
        if self._fd >= 0 and self._closefd:
            warnings.warn(f"unclosed file {source!r}", ResourceWarning, stacklevel=2, source=source)

    def abandon(self) -> None:
        """Closed as when the process dies: no buffer above it will be flushed, and its number is not closed."""
        self._fd = -1
        super(_pyio.FileIO, self).close()
        self.__class__ = Abandoned


class Abandoned(RawFile):
    """One whose process is gone."""

    @property
    def closed(self) -> bool:
        """Asked by every buffer above before it does anything."""
        _used.add(self)
        return True


opened: Final[weakref.WeakSet[RawFile]] = weakref.WeakSet()
"""Those that may still be open."""

_AHEAD: Final = 512
"""Bytes that a reader reads ahead. What is read is decided, and a program that stops at the first torn record should
not decide what comes behind it. Of files that are written, too, the buffers are as large as CPython's."""


def _reader(raw: RawFile, buffering: int) -> io.BufferedReader:
    return io.BufferedReader(raw, min(buffering, _AHEAD))


def _text(buffer: Any, *args: Any, **kwargs: Any) -> io.TextIOWrapper:
    text = io.TextIOWrapper(buffer, *args, **kwargs)
    if isinstance(buffer, io.BufferedReader):
        text._CHUNK_SIZE = _AHEAD  # type: ignore[attr-defined]
    return text


_used: Final[weakref.WeakSet[RawFile]] = weakref.WeakSet()


def used_when_abandoned() -> bool:
    """Whether a file that was left open when its process ended was used since the last time that this was asked."""
    found = bool(_used)
    _used.clear()
    return found


_twin: Any = getattr(_pyio.open, "__func__", _pyio.open)  # a staticmethod in some versions

explored_open: Final = types.FunctionType(
    _twin.__code__,
    {
        **vars(_pyio),
        "FileIO": RawFile,
        "BufferedRandom": io.BufferedRandom,
        "BufferedReader": _reader,
        "BufferedWriter": io.BufferedWriter,
        "TextIOWrapper": _text,
        "text_encoding": io.text_encoding,
    },
    "open",
    _twin.__defaults__,
)
"""``builtins.open`` for a path or descriptor that is explored, or whose opener may open one that is."""
