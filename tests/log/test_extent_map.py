"""The extent map against the simplest one there is: where each single byte comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untorn.log.extent_map import Mapping, Mark
from untorn.log.format import Extent

FOLIO = 16
FOLIOS = 5
END = FOLIO * FOLIOS

Source = tuple[str, int]
"""Of a byte: ("home", offset), ("log", position) or ("zero", 0)."""


@dataclass
class Model:
    """Byte by byte what the map should say."""

    log: dict[int, int]
    """Position in the log of each byte that lies there."""
    home_limit: int

    def source(self, offset: int) -> Source:
        if offset in self.log:
            return "log", self.log[offset]
        return ("home", offset) if offset < self.home_limit else ("zero", 0)


def sources(mapping: Mapping) -> list[Source]:
    """Byte by byte what the map says; checks on the way that it is in order."""
    found: list[Source] = [("home", at) if at < mapping.home_limit else ("zero", 0) for at in range(END)]
    count = at = 0
    for extent in mapping.extents():
        assert at <= extent.start < extent.stop, "out of order, overlapping or empty"
        assert extent.offset <= extent.start
        assert extent.stop <= extent.offset + extent.length
        assert extent.start // FOLIO == (extent.stop - 1) // FOLIO
        at = extent.stop
        count += 1
        for byte in range(extent.start, extent.stop):
            found[byte] = "log", extent.position + byte - extent.offset
    assert len(mapping) == count
    return found


@st.composite
def extents(draw: st.DrawFn) -> tuple[int, int]:
    """Offset and length of an extent inside one folio."""
    start = draw(st.integers(0, END - 1))
    return start, draw(st.integers(1, FOLIO - start % FOLIO))


INSERT = st.tuples(st.just("insert"), st.lists(extents(), min_size=1, max_size=4))
COMMIT = st.tuples(st.just("commit"), st.lists(extents(), max_size=4))
CUT = st.tuples(st.just("cut"), st.integers(0, END))
OTHERS = st.sampled_from([("mark", 0), ("rollback", 0), ("rollback", 1), ("base", 0)])
STEPS = st.lists(st.one_of(INSERT, INSERT, COMMIT, CUT, OTHERS), max_size=25)


@given(st.integers(0, END), STEPS)
def test_every_byte_comes_from_where_it_was_last_written(home_size: int, steps: list[tuple[str, object]]) -> None:
    mapping, model = Mapping(FOLIO, home_size), Model({}, home_size)
    position = 1000
    base = mapping.mark(), replace(model, log=model.log.copy())
    marks: list[tuple[Mark, Model]] = []
    for step, argument in steps:
        if step in ("insert", "commit"):
            assert isinstance(argument, list)
            mapped = []
            for offset, length in argument:
                mapped.append(Extent(offset, offset + length, offset, length, 0, position))
                model.log.update({offset + byte: position + byte for byte in range(length)})
                position += length
            mapping.insert(mapped, committed=step == "commit")
        if step == "commit":
            mapping.settle()
            assert mapping.settled
            base, marks = (mapping.mark(), replace(model, log=model.log.copy())), []
        elif step == "cut":
            assert isinstance(argument, int)
            mapping.cut(argument)
            model.log = {offset: at for offset, at in model.log.items() if offset < argument}
            model.home_limit = min(model.home_limit, argument)
        elif step == "mark":
            marks.append((mapping.mark(), replace(model, log=model.log.copy())))
        elif step == "rollback" and marks:
            assert isinstance(argument, int)
            mark, saved = marks[-1] if argument == 0 else marks[0]
            del marks[-1 if argument == 0 else 0 :]
            mapping.rollback(mark)
            model = replace(saved, log=saved.log.copy())
        elif step == "base":
            mapping.rollback(base[0])
            model, marks = replace(base[1], log=base[1].log.copy()), []
            assert mapping.settled
        assert sources(mapping) == [model.source(offset) for offset in range(END)]


def test_a_settled_change_is_not_rolled_back() -> None:
    mapping = Mapping(FOLIO, END)
    mark = mapping.mark()
    mapping.insert([Extent(0, 4, 0, 4, 0, 100)], committed=False)
    mapping.settle()
    mapping.rollback(mark)
    assert sources(mapping)[:5] == [("log", 100), ("log", 101), ("log", 102), ("log", 103), ("home", 4)]


def test_bytes_that_were_cut_do_not_come_back_when_the_file_grows() -> None:
    mapping = Mapping(FOLIO, END)
    mapping.insert([Extent(8, 16, 8, 8, 0, 100)], committed=True)
    mapping.cut(10)
    mapping.insert([Extent(12, 13, 12, 1, 0, 200)], committed=True)
    kinds = [kind for kind, _ in sources(mapping)]
    assert kinds == ["home"] * 8 + ["log"] * 2 + ["zero"] * 2 + ["log"] + ["zero"] * (END - 13)


@pytest.mark.parametrize("committed", [True, False])
def test_memory_does_not_grow_where_the_same_bytes_are_written_again(committed: bool) -> None:
    mapping = Mapping(FOLIO, END)
    for round_ in range(100):
        mapping.insert([Extent(at, at + 4, at, 4, 0, 4 * round_ + at) for at in range(0, END, 4)], committed=committed)
        mapping.settle()
    assert len(mapping) == END // 4
