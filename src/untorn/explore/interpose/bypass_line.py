"""Finds the line that goes past the interposer: the same run once more, with a look at the link after every line."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from untorn.explore.interpose import bypass_watch

_CURES: Final = {
    "ctypes": "do it with open() and os",
    "cffi": "do it with open() and os",
    "dbm": "dbm.dumb is in Python and can be explored",
    "h5py": "h5py.File(open(path, 'r+b'), 'r+') takes a file object",
    "lmdb": "it maps its files into memory, so nothing of it can be explored",
    "netCDF4": "netCDF4.Dataset(name, memory=open(path, 'rb').read()) takes bytes",
    "numpy": "numpy.frombuffer(file.read()) and file.write(array.tobytes()) go through the file object",
    "pyarrow": "its readers and writers take a file object: open(path, 'wb')",
    "safetensors": "safetensors.torch.save and load take and give bytes",
    "sqlite3": "it opens its files in C, so nothing of it can be explored",
    "tables": "tables.open_file(name, driver='H5FD_CORE') takes bytes",
    "torch": "torch.save and torch.load take a file object",
}
"""What to do instead, by library."""
_CURE: Final = "hand it a file object, open(path, 'rb')"
_LIBRARIES: Final = tuple(
    {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_OURS: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")

_wanted = False


@contextmanager
def pinpointing() -> Iterator[None]:
    """Interposers that are entered in here find the line, slowly."""
    global _wanted  # noqa: PLW0603
    _wanted = True
    try:
        yield
    finally:
        _wanted = False


def is_pinpointing() -> bool:
    return _wanted


class Pinpoint:
    """Looks after each line of all Python code that runs; ``words`` says which it was."""

    def __init__(self) -> None:
        self.words = ""
        self._before: Any = None
        self._line: tuple[Any, int] = (None, 0)
        """The last line that began, or that a function has returned to."""

    def start(self) -> None:
        self._before = sys.gettrace()
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def stop(self) -> None:
        sys.settrace(self._before)
        threading.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Called before each line and after each function: the line before is done then."""
        if self.words:
            return None
        if bypass_watch.was_touched():
            self.words = _told(frame, self._line)
            return None
        at = frame.f_back if event == "return" and frame.f_back is not None else frame
        self._line = at.f_code, at.f_lineno
        return self._trace


def _told(frame: FrameType, line: tuple[Any, int]) -> str:
    """Which library was at work, from where in the program, and what to do."""
    if line[0] is not frame.f_code and frame.f_back is not None and frame.f_back.f_code is line[0]:
        frame = frame.f_back
    number = line[1] if line[0] is frame.f_code else frame.f_lineno
    text = linecache.getline(frame.f_code.co_filename, number).strip()
    library = _library(frame) or _named(frame, text)
    at, place = frame, f"{os.path.basename(frame.f_code.co_filename)}:{number} in {frame.f_code.co_name}: {text}"
    while at.f_code.co_filename.startswith(_LIBRARIES) and at.f_back is not None:
        at = at.f_back
        if not at.f_code.co_filename.startswith((*_LIBRARIES, _OURS)):
            text = linecache.getline(at.f_code.co_filename, at.f_lineno).strip()
            place = f"{os.path.basename(at.f_code.co_filename)}:{at.f_lineno} in {at.f_code.co_name}: {text}"
    who = library or "code in C, or a function of os kept where the explorer does not look,"
    return f"{who} reached below the explored directory past the explorer ({place}); {_CURES.get(library, _CURE)}"


def _library(frame: FrameType) -> str:
    """The library whose Python code made the call, if it was not the program itself."""
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return name if frame.f_code.co_filename.startswith(_LIBRARIES) and name in _CURES else ""


def _named(frame: FrameType, text: str) -> str:
    """The library of something that the line names."""
    for name in frame.f_code.co_names:
        if name in text:
            found = frame.f_locals.get(name, frame.f_globals.get(name))
            title = getattr(found, "__module__", None) or getattr(found, "__name__", "") or type(found).__module__
            library = str(title).partition(".")[0]
            if library in _CURES:
                return library
    return ""
