"""What the lazy search comes to is what comes out of every state, one by one; and the search is certified.

Every comparison is of what recovery saw, what a look afterwards shows and what had been told to the world before.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from tests.support.every_state import Case, See, TooManyError, brutally, certified, compare, lazily
from tests.support.random_programs import (
    Step,
    case,
    log_writers,
    logs,
    look_at_all,
    looks,
    moves,
    readers,
    verifiers,
    workloads,
    writers,
)
from untorn.api import functions as api
from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import UntornError, UntornWarning
from untorn.explore.certificate.counting import RefusedError
from untorn.explore.lazy import crash_state
from untorn.explore.search_record import Key
from untorn.storage.interface import RWF_ATOMIC, AtomicLimits, Piece

SECTOR = 512
DEVICES: list[dict[str, Any]] = [
    {}, {"sector": 4096}, {"powersafe": False, "block": 1024}, {"atomic": AtomicLimits(512, 4096, 0, 1)},
]  # fmt: skip


def compare_if_small(the_case: Case, *, depth: int = 0, limit: int = 2500) -> None:
    try:
        compare(the_case, depth=depth, limit=limit)
    except TooManyError:
        pass  # about one example in a hundred


# Random programs


@pytest.mark.parametrize("device", DEVICES, ids=str)
@settings(max_examples=80, deadline=None)
@given(workloads, st.one_of(readers, writers), looks)
def test_random_programs_come_to_what_their_crashes_leave(
    device: dict[str, Any], work: list[Step], reader: list[Step], look: str
) -> None:
    compare_if_small(case(work, reader, look, **device))


@pytest.mark.parametrize("device", DEVICES, ids=str)
@settings(max_examples=25, deadline=None)
@given(workloads, writers, looks)
def test_random_recoveries_that_are_cut_off_come_to_what_both_crashes_leave(
    device: dict[str, Any], work: list[Step], writer: list[Step], look: str
) -> None:
    compare_if_small(case(work, writer, look, **device), depth=1)


@settings(max_examples=30, deadline=None)
@given(workloads.map(lambda work: work[:3]), writers.map(lambda steps: steps[:3]), looks)
def test_random_recoveries_that_are_cut_off_twice_come_to_what_all_crashes_leave(
    work: list[Step], writer: list[Step], look: str
) -> None:
    compare_if_small(case(work, writer, look), depth=2)


@settings(max_examples=60, deadline=None)
@given(logs, verifiers, st.sampled_from(["names", "nothing"]))
def test_random_logs_that_are_verified_come_to_what_their_crashes_leave(
    work: list[Step], verifier: list[Step], look: str
) -> None:
    compare_if_small(case(work, verifier, look, atomic=DEVICES[-1]["atomic"]))


@settings(max_examples=20, deadline=None)
@given(logs, log_writers, looks)
def test_random_logs_that_recovery_verifies_and_writes_come_to_what_both_crashes_leave(
    work: list[Step], writer: list[Step], look: str
) -> None:
    compare_if_small(case(work[:4], writer[:3], look, atomic=DEVICES[-1]["atomic"]), depth=1, limit=1000)


@pytest.mark.parametrize("depth", [0, 1])
@settings(max_examples=60, deadline=None)
@given(moves, moves.map(lambda steps: steps[:3]), looks)
def test_random_moves_of_directories_come_to_what_their_crashes_leave(
    depth: int, work: list[Step], reader: list[Step], look: str
) -> None:
    compare_if_small(case(work, reader, look), depth=depth)


def test_a_name_that_is_overtaken_ends_its_rename_whichever_directory_was_met_first() -> None:
    work: list[Step] = [
        ("write", "/b", 0, 10, 65, 0), ("rename", "/a", "/d/a"), ("fail directory", "/d"), ("unlink", "/d/a"),
        ("directory", "/"), ("directory", "/d"),
    ]  # fmt: skip
    compare(case(work, [], "all"))


# Programs without our library


def rename_over(machine: SimulatedStorage) -> None:
    """A new file takes the place of an old one, and a third goes."""
    machine.write_file("/f", b"old" * 300, {"user.a": b"1"})
    machine.write_file("/old", b"gone")
    file = machine.open("/f.new", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    file.write([b"new" * 300], 0)
    file.setxattr("user.a", b"2")
    file.fsync()
    machine.rename("/f.new", "/f")
    machine.acknowledge("renamed")
    machine.unlink("/old")
    machine.sync_directory("/")
    machine.acknowledge("durable")


def no_recovery(storage: SimulatedStorage, see: See) -> None:
    """Nothing is done."""


def tidy(storage: SimulatedStorage, see: See) -> None:
    """What was left of a rename goes, and the old file is marked."""
    if "f.new" in storage.listdir("/"):
        storage.rename("/f.new", "/spare")
        storage.unlink("/spare")
    file = storage.open("/f", os.O_RDWR)
    see(file.getxattr("user.a"))
    file.setxattr("user.seen", b"yes")
    file.fsync()
    storage.sync_directory("/")


def directory_swapped(machine: SimulatedStorage) -> None:
    """A new directory takes the place of an old one, which then goes."""
    machine.write_file("/d/f", b"old")
    machine.mkdir("/d.new")
    file = machine.open("/d.new/f", os.O_RDWR | os.O_CREAT)
    file.write([b"new" * 300], 0)
    file.fsync()
    machine.sync_directory("/d.new")
    machine.rename("/d", "/d.old")
    machine.rename("/d.new", "/d")
    machine.acknowledge("renamed")
    machine.sync_directory("/")
    machine.acknowledge("durable")
    machine.unlink("/d.old/f")
    machine.rmdir("/d.old")


def swapped_back(storage: SimulatedStorage, see: See) -> None:
    """What was cut off between the two renames is undone; what is left over goes."""
    there = storage.listdir("/")
    if "d" not in there:
        storage.rename("/d.old", "/d")
        storage.sync_directory("/")
    elif "d.old" in there:
        for name in storage.listdir("/d.old"):
            storage.unlink(f"/d.old/{name}")
        storage.rmdir("/d.old")
    see(storage.read_file("/d/f"))


def turned_inside_out(machine: SimulatedStorage) -> None:
    """A directory is moved into one that lay in it."""
    machine.make_directory("/d/p")
    machine.write_file("/d/p/f", b"f")
    machine.rename("/d/p", "/p")
    machine.rename("/d", "/p/d")


RECORD = 64 + SECTOR


def log_of_records(machine: SimulatedStorage) -> None:
    """Records with a digest in front, appended with O_APPEND; told when they are durable."""
    machine.write_file("/log", b"")
    file = machine.open("/log", os.O_RDWR | os.O_APPEND)
    for serial in range(3):
        payload = bytes([65 + serial]) * SECTOR
        header = xxh3_64_intdigest(payload).to_bytes(8, "little").ljust(64, b"\0")
        file.write([header, payload], 0)
        if serial != 1:
            file.fdatasync()
            machine.acknowledge(serial)


def replay(storage: SimulatedStorage, see: See) -> None:
    """As many records as are whole; what follows is cut off."""
    file = storage.open("/log", os.O_RDWR)
    see(tuple(file.observe(0, 3 * RECORD, SECTOR, any)))
    at = 0
    while True:
        header = file.read(8, at)
        if len(header) < 8 or not file.verify(at + 64, [Piece(SECTOR, int.from_bytes(header, "little"))], 0):
            break
        see(file.read(1, at + 64))
        at += RECORD
    file.truncate(at)
    file.fsync()


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize(
    ("work", "recovery"),
    [
        (rename_over, no_recovery), (rename_over, tidy), (log_of_records, replay),
        (directory_swapped, swapped_back), (turned_inside_out, no_recovery),
    ],
)  # fmt: skip
def test_plain_programs_come_to_what_their_crashes_leave(
    work: Callable[[SimulatedStorage], None], recovery: Callable[..., None], depth: int, device: dict[str, Any]
) -> None:
    machine = SimulatedStorage(**device)
    machine.make_directory("/d")
    work(machine)
    compare(Case(machine, recovery, look_at_all), depth=depth, limit=100_000)


def by_order(storage: SimulatedStorage, see: See) -> None:
    """Whatever is listed first is removed, and the rest is read in the order of a second listing."""
    names = storage.listdir("/")
    storage.unlink("/" + [*(name for name in names if name != "d"), "none"][0])
    storage.sync_directory("/")
    see(tuple(storage.listdir("/")))


@pytest.mark.parametrize("depth", [0, 1])
def test_directories_list_in_one_of_two_orders_throughout(depth: int) -> None:
    machine = SimulatedStorage()
    machine.make_directory("/d")
    rename_over(machine)
    case = Case(machine, by_order, look_at_all)
    compare(case, depth=depth)
    seen = {outcome[0][0] for outcome in lazily(case, depth=depth)[0] if outcome[0]}  # type: ignore[index]
    assert {("d", "old"), ("f", "d")} <= seen


def cut_then_whole(storage: SimulatedStorage, see: See) -> None:
    """A sector is cut through, by which it stays as it was read, and then lies under an atomic write."""
    file = storage.open("/f", os.O_RDWR | os.O_DIRECT)
    file.truncate(700)
    file.write([b"A" * 1024], 0, RWF_ATOMIC)
    file.fdatasync()


def test_a_sector_that_was_cut_through_is_no_longer_the_one_below() -> None:
    machine = SimulatedStorage(atomic=AtomicLimits(512, 4096, 0, 1))
    machine.make_directory("/d")
    machine.write_file("/f", b"A" * 900)
    machine.open("/f", os.O_WRONLY | os.O_APPEND).write([b"A"], 0)
    compare(Case(machine, cut_then_whole, look_at_all), depth=1)


# Our library


def commits(machine: SimulatedStorage) -> None:
    file = api.open("/f", "r+b", storage=machine, folio_size=4096, checkpoint_bytes=1 << 18, cache_bytes=1 << 18)
    file.write(b"new" * 300)
    file.flush()
    machine.acknowledge("first")
    file.truncate(700)
    file.pwrite(b"x" * 60, 650)
    file.flush()
    machine.acknowledge("second")
    file.close()
    machine.acknowledge("closed")


def rolled_back(machine: SimulatedStorage) -> None:
    file = api.open("/f", "r+b", storage=machine, folio_size=4096, checkpoint_bytes=1 << 18, cache_bytes=1 << 18)
    file.write(b"kept")
    file.commit(durable=False)
    file.write(b"forgotten")
    file.rollback()
    file.close()


def dies(machine: SimulatedStorage) -> None:
    """The process dies between two commits; the next one recovers and goes on."""
    file = api.open("/f", "r+b", storage=machine, folio_size=4096, checkpoint_bytes=1 << 18, cache_bytes=1 << 18)
    file.write(b"one" * 200)
    file.commit(durable=False)
    machine.kill_process()
    with contextlib.suppress(OSError):
        file.close()  # what a dead process has open is closed already
    api.recover("/f", storage=machine)
    machine.acknowledge("recovered")


def created(machine: SimulatedStorage) -> None:
    machine.unlink("/f")
    machine.sync_directory("/")
    with api.open("/f", "w+b", storage=machine, folio_size=4096, checkpoint_bytes=1 << 18, cache_bytes=1 << 18) as file:
        file.write(b"all new" * 100)


def recover(storage: SimulatedStorage, see: See) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntornWarning)
            api.recover("/f", storage=storage)
        see(storage.read_file("/f"))
    except (UntornError, FileNotFoundError) as error:
        see(type(error).__name__)


@pytest.mark.parametrize("device", DEVICES[:2], ids=str)
@pytest.mark.parametrize(
    ("work", "depth"), [(commits, 0), *((work, depth) for work in (rolled_back, dies, created) for depth in (0, 1))]
)
def test_the_library_comes_to_what_its_crashes_leave(
    work: Callable[[SimulatedStorage], None], depth: int, device: dict[str, Any]
) -> None:
    machine = SimulatedStorage(**device)
    machine.write_file("/f", b"old!" * 200)
    work(machine)

    def names(storage: SimulatedStorage) -> Hashable:
        return tuple(storage.names("/"))

    compare(Case(machine, recover, names), depth=depth, limit=100_000)


# In every process alike

QUESTIONS = """
from tests.support.every_state import lazily
from tests.support.random_programs import case
work = [("mkdir", "/e"), ("write", "/e/f", 0, 10, 65, 0), ("link", "/a", "/b"), ("link", "/a", "/d/a"),
        ("setxattr", "/a", b"1"), ("unlink", "/a")]
