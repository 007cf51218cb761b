"""Ways in which a simulated file can break its promise, by the assertion that has to see it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.debate.probe.simulated import KIB, SimulatedScratch
from untorn.crashmodel.machine import failure
from untorn.debate.probe.scratch_file import Scratch, StorageScratch
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, AtomicLimits, Buffer, joined

NOWAIT = 0x08

Rule = Callable[[SimulatedScratch, int, int, int], bool]
"""Whether an atomic write is struck: file, offset, length, flags."""


def taking(rule: Rule) -> type[SimulatedScratch]:
    """Takes atomic writes that it has to refuse."""

    class Taking(SimulatedScratch):
        def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
            if flags & RWF_ATOMIC and rule(self, offset, len(joined(buffers)), flags):
                return self.anyhow(buffers, offset)
            return super().write(buffers, offset, flags)

    return Taking


def refusing(rule: Rule, code: int = errno.EINVAL) -> type[SimulatedScratch]:
    """Refuses atomic writes that it has to take, or with another errno."""

    class Refusing(SimulatedScratch):
        def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
            if flags & RWF_ATOMIC and rule(self, offset, len(joined(buffers)), flags):
                raise failure(code, self._path)
            return super().write(buffers, offset, flags)

    return Refusing


def tearing(rule: Rule, *, honest: bool = False) -> type[SimulatedScratch]:
    """Writes half of an atomic write; says so, or not."""

    class Tearing(SimulatedScratch):
        def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
            data = joined(buffers)
            if flags & RWF_ATOMIC and rule(self, offset, len(data), flags):
                half = self.anyhow([data[: len(data) // 2]], offset)
                return half if honest else len(data)
            return super().write(buffers, offset, flags)

    return Tearing


def half_changing(rule: Rule) -> type[SimulatedScratch]:
    """Refuses rightly, and yet writes a part."""

    class HalfChanging(SimulatedScratch):
        def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
            try:
                return super().write(buffers, offset, flags)
            except OSError:
                if flags & RWF_ATOMIC and rule(self, offset, len(joined(buffers)), flags):
                    self.anyhow([joined(buffers)[:100]], offset)
                raise

    return HalfChanging


def beneath(file: SimulatedScratch, offset: int, length: int) -> tuple[bool, bool]:
    """Whether there is anything but zeros below the first and the second half of a write."""
    under = file.content()[offset : offset + length].ljust(length, b"\0")
    return any(under[: length // 2]), any(under[length // 2 :])


def on_written(file: SimulatedScratch, offset: int, length: int, flags: int) -> bool:
    return all(beneath(file, offset, length))


def on_zeros(file: SimulatedScratch, offset: int, length: int, flags: int) -> bool:
    return offset + length <= file.size() and not any(beneath(file, offset, length))


def on_mixture(file: SimulatedScratch, offset: int, length: int, flags: int) -> bool:
    return offset + length <= file.size() and len(set(beneath(file, offset, length))) == 2


def across_end(file: SimulatedScratch, offset: int, length: int, flags: int) -> bool:
    return offset < file.size() < offset + length


def beyond_end(file: SimulatedScratch, offset: int, length: int, flags: int) -> bool:
    return offset > file.size()


def always(file: SimulatedScratch, offset: int, length: int, flags: int) -> bool:
    return True


class CloneWriter(SimulatedScratch):
    """Shares blocks with its clone even after a write."""

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        if self._clones:
            clone = self._storage.open(f"{self._path}-{self._clones}", os.O_RDWR)
            clone.pwritev(buffers, offset)
            clone.close()
        return super().write(buffers, offset, flags)


class CacheLoser(SimulatedScratch):
    """Drops a dirty page that an atomic write overlaps nothing of."""

    _dirty = False

    def write_cached(self, data: bytes, offset: int) -> None:
        super().write_cached(data, offset)
        self._dirty = True

    @contextmanager
    def stored(self, data: bytes, offset: int) -> Iterator[None]:
        self.write_cached(data, offset)
        yield

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        count = super().write(buffers, offset, flags)
        if self._dirty:
            self._dirty = False
            self.anyhow([bytes(16)], offset - 16)
        return count


class MixingLoser(SimulatedScratch):
    """Forgets a plain write to what was written atomically just before."""

    _last = range(0)

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        length = len(joined(buffers))
        if not flags and offset in self._last:
            self._last = range(0)
            return length
        self._last = range(offset, offset + length) if flags & RWF_ATOMIC else range(0)
        return super().write(buffers, offset, flags)


class ThreadLoser(SimulatedScratch):
    """A thread's write goes to the neighbour's place."""

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        if threading.current_thread() is not threading.main_thread():
            offset = max(0, offset - len(joined(buffers)))
        return super().write(buffers, offset, flags)


class Forgetful(SimulatedScratch):
    """Closed, the last write is gone."""

    def reread(self) -> bytes:
        return super().reread()[:-1] + b"\0"


class Trimming(SimulatedScratch):
    """Linux 6.18: judged first, then trimmed to the limit."""

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        fitting = self._storage._disk.options.size_max - offset
        data = joined(buffers)
        return self.anyhow([data[:fitting]], offset) if fitting < len(data) else super().write(buffers, offset, flags)


class Durably(SimulatedScratch):
    """Linux 6.18 again, and only if it is to be durable."""

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        fitting = self._storage._disk.options.size_max - offset
        data = joined(buffers)
        if fitting < len(data) and flags & RWF_DSYNC:
            return self.anyhow([data[:fitting]], offset)
        return super().write(buffers, offset, flags)


class Appending(SimulatedScratch):
    """Linux 6.18: the place of an append is not judged, and the block that it begins in is lost up to there."""

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        if not flags & RWF_APPEND:
            return super().write(buffers, offset, flags)
        end = self.size()
        start = end - end % (4 * KIB)
        self.anyhow([bytes(end - start)], start)
        return self.anyhow(buffers, end)


class ShortCopy(SimulatedScratch):
    """Copies what memory there is, then fails."""

    def write_faulting(self, length: int, offset: int, flags: int) -> int:
        self.anyhow([b"x" * (length // 2)], offset)
        return super().write_faulting(length, offset, flags)


class ShortCount(SimulatedScratch):
    """Copies what memory there is, and says so."""

    def write_faulting(self, length: int, offset: int, flags: int) -> int:
        return self.anyhow([b"x" * (length // 2)], offset)


class OddMemory(SimulatedScratch):
    """Moves what lies at an odd address by one byte."""

    def pwritev_raw(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        data = joined(buffers)
        return self.pwritev([b"\0" + data[:-1]], offset, flags)


class NoMemory(SimulatedScratch):
    """Refuses it with the wrong errno."""

    def pwritev_raw(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        raise failure(errno.EFAULT, self._path)


class ReadingAnyhow(SimulatedScratch):
    """Ignores the flag of a read."""

    def read_flagged(self, length: int, flags: int) -> bytes:
        return self.pread(length, 0)


class ReadingBadly(SimulatedScratch):
    """Refuses the flag of a read with the wrong errno."""

    def read_flagged(self, length: int, flags: int) -> bytes:
        raise failure(errno.EINVAL, self._path)


class WritingAnyhow(SimulatedScratch):
    """Opened for reading, it writes."""

    def read_only(self) -> Scratch:
        file = self._storage.open(self._path, os.O_RDWR | os.O_DIRECT)
        return StorageScratch(self._storage, file, direct=True, granule=512)


class DirectOnly(SimulatedScratch):
    """A file that takes atomic writes and does not say so."""

    def write(self, buffers: Sequence[Buffer], offset: int, flags: int) -> int:
        return super().write(buffers, offset, flags & ~RWF_ATOMIC)


def claiming(limits: AtomicLimits) -> type[SimulatedScratch]:
    """Claims other limits than it has."""

    class Claiming(SimulatedScratch):
        def limits(self) -> AtomicLimits:
            return limits

    return Claiming


MUTANTS: list[tuple[str, type[SimulatedScratch]]] = [
    ("limits", claiming(AtomicLimits(4 * KIB, 64 * KIB, 0, 2))),
    ("limits", claiming(AtomicLimits(4 * KIB, 64 * KIB, 0, 0))),
    ("limits", claiming(AtomicLimits(4 * KIB, 96 * KIB, 0, 1))),
    ("limits", claiming(AtomicLimits(64 * KIB, 16 * KIB, 0, 1))),
    ("limits", claiming(AtomicLimits(4 * KIB, 64 * KIB, 128 * KIB, 1))),
    ("limits", claiming(AtomicLimits(512, 64 * KIB, 0, 1))),
    ("every-size", tearing(lambda file, offset, length, flags: length == 32 * KIB)),
    ("every-size", tearing(lambda file, offset, length, flags: length == 32 * KIB, honest=True)),
    ("every-size", refusing(lambda file, offset, length, flags: length == 64 * KIB)),
    ("every-size", claiming(AtomicLimits(4 * KIB, 128 * KIB, 0, 1))),
    ("too-small", taking(lambda file, offset, length, flags: length == 2 * KIB)),
    ("too-small", refusing(lambda file, offset, length, flags: length == 2 * KIB, errno.EOPNOTSUPP)),
    ("too-small", half_changing(always)),
    ("too-large", taking(lambda file, offset, length, flags: length == 128 * KIB)),
    ("too-large", half_changing(always)),
    ("odd-size", taking(lambda file, offset, length, flags: length == 12 * KIB)),
    ("odd-size", taking(lambda file, offset, length, flags: length == 64 * KIB + 1)),
    ("odd-size", half_changing(always)),
    ("offset", taking(lambda file, offset, length, flags: offset == 512)),
    ("offset", refusing(lambda file, offset, length, flags: offset == 1, errno.EOPNOTSUPP)),
    ("offset", half_changing(lambda file, offset, length, flags: offset > length)),
    ("two-buffers", taking(always)),
    ("memory", OddMemory),
    ("memory", NoMemory),
    ("fault", ShortCopy),
    ("fault", ShortCount),
    ("nothing", refusing(lambda file, offset, length, flags: not length)),
    ("unknown-flag", taking(lambda file, offset, length, flags: flags > 1 << 20)),
    ("unknown-flag", refusing(lambda file, offset, length, flags: flags > 1 << 20)),
    ("read", ReadingAnyhow),
    ("read", ReadingBadly),
    ("read-only", WritingAnyhow),
    ("durable", refusing(lambda file, offset, length, flags: bool(flags & RWF_DSYNC), errno.EOPNOTSUPP)),
    ("nowait", tearing(lambda file, offset, length, flags: bool(flags & NOWAIT), honest=True)),
    ("nowait", refusing(lambda file, offset, length, flags: bool(flags & NOWAIT))),
    ("written", tearing(on_written)),
    ("written", refusing(on_written)),
    ("hole", tearing(on_zeros)),
    ("hole", refusing(on_zeros, errno.EAGAIN)),
    ("unwritten", tearing(on_zeros)),
    ("mixed", tearing(on_mixture)),
    ("end", tearing(across_end)),
    ("end", refusing(beyond_end)),
    ("shared", CloneWriter),
    ("shared", tearing(on_written)),
    ("dirty-cache", CacheLoser),
    ("mapping", CacheLoser),
    ("mapping", refusing(always)),
    ("random", MixingLoser),
    ("random", tearing(on_mixture)),
    ("parallel", ThreadLoser),
    ("reopened", Forgetful),
    ("size-limit", Trimming),
    ("size-limit", Durably),
    ("append", Appending),
    ("append-place", Appending),
]
"""By the assertion that has to see it. The one without limits is ``DirectOnly``."""
