"""Copy-on-write (Chinner's counter-proposal, our default): commits go to a log, the extent map remembers.

The page cache needs to know nothing, any size at any offset is whole, and mixing is harmless: whatever is
written before a commit lands in that one commit. Where the device itself writes a range whole, REQ_ATOMIC is an
optimisation of that: a durable commit of one such range, while the log is empty, is one atomic write to home.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from untorn.designs.atomic_home import AtomicHome
from untorn.designs.base import Design, Savepoint
from untorn.designs.bio import slice_of
from untorn.designs.dirty_blocks import dirty_blocks, dirty_bytes
from untorn.designs.growth import Growth, hand_over
from untorn.errors import CheckpointError, ForeignEditError
from untorn.log import messages
from untorn.log.checkpoint import cut_home, install, read_extents
from untorn.log.extent_map import ExtentMap
from untorn.log.format import (
    EXTENT_BYTES,
    EXTENTS_MAX,
    PAYLOAD_MAX,
    RECORDS_OFFSET,
    SIZE_MAX,
    Extent,
    RecordKind,
)
from untorn.log.writer import Log
from untorn.pagecache.folio import RANGES_MAX, Folio
from untorn.sizes import BLOCK, SECTOR, round_up
from untorn.storage.interface import NO_SPACE, AtomicLimits, Buffer, FileStat, Storage, StorageFile
from untorn.trace_event import TraceCallback, TraceEvent

EXTENTS_IN_LOG: Final = 1 << 16
"""Extents that wait for a checkpoint before one is made: bounds the map's memory."""

_RECORD_COST: Final = 2 * SECTOR + 2 * BLOCK
"""Header, padding and edge of a record."""

# A NamedTuple's own constructor takes twice as long, and there is one for each page of each commit.
_new_tuple: Final[Any] = tuple.__new__


class WaitingCommits(NamedTuple):
    """The commits of a log that a session before left, as recovery found them."""

    log: StorageFile
    extent_map: ExtentMap
    salt: int
    size: int
    """Of the file, in bytes, as of the last of them."""


