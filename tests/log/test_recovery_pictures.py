"""Recovery as pictures: one row per disk state. ``tests/log/pictures.py`` says how to read them.

Every row is recovered, recovered twice, read without being recovered, forced, discarded, and recovered with a
crash at each call through the seam.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import untorn
from tests.log.pictures import FILE, FOLDER, LOG, Picture, content, machine, picture
from untorn.errors import CorruptLogError, UntornError, UntornWarning, UntrustedLogError
from untorn.log.log import MARK
from untorn.storage.faulty import Fault, FaultyStorage, ProcessDeath
from untorn.storage.simulated import SimulatedStorage
from untorn.storage.variables import Choose, newest, oldest, seeded

P = Picture
W = "wxyz"
"""What home holds where nothing else is said."""

DAMAGE = ("!h", "!t", "!p", "!H", "!T", "!P", "!z")
TEARS = (*DAMAGE, "!c", "!n")

PICTURES: dict[str, Picture] = {
    # No log, or none that counts
    "no log": P("-", W, W, mark="none"),
    "created, never allocated": P("0", W, W, mark="none"),
    "created, never started": P("00", W, W, mark="none"),
    "started, not marked": P("S1", W, W, mark="none"),
    "started, not marked, a record torn": P("S1 cA0!p", W, W, mark="none"),
    "started": P("S1", W, W),
    "at its end, mark removed": P("K2~1 S3", W, W, mark="none"),
    "at its end, mark removed, old records behind": P("K2~1 S3 1:cA0", W, W, mark="none"),
    # Commits
    "one commit": P("S1 cA0", W, "Axyz"),
    "an empty commit": P("S1 c", W, W),
    "commits in order": P("S1 cA0 cB1 cC0", W, "CByz"),
    "a commit of many extents": P("S1 cAB1C3D5", W, "wABC.D"),
    "a commit over part of another": P("S1 cABC0 cD1", W, "ADCz"),
    "a commit that grows the file": P("S1 cA6", W, "wxyz..A"),
    "a new file": P("S1 cA0", "", "A"),
    # Sizes
    "truncated": P("S1 c<2=2", W, "wx"),
    "truncated to nothing": P("S1 c<0=0", W, ""),
    "extended": P("S1 c=6", W, "wxyz.."),
    "truncated down and up": P("S1 c<1=4", W, "w..."),
    "truncated down and up, with data": P("S1 cA3<1=5", W, "w..A."),
    "truncated down, up by the next commit": P("S1 c<1=1 c=4", W, "w..."),
    "truncated down, up by the next write": P("S1 c<1=1 cA3", W, "w..A"),
    "logged data cut off": P("S1 cA2 c<2=2 c=4", W, "wx.."),
    "part of an extent cut off": P("S1 cABC0 c<2=2 c=4", W, "AB.."),
    # Spills, savepoints, rollbacks
    "data without a commit": P("S1 dA0", W, W),
    "data without a commit, after one": P("S1 cA0 dB1", W, "Axyz"),
    "data and its commit": P("S1 dA0 dB1 cC2", W, "ABCz"),
    "data rolled back": P("S1 dA0 cB1^0", W, "wByz"),
    "data rolled back by an empty commit": P("S1 dA0 c^0", W, W),
    "data rolled back after a commit": P("S1 cA0 dB1 cC2^1", W, "AxCz"),
    "a savepoint rolled back": P("S1 dA0 dB1 cC2^1", W, "AxCz"),
    "savepoints rolled back at once": P("S1 dA0 dB1 dC2 dD3^1 cE0^4", W, "ExyD"),
    "data cuts, its commit extends": P("S1 dA0<1=1 c=4", W, "A..."),
    "a cut rolled back": P("S1 d<1=1 cA0^0", W, "Axyz"),
    "a commit on data that was rolled back": P("S1 dA0 dB1^0 cC2^1", W, W),
    "a commit on a commit before the last": P("S1 cA0 cB1 cC2^1", W, "AByz"),
    "a commit on itself": P("S1 cA0 cB1 cC2^2 cD3^3", W, "ABCD"),
    # A torn tail is normal
    **{f"first record torn ({t})": P(f"S1 cA0{t}", W, W) for t in TEARS},
    **{f"last record torn ({t})": P(f"S1 cA0 cB1{t}", W, "Axyz") for t in TEARS},
    "a middle record torn": P("S1 cA0 cB1!p cC2", W, "Axyz"),
    "a middle record torn, what was before it durable": P("S1 cA0 cB1!z cC2~1", W, "Axyz"),
    "the tail torn in a checkpoint": P("S1 K2~2 cA0 cB1 cC2!p", W, "AByz"),
    "a transaction's data torn": P("S1 cA0 dB1!z cC2", W, "Axyz"),
    "a later generation's record behind a torn one": P("S1 cA0!z 3:cB1~1", W, W),
    # Damage is not
    **{
        f"a durable record damaged ({t})": P(f"S1 cA0 cB1{t} cC2~2", W, "CorruptLogError@12288", "Axyz") for t in DAMAGE
    },
    "the first record damaged": P("S1 cA0!p cB1~1", W, "CorruptLogError@8192", W),
    "damaged, known from far behind": P("S1 cA0 cB1!p cC2 cD3 cA1~2", W, "CorruptLogError@12288", "Axyz"),
    "damaged, known from data": P("S1 cA0!p dB1~1", W, "CorruptLogError@8192", W),
    "damaged, known from a record that is torn": P("S1 cA0!z cB1~1!p", W, "CorruptLogError@8192", W),
    "damaged in a checkpoint": P("S1 K2~2 cA0 cB1!p", W, "CorruptLogError@12288", "Axyz"),
    "damaged in a checkpoint, home partly rewritten": P("S1 K2~2 cA0!p cB1", "wByz", "CorruptLogError@8192"),
    "all records lost in a checkpoint": P("S1 K2~2 cA0!z cB1!z", W, "CorruptLogError@8192", W),
    "a record in another's place": P("S1 cA0 cB1!n~2", W, "CorruptLogError@12288", "Axyz"),
    # Checkpoints: home in any state between
    **{
        f"checkpoint of two commits, home {home}": P("S1 K2~2 cA0 cB1", home, "AByz")
        for home in ["wxyz", "Axyz", "wByz", "AByz"]
    },
    **{f"checkpoint of a cut, home {home}": P("S1 K2~1=4 c<2=2", home, "wx") for home in ["wxyz", "wx"]},
    **{
        f"checkpoint of a cut and a growth, home {home}": P("S1 K2~1=4 cA6<1=7", home, "w.....A")
        for home in ["wxyz", "w", "w.....A", "w......", "wxyz..A"]
    },
    **{
        f"checkpoint of a growth, home {home}": P("S1 K2~1=4 cA6", home, "wxyz..A")
        for home in ["wxyz", "wxyz..", "wxyz...", "wxyz..A"]
    },
    "checkpoint, slot alone left": P("K2~1 cA0", W, "Axyz"),
    "checkpoint of nothing": P("S1 K2", W, W),
    # Restarts
    "checkpoint done, restart not durable": P("S1 K2~1 cA0", "Axyz", "Axyz"),
    "restarted, old records behind": P("K2~1 S3 1:cA0 1:cB1", "ABqz", "ABqz"),
    "restarted, a new record over an old one": P("K2~2 S3 cC2 1:cB1", "AByz", "ABCz"),
    "restarted, old slot zeroed": P("S3 cC2 1:cB1", "AByz", "ABCz"),
    "restarted twice": P("K4~1 S5 cC2 3:cB1 1:cA0", W, "wxCz"),
    "in the second checkpoint": P("S3 K4~1 cC2", W, "wxCz"),
    # Damaged slots: no older generation comes back
    "the only slot damaged": P("S1!h cA0", W, "CorruptLogError@0"),
    "both slots damaged": P("S1!h K2!h cA0", W, "CorruptLogError@0"),
    "the newest slot damaged, the one before zeroed": P("S3!h cC2 1:cB1", W, "CorruptLogError@0"),
    "the newest slot damaged, new records over the old": P("K2~1 S3!h cC2", W, "CorruptLogError@8192"),
    "the newest slot damaged, nothing written since": P("K2~1 S3!h 1:cA0", "Axyz", "Axyz"),
    "the checkpoint slot damaged, home touched": P("S1 K2~1!h cA0", "Axyz", "ForeignEditError", "Axyz", edited="later"),
    "the older slot damaged": P("S1!h K2~1 cA0", W, "Axyz"),
    # Whose log it is
    "unmarked, a log with records": P("S1 cA0", W, "aside wxyz", mark="none"),
    "unmarked, a checkpoint": P("S1 K2~1 cA0", W, "aside wxyz", mark="none"),
    "unmarked, something else": P("S1!h cA0", W, "aside wxyz", mark="none"),
    "unmarked, another file's log": P("S1!f cA0", W, "aside wxyz", mark="none"),
    "unmarked, the first record damaged": P("S1 cA0!p cB1~1", W, "aside wxyz", mark="none"),
    "unmarked, damaged": P("S1 cA0 cB1!p cC2~2", W, "aside wxyz", mark="none"),
    "marked, no log": P("-", W, "MissingLogError"),
    "marked, an empty file": P("0", W, "CorruptLogError@0"),
    "marked, a blank log": P("00", W, "CorruptLogError@0"),
    "marked, another file's log": P("S1!f cA0", W, "LogError"),
    "marked as another file, its log is not there": P("S1 cA0", W, "LogError", mark="other"),
    "marked, another file's log, no records": P("S1!f", W, "LogError"),
    # Without extended attributes
    "by inode, no log": P("-", W, W, xattrs=False),
    "by inode": P("S1 cA0", W, "Axyz", xattrs=False),
    "by inode, started": P("S1", W, W, xattrs=False),
    "by inode, created": P("00", W, W, xattrs=False),
    "by inode, in a checkpoint": P("S1 K2~2 cA0 cB1", "wByz", "AByz", xattrs=False),
    "by inode, another file": P("S1 cA0", W, "aside wxyz", xattrs=False, moved=True),
    "by inode, another file, no records": P("S1", W, W, xattrs=False, moved=True),
    "by inode, slot damaged": P("S1!h cA0", W, "aside wxyz", xattrs=False),
    "by inode, damaged": P("S1 cA0!p cB1~1", W, "CorruptLogError@8192", W, xattrs=False),
    "by inode, edited": P("S1 cA0", W, "ForeignEditError", "Axyz", xattrs=False, edited="later"),
    # Home changed by another program
    "edited, longer": P("S1=3 cA0", W, "ForeignEditError", "Axy"),
    "edited, shorter": P("S1=5 cA0", W, "ForeignEditError", "Axyz."),
    "edited": P("S1 cA0", W, "ForeignEditError", "Axyz", edited="later"),
    "restored from a backup": P("S1 cA0", W, "ForeignEditError", "Axyz", edited="earlier"),
    "edited, nothing committed": P("S1", W, W, edited="later"),
    "edited, data but no commit": P("S1 dA0", W, W, edited="later"),
    "edited, damaged": P("S1 cA0!p cB1~1", W, "CorruptLogError@8192", W, edited="later"),
    "in a checkpoint, home newer": P("S1 K2~1 cA0", W, "Axyz", edited="later"),
    "restored from a backup in a checkpoint": P("S1 K2~1 cA0", W, "ForeignEditError", "Axyz", edited="earlier"),
    # The writer was killed: some of it is in the cache only
    "killed, a commit not durable": P("S1 cA0 | cB1", W, "AByz", legal=("Axyz",)),
    "killed, no commit durable": P("S1 | cA0 cB1", W, "AByz", legal=("Axyz", W)),
    "killed, a transaction not durable": P("S1 cA0 | dB1 cC2", W, "ABCz", legal=("Axyz",)),
    "killed after its sync failed": P("S1 cA0 || cB1", W, "AByz", legal=("Axyz",)),
    "killed in a spill": P("S1 cA0 | dB1 dC2", W, "Axyz"),
    "killed in a checkpoint": P("S1 K2~1 cA0", W, "Axyz", cached="Axyz"),
    "killed in a checkpoint that grows": P("S1 K2~1 cA6", W, "wxyz..A", cached="wxyz..A"),
    "killed in a checkpoint, new commits behind": P("S1 K2~1 cA0 | cB1", W, "AByz", cached="Axyz", legal=("Axyz",)),
}
ROWS = [pytest.param(row, id=name) for name, row in PICTURES.items()]
GOOD = [pytest.param(row, id=name) for name, row in PICTURES.items() if not row.problem]
BAD = [pytest.param(row, id=name) for name, row in PICTURES.items() if row.problem]

READING = {"open", "stat", "resolve", "pread", "getxattr", "lock", "lock_holder", "first_hole", "close"}
CHANGES = {"pwritev", "truncate", "fdatasync", "fsync", "sync_directory", "unlink", "rename", "removexattr"}
CHOICES: dict[str, Choose] = {"oldest": oldest, "newest": newest, "one seed": seeded(1), "another": seeded(2)}


def everything(storage: SimulatedStorage) -> dict[str, Any]:
    """All that a program can see of the folder."""
    paths = [f"{FOLDER}/{name}" for name in storage.listdir(FOLDER)]
    return {path: (storage.read_file(path), storage.attributes(path), storage.stat(path)) for path in paths}


def operations(storage: SimulatedStorage, since: int) -> list[str]:
    """What was done to the machine since event ``since``."""
    return [operation.name for operation in storage.trace.operations if operation.issued > since]


def quietly(call: Callable[[], Any]) -> Any:
    """The call's result; that a log was set aside is looked for on the disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntornWarning)
        return call()


