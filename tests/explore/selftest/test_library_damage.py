"""Lines of defence that no crash needs: what a flipped bit does to them, and what it would do without."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.defects.catalogue import DEFECTS, with_defect
from untorn.api import functions as api
from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import CorruptLogError
from untorn.explore.selftest.scripted_session import BLOCK, PATH, Script, stamp
from untorn.log.format import RECORDS_OFFSET, slot_offset
from untorn.log.scan import read_slots
from untorn.log.writer import log_path
from untorn.sizes import SECTOR
from untorn.storage.interface import AtomicLimits

IN_PLACE: Final = {"atomic": AtomicLimits(BLOCK, 4 * BLOCK, 0, 1)}


def flip(machine: SimulatedStorage, offset: int, bit: int = 0) -> None:
    """One bit of the log is another, as a decaying disk has it; times stay."""
    inode = machine.disk.walk(log_path(PATH), follow=False).inode
    assert inode is not None
    byte = inode.content.read(offset, 1)[0]
    inode.content.put(offset, bytes([byte ^ 1 << bit]))


def newest_slot(machine: SimulatedStorage) -> int:
    """Where the slot is that holds."""
    log = machine.open(log_path(PATH), os.O_RDONLY)
    slot = read_slots(log)
    log.close()
    assert slot is not None
    return slot_offset(slot.generation)


def hot(workload: Callable[[Script], None], **machine: Any) -> Script:
    """What a killed process leaves of a workload."""
    script = Script(stamp(1, 4 * BLOCK), **machine)
    workload(script)
    script.kill()
    return script


def two_commits(script: Script) -> None:
    """Damage in the first one cannot pass for a torn tail."""
    script.open()
    script.write(600, 100)
    script.commit()
    script.write(BLOCK, 100)
    script.commit()


def an_offset_in_the_table() -> None:
    script = hot(two_commits)
    flip(script.machine, RECORDS_OFFSET + SECTOR + 9, bit=4)  # 0 becomes 4096, which breaks no other rule
    api.recover(PATH, storage=script.machine)
    assert script.machine.read_file(PATH) == script.states[-1]


def a_byte_that_is_read_from_the_log() -> None:
    script = Script(stamp(1, 4 * BLOCK))
    two_commits(script)
    script.file._inode.pages.clean.clear()
    flip(script.machine, RECORDS_OFFSET + 2 * SECTOR + 600)
    try:
        assert script.file.pread(100, 600) == script.content[600:700]
    finally:
        script.kill()


def the_slot_behind_commits_in_home() -> None:
    """The generation before had a checkpoint, whose records are all still there."""

    def workload(script: Script) -> None:
        script.open(checkpoint_bytes=BLOCK)
        script.write(600, 100)
        script.write(BLOCK + 600, 100)
        script.commit()
        script.write(0, BLOCK)
        script.commit()

    script = hot(workload, **IN_PLACE)
    flip(script.machine, newest_slot(script.machine) + 40)
    api.recover(PATH, storage=script.machine)
    assert script.machine.read_file(PATH) == script.states[-1]


def the_slot_of_a_log_that_followed_commits_in_home() -> None:
    """The generation before had no records, so its slot would make this one's look like nothing."""

    def workload(script: Script) -> None:
        script.open()
        script.write(600, 100)
        script.write(BLOCK + 600, 100)
        script.commit()
        script.close()
        script.open(checkpoint_bytes=BLOCK)
        script.write(600, 100)
        script.write(BLOCK + 600, 100)
        script.commit()
        script.write(0, BLOCK)
        script.commit()
        script.write(700, 100)
        script.write(BLOCK + 700, 100)
        script.file._inode._write_back(commit=True)
        script.file._inode.design._log.sync()

    script = hot(workload, **IN_PLACE)
    flip(script.machine, newest_slot(script.machine) + 40)
    api.recover(PATH, storage=script.machine)
    assert script.machine.read_file(PATH) == script.content


DAMAGES: Final[dict[str, Callable[[], None]]] = {
    "the table's digest is not checked": an_offset_in_the_table,
    "an extent's digest is not checked when it is read": a_byte_that_is_read_from_the_log,
    "a commit in home is not announced": the_slot_behind_commits_in_home,
    "the stale slot stays": the_slot_of_a_log_that_followed_commits_in_home,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused(name: str) -> None:
    with pytest.raises(CorruptLogError):
        DAMAGES[name]()


@pytest.mark.parametrize("name", DAMAGES)
def test_without_its_line_of_defence_damage_passes_and_does_harm(name: str) -> None:
    with with_defect(DEFECTS[name]), pytest.raises(AssertionError):
        DAMAGES[name]()
