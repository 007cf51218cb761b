"""Layouts of strips: every thing has its cell, or a cell that says the worst of several."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from untorn.report.sector_strip import CELLS_MAX, Strip, lay_out

KINDS = ["same", "new", "old", "garbage"]


def strip(runs: list[tuple[str, int]]) -> Strip:
    return lay_out(runs, lambda kind, first, last: f"{first}-{last}:{kind}", KINDS.index)


def test_neighbours_of_one_kind_are_one_run_of_cells() -> None:
    found = strip([("same", 3), ("old", 1), ("new", 2)])

    assert [cell.title for cell in found.cells] == ["0-2:same", "3-3:old", "4-5:new"]
    assert [len(cell.edges) for cell in found.cells] == [2, 0, 1]
    assert found.each == 1


def test_a_run_goes_on_in_the_next_row() -> None:
    found = strip([("same", 100)])

    assert [cell.title for cell in found.cells] == ["0-63:same", "64-99:same"]
    assert [first for _, first in found.rows] == [0, 64]


def test_a_cell_that_stands_for_several_shows_the_worst() -> None:
    found = strip([("same", 5000), ("garbage", 1), ("new", 4999)])

    assert found.each == 20
    assert [cell.title for cell in found.cells if cell.kind == "garbage"] == ["5000-5019:garbage"]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 400)), max_size=12))
def test_every_thing_is_in_exactly_one_cell_and_all_are_in_the_picture(runs: list[tuple[str, int]]) -> None:
    found = strip(runs)
    count = sum(number for _, number in runs)
    spans = [tuple(map(int, cell.title.partition(":")[0].split("-"))) for cell in found.cells]

    assert [at for first, last in spans for at in range(first, last + 1)] == list(range(count))
    assert count <= found.each * CELLS_MAX
    assert all(cell.x + cell.width <= found.width and cell.y < found.height for cell in found.cells)