outcomes, search = lazily(case(work, [("stat", "/b", "links"), ("names", "/")], "all"))
for execution in search.executions:
    print(execution.outcome.choices, execution.questions)
"""


def test_questions_come_in_one_order_whatever_the_seed_of_hashes() -> None:
    """Other processes follow the same choices."""
    answers = {
        subprocess.run(
            [sys.executable, "-c", QUESTIONS], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(answers) == 1
    assert next(iter(answers)).count("Ask") > 10


# That a fault would be seen


def legal_without_the_newest(self: crash_state.CrashState, key: Key) -> Sequence[int]:
    """A fault: the newest value is forgotten where there are three."""
    found = LEGAL(self, key)
    return found[:2] if len(found) > 2 else found


LEGAL = crash_state.CrashState.legal


def torn_case() -> Case:
    machine = SimulatedStorage()
    machine.make_directory("/d")
    machine.write_file("/f", b"A" * 1024)
    file = machine.open("/f", os.O_RDWR)
    file.write([b"B" * 1024], 0)
    file.write([b"C" * 1024], 0)
    return Case(machine, no_recovery, look_at_all)


def test_a_search_that_forgets_a_value_is_seen_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    compare(torn_case())
    monkeypatch.setattr(crash_state.CrashState, "legal", legal_without_the_newest)
    broken = torn_case()
    quick, search = lazily(broken)
    assert brutally(broken) - quick
    with pytest.raises(RefusedError, match="not the legal values"):
        certified(broken, search)


def test_a_recovery_that_looks_past_its_storage_is_seen_only_here() -> None:
    """The certificate trusts that runs stand for all their values; this comparison does not."""

    def cheat(storage: SimulatedStorage, see: See) -> None:
        see(getattr(storage, "lazy", None) is None)

    machine = torn_case().machine
    cheating = Case(machine, cheat, lambda storage: None)
    quick, search = lazily(cheating)
    assert brutally(cheating) != quick
    assert certified(cheating, search).recoveries == 1