def check_refused(row: Picture, call: Callable[[], Any]) -> UntornError:
    """The call raises what the row says."""
    name, _, offset = row.outcome.partition("@")
    with pytest.raises(UntornError) as caught:
        call()
    assert type(caught.value).__name__ == name
    if isinstance(caught.value, CorruptLogError):
        assert caught.value.offset == int(offset)
        assert caught.value.reason
    return caught.value


def check_plain(storage: SimulatedStorage, result: str, log: bytes | None = None) -> None:
    """One ordinary file with this content, and beside it nothing, or this log under another name."""
    assert picture(storage.read_file(FILE)) == result
    assert MARK not in storage.attributes(FILE)
    others = [name for name in storage.listdir(FOLDER) if name != "file"]
    assert all(name.startswith("file-untorn.aside-") for name in others)
    assert len(others) == (log is not None), others
    if log is not None:
        # Slots may have changed: that the file was being rewritten has to be in them.
        assert storage.read_file(f"{FOLDER}/{others[0]}")[8192:] == log[8192:]


def log_of(storage: SimulatedStorage) -> bytes | None:
    return storage.read_file(LOG) if "file-untorn" in storage.listdir(FOLDER) else None


@pytest.mark.parametrize("row", GOOD)
def test_recovery_ends_in_the_pictured_commit(row: Picture) -> None:
    storage = machine(row)
    log = log_of(storage)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        untorn.recover(FILE, storage=storage)
    check_plain(storage, row.result, log if row.aside else None)
    assert [warning.category for warning in warned] == [UntornWarning] * row.aside


