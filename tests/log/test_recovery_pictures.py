"""Recovery as pictures: one row per disk state, in ``tests/log/rows.py``.

Every row is recovered, recovered twice, read without being recovered, applied, discarded, and recovered with a
crash at each call through the seam.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import untorn
from tests.log.pictures import FILE, FOLDER, LOG, Picture, content, machine, picture
from tests.log.rows import PICTURES
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import Choose, newest, oldest, seeded
from untorn.errors import CorruptLogError, LogError, UntornError, UntornWarning
from untorn.log.format import RECORDS_OFFSET
from untorn.log.writer import MARK
from untorn.storage.fault_injection import Fault, FaultyStorage, ProcessDeath

ROWS = [pytest.param(row, id=name) for name, row in PICTURES.items()]
GOOD = [pytest.param(row, id=name) for name, row in PICTURES.items() if not row.problem]
BAD = [pytest.param(row, id=name) for name, row in PICTURES.items() if row.problem]
APPLIABLE = [pytest.param(row, id=name) for name, row in PICTURES.items() if row.appliable]
ELSEWHERE = [pytest.param(row, id=name) for name, row in PICTURES.items() if row.problem and not row.appliable]
STRAYS = [pytest.param(row, id=name) for name, row in PICTURES.items() if row.aside]

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
        kept = storage.read_file(f"{FOLDER}/{others[0]}")
        assert kept[RECORDS_OFFSET : len(log)] == log[RECORDS_OFFSET:]


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
    assert (status.path, status.size_on_disk) == (FILE, len(storage.read_file(FILE)))
    if row.problem:
        name, _, _ = row.outcome.partition("@")
        assert type(status.problem).__name__ == name
        check_refused(row, lambda: untorn.verify(FILE, storage=storage))
    else:
        assert status.problem is None
        assert status.size == len(content(row.result))
        assert untorn.verify(FILE, storage=storage) == status
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


def crash(row: Picture, nth: int, *, apply: bool = False, torn: bool = False) -> SimulatedStorage | None:
    """The machine after a death at the nth change that recovery makes; None if there are not that many."""
    storage = machine(row)
    fault = Fault(nth=nth, names={"pwritev"} if torn else CHANGES, death=True, transfer=4096 if torn else None)
    faulty = FaultyStorage(storage, fault)
    try:
        quietly(lambda: untorn.recover(FILE, on_damage="apply" if apply else "raise", storage=faulty))
    except ProcessDeath:
        return storage
    return None


def crashes(row: Picture, *, apply: bool = False, torn: bool = False) -> Iterator[SimulatedStorage]:
    """The machine after a death at each change that recovery makes."""
    storage = machine(row)
    now = storage.trace.now
    quietly(lambda: untorn.recover(FILE, on_damage="apply" if apply else "raise", storage=storage))
    done = operations(storage, now)
    for nth in range(sum(name == "pwritev" if torn else name in CHANGES for name in done)):
        crashed = crash(row, nth, apply=apply, torn=torn)
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
    """A power failure may leave both names of a log that was being set aside: the old one goes, the log stays."""
    quietly(lambda: untorn.recover(FILE, storage=storage))
    assert picture(storage.read_file(FILE)) == result
    others = [f"{FOLDER}/{name}" for name in storage.listdir(FOLDER) if name != "file"]
    assert all(".aside-" in name for name in others)
    assert len({storage.stat(name).inode for name in others}) == 1


def test_recovery_makes_the_changes_that_the_crashes_are_planted_at() -> None:
    """The control: most states need several, and a crash at each of them does change what is found."""
    row = PICTURES["killed, no commit durable"]
    found = {picture(storage.power_cut(oldest).read_file(FILE)) for storage in crashes(row)}
    assert len(list(crashes(row))) > 8
    assert found == {"wxyz", "AByz"}
    assert not list(crashes(PICTURES["no log"]))


# The ways out


@pytest.mark.parametrize("row", APPLIABLE)
def test_apply_installs_what_can_be_proved_and_keeps_the_log_aside(row: Picture) -> None:
    storage = machine(row)
    log = log_of(storage)
    quietly(lambda: untorn.recover(FILE, on_damage="apply", storage=storage))
    check_plain(storage, row.applied or row.home, log)


@pytest.mark.parametrize("row", ELSEWHERE)
def test_apply_takes_no_mark_away_while_its_log_is_elsewhere(row: Picture) -> None:
    storage = machine(row)
    before = everything(storage)
    check_refused(row, lambda: untorn.recover(FILE, on_damage="apply", storage=storage))
    assert everything(storage) == before


@pytest.mark.parametrize("row", STRAYS)
def test_apply_installs_an_unmarked_log_only_where_it_is_shown_to_be_the_files(row: Picture) -> None:
    storage = machine(row)
    log, before = log_of(storage), everything(storage)
    if row.moved and row.edited:
        with pytest.raises(LogError, match="nothing shows that they are this file's: its inode is"):
            untorn.recover(FILE, on_damage="apply", storage=storage)
        assert everything(storage) == before
        return
    quietly(lambda: untorn.recover(FILE, on_damage="apply", storage=storage))
    check_plain(storage, row.applied or row.home, log)


@pytest.mark.parametrize("row", ROWS)
def test_a_log_that_was_discarded_and_is_put_back_gives_its_commits(row: Picture) -> None:
    storage = machine(row)
    home = picture(storage.read_file(FILE))
    quietly(lambda: untorn.recover(FILE, on_damage="discard", storage=storage))
    aside = [name for name in storage.listdir(FOLDER) if name != "file"]
    if not aside or row in [one.values[0] for one in ELSEWHERE]:
        return
    storage.rename(f"{FOLDER}/{aside[0]}", LOG)
    if row.moved and row.edited:
        return
    quietly(lambda: untorn.recover(FILE, on_damage="apply", storage=storage))
    applied = row.applied or home if row.problem or row.aside else row.result
    assert picture(storage.read_file(FILE)) == applied


@pytest.mark.parametrize("row", APPLIABLE)
def test_a_process_that_dies_in_apply_loses_neither_file_nor_evidence(row: Picture) -> None:
    log = log_of(machine(row))
    applied = row.applied or row.home
    for nth, storage in enumerate(crashes(row, apply=True)):
        storage.kill_process()
        try:
            quietly(lambda: untorn.recover(FILE, storage=storage))  # noqa: B023
        except UntornError:
            quietly(lambda: untorn.recover(FILE, on_damage="apply", storage=storage))  # noqa: B023
        found = picture(storage.read_file(FILE))
        assert found in (row.home, applied), f"died at change {nth}"
        # A log that holds nothing, or nothing that was not applied, is no evidence.
        spent = not {"c", "d"} & set(row.log) or (row.outcome == "ForeignEditError" and found == applied)
        kept = len(storage.listdir(FOLDER)) > 1
        check_plain(storage, found, log if kept or not spent else None)


@pytest.mark.parametrize("row", ROWS)
def test_discard_keeps_the_file_as_it_is_and_the_log_aside(row: Picture) -> None:
    storage = machine(row)
    log = log_of(storage)
    home = picture(storage.read_file(FILE))
    quietly(lambda: untorn.recover(FILE, on_damage="discard", storage=storage))
    check_plain(storage, home, log)


def test_on_damage_is_one_of_three_words() -> None:
    storage = machine(PICTURES["edited"])
    before = everything(storage)
    with pytest.raises(ValueError, match="on_damage must be one of raise, apply, discard, not 'force'"):
        untorn.recover(FILE, on_damage="force", storage=storage)  # type: ignore[arg-type]
    assert everything(storage) == before
