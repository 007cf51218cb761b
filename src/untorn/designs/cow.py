"""Copy-on-write (Chinner's counter-proposal, our default): commits go to a log, the extent map remembers.

The page cache needs to know nothing, any size at any offset is whole, and mixing is harmless: whatever is
written before a commit lands in that one commit. Where the device itself writes a range whole, REQ_ATOMIC is an
optimisation of that: a durable commit of one such range, while the log is empty, is one atomic write to home.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingType
from itertools import accumulate
from typing import Any, ClassVar, Final

from xxhash import xxh3_64_intdigest

from untorn.designs.base import Design, Savepoint
from untorn.designs.home import AtomicHome
from untorn.errors import CheckpointError, ForeignEditError
from untorn.geometry import BLOCK, SECTOR, round_up
from untorn.log.install import cut_home, install, read_extent
from untorn.log.log import NO_SPACE, Log
from untorn.log.mapping import Mapping
from untorn.log.ondisk import EXTENT_BYTES, SIZE_MAX, Extent, RecordKind
from untorn.log.recovery import Found
from untorn.pagecache.folio import RANGES_MAX, Folio
from untorn.pagecache.observer import Observer, Step
from untorn.storage.api import AtomicLimits, Buffer, FileStat, Storage, StorageFile

EXTENTS_IN_LOG: Final = 1 << 16
"""Extents that wait for a checkpoint before one is made: bounds the map's memory."""

_RECORDS_COST: Final = 3 * (2 * SECTOR + BLOCK)
"""Header and padding of three records: what is dirty may go in two, and an empty one may end the transaction."""

# A NamedTuple's own constructor takes twice as long, and there is one for each page of each commit.
_new_tuple: Final[Any] = tuple.__new__