@pytest.mark.parametrize("row", BAD)
def test_recovery_refuses_and_changes_nothing(row: Picture) -> None:
    storage = machine(row)
    before = everything(storage)
    error = check_refused(row, lambda: untorn.recover(FILE, storage=storage))
    assert everything(storage) == before
    assert "untorn" in str(error), "the message does not say what to do"


@pytest.mark.parametrize("row", ROWS)
def test_opening_to_write_does_what_recovery_does(row: Picture) -> None:
    storage = machine(row)
    before, log = everything(storage), log_of(storage)
    if row.problem:
        check_refused(row, lambda: untorn.open(FILE, "r+b", storage=storage))
        assert everything(storage) == before
        return
    with quietly(lambda: untorn.open(FILE, "r+b", storage=storage)) as file:
        assert picture(file.read()) == row.result
    check_plain(storage, row.result, log if row.aside else None)


@pytest.mark.parametrize("row", ROWS)
def test_opening_to_read_shows_the_pictured_commit_and_writes_nothing(row: Picture) -> None:
    storage = machine(row)
    before, now = everything(storage), storage.trace.now
    if row.problem:
        check_refused(row, lambda: untorn.open(FILE, "rb", storage=storage))
    else:
        with untorn.open(FILE, "rb", storage=storage) as file:
            assert picture(file.read()) == row.result
            assert picture(file.pread(1 << 20, 0)) == row.result
    assert everything(storage) == before
    assert set(operations(storage, now)) <= READING


