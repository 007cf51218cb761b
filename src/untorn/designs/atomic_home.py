"""Home where the device itself writes whole: how copy-on-write commits without the log."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from typing import Final

from untorn.designs.atomic_write_rules import refusal
from untorn.designs.bio import request_flags
from untorn.storage.interface import RWF_ATOMIC, AtomicLimits, Storage, StorageFile
from untorn.trace_event import TraceCallback, TraceEvent

_NOT_TAKEN: Final = (errno.EINVAL, errno.EOPNOTSUPP, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT)
"""Errors of an atomic write, without RWF_DSYNC, that was refused before it began."""


class AtomicHome:
    """Atomic writes to home, through a descriptor of its own that is opened when there is one to do."""

    def __init__(self, storage: Storage, home: StorageFile) -> None:
        self.limits = AtomicLimits()
        """Of what the device itself does; where only the file system could, by copying, the log does it better."""
        largest = home.hardware_unit_max()
        if largest:
            self.limits = AtomicLimits(home.atomic_limits().unit_min, largest, 0, 1)
        self.trace: TraceCallback | None = None
        self.moved = False
        """Whether home's time moved since the log last recorded it."""
        self.bios = 0
        self.bytes_written = 0
        self._unsynced: tuple[int, bytes] | None = None
        self._storage = storage
        self._home = home
        self._direct: StorageFile | None = None

    def takes(self, offsets: Sequence[int], lengths: Sequence[int], allocated_end: int) -> bool:
        """Whether these are one range that the device writes whole, below ``allocated_end``: there are blocks."""
        if not offsets or offsets[-1] + lengths[-1] > allocated_end:
            return False
        length = sum(lengths)
        one = offsets[-1] + lengths[-1] - offsets[0] == length
        return one and not refusal(self.limits, offsets[0], [length])

    def prepare(self, stop: int) -> None:
        """Sees that a write up to byte ``stop`` can be made; OSError if not."""
        # Beyond RLIMIT_FSIZE Linux 6.18 takes a part of an atomic write.
        self._home.check_size(stop)
        if self._direct is None:
            direct = self._storage.open(self._home.path, os.O_RDWR | os.O_DIRECT | os.O_NOFOLLOW)
            if direct.stat().inode != self._home.stat().inode:
                direct.close()
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._home.path)
            self._direct = direct

    def write(self, start: int, data: bytes) -> bool:
        """One bio with REQ_ATOMIC, not durable yet; False if it was not taken and nothing but the time changed."""
        assert self._direct is not None, "written before prepare"
        if self.trace is not None:
            flags = request_flags(RWF_ATOMIC)
            self.trace(TraceEvent("bio", flags=flags, offset=start, length=len(data), target="home"))
        self.moved = True
        try:
            written = self._direct.pwritev([data], start, RWF_ATOMIC)
        except OSError as error:
            if error.errno not in _NOT_TAKEN:
                raise
            return False
        if written != len(data):
            raise OSError(errno.EIO, "the device took a part of an atomic write", self._home.path)
        self._unsynced = start, data
        self.bios += 1
        self.bytes_written += written
        return True

    def sync(self) -> int:
        """Makes what was written durable; returns the number of syncs. Never tried again after a failure."""
        if self._unsynced is None:
            return 0
        if self.trace is not None:
            self.trace(TraceEvent("fdatasync", target="home"))
        try:
            self._home.fdatasync()
        except OSError:
            self._write_again(*self._unsynced)
            raise
        self._unsynced = None
        return 1

    def _write_again(self, start: int, data: bytes) -> None:
        """After a failed sync, so that what the next session sees is what its own sync makes durable.

        Else it could see this commit, build on it and then lose it: there is no record from which to write it again,
        as recovery does with all that it takes from a log.
        """
        assert self._direct is not None
        with contextlib.suppress(OSError):
            self._direct.pwritev([data], start, RWF_ATOMIC)

    def close(self) -> None:
        """Lets go of the descriptor."""
        if self._direct is not None:
            self._direct.close()