class CopyOnWrite(Design):
    """Commits to the log, checkpoints to home."""

    name: ClassVar[str] = "cow"
    after_error: ClassVar[str] = "is whole on disk, as of its last commit or of the one that failed"

    def __init__(
        self, storage: Storage, home: StorageFile, *, folio_size: int, log_bytes: int,
        found: Found | None = None,
    ) -> None:  # fmt: skip
        """``found``: a hot log to read through, never to write."""
        self._storage = storage
        self._home = home
        self._info = home.stat()
        self._folio_size = folio_size
        self._folio_cost = folio_size + RANGES_MAX * EXTENT_BYTES
        self._log_bytes = log_bytes
        self._home_synced = False
        self._atomic = AtomicHome(storage, home)
        self._log = Log(storage, home, folio_size)
        self._mapping = Mapping(folio_size, self._info.size)
        self._grown: set[int] = set()
        self._salt = 0
        """Of the generation whose records the map points at; the log may have restarted since."""
        self._changes = 0
        self._home_bytes = 0
        self._checkpoints = 0
        self._home_syncs = 0
        self.committed_size = self._info.size
        self.dense = home.first_hole()
        if found is not None:
            assert found.replay is not None
            assert found.slot is not None
            self._log.file = found.log
            self._mapping = found.replay.mapping
            self._salt = found.slot.salt
            self.committed_size = found.replay.size

    def observe(self, observer: Observer | None) -> None:
        super().observe(observer)
        self._atomic.observer = observer

    # Reading

    def read_folio(self, index: int) -> bytes:
        start = index * self._folio_size
        stop = start + self._folio_size
        extents = self._mapping.folios.get(index, ())
        if len(extents) == 1 and extents[0].start == start and extents[0].stop == stop:
            return bytes(self._fetch(extents[0]))
        stop = min(stop, self._mapping.home_limit)
        if not extents:
            return self._home.read(stop - start, start) if stop > start else b""
        found = bytearray()
        for extent in extents:  # in order; what they cover is not asked of home, which may be half-way through a write
            if (at := start + len(found)) < min(stop, extent.start):
                found += self._home.read(min(stop, extent.start) - at, at)
            found.extend(bytes(extent.start - start - len(found)))
            found += self._fetch(extent)
        if (at := start + len(found)) < stop:
            found += self._home.read(stop - at, at)
        return bytes(found)

    def _fetch(self, extent: Extent) -> Buffer:
        assert self._log.file is not None
        return read_extent(self._log.file, self._salt, extent)

    # Space

    def reserve(self, folios: int) -> None:
        records = folios * self._folio_cost + _RECORDS_COST
        # Home's growth is reserved as blocks of the log, which a checkpoint hands over: home itself
        # is not touched before its checkpoint slot is durable.
        self._log.reserve(records, len(self._grown) * self._folio_size)

    def unreserve(self) -> None:
        self._log.unreserve()

    def still_reserved(self, folios: int) -> bool:
        return self._log.still_reserved(folios * self._folio_cost + _RECORDS_COST, len(self._grown) * self._folio_size)

    def grow(self, first: int, last: int, end: int) -> None:
        if end > self._info.size:
            self._home.check_size(end)
        dense = self.dense // self._folio_size
        self._grown.update(range(max(first, dense), last + 1))

    def limits(self) -> AtomicLimits:
        return AtomicLimits(1, SIZE_MAX, 0, SIZE_MAX)

    def state_bits(self) -> tuple[int, int]:
        return 0, 0

    # Commit

    def write(
        self, folios: MappingType[int, Folio], size: int, size_min: int, *, commit: bool, durable: bool
    ) -> list[Extent] | None:
        """None if the commit is in home already."""
        log = self._log
        self._changes += 1
        offsets, payload = self._dirty_pieces(folios)
        lengths = [len(piece) for piece in payload]
        alone = self._atomic.limits.unit_max and durable and log.sequence == 0 and size_min == size == self._info.size
        if alone and self._atomic.takes(offsets, lengths, self.dense) and self._write_home(offsets[0], payload):
            return None
        self._leave_home()
        log.start(self._info)
        assert log.slot is not None
        salt = log.slot.salt
        digests = [xxh3_64_intdigest(piece, salt) for piece in payload]
        positions = accumulate(lengths, initial=log.payload_position(len(payload)))
        extents = [
            _new_tuple(Extent, (offset, offset + length, offset, length, digest, position))
            for offset, length, digest, position in zip(offsets, lengths, digests, positions, strict=False)
        ]
        if self.observer is not None:
            self.observer(Step("bio", flags="REQ_OP_WRITE", offset=log.tail, length=sum(lengths), target="log"))
        log.append(RecordKind.COMMIT if commit else RecordKind.DATA, extents, payload, size, size_min)
        return extents

    def _dirty_pieces(self, folios: MappingType[int, Folio]) -> tuple[list[int], list[Buffer]]:
        """Offset and bytes of every dirty range, in file order."""
        offsets = []
        payload: list[Buffer] = []
        for index in sorted(folios):
            folio = folios[index]
            data = folio.data
            for start, stop in folio.ranges:
                offsets.append(index * self._folio_size + start)
                payload.append(data if stop - start == len(data) else memoryview(data)[start:stop])
        return offsets, payload

    def land(self, written: list[Extent] | None, size: int, *, commit: bool) -> None:
        if written is None:
            return
        assert self._log.slot is not None
        self._salt = self._log.slot.salt
        self._mapping.insert(written, committed=commit)
        if commit:
            self._mapping.settle()
            self.committed_size = size

    # Commit in home, where the device writes whole what is to change

    def _write_home(self, start: int, payload: list[Buffer]) -> bool:
        """False if it was not taken, and nothing changed. Before the next append comes ``_leave_home``.

        Nothing may be in the log, for recovery would install that over it.
        """
        data = b"".join(payload)
        try:
            self._check_unchanged()
            self._atomic.prepare(start + len(data))
        except (ForeignEditError, OSError):
            return False
        self._sync_home()
        if self._log.slot is not None and not self._atomic.moved:
            # Also puts an end to the slot of the generation before: damage must not bring that back over this write.
            self._log.begin_checkpoint(self._info)
        taken = self._atomic.write(start, data)
        # Its time moved, perhaps also where nothing was taken.
        self._info = self._home.stat()
        return taken

    def _leave_home(self) -> None:
        """Before the next append the slot must know home's time, by which a foreign edit is noticed."""
        if self._atomic.moved:
            if self._log.slot is not None:
                self._home.fsync()
                self._home_syncs += 1
                self._log.restart(self._info)
            self._atomic.moved = False

    def _sync_home(self) -> None:
        """Nothing was committed here, but what is acknowledged may be another's, which was killed before its sync."""
        if not self._home_synced:
            self._home.fsync()
            self._storage.sync_directory(os.path.dirname(self._home.path))
            self._home_syncs += 2
            self._home_synced = True

    def sync(self) -> None:
        # THE COMMIT POINT of a durable commit is the one fdatasync here; of one that only orders, the append before it.
        if self.observer is not None and self._log.synced_through < self._log.sequence:
            self.observer(Step("fdatasync", target="log"))
        self._home_syncs += self._atomic.sync()
        self._log.sync()
        if self._log.slot is None:
            self._sync_home()
        self._home_synced = True

    def savepoint(self) -> Savepoint:
        return Savepoint((self._mapping.mark(), self._log.parent), self._changes)

    def rollback(self, savepoint: Savepoint) -> None:
        mark, self._log.parent = savepoint.state
        self._mapping.rollback(mark)

    def cut(self, size: int) -> None:
        self._changes += 1
        self._mapping.cut(size)
        self.dense = min(self.dense, size)

    # Checkpoint

    def checkpoint_due(self) -> bool:
        return self._log.tail > self._log_bytes or len(self._mapping) > EXTENTS_IN_LOG

    def checkpoint(self, cached: Callable[[int], Folio | None]) -> None:
        assert self._mapping.settled, "a checkpoint would write uncommitted data home"
        log = self._log
        if log.sequence == 0:
            return
        before = self._check_unchanged()
        log.begin_checkpoint(before)

        def fetch(extent: Extent) -> Buffer:
            index = extent.start // self._folio_size
            folio = cached(index)
            if folio is None:
                return self._fetch(extent)
            if extent.stop - extent.start == len(folio.data):
                return folio.data
            base = index * self._folio_size
            return memoryview(folio.data)[extent.start - base : extent.stop - base]

        try:
            cut_home(self._home, self._mapping)
            self._hand_over_space()
            written = install(self._home, self._mapping, self.committed_size, fetch)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._info = self._home.stat()
            raise CheckpointError(
                f"no space to move committed data home ({os.strerror(error.errno)}). Nothing is lost: it is in "
                f"the log {log.path!r}, and opening the file through untorn reads it. Free space, then reopen "
                "the file or run 'untorn recover'",
                self._home.path,
                error.errno,
            ) from error
        self._home_bytes += written
        if self.observer is not None:
            self.observer(Step("checkpoint", length=written, target="home"))
            self.observer(Step("fsync", target="home"))
        # fsync, not fdatasync: home's time must be durable too, for a foreign edit is noticed by it.
        self._home.fsync()
        self._home_syncs += 1
        self._info = self._home.stat()
        log.restart(self._info)
        self._checkpoints += 1

    def finish_checkpoint(self) -> None:
        self._mapping = Mapping(self._folio_size, self._info.size)
        self.dense = self._home.first_hole()
        # What another thread dirtied meanwhile still has to grow.
        self._grown = {index for index in self._grown if (index + 1) * self._folio_size > self.dense}

    def _check_unchanged(self) -> FileStat:
        """Home as untorn left it; ForeignEditError if another program changed or replaced it."""
        home = self._home.stat()
        try:
            named = self._storage.stat(self._home.path)
        except FileNotFoundError:
            named = None
        if named is None or named.inode != home.inode:
            what = "was renamed, removed or replaced"
        elif (home.size, home.mtime_ns) != (self._info.size, self._info.mtime_ns):
            what = "was changed by another program"
        else:
            return home
        raise ForeignEditError(
            f"the file {what} while it was open here; it was not overwritten, and the commits to it are kept in "
            f"{self._log.path!r}. 'untorn recover --force' applies them, '--discard' puts them aside",
            self._home.path,
        )

    def _hand_over_space(self) -> None:
        """Sees that home has the blocks for its growth, before any is written; the log gives them up if need be."""
        for first, last in _runs(sorted(self._grown)):
            start = first * self._folio_size
            stop = min((last + 1) * self._folio_size, round_up(self.committed_size, BLOCK))
            if start >= stop:
                continue
            try:
                self._home.allocate(start, stop - start, keep_size=True)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                self._log.give_back()
                self._home.allocate(start, stop - start, keep_size=True)

    def remove(self) -> None:
        self._log.remove()

    def release(self) -> None:
        self._log.close()
        self._atomic.close()

    def stats(self) -> dict[str, int]:
        return {
            "bytes_to_log": self._log.bytes_written,
            "bytes_to_home": self._home_bytes + self._atomic.bytes_written,
            "atomic_bios": self._atomic.bios,
            "syncs": self._log.syncs + self._home_syncs,
            "checkpoints": self._checkpoints,
            "log_bytes": self._log.tail,
            "extents": len(self._mapping),
        }


def _runs(indices: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive indices."""
    first = previous = None
    for index in indices:
        if previous is not None and index != previous + 1:
            assert first is not None
            yield first, previous
            first = index
        if first is None:
            first = index
        previous = index
    if first is not None and previous is not None:
        yield first, previous