@pytest.mark.parametrize("row", ROWS)
def test_status_and_check_tell_the_outcome_and_write_nothing(row: Picture) -> None:
    storage = machine(row)
    before, now = everything(storage), storage.trace.now
    status = untorn.status(FILE, storage=storage)
    assert (status.path, status.home_size) == (FILE, len(storage.read_file(FILE)))
    if row.problem:
        name, _, _ = row.outcome.partition("@")
        assert type(status.problem).__name__ == name
        check_refused(row, lambda: untorn.check(FILE, storage=storage))
    else:
        assert status.problem is None
        assert status.size == len(content(row.result))
        assert untorn.check(FILE, storage=storage) == status
    assert everything(storage) == before
    assert set(operations(storage, now)) <= READING


@pytest.mark.parametrize("row", ROWS)
def test_recovering_twice_is_recovering_once(row: Picture) -> None:
    storage = machine(row)
    if row.problem:
        for _ in range(2):
            check_refused(row, lambda: untorn.recover(FILE, storage=storage))
        return
    quietly(lambda: untorn.recover(FILE, storage=storage))
    before, now = everything(storage), storage.trace.now
    assert untorn.recover(FILE, storage=storage) == 0
    assert everything(storage) == before
    assert set(operations(storage, now)) <= READING


# Crashes within recovery


