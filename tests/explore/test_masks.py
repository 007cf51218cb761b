"""Sets of classes of crash points as bit masks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from untorn.explore.masks import Tally

MASKS = st.lists(st.integers(0, (1 << 70) - 1), max_size=40)


@given(MASKS)
def test_a_tally_counts_each_member_as_one_by_one_would(masks: list[int]) -> None:
    tally = Tally(masks)
    assert [tally.count(at) for at in range(71)] == [sum(mask >> at & 1 for mask in masks) for at in range(71)]