class CopyOnWrite(Design):
    """Commits to the log, checkpoints to home."""

    name: ClassVar[str] = "cow"
    after_error: ClassVar[str] = "is whole on disk, as of its last commit or of the one that failed"

    def __init__(
        self, storage: Storage, home: StorageFile, *, folio_size: int, checkpoint_bytes: int,
        waiting: WaitingCommits | None = None,
    ) -> None:  # fmt: skip
        """``waiting``: commits that wait in a log, to read through and never to write."""
        self._storage = storage
        self._home = home
        self._folio_size = folio_size
        # One less than a record has room for: it may get an edge.
        self.dirty_max = min(PAYLOAD_MAX // folio_size, EXTENTS_MAX // RANGES_MAX) - 1
        self._folio_cost = folio_size + RANGES_MAX * EXTENT_BYTES
        self._checkpoint_bytes = checkpoint_bytes
        self._home_synced = False
        self._atomic = AtomicHome(storage, home)
        self._directory = None if waiting else storage.directory(os.path.dirname(home.path))
        self._log = Log(storage, home, folio_size, self._directory, keep_max=checkpoint_bytes)
        self._extent_map = ExtentMap(folio_size, self._log.left.size)
        self._growth = Growth(folio_size)
        self._salt = 0
        """Of the generation whose records the map points at; the log may have restarted since."""
        self._home_bytes = 0
        self._checkpoints = 0
        self._home_syncs = 0
        self.committed_size = self._log.left.size
        self.allocated_end = home.first_hole()
        self._reads_waiting = waiting is not None
        if waiting is not None:
            self._log.file, self._extent_map, self._salt, self.committed_size = waiting

    def set_trace(self, callback: TraceCallback | None) -> None:
        super().set_trace(callback)
        self._atomic.trace = callback

    # Reading

    @property
    def at_home(self) -> bool:
        return self._log.sequence == 0 and not self._reads_waiting

    def read_folio(self, index: int) -> bytes:
        start = index * self._folio_size
        stop = start + self._folio_size
        extents = self._extent_map.folios.get(index, ())
        if len(extents) == 1 and extents[0].start == start and extents[0].stop == stop:
            return bytes(self._fetch(extents)[0])
        stop = min(stop, self._extent_map.home_bytes_valid)
        if not extents:
            return self._home.read(stop - start, start) if stop > start else b""
        found = bytearray()
        # In order; what the extents cover is not asked of home, which may be half-way through a write.
        for extent, piece in zip(extents, self._fetch(extents), strict=True):
            if (at := start + len(found)) < min(stop, extent.start):
                found += self._home.read(min(stop, extent.start) - at, at)
            found.extend(bytes(extent.start - start - len(found)))
            found += piece
        if (at := start + len(found)) < stop:
            found += self._home.read(stop - at, at)
        return bytes(found)

    def _fetch(self, extents: Sequence[Extent]) -> list[Buffer]:
        assert self._log.file is not None
        return read_extents(self._log.file, self._salt, extents)

    # Space

    @property
    def blocks(self) -> int:
        """Bytes from the start for which home has blocks: ``allocated_end``, to the end of its block."""
        return round_up(self.allocated_end, BLOCK)

    def reserve(self, folios: int, records: int) -> None:
        self._log.reserve(self._cost(folios, records), self._growth.bytes)

    def check_limit(self, folios: int) -> None:
        file = self._log.file
        if file is not None and not file.within_limit(self._log.tail + self._cost(folios, 1)):
            message = (
                "the limit of file sizes (RLIMIT_FSIZE, ulimit -f) was lowered and keeps the log from growing; nothing "
                "was changed. Raise it and try again"
            )
            raise OSError(errno.EFBIG, message, self._home.shown)

    def covers(self, folios: int, records: int) -> bool:
        return self._log.covers(self._cost(folios, records), self._growth.bytes)

    def retain_reservation(self, folios: int, records: int) -> None:
        self._log.retain_reservation(self._cost(folios, records), self._growth.bytes)

    def _cost(self, folios: int, records: int) -> int:
        return folios * self._folio_cost + records * _RECORD_COST

    def reserve_growth(self, first: int, last: int, end: int) -> None:
        if end > self._log.left.size:
            self._home.check_size(end)
        self._growth.add(first, last, self.blocks)

    def release_growth(self, indices: Iterable[int]) -> None:
        self._growth.drop(indices, self._extent_map, self.blocks)

    def reclaimable(self) -> bool:
        return self._log.sequence > 0 and self._extent_map.committed

    def assert_space(
        self, dirty: Mapping[int, Folio], asked: range, least: tuple[int, int], most: tuple[int, int]
    ) -> None:
        self._log.assert_space(range(self._cost(*least), self._cost(*most) + 1), self._growth.bytes)
        self._growth.assert_exact(self._extent_map, dirty, asked, self.blocks)

    def limits(self) -> AtomicLimits:
        return AtomicLimits(1, SIZE_MAX, 0, SIZE_MAX)

    def memory_cost(self) -> tuple[int, int]:
        return 0, 0

    # Commit

    def write(
        self, folios: Mapping[int, Folio], size: int, size_min: int, *, commit: bool, durable: bool,
        begins: bool = True,
    ) -> list[Extent] | None:  # fmt: skip
        """None if the commit is in home already."""
        log = self._log
        self.changes += 1
        alone = (
            self._atomic.limits.unit_max and durable and log.sequence == 0 and size_min == size == self._log.left.size
        )
        if alone and self._commit_in_home(folios):
            return None
        self._leave_home()
        offsets, payload = dirty_blocks(folios, self._folio_size, size)
        if begins:  # else the map does not know yet what the pieces before hold of the edge
            self._add_edge(offsets, payload, size)
        lengths = [len(piece) for piece in payload]
        if log.slot is None:
            log.start()
        assert log.slot is not None
        salt = log.slot.salt
        digests = [xxh3_64_intdigest(piece, salt) for piece in payload]
        positions = accumulate(lengths, initial=log.payload_position(len(payload)))
        extents = [
            _new_tuple(Extent, (offset, offset + length, offset, length, digest, position))
            for offset, length, digest, position in zip(offsets, lengths, digests, positions, strict=False)
        ]
        if self.trace is not None:
            self.trace(TraceEvent("bio", flags="REQ_OP_WRITE", offset=log.tail, length=sum(lengths), target="log"))
        log.append(RecordKind.COMMIT if commit else RecordKind.DATA, extents, payload, size, size_min)
        return extents

    def _add_edge(self, offsets: list[int], payload: list[Buffer], size: int) -> None:
        """The block in which home is cut or from which it grows: the kernel zeros the rest of it, so it is in flight.

        Once it is in the log a checkpoint takes it from there.
        """
        limit = self._extent_map.home_bytes_valid
        assert limit <= size, "of home no more counts than the file has"
        if not limit % BLOCK or limit == size == self._log.left.size:
            return
        start = limit - limit % BLOCK
        at = bisect_right(offsets, start)
        if at and offsets[at - 1] + len(payload[at - 1]) > start:
            return
        index = start // self._folio_size
        if any(extent.start <= start < extent.stop for extent in self._extent_map.folios.get(index, ())):
            return
        base = index * self._folio_size
        stop = min(start + BLOCK, size)
        if stop > self.blocks and index not in self._growth:
            # Behind a hole of home. Where there is no space for this block too it is not protected, as in a recovery
            # that finds the disk full.
            if not self._log.reserve_growth(self._folio_size):
                return
            self._growth.add(index, index, self.blocks)
        offsets.insert(at, start)
        payload.insert(at, self.read_folio(index)[start - base : stop - base].ljust(stop - start, b"\0"))

    def complete_write(self, written: list[Extent] | None, size: int, *, commit: bool) -> None:
        if written is None:
            return
        assert self._log.slot is not None
        self._salt = self._log.slot.salt
        self._extent_map.insert(written, committed=commit)
        if commit:
            self._extent_map.commit()
            self._growth.commit()
            self.committed_size = size
            self._assert_home_counts(size)

    def _assert_home_counts(self, size: int) -> None:
        """Z4, of a commit of ``size`` bytes."""
        valid = self._extent_map.home_bytes_valid
        assert self.allocated_end <= valid <= min(size, self._log.left.size), "Z4: more of home counts than there is"

    # Commit in home, where the device writes whole what is to change

    def _commit_in_home(self, folios: Mapping[int, Folio]) -> bool:
        """Whether all that is dirty is one range that the device wrote whole."""
        offsets, payload = dirty_bytes(folios, self._folio_size)
        taken = self._atomic.takes(offsets, [len(piece) for piece in payload], self.allocated_end)
        return taken and self._write_home(offsets[0], payload)

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
            self._log.begin_checkpoint(self._log.left)
        taken = self._atomic.write(start, data)
        # Its time moved, perhaps also where nothing was taken.
        self._log.left = self._home.stat()
        return taken

    def _leave_home(self) -> None:
        """Before the next append the slot must know home's time, by which a foreign edit is noticed."""
        if self._atomic.moved:
            if self._log.slot is not None:
                self._home.fsync()
                self._home_syncs += 1
                self._log.restart(self._log.left)
            self._atomic.moved = False

    def _sync_home(self) -> None:
        """Nothing was committed here, but what is acknowledged may be another's, which was killed before its sync."""
        if not self._home_synced:
            self._home.fsync()
            assert self._directory is not None, "a reader commits nothing"
            self._directory.sync()
            self._home_syncs += 2
            self._home_synced = True

    def sync(self) -> None:
        if self.trace is not None and self._log.synced_through < self._log.sequence:
            self.trace(TraceEvent("fdatasync", target="log"))
        self._home_syncs += self._atomic.sync()
        self._log.sync()
        if self._log.slot is None:
            self._sync_home()
        self._home_synced = True

    def savepoint(self) -> Savepoint:
        return Savepoint((self._extent_map.savepoint(), self._log.parent, self.allocated_end), self.changes)

    def rollback(self, savepoint: Savepoint) -> None:
        mark, self._log.parent, self.allocated_end = savepoint.state
        self._extent_map.rollback(mark)
        if self._growth or savepoint.changes != self.changes:
            self._growth.restore(self._extent_map, self.blocks)

    def truncate(self, size: int) -> None:
        self.changes += 1
        self._growth.truncate(size, self._extent_map, self.blocks)
        self._extent_map.truncate(size)
        self.allocated_end = min(self.allocated_end, size)

    # Checkpoint

    def checkpoint_due(self) -> bool:
        return self._log.tail - RECORDS_OFFSET > self._checkpoint_bytes or len(self._extent_map) > EXTENTS_IN_LOG

    def checkpoint(self, cached: Callable[[int], Folio | None]) -> None:
        assert self._extent_map.committed, "a checkpoint would write uncommitted data home"
        log = self._log
        if log.sequence == 0:
            return
        before = self._check_unchanged()
        log.begin_checkpoint(before)

        def fetch(extents: Sequence[Extent]) -> Sequence[Buffer]:
            index = extents[0].start // self._folio_size
            folio = cached(index)
            if folio is None:
                return self._fetch(extents)
            base = index * self._folio_size
            return [slice_of(folio, extent.start - base, extent.stop - base) for extent in extents]

        try:
            cut_home(self._home, self._extent_map)
            hand_over(self._home, self._log, self._growth.pieces(self._extent_map, self.blocks, self.committed_size))
            written = install(self._home, self._extent_map, self.committed_size, fetch)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._log.left = self._home.stat()
            log.take_back(self._growth.bytes)
            raise CheckpointError(
                f"there is no space to move committed data into the file ({os.strerror(error.errno)}). Nothing is "
                f"lost: the data are in the log {log.path!r}, and whoever opens the file through untorn reads them. "
                "Free space, then reopen the file or run 'untorn recover'",
                self._home.shown,
                error.errno,
            ) from error
        self._home_bytes += written
        if self.trace is not None:
            self.trace(TraceEvent("checkpoint", length=written, target="home"))
            self.trace(TraceEvent("fsync", target="home"))
        # fsync, not fdatasync: home's time must be durable too, for a foreign edit is noticed by it.
        self._home.fsync()
        self._home_syncs += 1
        log.restart(self._home.stat())
        self._checkpoints += 1

    def finish_checkpoint(self) -> None:
        self._extent_map = ExtentMap(self._folio_size, self._log.left.size)
        self.allocated_end = self._home.first_hole()
        self._log.end_hand_over()

    def grow_for(self, dirty: Mapping[int, Folio]) -> None:
        self._growth.restart(dirty, self.blocks)

    def _check_unchanged(self) -> FileStat:
        """Home as untorn left it, whatever its name is now; ForeignEditError if another program changed or removed it.

        Only the descriptor counts: a file that was renamed while it is open here is the same file.
        """
        home = self._home.stat()
        known = self._log.left
        if not home.links:
            raise ForeignEditError(self._removed(), self._home.shown)
        different = messages.differences(known.size, known.mtime_ns, home)
        if different:
            message = messages.edited_while_open(self._home.path, self._log.path, different)
            raise ForeignEditError(message, self._home.shown)
        return home

    def _removed(self) -> str:
        """What to say of a file that has no name any more."""
        try:
            self._storage.stat(self._home.path)
        except OSError:
            what = "the file was removed while it was open here"
        else:
            what = "another file was put in the place of this one while it was open here; that one was not touched"
        log = self._log.file
        return messages.removed(what, None if log is None or not log.stat().links else self._log.path)

    def remove(self) -> None:
        self._log.remove()

    def release(self) -> None:
        self._log.close()
        self._atomic.close()
        if self._directory is not None:
            self._directory.close()

    def stats(self) -> dict[str, int]:
        return {
            "bytes_to_log": self._log.bytes_written,
            "bytes_to_home": self._home_bytes + self._atomic.bytes_written,
            "atomic_bios": self._atomic.bios,
            "syncs": self._log.syncs + self._home_syncs,
            "checkpoints": self._checkpoints,
            "log_bytes": self._log.tail,
            "extents": len(self._extent_map),
        }
