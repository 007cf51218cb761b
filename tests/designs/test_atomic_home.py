"""Copy-on-write with REQ_ATOMIC: when a commit goes to home and not to the log, and that it is no less safe there."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable
from typing import Any, Final

import pytest

import untorn
from tests.support.atomic_machine import BLOCK, FOLIO, LIMITS, PATH, K, bios, contents, cuts, disks, machine, opened
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import newest, oldest
from untorn.designs import atomic_home as home
from untorn.designs.atomic_home import AtomicHome
from untorn.designs.cow import CopyOnWrite
from untorn.log.format import SLOT_OFFSETS
from untorn.log.writer import Log
from untorn.storage.fault_injection import Fault, FaultyStorage
from untorn.storage.interface import RWF_ATOMIC, AtomicLimits

OLD: Final = b"o" * 8 * FOLIO
SMALL_LOG: Final[dict[str, Any]] = {"checkpoint_bytes": BLOCK}
"""Every commit in the log is followed by a checkpoint, and the log is empty again."""


def one_range(file: Any, value: bytes = b"n", at: int = 0, length: int = FOLIO) -> None:
    file.pwrite(value * length, at)
    file.flush()


def two_ranges(file: Any, value: bytes = b"t") -> None:
    file.pwrite(value, 7)
    file.pwrite(value, 5 * FOLIO + 9)
    file.flush()


def in_home(file: Any, work: Callable[[Any], None]) -> bool:
    """Whether the commit that the work makes goes to home."""
    before = file.stats()
    work(file)
    after = file.stats()
    assert after["commits"] == before["commits"] + 1
    assert (after["bytes_to_log"] == before["bytes_to_log"]) is (after["atomic_bios"] > before["atomic_bios"])
    return bool(after["atomic_bios"] > before["atomic_bios"])


def unflushed(file: Any) -> None:
    file.pwrite(b"n" * FOLIO, 0)
    file.commit(durable=False)


def truncated_and_back(file: Any) -> None:
    file.truncate(4 * FOLIO)
    file.truncate(8 * FOLIO)
    file.pwrite(b"n" * FOLIO, 0)
    file.flush()


def in_a_transaction(file: Any) -> None:
    file.pwrite(b"1" * FOLIO, 0)
    with file.transaction():
        file.pwrite(b"2" * FOLIO, 0)


CONDITIONS: Final[dict[str, tuple[Callable[[Any], None], bool]]] = {
    "a folio": (one_range, True),
    "a block": (lambda file: one_range(file, at=3 * BLOCK, length=BLOCK), True),
    "adjacent folios as one": (lambda file: one_range(file, at=4 * FOLIO, length=4 * FOLIO), True),
    "bytes": (lambda file: one_range(file, at=10, length=100), False),
    "a sector": (lambda file: one_range(file, length=512), False),
    "three blocks": (lambda file: one_range(file, length=3 * BLOCK), False),
    "not naturally aligned": (lambda file: one_range(file, at=BLOCK, length=2 * BLOCK), False),
    "more than the device takes": (lambda file: one_range(file, length=8 * FOLIO), False),
    "two ranges": (two_ranges, False),
    "a longer file": (lambda file: one_range(file, at=8 * FOLIO), False),
    "a file cut and extended again": (truncated_and_back, False),
    "not durable": (unflushed, False),
    "spilled before": (in_a_transaction, False),
}


@pytest.mark.parametrize("row", CONDITIONS.values(), ids=CONDITIONS)
def test_a_commit_goes_to_home_only_if_the_device_takes_it_whole(row: tuple[Callable[[Any], None], bool]) -> None:
    work, expected = row
    with opened(machine(OLD), "cow") as file:
        assert in_home(file, work) is expected


def test_no_commit_goes_to_home_while_the_log_has_one() -> None:
    with opened(machine(OLD), "cow") as file:
        assert in_home(file, one_range)
        assert not in_home(file, two_ranges)
        assert not in_home(file, one_range), "what is in the log would be installed over it"


def test_after_a_checkpoint_commits_go_to_home_again() -> None:
    with opened(machine(OLD), "cow", **SMALL_LOG) as file:
        for _ in range(3):
            assert not in_home(file, two_ranges)
            assert file.stats()["checkpoints"]
            assert in_home(file, one_range)


@pytest.mark.parametrize(
    "limits", [AtomicLimits(), AtomicLimits(4 * K, 64 * K, 8 * K, 1)], ids=["none", "8K by hardware"]
)
def test_where_only_the_file_system_could_do_it_by_copying_the_log_does_it_better(limits: AtomicLimits) -> None:
    with opened(machine(OLD, limits), "cow") as file:
        assert not in_home(file, one_range)
        assert in_home(file, lambda file: one_range(file, length=8 * K)) is False
    with opened(machine(OLD, limits), "cow") as file:
        assert in_home(file, lambda file: one_range(file, length=8 * K)) is (limits.unit_max_opt == 8 * K)


def test_a_hole_of_home_is_filled_by_way_of_the_log() -> None:
    storage = machine(b"o" * FOLIO)
    with opened(storage, "cow") as file:
        file.truncate(4 * FOLIO)
    with opened(storage, "cow") as file:
        assert in_home(file, one_range)
        assert not in_home(file, lambda file: one_range(file, at=2 * FOLIO))


def mixed_work(file: Any, storage: SimulatedStorage, states: list[bytes]) -> None:
    """Commits of both ways in turn, over checkpoints and restarts; the states between which a crash may choose."""
    for number in range(8):
        value = bytes([65 + number])
        if number % 4 == 3:
            file.pwrite(value * 512, 512)
            file.pwrite(value * 1024, 5 * FOLIO)
            file.flush()
        elif number == 5:
            file.pwrite(value * 512, 1024)
            file.commit(durable=False)
        else:
            one_range(file, value, (number % 2) * FOLIO)
        states.append(file.pread(len(OLD), 0))
        if number != 5:
            storage.acknowledge(number + 1)


def acknowledged(storage: SimulatedStorage, at: int) -> int:
    told = [one.arguments[0] for one in storage.trace.operations if one.name == "acknowledge" and one.issued <= at]
    return max(told, default=0)


def judge(storage: SimulatedStorage, states: list[bytes], samples: int = 8) -> None:
    """After a cut at any moment the file is a state at or after the last acknowledged one, and opens again."""
    for at, disk in cuts(storage, samples):
        least = acknowledged(storage, at)
        with opened(disk, "cow") as file:
            content = file.pread(len(OLD), 0)
            assert content in states[least:], f"not a commit since {least}, after event {at}"
            one_range(file, b"z", 6 * FOLIO)
        assert disk.read_file(PATH) == content[: 6 * FOLIO] + b"z" * FOLIO + content[7 * FOLIO :]


def recorded(log_bytes: int = BLOCK, **options: Any) -> tuple[SimulatedStorage, list[bytes], dict[str, int]]:
    storage, states = machine(OLD, **options), [OLD]
    file = opened(storage, "cow", checkpoint_bytes=log_bytes)
    mixed_work(file, storage, states)
    file.close()
    return storage, states, file.stats()


@pytest.mark.parametrize(
    "options", [{}, {"xattrs": False}, {"powersafe": False}], ids=["plain", "no xattrs", "not powersafe"]
)
def test_commits_of_both_ways_survive_as_a_prefix(options: dict[str, Any]) -> None:
    for log_bytes, in_home in ((BLOCK, 5), (1 << 20, 3)):
        storage, states, stats = recorded(log_bytes, **options)
        assert stats["atomic_bios"] == in_home
        with warnings.catch_warnings():
            if "powersafe" in options:  # a slot that was being written first is garbage that is put aside
                warnings.simplefilter("ignore", untorn.UntornWarning)
            judge(storage, states)


def without(owner: type, name: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(owner, name, lambda *arguments, **options: None)


def plain_bio(patch: pytest.MonkeyPatch) -> None:
    """Not REQ_ATOMIC: the device may tear it."""
    patch.setattr(home, "RWF_ATOMIC", 0)


def not_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AtomicHome, "sync", lambda self: 0)


def beside_the_log(patch: pytest.MonkeyPatch) -> None:
    """Also while the log has commits."""
    write = CopyOnWrite.write

    def mutant(self: CopyOnWrite, *arguments: Any, **options: Any) -> Any:
        sequence, self._log.sequence = self._log.sequence, 0
        try:
            if options["durable"] and self._commit_in_home(arguments[0]):
                return None
        finally:
            self._log.sequence = sequence
        return write(self, *arguments, **options)

    patch.setattr(CopyOnWrite, "write", mutant)


MUTANTS: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "the bio is not atomic": plain_bio,
    "the bio is not durable": not_durable,
    "the slot does not learn home's time": without(CopyOnWrite, "_leave_home"),
    "home is written beside a log with commits": beside_the_log,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_defect_of_the_way_by_home_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    with pytest.raises((AssertionError, OSError)):
        for log_bytes in (1 << 20, BLOCK):
            storage, states, _ = recorded(log_bytes)
            judge(storage, states)


def test_what_another_left_unsynced_is_durable_before_the_commit_is() -> None:
    """Else a power failure could leave the new commit in a file that lost the rest of its content."""
    states = []
    for mutant in (False, True):
        storage = machine(OLD)
        other = storage.open(PATH, os.O_RDWR)
        other.write([b"u" * 8 * FOLIO], 0)
        other.close()
        storage.kill_process()
        with pytest.MonkeyPatch.context() as patch:
            if mutant:
                patch.setattr(CopyOnWrite, "_sync_home", lambda design: None)
            file = opened(storage, "cow")
            one_range(file)
            file.close()
        left = [disk.read_file(PATH) for disk in disks(storage, 8)]
        states.append({content[FOLIO:] for content in left if content[:FOLIO] == b"n" * FOLIO})
    assert states[0] == {b"u" * 7 * FOLIO}
    assert len(states[1]) > 1, "a lost sync is not seen"


def test_a_commit_whose_sync_failed_is_not_seen_and_then_lost() -> None:
    """The next session sees it in the cache and commits beside it; a power failure must not leave the second alone."""
    alone = []
    for mutant in (False, True):
        storage = machine(OLD)
        with pytest.MonkeyPatch.context() as patch:
            if mutant:
                patch.setattr(AtomicHome, "_write_again", lambda self, start, data: None)
            failing = FaultyStorage(storage, Fault(nth=0, names=["fdatasync"], error=errno.EIO))
            file = untorn.open(PATH, "r+b", storage=failing)
            with pytest.raises(OSError):
                one_range(file)
            with pytest.raises(untorn.HandleFailedError):
                file.close()
        with opened(storage, "cow") as file:
            assert file.pread(1, 0) == b"n"
            one_range(file, b"m", FOLIO)
            at = storage.trace.now
        disk = storage.power_cut(oldest, at)
        content = disk.read_file(PATH)
        assert content[FOLIO : 2 * FOLIO] == b"m" * FOLIO
        alone.append(content[:FOLIO] != b"n" * FOLIO)
    assert alone == [False, True], "a sync that failed is not seen"


def damaged(storage: SimulatedStorage, generation_lost: int) -> SimulatedStorage:
    """The disk as it is, with the sector of the slot that counts damaged."""
    disk = storage.power_cut(newest, storage.trace.now)
    log = disk.open(f"{PATH}-untorn", os.O_RDWR)
    log.write([b"\xff" * 512], generation_lost)
    log.fsync()
    log.close()
    return disk


def test_damage_does_not_bring_an_older_generation_back_over_a_commit_in_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    for mutant in (False, True):
        if mutant:
            monkeypatch.setattr(Log, "begin_checkpoint", _only_with_records(Log.begin_checkpoint))
        storage = machine(OLD)
        file = opened(storage, "cow", **SMALL_LOG)
        file.pwrite(b"t" * FOLIO, 0)
        file.pwrite(b"t", 5 * FOLIO)
        file.flush()
        assert in_home(file, one_range)
        for slot in SLOT_OFFSETS:
            disk = damaged(storage, slot)
            try:
                with opened(disk, "cow") as after:
                    seen.append(after.pread(FOLIO, 0)[:1])
            except untorn.LogError:
                seen.append(b"refused")
        file.close()
    assert set(seen[: len(SLOT_OFFSETS)]) <= {b"n", b"refused"}
    assert b"t" in seen[len(SLOT_OFFSETS) :], "an older generation that comes back is not seen"


def _only_with_records(begin: Callable[..., None]) -> Callable[..., None]:
    return lambda log, home: begin(log, home) if log.sequence else None


def edited(storage: SimulatedStorage) -> None:
    other = storage.another_process(2).open(PATH, os.O_RDWR)
    other.write([b"edited"], 3 * FOLIO)
    other.close()


def test_an_edit_by_another_program_is_noticed_before_and_after_a_commit_in_home() -> None:
    for times in (0, 1, 2):
        storage = machine(OLD)
        file = opened(storage, "cow", **SMALL_LOG)
        for _ in range(times):
            assert in_home(file, one_range)
        edited(storage)
        with pytest.raises(untorn.ForeignEditError):
            assert not in_home(file, one_range), "home was written over an edit"
            file.close()
        with pytest.raises(untorn.HandleFailedError):
            file.close()
        assert storage.read_file(PATH)[3 * FOLIO :][:6] == b"edited"
        with pytest.raises(untorn.ForeignEditError):
            opened(storage, "cow")


def test_an_edit_after_a_crash_is_noticed_where_the_log_would_overwrite_it() -> None:
    storage = machine(OLD)
    file = opened(storage, "cow")
    one_range(file)
    two_ranges(file)
    disk = storage.power_cut(oldest, storage.trace.now)
    file.close()
    edited(disk)
    with pytest.raises(untorn.ForeignEditError):
        opened(disk, "cow")


def test_an_edit_after_a_crash_is_taken_where_home_has_everything() -> None:
    storage = machine(OLD)
    file = opened(storage, "cow", **SMALL_LOG)
    two_ranges(file)
    one_range(file)
    disk = storage.power_cut(oldest, storage.trace.now)
    file.close()
    edited(disk)
    with opened(disk, "cow") as after:
        assert after.pread(6, 3 * FOLIO) == b"edited"
        assert after.pread(1, 0) == b"n"


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.EAGAIN, errno.ENOSPC])
def test_what_the_device_refuses_goes_to_the_log(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """EAGAIN: XFS, while another program stores through a mapping; ENOSPC: it had to copy; its time may have moved."""
    storage = machine(OLD)
    file = opened(storage, "cow", **SMALL_LOG)
    two_ranges(file)
    before = storage.open(PATH, os.O_RDONLY)

    from untorn.crashmodel.file import SimulatedFile

    pwritev = SimulatedFile.pwritev

    def refuses(self: SimulatedFile, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags & RWF_ATOMIC:
            self._inode.mtime_ns = self._disk.tick()
            raise OSError(code, os.strerror(code))
        return pwritev(self, buffers, offset, flags)

    monkeypatch.setattr(SimulatedFile, "pwritev", refuses)
    assert not in_home(file, one_range)
    monkeypatch.undo()
    before.close()
    assert storage.power_cut(newest, storage.trace.now).read_file(PATH)[:1] in (b"n", b"t")
    disk = storage.power_cut(newest, storage.trace.now)
    with opened(disk, "cow") as after:
        assert after.pread(1, 0) == b"n"
    file.close()
    assert storage.read_file(PATH)[:FOLIO] == b"n" * FOLIO


def test_an_error_of_the_bio_puts_the_handle_out_of_work_and_leaves_old_or_new() -> None:
    for number in range(12):
        simulated = machine(OLD)
        storage = FaultyStorage(simulated, Fault(nth=number, error=errno.EIO, names=["pwritev", "fsync", "fdatasync"]))
        file = untorn.open(PATH, "r+b", storage=storage)
        try:
            one_range(file)
            two_ranges(file)
            file.close()
        except OSError:
            if not file.closed:
                with pytest.raises(untorn.HandleFailedError):
                    file.close()
        with opened(simulated, "cow") as after:
            content = after.read()
        new = b"n" * FOLIO + OLD[FOLIO:]
        both = bytearray(new)
        both[7:8] = both[5 * FOLIO + 9 : 5 * FOLIO + 10] = b"t"
        assert content in (OLD, new, bytes(both))


def test_a_write_beyond_the_processs_file_size_is_not_sent_to_home() -> None:
    """Linux 6.18 would take a part of it."""
    with opened(machine(OLD), "cow") as file:
        inode = file._inode

        def refused(size: int) -> None:
            raise OSError(errno.EFBIG, "too large")

        inode.home.check_size = refused
        assert not in_home(file, one_range)
        del inode.home.check_size


def test_readers_of_a_file_left_so_see_the_commit() -> None:
    storage = machine(OLD)
    file = opened(storage, "cow", **SMALL_LOG)
    two_ranges(file)
    one_range(file)
    disk = storage.power_cut(oldest, storage.trace.now)
    file.close()
    with untorn.open(PATH, "rb", storage=disk) as reader:
        assert reader.read(FOLIO) == b"n" * FOLIO
    assert untorn.status(PATH, storage=disk).problem is None
    assert untorn.recover(PATH, storage=disk) == 0
    assert disk.listdir("/") == [PATH[1:]]


def test_the_default_path_asks_for_no_direct_descriptor_and_writes_nothing_else() -> None:
    """Without atomics copy-on-write does what it did: the same calls, but for one question at open."""
    storage = machine(OLD, AtomicLimits())
    with opened(storage, "cow") as file:
        sent = bios(file)
        one_range(file)
        assert file._inode.design._atomic._direct is None
        assert [bio.target for bio in sent] == ["log"]
        one_range(file, b"m")
        assert [one.name for one in storage.trace.operations[-2:]] == ["pwritev", "fdatasync"]


def test_the_two_ways_leave_the_same_crash_states() -> None:
    found = []
    states: list[bytes] = []
    for limits in (AtomicLimits(), LIMITS):
        storage, states = machine(OLD, limits), [OLD]
        file = opened(storage, "cow", **SMALL_LOG)
        mixed_work(file, storage, states)
        file.close()
        found.append(contents(storage, samples=8))
    assert found[0] == found[1] == set(states)
