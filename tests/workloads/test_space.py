"""What large operations leave reserved is bounded, and a bound that is exceeded is seen."""

from __future__ import annotations

from random import Random

import pytest

from tests.workloads.space import OPERATIONS, Holder, TooMuchError, every, too_much
from untorn.explore.selftest.scripted_session import PATH


def test_what_sequences_of_large_operations_leave_reserved_is_bounded() -> None:
    sequences = list(every())
    pairs = [one for one in sequences if len(one) < 3]
    threes = [one for one in sequences if len(one) == 3]

    found = {one: too_much(one) for one in [*pairs, *Random(1).sample(threes, len(threes) // 10)]}

    bad = [f"{', '.join(one)}: {message}" for one, message in found.items() if message]
    assert not bad, "\n".join(bad)


def test_blocks_that_nobody_needs_are_seen() -> None:
    holder = Holder()
    try:
        holder.look("nothing")
        holder.file._inode.home.allocate(1 << 20, 4 << 20, keep_size=True)
        with pytest.raises(TooMuchError):
            holder.look("nothing")
    finally:
        holder.kill()


def test_every_operation_does_what_it_says() -> None:
    for name in OPERATIONS:
        holder = Holder()
        holder.put(0, 10)
        OPERATIONS[name](holder)
        content = holder.content
        holder.close()
        assert holder.machine.read_file(PATH) == content
