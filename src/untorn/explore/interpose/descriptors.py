"""Numbers for explored files that no real file has, and the open files behind them.

Each number is held by a real descriptor that nothing can be done with: O_PATH, of a socket that is closed. C code
that is handed the number gets EBADF from read, write, fsync and lseek, and ENXIO from opening /proc/self/fd/N.
"""

from __future__ import annotations

import errno
import os
import posix
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from untorn.crashmodel.file import SimulatedFile

_real_close: Final = posix.close
_real_dup: Final = posix.dup
_real_fstat: Final = posix.fstat

_QUARANTINE: Final = 64
"""Numbers that a program left open stay held this long: it may still close them, and must not close a stranger's."""

_quarantine: deque[int] = deque()


_vessel: tuple[int, os.stat_result] | None = None
"""What all numbers are duplicates of, and how it is known again."""


def _hollow() -> int:
    global _vessel  # noqa: PLW0603
    if _vessel is None or not _is(_vessel[0], _vessel[1]):  # a program may have closed what it does not know
        with socket.socket(socket.AF_UNIX) as made:
            number = os.open(f"/proc/self/fd/{made.fileno()}", os.O_PATH | os.O_CLOEXEC)
        _vessel = number, _real_fstat(number)
    return _vessel[0]


def _is(number: int, known: os.stat_result) -> bool:
    try:
        return os.path.samestat(_real_fstat(number), known)
    except OSError:
        return False


@dataclass(eq=False, slots=True)
class Description:
    """An open file description as in open(2): what descriptors that are duplicates share."""

    file: SimulatedFile
    path: str
    """As it was opened."""
    flags: int
    inode: int
    position: int = 0
    descriptors: int = 0

    @property
    def place(self) -> str:
        """The path; of a directory where it is now, for names relative to it."""
        return self.file.place


class Descriptors:
    """The explored files that are open, by number."""

    def __init__(self) -> None:
        self._open: dict[int, Description] = {}

    def __contains__(self, number: object) -> bool:
        return number in self._open

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._open))

    def __getitem__(self, number: int) -> Description:
        found = self._open.get(number)
        if found is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return found

    def add(self, description: Description) -> int:
        """The lowest free number, for this description."""
        number = _real_dup(_hollow())
        description.descriptors += 1
        self._open[number] = description
        return number

    def remove(self, number: int) -> Description | None:
        """Frees the number; the description if that was its last."""
        description = self[number]
        del self._open[number]
        _real_close(number)
        description.descriptors -= 1
        return None if description.descriptors else description

    def check(self) -> list[int]:
        """The numbers that somebody closed behind our back, so that a real file may have them now."""
        return [number for number in self._open if _vessel is None or not _is(number, _vessel[1])]

    def abandon(self) -> None:
        """Forgets all, closing no explored file."""
        lost = self.check()
        for number in self._open:
            if number not in lost:
                _quarantine.append(number)
        while len(_quarantine) > _QUARANTINE:
            _real_close(_quarantine.popleft())
        self._open.clear()
