"""What recovery cannot prove it copies: nothing that a second crash would need is in flight, nor any slot."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import untorn
from tests.log.pictures import FILE, LOG, machine, picture
from tests.log.rows import PICTURES
from untorn.crashmodel.storage import SimulatedStorage
from untorn.log.format import RECORDS_OFFSET, SLOTS, slot_offset
from untorn.log.writer import next_generation
from untorn.sizes import BLOCK

TWO_COMMITS: Final = PICTURES["killed, a commit not durable"]
"""One is proved by the header of the other, which is in doubt."""
FIRST: Final = RECORDS_OFFSET
SECOND: Final = FIRST + BLOCK
TAIL: Final = SECOND + BLOCK


def written(storage: SimulatedStorage) -> list[tuple[int, int]]:
    """Where recovery wrote to the log, and how much, but for slots."""
    now = storage.trace.now
    untorn.recover(FILE, storage=storage)
    return [
        (o.arguments[0], len(o.arguments[1]))
        for o in storage.trace.operations
        if o.issued > now and o.name == "pwritev" and o.path == LOG and o.arguments[0] >= RECORDS_OFFSET
    ]


def test_what_is_in_doubt_is_written_behind_the_tail_and_nothing_over_itself() -> None:
    storage = machine(TWO_COMMITS)
    assert written(storage) == [(TAIL, 2 * BLOCK)]
    assert picture(storage.read_file(FILE)) == TWO_COMMITS.result


def test_what_a_later_header_proves_is_not_copied() -> None:
    row = PICTURES["commits in order"]
    storage = machine(row.__class__("S1 cA0 cB1~1 cC0~2", row.home, row.outcome))
    assert written(storage) == [(TAIL + BLOCK, BLOCK)]


def test_what_the_slot_of_a_checkpoint_proves_is_not_copied() -> None:
    assert written(machine(PICTURES["checkpoint of two commits, home wxyz"])) == []


def test_a_copy_is_not_copied_again() -> None:
    assert written(machine(PICTURES["copied by recovery, home wxyz"])) == []


def test_a_torn_record_behind_the_tail_is_left_as_it_is() -> None:
    """Half of it beside half of a copy would be read as one."""
    row = TWO_COMMITS.__class__("S1 cA0 cB1!p", TWO_COMMITS.home, "Axyz")
    assert written(machine(row)) == [(TAIL, BLOCK)]


def test_on_a_full_disk_the_records_are_written_over_themselves() -> None:
    storage = machine(TWO_COMMITS)
    used = sum(inode.content.blocks for inode in storage.disk.live.inodes.values())
    storage.disk.options = replace(storage.disk.options, capacity=used * BLOCK)
    assert written(storage) == [(FIRST, 2 * BLOCK)]
    assert picture(storage.read_file(FILE)) == TWO_COMMITS.result


# Slots


@given(st.integers(0, 1 << 40), st.integers(0, 3 * SLOTS))
def test_a_slot_that_may_be_needed_is_not_written_over(durable: int, more: int) -> None:
    newest = durable + more
    new = next_generation(durable, newest)
    assert new > newest
    needed = [one for one in range(durable, newest + 1) if one]
    if more < SLOTS - 1:
        assert new == newest + 1
        assert slot_offset(new) not in map(slot_offset, needed)
    elif needed:
        assert slot_offset(new) not in (slot_offset(needed[0]), slot_offset(newest))


@pytest.mark.parametrize("attempts", range(1, SLOTS))
def test_recoveries_that_are_cut_off_one_after_the_other_take_a_slot_each(attempts: int) -> None:
    """The eighth in a row writes over that of an earlier one."""
    durable, newest = 1, 1
    places = {slot_offset(newest)}
    for _ in range(attempts):
        newest = next_generation(durable, newest)
        places.add(slot_offset(newest))
    assert len(places) == attempts + 1
