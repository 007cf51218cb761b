"""The log of one file: start, append, sync, checkpoint slot, restart, remove.

One append and one fdatasync make a durable commit: a record is valid if its digests are, so nothing has to
order data before a commit mark.

Definitions. A *record* is one append. The *slot* that counts is the one of the highest *generation*: it says what home
was like and where records begin to be valid. The *mark* is an attribute of home that says that it has a log.

What must be durable before what:

L1. Slot and name before the mark, the mark before the first record (``start``).
L2. Every record before the CHECKPOINT slot, that before the first write to home (``begin_checkpoint``).
L3. Home before the START slot of the next generation, that before the first reused byte (``restart``).
L4. The empty log before the mark goes, its going before the log's name goes (``remove``).

What only rises:

L5. The generation, with each slot; within a generation the sequence, with each record, and ``synced_through``, with
    each sync, never beyond the sequence.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from xxhash import xxh3_64_intdigest

from untorn.errors import UntrustedLogError
from untorn.log.format import (
    EXTENTS_MAX,
    PAYLOAD_MAX,
    SLOTS,
    Extent,
    Identity,
    Record,
    RecordKind,
    Slot,
    SlotKind,
    encode_record,
    encode_slot,
    encode_table,
    payload_start,
    slot_offset,
)
from untorn.log.space import LogSpace
from untorn.sizes import BLOCK, SECTOR
from untorn.storage.interface import NO_SPACE, NO_SYNC, Buffer, Directory, FileStat, Storage, StorageFile

MARK: Final = "user.untorn"
"""Extended attribute of a file whose log is hot; holds the log's file_id."""

SUFFIX: Final = "-untorn"
_SMALL: Final = 1024
NO_ATTRIBUTES: Final = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM)
"""Errors that say that the file system, or what stands before it, has no extended attributes for us."""


def log_path(path: str) -> str:
    """The log's place beside the file at ``path``."""
    return path + SUFFIX


