"""What the kernel's designs have in common: dirty folios go to home in place, there is no log.

There is nothing to roll back to either: what was written back stays. So these designs have no transactions, and
what a commit or an exception means in them is only when writeback happens.

All I/O to home that can be is direct where the storage has atomic limits, so that the kernel's own page cache has
nothing that its direct writes must drop: whole blocks, which the folio has (it was read in before it was partly
written). Only the file's last, partial block goes through the buffered descriptor, for direct I/O would make the
file longer.

A new design of this kind defines ``name``, ``memory_cost`` and, where it differs from a plain buffered write,

- ``limits``: which writes with RWF_ATOMIC it takes;
- ``track``: what the page cache remembers of a write;
- ``must_write_back_first``: whether a write has to wait until what is dirty is on disk;
- ``dirty_ranges``: which bytes of a dirty folio go out, and which of them alone and whole.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from untorn.designs.base import Design
from untorn.designs.bio import BIO_MAX, Bio, Piece, merged, request_flags, slice_of, whole_blocks
from untorn.pagecache.address_space import AddressSpace
from untorn.pagecache.folio import Folio, Ranges
from untorn.sizes import BLOCK
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, AtomicLimits, Buffer, Storage, StorageFile
from untorn.trace_event import TraceEvent

NOTHING: Final = AtomicLimits()


class InPlace(Design):
    """Base of the designs without a log."""

    after_error: ClassVar[str] = "may be part old and part new on disk, where the writes that failed were to go"
    bio_max: ClassVar[int] = BIO_MAX
    through: ClassVar[bool] = False
    """Whether a write call returns after its I/O."""
    direct: ClassVar[bool] = True
    """Whether it needs direct I/O where the storage has atomic limits."""

    def __init__(self, storage: Storage, home: StorageFile, *, folio_size: int, readonly: bool = False) -> None:
        self._storage = storage
        self._home = home
        self._folio_size = folio_size
        self._device = home.atomic_limits()
        direct = self.direct and (self._device.unit_min or self.through) and not readonly
        self._direct = self._open_direct() if direct else None
        self._size = home.stat().size
        """Home's."""
        self._named = False
        """Whether the file's name, and what others left unsynced in it, is known to be durable."""
        self._unsynced = False
        self._counts = dict.fromkeys(("bios", "atomic_bios", "bytes_to_home", "syncs"), 0)
        self.committed_size = self.allocated_end = self._size

    def _open_direct(self) -> StorageFile:
        direct = self._storage.open(self._home.path, os.O_RDWR | os.O_DIRECT | os.O_NOFOLLOW)
        if direct.stat().inode != self._home.stat().inode:
            direct.close()
            raise FileNotFoundError(errno.ENOENT, "the file was replaced while it was being opened", self._home.path)
        return direct

    # What a design may define

    def limits(self) -> AtomicLimits:
        return NOTHING

    def track(self, pages: AddressSpace, built: dict[int, Folio], start: int, stop: int, *, atomic: bool) -> None:
        """The folios in ``built`` will take the place of the dirty ones: a write of ``[start, stop)`` made them.

        May replace them by others. Before the caller puts them in nothing else may change.
        """

    def must_write_back_first(self, *, atomic: bool) -> bool:
        """Asked when something is dirty or in writeback: whether that has to be on disk before such a write."""
        return False

    def dirty_ranges(self, folio: Folio, ranges: Ranges) -> Iterator[tuple[int, int, bool]]:
        """Start, stop and whether to send it atomically, in order, of what goes out of a dirty folio.

        ``ranges`` are its dirty ones, made of whole blocks where I/O is direct.
        """
        for start, stop in ranges:
            yield start, stop, False

    # Reading

    def read_folio(self, index: int) -> bytes:
        start = index * self._folio_size
        if self._direct is not None:
            data = self._direct.pread(self._folio_size, start)
            if len(data) >= min(self._folio_size, self._size - start):
                return data
        return self._home.read(self._folio_size, start)

    def reserve_growth(self, first: int, last: int, end: int) -> None:
        self._home.check_size(end)

    def truncate(self, size: int) -> None:
        self.changes += 1
        self._home.truncate(size)
        self._size = size
        self.allocated_end = min(self.allocated_end, size)
        self._unsynced = True

    # Writeback

    def write(
        self, folios: Mapping[int, Folio], size: int, size_min: int, *, commit: bool, durable: bool,
        begins: bool = True,
    ) -> Mapping[int, Folio]:  # fmt: skip
        self.changes += 1
        for bio in merged(self._pieces(folios, size), self.bio_max):
            self.submit(bio)
        self.set_size(size)
        return folios

    def set_size(self, size: int) -> None:
        """Home ends where the file ends: what a truncate added has no bytes that a bio would write."""
        if self._size != size:
            self._home.truncate(size)
            self._size = size
            self._unsynced = True

    def _pieces(self, folios: Mapping[int, Folio], size: int) -> Iterator[Piece]:
        for index in sorted(folios):
            folio = folios[index]
            base = index * self._folio_size
            ranges = folio.ranges
            if self._direct is not None:
                ranges = whole_blocks(ranges, min(self._folio_size, size - base))
            for start, stop, atomic in self.dirty_ranges(folio, ranges):
                yield Piece(base + start, slice_of(folio, start, stop), atomic)

    def submit(self, bio: Bio, flags: int = 0) -> None:
        """Writes the bio, with RWF_DSYNC or RWF_SYNC as ``flags`` say."""
        stop = bio.offset + bio.length
        if bio.atomic:
            assert self._direct is not None
            self._send(self._direct, bio.offset, [b"".join(bio.buffers)], flags | RWF_ATOMIC)
        elif self._direct is None:
            self._send(self._home, bio.offset, bio.buffers, flags)
        else:
            data = memoryview(b"".join(bio.buffers))
            whole = bio.length - bio.length % BLOCK
            if whole:
                self._send(self._direct, bio.offset, [data[:whole]], flags)
            if whole < bio.length:
                # A write through the cache has been sent to the device only if it is synced.
                through = RWF_DSYNC if self.through else 0
                self._send(self._home, bio.offset + whole, [data[whole:]], flags | through)
        self._size = max(self._size, stop)
        self._unsynced |= not flags & (RWF_DSYNC | RWF_SYNC)

    def _send(self, file: StorageFile, offset: int, buffers: Sequence[Buffer], flags: int) -> None:
        length = sum(map(len, buffers))
        if self.trace is not None:
            self.trace(TraceEvent("bio", flags=request_flags(flags), offset=offset, length=length, target="home"))
        if flags & RWF_ATOMIC:
            self._counts["atomic_bios"] += 1
            file.check_size(offset + length)  # Linux 6.18 judges the whole write, then trims it to RLIMIT_FSIZE
            if file.pwritev(buffers, offset, flags) != length:
                raise OSError(errno.EIO, "the device took a part of an atomic write", self._home.path)
        else:
            file.write(buffers, offset, flags)
        self._counts["bios"] += 1
        self._counts["bytes_to_home"] += length

    def complete_write(self, written: Any, size: int, *, commit: bool) -> None:
        self.committed_size = size
        self.allocated_end = max(self.allocated_end, size)

    def sync(self) -> None:
        if not self._named:
            self.sync_name()
        elif self._unsynced:
            self._note("fdatasync")
            self._home.fdatasync()
        self._unsynced = False

    def sync_name(self) -> None:
        """Makes durable that there is such a file, and what others left unsynced in it. Once is enough."""
        if not self._named:
            self._note("fsync")
            self._home.fsync()
            self._storage.sync_directory(os.path.dirname(self._home.path))
            self._counts["syncs"] += 1
            self._named = True

    def _note(self, event: str) -> None:
        self._counts["syncs"] += 1
        if self.trace is not None:
            self.trace(TraceEvent(event, target="home"))

    def release(self) -> None:
        if self._direct is not None:
            self._direct.close()

    def stats(self) -> dict[str, int]:
        return dict(self._counts)
