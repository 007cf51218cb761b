"""Every line of defence of the library, left out or altered one at a time, and what catches that.

A checker that does not see them is worth nothing; a line whose absence nothing shows is a missing trace or needless.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple
from unittest import mock

from tests.defects import plants, unchecked
from tests.defects.plants import Plant, no_restart, no_sync
from tests.defects.unchecked import no_truncate
from untorn.log.format import SlotKind


class Defect(NamedTuple):
    """One defect."""

    plant: Plant
    line: str
    """Which line of defence it takes away, and where that stands."""
    target: str = ""
    """The built-in target whose exploration catches it; empty if none does."""
    caught_by_test: str = ""
    """Why no crash shows it, and the test that does."""


@contextmanager
def with_defect(defect: Defect) -> Iterator[None]:
    """The library has the defect in the block."""
    with ExitStack() as undo:
        defect.plant(lambda owner, name, value: undo.enter_context(mock.patch.object(owner, name, value)))
        yield


_DAMAGE: Final = "damage, not a crash: "
_IN_PLACE: Final = "in place, atomic writes"
_CALLS: Final = "an I/O error, not a crash: tests/crash/test_every_call_fails.py"

DEFECTS: Final[dict[str, Defect]] = {
    # Syncs of the log
    "the log is not synced": Defect(plants.log_not_synced, "Log.sync", "commits"),
    "no fdatasync at all": Defect(plants.no_fdatasync, "every fdatasync", "commits"),
    "the new log is not synced": Defect(no_sync("fsync", "start", "log"), "Log.start: before the mark", "commits"),
    "no fsync of the log at all": Defect(plants.no_fsync("log"), "every fsync of the log", "commits"),
    "the log is not synced before a checkpoint": Defect(
        plants.log_not_synced_before_checkpoint, "Log.begin_checkpoint: before the slot", "orders"),
    "the checkpoint slot is not synced": Defect(
        plants.slot_not_synced(SlotKind.CHECKPOINT), "Log._write_slot: before home", "sessions"),
    "the restart slot is not synced": Defect(
        plants.slot_not_synced(SlotKind.START), "Log._write_slot: before the first reused byte", "restarts"),
    "recovery does not sync its copy": Defect(
        no_sync("fdatasync", "settle"), "unproved.settle: before the slot", "kills"),
    # Syncs of home
    "home is not synced": Defect(plants.no_fsync("home"), "every fsync of home", "commits"),
    "home is not synced at the start": Defect(
        no_sync("fsync", "start", "home"), "Log.start: the mark and home's time", "kills"),
    "home is not synced at a checkpoint": Defect(
        no_sync("fsync", "checkpoint"), "CopyOnWrite.checkpoint: before the restart", "commits"),
    "home's time is not synced at a checkpoint": Defect(
        plants.home_time_not_synced, "CopyOnWrite.checkpoint: fsync, not fdatasync", "restarts"),
    "recovery does not sync home": Defect(no_sync("fsync", "recover"), "recovery.recover: before the restart", "kills"),
    "the end of the mark is not synced": Defect(
        no_sync("fsync", "remove"), "Log.remove: before the unlink", "commits"),
    "the end of a given-up mark is not synced": Defect(
        no_sync("fsync", "_remove_mark"), "recovery._remove_mark", "discards"),
    "another program's work is not synced": Defect(
        no_sync("fsync", "_sync_home"), "CopyOnWrite._sync_home: content", "takes over"),
    # Syncs of names
    "the directory is not synced": Defect(plants.no_directory_sync, "every sync of a directory", "commits"),
    "the log's name is not synced": Defect(
        no_sync("sync_directory", "_sync_name"), "Log.start: before the mark", "commits"),
    "another program's name is not synced": Defect(
        no_sync("sync_directory", "_sync_home"), "CopyOnWrite._sync_home: name", "takes over a new file"),
    "the unlink is not synced": Defect(no_sync("sync_directory", "remove"), "Log.remove: after the unlink", "closes"),
    "the unlink of a blank log is not synced": Defect(
        no_sync("sync_directory", "_detach"), "recovery._detach", "closes"),
    "setting aside is not synced": Defect(
        no_sync("sync_directory", "quarantine"), "recovery.quarantine", "discards, no attributes"),
    "the name is not synced before a mark is set again": Defect(
        no_sync("sync_directory", "_unmark"), "Log._unmark", "fails"),
    # Digests and the chain
    "digests are not checked": Defect(unchecked.digests_unchecked, "scan._entry: table and payload", "commits"),
    "the payload's digests are not checked": Defect(unchecked.payload_unchecked, "scan._entry: payload", "commits"),
    "the table's digest is not checked": Defect(
        unchecked.table_unchecked, "scan._entry: table", "",
        _DAMAGE + "a torn table breaks its rules, or its extents' digests, which are seeded with the salt, fail; only "
        "the offsets are protected by this digest alone: tests/explore/selftest/test_library_damage.py"),
    "the header's checksum is not checked": Defect(
        unchecked.header_unchecked, "format.decode_record", "",
        _DAMAGE + "a header is one sector, which no crash tears: tests/log/test_recovery_pictures.py (!h)"),
    "the slot's checksum is not checked": Defect(
        unchecked.slot_unchecked, "format.decode_slot", "",
        _DAMAGE + "a slot is one sector, which no crash tears: tests/log/test_recovery_pictures.py (slots damaged)"),
    "an extent's digest is not checked when it is read": Defect(
        unchecked.extent_unchecked, "checkpoint._proved", "",
        _DAMAGE + "what is read was proved when it was found: tests/explore/selftest/test_library_damage.py"),
    "the chain of headers is not checked": Defect(
        unchecked.chain_ignored, "scan._entry: previous", "",
        _DAMAGE + "within a generation no log byte is written twice, and salt and sequence bind a record to its place: "
        "tests/log/test_recovery_pictures.py (!c)"),
    "a record's parent is not checked": Defect(
        unchecked.parent_ignored, "scan.Replay.accepts", "",
        _DAMAGE + "the writer names no other parent: tests/log/test_recovery_pictures.py"),
    "rolled-back spills are applied": Defect(unchecked.rolled_back_applied, "scan.Replay.add: parent", "spills"),
    "a spill commits": Defect(unchecked.spill_commits, "RecordKind.DATA", "spills"),
    "a record says too soon that it is durable": Defect(
        unchecked.durable_too_soon, "Log.append: synced_through", "commits"),
    "synced_through is never said": Defect(
        unchecked.durable_never, "Log.append, Log._write_slot: synced_through", "",
        _DAMAGE + "it only tells damage from a torn tail: "
        "tests/log/test_recovery_pictures.py (damaged in a checkpoint)"),
    "size_min is ignored": Defect(unchecked.smallest_size_ignored, "scan.Replay: size_min", "truncates"),
    "what was cut stays in home": Defect(unchecked.home_not_cut, "ExtentMap.truncate: home_bytes_valid", "truncates"),
    "records are padded to 512 bytes": Defect(
        unchecked.padded_to_sectors, "Record.total_length", "commits, garbage of 4096"),
    # What a device may turn to garbage
    "sectors of 512 bytes are logged, where the device has 4096": Defect(
        unchecked.sectors_logged, "dirty_blocks.dirty_blocks", "sessions, garbage of 4096"),
    "the block where home is cut is not logged": Defect(
        unchecked.edge_not_logged, "CopyOnWrite._add_edge", "truncates, garbage"),
    # Restart and checkpoint
    "the salt stays": Defect(plants.salt_kept, "Log._new_slot: salt", "restarts"),
    "the log restarts before home is durable": Defect(
        plants.restarted_before_home_is_durable, "CopyOnWrite.checkpoint: order", "commits"),
    "no restart before a close unlinks the log": Defect(no_restart("close"), "Log.restart, then remove", "sessions"),
    "no restart before recovery unlinks the log": Defect(no_restart("recover"), "Log.restart, then remove", "kills"),
    "an empty log is not restarted before recovery unlinks it": Defect(
        plants.empty_log_not_restarted, "recovery.recover: the first slot alone may be durable", "fails"),
    "one slot is written over": Defect(plants.one_slot, "format.slot_offset", "restarts, garbage"),
    "two slots alternate": Defect(plants.two_slots, "writer.next_generation", "fails again, garbage"),
    "the stale slot stays": Defect(
        plants.stale_slot_stays, "Log.append: zeros over the slot of the generation before", "",
        _DAMAGE + "a slot with a higher generation holds: tests/explore/selftest/test_library_damage.py"),
    "no slot before a checkpoint": Defect(plants.checkpoint_not_announced, "Log.begin_checkpoint: slot", "sessions"),
    "no sync and no slot before a checkpoint": Defect(
        plants.checkpoint_not_logged_first, "Log.begin_checkpoint", "rewrites"),
    "a second try records home's time anew": Defect(plants.time_recorded_anew, "Log.begin_checkpoint: time", "deaths"),
    "the log is cut below its tail": Defect(plants.log_cut_short, "LogSpace._cut: not below the tail", "gives back"),
    # Recovery
    "recovery does not copy what it cannot prove": Defect(
        unchecked.doubtful_not_copied, "unproved.settle: cached bytes are not trusted", "fails"),
    "recovery writes over what it cannot prove": Defect(
        unchecked.doubtful_written_over, "unproved.settle: a copy", "kills, garbage"),
    "the slot does not name the copy": Defect(
        unchecked.copy_not_named, "recovery.recover: copy_after, copy_start, copy_end", "fails"),
    "what is put back is not synced": Defect(
        no_sync("fdatasync", "put_back"), "unproved.put_back: before the slot", "crowded, garbage"),
    "the copy is given up before it is put back": Defect(
        unchecked.copy_forgotten_first, "recovery._bring_home: order", "crowded, garbage"),
    "recovery does not set the log's size again": Defect(no_truncate("settle"), "unproved.settle: size", "fails"),
    "recovery does not cut anew": Defect(no_truncate("recover"), "recovery.recover: cut again", "fails in a cut"),
    # The mark
    "the file is not marked": Defect(plants.never_marked, "Log._mark", "commits"),
    "the mark stays": Defect(plants.mark_left, "Log._unmark", "commits"),
    "the mark comes before the log": Defect(plants.marked_before_the_log_is_durable, "Log.start: order", "commits"),
    "the mark goes after the log": Defect(plants.unmarked_after_the_log_went, "Log.remove: order", "commits"),
    "a mark is removed from the cache once": Defect(plants.unmarked_once, "Log._unmark: set again", "fails again"),
    "the mark is not looked at": Defect(plants.mark_ignored, "recovery._read_mark", "commits"),
    # Commits in home
    "a commit in home is not atomic": Defect(plants.torn_in_place, "AtomicHome.write: RWF_ATOMIC", _IN_PLACE),
    "a commit in home is not synced": Defect(no_sync("fdatasync", "sync", "home"), "AtomicHome.sync", _IN_PLACE),
    "a commit in home is not announced": Defect(
        plants.not_announced_in_place, "CopyOnWrite._write_home: checkpoint slot", "",
        _DAMAGE + "the slot before it holds no records: tests/explore/selftest/test_library_damage.py"),
    "home is not synced after commits in home": Defect(
        no_sync("fsync", "_leave_home"), "CopyOnWrite._leave_home: home's time", _IN_PLACE),
    "no restart after commits in home": Defect(
        no_restart("_leave_home"), "CopyOnWrite._leave_home: the slot knows home's time", _IN_PLACE),
    # Other programs
    "home's time is taken at the first commit": Defect(
        plants.time_of_first_commit, "Log.start: home as it was opened", "edited early"),
    "an edit is overlooked at open": Defect(plants.edit_overlooked_at_open, "recovery._edited", "edited hot"),
    "an edit is overlooked at checkpoint": Defect(
        plants.edit_overlooked_at_checkpoint, "CopyOnWrite._check_unchanged", "edited open"),
    # Errors
    "a failed handle goes on": Defect(plants.failed_handle_goes_on, "Inode._poison", "", _CALLS),
    "a failed sync is tried again": Defect(plants.sync_tried_again, "Log.sync: once", "", _CALLS),
    "a failed commit passes for one": Defect(plants.failed_commit_ignored, "CopyOnWrite.sync", "", _CALLS),
    "a short write passes for a whole one": Defect(plants.short_write_taken_for_whole, "StorageFile.write", "", _CALLS),
    "a short read passes for a whole one": Defect(plants.short_read_taken_for_whole, "StorageFile.read", "", _CALLS),
}  # fmt: skip