class Log(LogSpace):
    """Appends to the log of ``home``. One thread at a time but for its space; the inode's commit mutex sees to that."""

    def __init__(
        self, storage: Storage, home: StorageFile, folio_size: int, directory: Directory | None = None, *,
        keep_max: int = 0,
    ) -> None:  # fmt: skip
        """``directory``: that of the file, if its owner has it open. ``keep_max``: bytes whose blocks may stay for the
        next generation.
        """
        super().__init__(keep_max)
        self.path = log_path(home.path)
        self.slot: Slot | None = None
        self.sequence = 0
        self.parent = 0
        """Sequence of the record that the next one builds on."""
        self.synced_through = 0
        self.bytes_written = 0
        self.syncs = 0
        folder, self._name = os.path.split(self.path)
        self._directory = directory or Directory(storage, folder)
        self._storage = storage
        self._home = home
        self.left = home.stat()
        """Home as we last read or wrote it: where it differs, another program changed it (I8)."""
        self._folio_size = folio_size
        self._previous = 0
        self._durable = 0
        """Highest generation whose slot is known to be durable."""
        self._slots: set[int] = set()
        """Where slots of ours are that were not zeroed."""

    # Start

    def _create(self) -> StorageFile:
        home = self._home.stat()
        self._remove_unstarted(home)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            file = self._directory.open(self._name, flags, 0o600)
        except FileExistsError as error:
            message = f"another file has taken the place of its log, {self.path!r}; move that away and reopen the file"
            raise UntrustedLogError(message, self._home.shown) from error
        except OSError as error:
            message = f"{error.strerror}: the log cannot be created beside the file, which was not changed"
            raise OSError(error.errno, message, self._home.shown) from error
        file.given_name = self._home.shown  # errors show the name that the caller knows
        try:
            file.set_owner(home.mode, home.uid, home.gid)
        except BaseException:
            file.close()
            with suppress(OSError):  # an empty log harms nobody, but a clean close leaves nothing (I6)
                self._directory.unlink(self._name)
            raise
        return file

    def _remove_unstarted(self, home: FileStat) -> None:
        """Removes the empty log that an interrupt in the middle of ``_create`` left behind."""
        try:
            log = self._directory.stat(self._name)
        except OSError:
            return
        if stat.S_ISREG(log.mode) and not log.size and log.links == 1 and log.uid in (home.uid, self._storage.user()):
            self._directory.unlink(self._name)

    def start(self) -> None:
        """Makes the log findable and the file marked, before there is anything to find (L1)."""
        assert self.slot is None
        assert self.file is not None, "started without reservation"
        identity = Identity.MARK
        try:
            self._home.getxattr(MARK)
        except OSError as error:
            if error.errno not in NO_ATTRIBUTES:
                raise
            identity = Identity.INODE
        file_id = self._storage.random_bytes(16)
        slot = self._new_slot(SlotKind.START, self.left, identity, file_id)._replace(generation=1)
        self.file.write([encode_slot(slot).ljust(BLOCK, b"\0")], 0)
        self.file.fsync()
        self._durable, self._slots = slot.generation, {slot_offset(slot.generation)}
        self._sync_name()
        if identity is Identity.MARK and not self._mark(file_id):
            slot = self._write_slot(slot._replace(identity=Identity.INODE))
        # Also makes home's time durable, by which a foreign edit is noticed.
        self._home.fsync()
        self.syncs += 3
        self._begin(slot)

    def _sync_name(self) -> None:
        """Makes the log's name durable. Where directories cannot be synced no commit could be, and the log goes."""
        try:
            self._directory.sync()
        except OSError as error:
            if error.errno in NO_SYNC:
                with suppress(OSError):
                    self._directory.unlink(self._name)
            raise

    def _mark(self, file_id: bytes) -> bool:
        """Marks home; False if its file system takes no mark, or has no space: no reason to lose what was written."""
        try:
            self._home.setxattr(MARK, file_id)
        except OSError as error:
            if error.errno not in (*NO_SPACE, *NO_ATTRIBUTES):
                raise
            return False
        return True

    def take_over(self, file: StorageFile, slot: Slot, tail: int, sequence: int) -> None:
        """Takes over a found log, durable up to ``sequence``, to checkpoint it; never to append to it.

        ``slot`` says where its records are, also what no slot on disk says yet; what is free begins at ``tail``.
        """
        self.file = file
        self.slot = slot
        self.tail = tail
        self.allocated = file.stat().size
        self.sequence = self.synced_through = sequence
        self._durable = slot.durable

    # Append and sync

    def payload_position(self, extents: int) -> int:
        """Where in the log the payload of the next record will lie, if it has so many extents."""
        return self.tail + payload_start(extents)

    def append(
        self, kind: RecordKind, extents: Sequence[Extent], payload: Sequence[Buffer], size: int, size_min: int
    ) -> None:
        """Appends one record of extents, at ``payload_position``, with their bytes; not durable yet.

        After an OSError the log must not be used again.
        """
        assert self.slot is not None, "appended before start"
        assert self.file is not None
        length = sum(map(len, payload))
        assert len(extents) <= EXTENTS_MAX
        assert length <= PAYLOAD_MAX
        self._assert_order()
        table = encode_table(extents)
        record = Record(
            kind, len(extents), self.slot.salt, self.sequence + 1, self.parent, self._previous,
            self.synced_through, size, size_min, length, xxh3_64_intdigest(table, self.slot.salt),
        )  # fmt: skip
        header, checksum = encode_record(record)
        start = payload_start(len(extents))
        total = record.total_length
        assert self.tail + total <= self.allocated, "appended without reservation"
        buffers = [(header + table).ljust(start, b"\0"), *payload, bytes(total - start - length)]
        if length < _SMALL * len(payload):
            buffers = [b"".join(buffers)]
        if len(self._slots) > 1:
            self._zero_stale_slots()
        self.file.write(buffers, self.tail)
        self.tail += total
        self.bytes_written += total
        self.sequence = self.parent = record.sequence
        self._previous = checksum

    def _assert_order(self) -> None:
        """L5, of the record to come."""
        assert self.parent <= self.sequence, "L5: a record builds on one that comes later"
        assert self.synced_through <= self.sequence, "L5: what is durable was never written"

    def _zero_stale_slots(self) -> None:
        """Damage to the slot that holds must not bring back a generation before it."""
        assert self.file is not None
        assert self.slot is not None
        holds = slot_offset(self.slot.generation)
        for offset in self._slots - {holds}:
            self.file.write([bytes(SECTOR)], offset)
        self._slots = {holds}

    def sync(self) -> None:
        """Makes every record durable. A failure is final: it is never tried again."""
        if self.synced_through < self.sequence:
            assert self.file is not None
            # THE COMMIT POINT of a durable commit. Until this returns a crash leaves the commit or one before it; from
            # then on the commit or a later one.
            self.file.fdatasync()
            self.syncs += 1
            self.synced_through = self.sequence

    # Checkpoint, restart, end

    def begin_checkpoint(self, home: FileStat) -> None:
        """After this, and not before, home may be written (L2); ``home`` is as it was found."""
        slot = self.slot
        assert slot is not None
        self.sync()
        if slot.kind is SlotKind.START:
            slot = slot._replace(kind=SlotKind.CHECKPOINT, home_size=home.size, home_mtime_ns=home.mtime_ns)
        # At a second try home's first size and time stay: those of the first try's writes may not be durable, and
        # a time that a power failure took back would look like a file restored from a backup.
        self._write_slot(slot._replace(synced_through=max(slot.synced_through, self.synced_through)))

    def forget_copy(self, tail: int) -> None:
        """The records are durable in their own places, up to ``tail``: what is behind them is free."""
        assert self.slot is not None
        self._write_slot(self.slot._replace(copy_after=0, copy_start=0, copy_end=0))
        self.tail = tail

    def restart(self, home: FileStat) -> None:
        """Empties the log; ``home`` is durable and as given (L3)."""
        old = self.slot
        assert old is not None
        self.left = home
        self._begin(self._write_slot(self._new_slot(SlotKind.START, home, old.identity, old.file_id)))

    def remove(self) -> None:
        """Takes the log away after a restart: an ordinary file is left and nothing beside it (L4, I6)."""
        if self.file is None:
            return
        if self.slot is not None:
            self._unmark(self.slot)
            self._home.fsync()
            self.syncs += 1
        if self._name_is_ours():
            self._directory.unlink(self._name)
        else:
            self._unlink_where_it_is()
        self._directory.sync()
        self.syncs += 1
        self.close()

    def _unmark(self, slot: Slot) -> None:
        """Takes the mark away: also one that the slot knows nothing of, for without its log it bars the file."""
        try:
            marked = self._home.getxattr(MARK) is not None
        except OSError as error:
            if error.errno not in NO_ATTRIBUTES:
                raise
            return
        if not marked and slot.identity is Identity.INODE:
            return
        if not marked:
            # Gone from the cache, but if the sync of an earlier removal failed, not from the disk. The log of a start
            # that was cut off may have no durable name yet, and without one a mark bars the file.
            self._directory.sync()
            try:
                self._home.setxattr(MARK, slot.file_id)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                return
        self._home.removexattr(MARK)

    def _name_is_ours(self) -> bool:
        """Whether the log's name still is that of our log: another program may have removed or replaced it."""
        assert self.file is not None
        try:
            return self._directory.stat(self._name).inode == self.file.stat().inode
        except FileNotFoundError:
            return False

    def _unlink_where_it_is(self) -> None:
        """Removes the log under the name that it was given meanwhile: set aside, or moved with its directory."""
        assert self.file is not None
        name = self.file.where()
        if name is None or name == self.path:
            return
        with suppress(OSError):
            if self._storage.stat(name).inode == self.file.stat().inode:
                self._storage.unlink(name)
                self._storage.sync_directory(os.path.dirname(name))

    def close(self) -> None:
        """Lets go of the log as it is; the next opener recovers it."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def _begin(self, slot: Slot) -> None:
        self.slot = slot
        self.restarted()
        self.sequence = self.parent = self.synced_through = 0
        self._previous = slot.salt

    def _new_slot(self, kind: SlotKind, home: FileStat, identity: Identity, file_id: bytes) -> Slot:
        salt = int.from_bytes(self._storage.random_bytes(8), "little")
        return Slot(
            kind, identity, self._folio_size, 0, salt, file_id, home.inode, home.birth_ns or 0,
            home.size, home.mtime_ns, synced_through=0,
        )  # fmt: skip

    def _write_slot(self, slot: Slot) -> Slot:
        """Makes it durable, as the next generation; no slot that may be needed until then is written over."""
        assert self.file is not None
        newest = self._durable if self.slot is None else self.slot.generation
        generation = next_generation(self._durable, newest)
        assert self._durable <= newest < generation, "L5: the generation does not rise"
        slot = slot._replace(generation=generation, durable=self._durable)
        self.file.write([encode_slot(slot)], slot_offset(generation))
        self.file.fdatasync()
        self.syncs += 1
        self.slot = slot
        self._durable = generation
        self._slots.add(slot_offset(generation))
        return slot


def next_generation(durable: int, newest: int) -> int:
    """The generation after ``newest``, in a place where no slot is that may be needed.

    Those are all from the one that is known to be ``durable`` to the newest: each recovery that is cut off adds one,
    and the next cannot tell whether it got to the disk. When they take every place the first and the last are spared.
    So a slot that is needed is in flight only in the eighth recovery in a row that is cut off with its slot in doubt,
    and only if of the slots of those between no later one got to the disk.
    """
    taken = {slot_offset(one) for one in range(max(durable, newest - SLOTS, 1), newest + 1)}
    if len(taken) == SLOTS:
        taken = {slot_offset(max(durable, 1)), slot_offset(newest)}
    return next(one for one in range(newest + 1, newest + SLOTS) if slot_offset(one) not in taken)
