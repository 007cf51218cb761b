"""The persistence rules, each as a picture (tests/support/disk_pictures.py)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from tests.support.disk_pictures import (
    SECTOR,
    Work,
    create,
    cut,
    d,
    fail,
    fail_directory,
    failed,
    images,
    pictures,
    put,
    rename,
    steps,
    sync,
    sync_d,
    unlink,
    w,
)
from untorn.crashmodel.disk_image import ROOT
from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Trace
from untorn.crashmodel.variables import Choose, newest, oldest, seeded
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC

ROWS = [
    ("nothing happened", steps(), 0, "AAA"),
    ("each sector of a write alone", w(0, "BB"), 0, "AAA BAA ABA BBA"),
    ("a write from issue on", w(0, "B"), 1, "AAA BAA"),
    ("two writes in any order", steps(w(0, "B"), w(2, "C")), 0, "AAA BAA AAC BAC"),
    ("versions of one sector", steps(w(0, "B"), w(0, "C")), 0, "AAA BAA CAA"),
    ("fdatasync ends the old ones", steps(w(0, "B"), sync), 0, "BAA"),
    ("fdatasync promises at its return", steps(w(0, "B"), sync), 1, "AAA BAA"),
    ("fdatasync says nothing of what follows", steps(w(0, "B"), sync, w(0, "C")), 0, "BAA CAA"),
    ("the last version by then is the floor", steps(w(0, "B"), w(0, "C"), sync), 0, "CAA"),
    ("size without data reads zeros", w(3, "B"), 0, "AAA AAA. AAAB"),
    ("a gap reads zeros", w(4, "B"), 0, "AAA AAA.. AAA.B"),
    ("a write moves the end sector by sector", w(3, "BC"), 0, "AAA AAA. AAA.. AAAB AAAB. AAA.C AAABC"),
    ("what it passes is past once it is synced", steps(w(3, "BC"), sync), 0, "AAABC"),
    ("a failed sync leaves it on its way", steps(w(3, "BC"), failed, sync), 0, "AAA AAA. AAA.. AAAB AAAB. AAA.C AAABC"),
    ("RWF_ATOMIC passes nothing", w(4, "BC", RWF_ATOMIC), 0, "AAA AAA... AAA.BC"),
    ("size and data by fdatasync", steps(w(3, "B"), sync), 0, "AAAB"),
    ("truncate: old or new size", cut(1), 0, "AAA A.. AA. A.A A"),
    ("cut data may return", steps(cut(1), cut(3)), 0, "AAA A.. AA. A.A A"),
    ("cut data is gone after a sync", steps(cut(1), sync, cut(3)), 0, "A A.."),
    ("cut data and growth synced", steps(cut(1), cut(3), sync), 0, "A.."),
    ("growth by truncate reads zeros", cut(4), 0, "AAA AAA."),
    ("allocate: a size of zeros", lambda m, f: f.allocate(0, 5 * SECTOR, keep_size=False), 0, "AAA AAA.."),
    ("allocate, size kept", lambda m, f: f.allocate(0, 5 * SECTOR, keep_size=True), 0, "AAA"),
    ("RWF_DSYNC is its own sync", w(0, "B", RWF_DSYNC), 0, "BAA"),
    ("RWF_DSYNC may tear until it returns", w(0, "BB", RWF_DSYNC), 1, "AAA BAA ABA BBA"),
    ("RWF_DSYNC says nothing of earlier writes", steps(w(0, "B"), w(1, "C", RWF_DSYNC)), 0, "ACA BCA"),
    ("RWF_DSYNC takes the size it needs", w(3, "B", RWF_DSYNC), 0, "AAAB"),
    ("RWF_DSYNC leaves a size it does not need", steps(cut(4), w(0, "B", RWF_DSYNC)), 0, "BAA BAA."),
    ("RWF_SYNC takes every size", steps(cut(4), w(0, "B", RWF_SYNC)), 0, "BAA."),
    ("RWF_ATOMIC: all or none", w(0, "BB", RWF_ATOMIC), 0, "AAA BBA"),
    ("also while it is under way", w(0, "BB", RWF_ATOMIC), 1, "AAA BBA"),
    ("RWF_ATOMIC alone promises nothing else", steps(w(0, "B"), w(0, "CC", RWF_ATOMIC)), 0, "AAA BAA CCA"),
    ("with RWF_DSYNC it is durable", w(0, "BB", RWF_ATOMIC | RWF_DSYNC), 0, "BBA"),
    ("atomic writes of one range: the newest that came", steps(w(0, "BB", RWF_ATOMIC), w(0, "CC", RWF_ATOMIC)), 0,
     "AAA BBA CCA"),
    ("a plain write over a part is on its own", steps(w(0, "BB", RWF_ATOMIC), w(1, "CC")), 0,
     "AAA AAC ACA ACC BBA BBC BCA BCC"),
    ("two that overlap", steps(w(0, "BB", RWF_ATOMIC), w(1, "CC", RWF_ATOMIC)), 0, "AAA BBA ACC BCC"),
    ("an atomic write over a plain one", steps(w(0, "BC"), w(0, "DD", RWF_ATOMIC)), 0, "AAA BAA ACA BCA DDA"),
    ("a sync makes it durable whole", steps(w(0, "BB", RWF_ATOMIC), sync, w(0, "C")), 0, "BBA CBA"),
    ("a later sector that is durable does not bring it", steps(w(0, "BB", RWF_ATOMIC), w(1, "C", RWF_DSYNC)), 0,
     "ACA BCA"),
    ("a failed sync leaves it whole", steps(w(0, "BB", RWF_ATOMIC), failed, sync), 0, "AAA BBA"),
    ("a size does not come with it", w(2, "BB", RWF_ATOMIC), 0, "AAA AAB AAA. AABB"),
    ("after a failed sync old or new", steps(w(0, "B"), failed), 0, "AAA BAA"),
    ("a later sync promises nothing about it", steps(w(0, "B"), failed, sync), 0, "AAA BAA"),
    ("until it is written again", steps(w(0, "B"), failed, w(0, "B"), sync), 0, "BAA"),
    ("a failed sync leaves durable things alone", steps(w(0, "B"), sync, failed, sync), 0, "BAA"),
    ("a sync after it covers the others", steps(w(0, "B"), failed, w(1, "C"), sync), 0, "ACA BCA"),
    ("a failed sync puts the size in doubt", steps(cut(2), failed, sync), 0, "AAA AA. AA"),
    ("truncate writes the size again", steps(cut(4), failed, cut(4), sync), 0, "AAA."),
    ("so does a write to the end", steps(w(3, "B"), failed, w(3, "B"), sync), 0, "AAAB"),
]  # fmt: skip


@pytest.mark.parametrize(("work", "back", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_data_and_size_are_left_as_drawn(work: Work, back: int, expected: str) -> None:
    assert pictures(work, back=back) == set(expected.split())


def test_a_part_of_a_sector_brings_what_the_cache_had_around_it() -> None:
    def work(machine: SimulatedStorage, file: SimulatedFile) -> None:
        put(file, 0, "B")
        file.pwritev([b"C" * 256], 0)

    machine = SimulatedStorage()
    machine.write_file("/f", b"A" * SECTOR)
    work(machine, machine.open("/f", os.O_RDWR))
    left = {machine.power_cut(lambda v, legal, i=i: i % len(legal)).read_file("/f") for i in range(6)}  # type: ignore[misc]
    assert left == {b"A" * SECTOR, b"B" * SECTOR, b"C" * 256 + b"B" * 256}


def test_a_sector_being_written_may_be_garbage_if_the_device_is_such() -> None:
    assert pictures(w(0, "B"), make=partial(History, powersafe=False)) == {"AAA", "#AA", "BAA"}
    assert pictures(w(0, "A"), make=partial(History, powersafe=False)) == {"AAA", "#AA"}
    assert pictures(steps(w(0, "B"), sync), make=partial(History, powersafe=False)) == {"BAA"}


NAMES: list[tuple[str, Work, set[str]]] = [
    (
        "a created name is lost or kept, and fsync of the file does not keep it",
        d(lambda m: create(m, "/d/g", "B").fsync()),
        {"AAA -", "AAA B"},
    ),
    (
        "a kept name shows what its data may be",
        steps(d(lambda m: create(m, "/d/g", "B")), sync_d),
        {"AAA 0", "AAA .", "AAA B"},
    ),
    ("an unlinked name may return", unlink, {"AAA -", "- -"}),
    ("sync_directory ends it", steps(unlink, sync_d), {"- -"}),
    (
        "another directory's sync does not",
        steps(unlink, d(lambda m: m.sync_directory("/e"))),
        {"AAA -", "- -"},
    ),
    (
        "names are independent: the later one may come alone",
        steps(d(lambda m: create(m, "/d/g")), unlink),
        {"AAA -", "AAA 0", "- 0", "- -"},
    ),
    ("a rename to a new name: never neither", rename, {"AAA -", "AAA AAA", "- AAA"}),
    ("a synced rename", steps(rename, sync_d), {"- AAA"}),
    (
        "a rename over a name: old or new, never absent; it may come before the data",
        steps(d(lambda m: create(m, "/d/g", "B").fsync()), sync_d, w(0, "C"), rename),
        {"AAA B", "CAA B", "AAA AAA", "CAA CAA", "- AAA", "- CAA"},
    ),
    (
        "an old name taken anew does not bring the neither back",
        steps(rename, d(lambda m: create(m, "/d/f"))),
        {"AAA -", "AAA AAA", "- AAA", "0 AAA"},
    ),
    (
        "a sync of a directory that fails leaves its names in doubt",
        steps(unlink, d(fail_directory), sync_d),
        {"AAA -", "- -"},
    ),
]


@pytest.mark.parametrize(("work", "expected"), [r[1:] for r in NAMES], ids=[r[0] for r in NAMES])
def test_names_are_left_as_drawn(work: Work, expected: set[str]) -> None:
    assert pictures(work, names=("f", "g")) == expected


@pytest.mark.parametrize(
    ("directories", "expected"),
    [
        ((), {"f", "f g", "g"}),
        (("/d",), {"f", "f g", "g"}),
        (("/e",), {"f g", "g"}),
        (("/d", "/e"), {"g"}),
        (("/e", "/d"), {"g"}),
    ],
)
def test_a_rename_is_durable_after_the_sync_of_both_directories(directories: Sequence[str], expected: set[str]) -> None:
    machine = SimulatedStorage()
    machine.make_directory("/d")
    machine.make_directory("/e")
    machine.write_file("/d/f", b"A")
    machine.rename("/d/f", "/e/g")
    for directory in directories:
        machine.sync_directory(directory)
    history = History(machine.trace)
    history.advance(machine.trace.now)
    left = {
        " ".join(sorted(os.path.basename(n) for n in image.paths() if n not in ("/", "/d", "/e")))
        for image in images(history)
    }
    assert left == expected


def attribute_states(*calls: str, back: int = 0) -> set[tuple[bytes | None, int, int]]:
    """Attribute, permissions and mtime (changes counted from the start) after a cut."""
    machine = SimulatedStorage(tick_ns=1)
    machine.write_file("/f", b"A", {"user.a": b"old"})
    start = machine.stat("/f").mtime_ns
    file = machine.open("/f", os.O_RDWR)
    calls_by_name: dict[str, Callable[[], object]] = {
        "set": lambda: file.setxattr("user.a", b"new"),
        "remove": lambda: file.removexattr("user.a"),
        "owner": lambda: file.set_owner(0o600, 0, 7),
        "write": lambda: file.pwritev([b"B"], 0),
        "fdatasync": file.fdatasync,
        "fsync": file.fsync,
        "failed": lambda: fail(file),
        "sync write": lambda: file.pwritev([b"B"], 0, RWF_SYNC),
    }
    for call in calls:
        calls_by_name[call]()
    history = History(machine.trace)
    history.advance(machine.trace.now - back)
    return {
        (inode.attributes.get("user.a"), inode.mode & 0o777, inode.mtime_ns - start)
        for image in images(history)
        for inode in [image.inodes[image.paths()["/f"]]]
    }


def test_attributes_owner_and_mtime_are_durable_by_fsync_only() -> None:
    old, new = (b"old", 0o666, 0), (b"new", 0o666, 0)
    assert attribute_states("set") == {old, new}
    assert attribute_states("set", "fdatasync") == {old, new}
    assert attribute_states("set", "fsync") == {new}
    assert attribute_states("set", "fsync", back=1) == {old, new}
    assert attribute_states("remove") == {old, (None, 0o666, 0)}
    assert attribute_states("set", "failed", "fsync") == {old, new}
    assert attribute_states("set", "sync write") == {(b"new", 0o666, 1)}
    assert attribute_states("owner", "fdatasync") == {old, (b"old", 0o600, 0)}
    assert attribute_states("owner", "fsync") == {(b"old", 0o600, 0)}
    assert attribute_states("write", "fdatasync") == {old, (b"old", 0o666, 1)}
    assert attribute_states("write", "fsync") == {(b"old", 0o666, 1)}


def test_a_sync_does_not_cover_what_was_in_flight_when_it_was_issued() -> None:
    machine = SimulatedStorage()
    machine.write_file("/f", b"A" * SECTOR)
    start = machine.trace.image
    trace, number = Trace(start), start.paths()["/f"]
    write = trace.begin("pwritev", "/f", number, 0, b"B" * SECTOR, 0)
    sync = trace.begin("fdatasync", "/f", number)
    trace.end(write, SECTOR)
    trace.end(sync)
    history = History(trace)
    history.advance(trace.now)
    assert len(history.undetermined()) == 1


def test_an_operation_that_never_returned_may_be_on_disk_and_is_in_no_sync() -> None:
    machine = SimulatedStorage()
    machine.write_file("/f", b"A" * SECTOR)
    trace = Trace(machine.trace.image)
    number = trace.image.paths()["/f"]
    trace.begin("pwritev", "/f", number, 0, b"B" * SECTOR, 0)
    trace.end(trace.begin("fsync", "/f", number))
    history = History(trace)
    history.advance(trace.now)
    assert [len(legal) for legal in history.undetermined().values()] == [2]


def test_a_name_that_a_later_version_made_certain_ends_its_rename_too() -> None:
    machine = SimulatedStorage()
    machine.make_directory("/e")
    machine.write_file("/f", b"A")
    machine.rename("/f", "/e/g")
    with pytest.raises(OSError, match="Input/output"):
        machine.fail_sync_directory("/e", errno.EIO)
    machine.unlink("/e/g")
    machine.sync_directory("/e")
    machine.sync_directory("/")
    assert [list(machine.power_cut(choose).listdir("/")) for choose in (oldest, newest)] == [["e"], ["e"]]


def test_a_new_owner_of_the_old_name_that_is_durable_proves_the_rename() -> None:
    machine = SimulatedStorage()
    machine.make_directory("/e")
    machine.write_file("/f", b"A")
    machine.rename("/f", "/e/g")
    machine.open("/f", os.O_RDWR | os.O_CREAT).close()
    machine.sync_directory("/")
    assert machine.history(machine.trace.now).undetermined() == {}
    after = machine.power_cut(oldest)
    assert (after.read_file("/f"), after.read_file("/e/g")) == (b"", b"A")


def test_one_value_left_by_two_versions_is_the_value() -> None:
    machine = SimulatedStorage()
    machine.write_file("/f", b"A" * SECTOR)
    trace = Trace(machine.trace.image)
    number = trace.image.paths()["/f"]
    trace.end(trace.begin("pwritev", "/f", number, 0, b"B" * SECTOR, 0), SECTOR)
    sync = trace.begin("fdatasync", "/f", number)
    write = trace.begin("pwritev", "/f", number, 0, b"B" * SECTOR, 0)
    trace.end(sync)
    trace.end(write, SECTOR)
    history = History(trace)
    history.advance(trace.now)
    assert history.undetermined() == {}
    assert history.image(oldest).inodes[number].content.read(0, 1) == b"B"


def test_a_directory_sync_does_not_cover_what_was_in_flight_when_it_was_issued() -> None:
    machine = SimulatedStorage()
    machine.write_file("/f", b"A")
    trace = Trace(machine.trace.image)
    unlink = trace.begin("unlink", "/f", trace.image.paths()["/f"])
    sync = trace.begin("sync_directory", "/", ROOT)
    trace.end(unlink)
    trace.end(sync)
    history = History(trace)
    history.advance(trace.now)
    assert list(history.undetermined().values()) == [[trace.image.paths()["/f"], None]]


def test_an_operation_that_failed_changed_nothing() -> None:
    machine = SimulatedStorage(size_max=1024)
    machine.write_file("/f", b"A" * SECTOR)
    file = machine.open("/f", os.O_RDWR)
    for change in (lambda: file.pwritev([b"B"], 1024), lambda: file.truncate(2000)):
        with pytest.raises(OSError, match="File too large"):
            change()
    history = machine.history(machine.trace.now)
    assert history.undetermined() == {}


def test_what_a_sector_held_behind_the_end_does_not_come_to_light() -> None:
    machine = SimulatedStorage()
    machine.write_file("/f", b"A" * 100)
    machine.open("/f", os.O_RDWR).pwritev([b"B" * SECTOR], 0)
    after = machine.power_cut(lambda variable, legal: 0 if variable.kind == "size" else -1)
    file = after.open("/f", os.O_RDWR)
    file.truncate(SECTOR)
    assert file.read(SECTOR, 0) == b"B" * 100 + bytes(SECTOR - 100)


def test_power_cut_takes_oldest_newest_or_chance_and_all_of_it_is_durable_then() -> None:
    machine = SimulatedStorage()
    machine.write_file("/f", b"A" * 4096)
    file = machine.open("/f", os.O_RDWR)
    file.pwritev([b"B" * 4096], 0)
    assert machine.power_cut(oldest).read_file("/f") == b"A" * 4096
    after = machine.power_cut(newest)
    assert after.power_cut(oldest).read_file("/f") == b"B" * 4096
    assert set(machine.power_cut(seeded(1)).read_file("/f")) == set(b"AB")
    assert machine.power_cut(seeded(1)).read_file("/f") == machine.power_cut(seeded(1)).read_file("/f")


def test_one_run_can_be_cut_after_every_event() -> None:
    machine = SimulatedStorage()
    machine.write_file("/f", b"A" * SECTOR)
    file = machine.open("/f", os.O_RDWR)
    for letter in b"BCDE":
        file.pwritev([bytes([letter]) * SECTOR], 0)
        file.fdatasync()
    seen = [machine.power_cut(oldest, at=t).read_file("/f")[:1] for t in range(machine.trace.now + 1)]
    assert seen == sorted(seen)
    assert set(seen) == {b"A", b"B", b"C", b"D", b"E"}
    back = [machine.power_cut(oldest, at=t).read_file("/f")[:1] for t in reversed(range(machine.trace.now + 1))]
    assert back == seen[::-1]
    assert file.pread(1, 0) == b"E"


@pytest.mark.parametrize("block", [0, 512, 2048])
def test_a_file_that_is_being_extended_may_end_at_each_block(block: int) -> None:
    machine = SimulatedStorage(block=block)
    machine.write_file("/f", b"A" * 100)
    file = machine.open("/f", os.O_RDWR)
    file.write([b"B" * 5000], 100)

    def picking(at: int) -> Choose:
        return lambda variable, legal: at % len(legal)

    sizes = {len(machine.power_cut(picking(at)).read_file("/f")) for at in range(20)}
    step = block or 512
    assert sizes == {100, 5100, *range(step, 5100, step)}


@pytest.mark.parametrize("option", [{"profile": "ext9"}, {"sector": 1024}, {"block": 700}])
def test_a_machine_that_there_is_no_rule_for_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not a valid Profile|512 or 4096|a multiple of 512"):
        SimulatedStorage(**option)