def crash(row: Picture, nth: int, *, force: bool = False, torn: bool = False) -> SimulatedStorage | None:
    """The machine after a death at the nth change that recovery makes; None if there are not that many."""
    storage = machine(row)
    fault = Fault(nth=nth, names={"pwritev"} if torn else CHANGES, death=True, transfer=0.5 if torn else None)
    faulty = FaultyStorage(storage, fault)
    try:
        quietly(lambda: untorn.recover(FILE, force=force, storage=faulty))
    except ProcessDeath:
        return storage
    return None


def crashes(row: Picture, *, force: bool = False, torn: bool = False) -> Iterator[SimulatedStorage]:
    """The machine after a death at each change that recovery makes."""
    storage = machine(row)
    now = storage.trace.now
    quietly(lambda: untorn.recover(FILE, force=force, storage=storage))
    done = operations(storage, now)
    for nth in range(sum(name == "pwritev" if torn else name in CHANGES for name in done)):
        crashed = crash(row, nth, force=force, torn=torn)
        assert crashed is not None
        yield crashed


@pytest.mark.parametrize("row", GOOD)
def test_a_process_that_dies_in_recovery_leaves_the_outcome_to_the_next(row: Picture) -> None:
    log = log_of(machine(row))
    for torn in (False, True):
        for storage in crashes(row, torn=torn):
            storage.kill_process()
            quietly(lambda: untorn.recover(FILE, storage=storage))  # noqa: B023
            check_plain(storage, row.result, log if row.aside else None)


@pytest.mark.parametrize("row", GOOD)
def test_a_power_failure_in_recovery_leaves_the_outcome_to_the_next(row: Picture) -> None:
    log = log_of(machine(row))
    for nth, storage in enumerate(crashes(row)):
        for name, choose in CHOICES.items():
            after = storage.power_cut(choose)
            if row.aside and len(after.listdir(FOLDER)) == 3:
                check_half_renamed(after, row.result)
                continue
            quietly(lambda: untorn.recover(FILE, storage=after))  # noqa: B023
            found = picture(after.read_file(FILE))
            assert found in (row.result, *row.legal), f"power failed at change {nth}, {name}"
            check_plain(after, found, log if row.aside else None)


def check_half_renamed(storage: SimulatedStorage, result: str) -> None:
    """A power failure may leave both names of a log that was being set aside: refused until one is removed."""
    with pytest.raises(UntrustedLogError, match=r"several names.*Move it away"):
        untorn.recover(FILE, storage=storage)
    storage.unlink(LOG)
    untorn.recover(FILE, storage=storage)
    assert picture(storage.read_file(FILE)) == result


def test_recovery_makes_the_changes_that_the_crashes_are_planted_at() -> None:
    """The control: most states need several, and a crash at each of them does change what is found."""
    row = PICTURES["killed in a checkpoint, new commits behind"]
    found = {picture(storage.power_cut(oldest).read_file(FILE)) for storage in crashes(row)}
    assert len(list(crashes(row))) > 8
    assert found == {"wxyz", "AByz"}
    assert not list(crashes(PICTURES["no log"]))


# The ways out


@pytest.mark.parametrize("row", BAD)
def test_force_applies_what_can_be_proved_and_keeps_the_log_aside(row: Picture) -> None:
    storage = machine(row)
    log = log_of(storage)
    quietly(lambda: untorn.recover(FILE, force=True, storage=storage))
    check_plain(storage, row.force or row.home, log)


@pytest.mark.parametrize("row", BAD)
def test_a_process_that_dies_in_force_loses_neither_file_nor_evidence(row: Picture) -> None:
    log = log_of(machine(row))
    forced = row.force or row.home
    for nth, storage in enumerate(crashes(row, force=True)):
        storage.kill_process()
        try:
            quietly(lambda: untorn.recover(FILE, storage=storage))  # noqa: B023
        except UntornError:
            quietly(lambda: untorn.recover(FILE, force=True, storage=storage))  # noqa: B023
        found = picture(storage.read_file(FILE))
        assert found in (row.home, forced), f"died at change {nth}"
        # A log that holds nothing, or nothing that was not applied, is no evidence.
        spent = " " not in row.log or (row.outcome == "ForeignEditError" and found == forced)
        kept = len(storage.listdir(FOLDER)) > 1
        check_plain(storage, found, log if kept or not spent else None)


@pytest.mark.parametrize("row", ROWS)
def test_discard_keeps_the_file_as_it_is_and_the_log_aside(row: Picture) -> None:
    storage = machine(row)
    log = log_of(storage)
    home = picture(storage.read_file(FILE))
    quietly(lambda: untorn.recover(FILE, discard=True, storage=storage))
    check_plain(storage, home, log)


def test_force_and_discard_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude"):
        untorn.recover(FILE, force=True, discard=True, storage=machine(PICTURES["edited"]))
