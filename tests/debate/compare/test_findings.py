"""The answers follow the numbers: other numbers, other sentences."""

from __future__ import annotations

from dataclasses import replace

from untorn.debate.compare.costs import Costs
from untorn.debate.compare.crash_check import Crashes, Verdict
from untorn.debate.compare.filesystems import FileSystem, Real, Timing
from untorn.debate.compare.findings import Answer, answers
from untorn.debate.compare.matrix import Cell

FLAG, MIX, STATE, PRICE, THROUGH, SMALL = range(6)
COSTS = Costs(1000, 10, 10, 10, 10, 10, 1000, 1, 0, 0, 0)


def cell(design: str, verdict: Verdict = Verdict.WHOLE, *, device: str = "nvme-16k", **costs: int) -> Cell:
    torn = int(verdict in (Verdict.TORN, Verdict.LOST, Verdict.REFUSED))
    crashes = Crashes(verdict, not torn, not torn, "", 10, 5, torn)
    taken = 0 if verdict is Verdict.REFUSED else 10
    return Cell("mixed", design, device, crashes, replace(COSTS, **{"taken": taken, **costs}))


FOLIO = cell("folio-flag", Verdict.LOST, folio_bits=9)
MAPPING = cell("mapping-flag", file_bits=1, forced=4, bios=20, bytes=2000)


def answered(*cells: Cell, real: Real | None = None) -> list[Answer]:
    return answers(cells, real)


def test_a_flag_is_not_needed_if_a_design_without_one_stays_whole() -> None:
    words = answered(FOLIO, MAPPING)[FLAG].words
    assert words.startswith("No: mapping-flag kept every page whole")
    assert "folio-flag spends 9 bits on each folio of 16 KiB and lost pages all the same, in mixed" in words


def test_a_flag_is_needed_if_every_design_without_one_tears() -> None:
    words = answered(cell("folio-flag", folio_bits=9), cell("cow", Verdict.TORN))[FLAG].words
    assert words == "By this run yes: every design without one tore a page, and folio-flag did not."


def test_no_flag_helps_if_all_tear() -> None:
    words = answered(FOLIO, cell("cow", Verdict.TORN))[FLAG].words
    assert words.startswith("By this run neither helps")


def test_what_was_not_run_is_not_answered() -> None:
    found = answered(cell("plain", Verdict.REFUSED))
    assert all(found[at].words.startswith("This run does not tell: ") for at in (FLAG, MIX, STATE, PRICE, THROUGH))


def test_a_search_that_was_not_finished_answers_nothing() -> None:
    found = answered(FOLIO, MAPPING, cell("cow", Verdict.UNKNOWN))
    assert found[FLAG].words == found[STATE].words == "This run does not tell: some searches were not finished."


def test_what_a_mix_costs_is_measured_against_the_folio_flag() -> None:
    words = answered(FOLIO, MAPPING)[MIX].words
    assert "20 % of the bios go out inside a write call" in words
    assert "2.00 times the bios and 2.00 times the bytes" in words
    assert "keeps pages whole which folio-flag lost, in mixed" in words
    assert "kept no page" in answered(cell("folio-flag", folio_bits=9), MAPPING)[MIX].words


def test_copy_on_write_needs_what_it_has() -> None:
    bare = cell("cow", device="none")
    assert answered(cell("cow"), bare)[STATE].words.startswith("No: not a bit")
    assert "1 on a device without atomic writes" in answered(cell("cow"), bare)[STATE].words
    assert answered(cell("cow", folio_bits=2))[STATE].words.startswith("Yes, 2 bits")
    assert answered(bare, cell("cow", Verdict.TORN))[STATE].words.startswith("It was not enough here: 1 of 2")


def test_what_copy_on_write_costs_comes_from_the_counts_and_from_xfs() -> None:
    cells = [cell("plain", Verdict.REFUSED, bytes=900), cell("cow", bytes=2500, atomic_bios=0)]
    words = answered(*cells)[PRICE].words
    assert words.startswith(
        "As a log beside the file: 2.50 bytes to storage for each byte of the program (plain: 0.90)."
    )
    assert answered(*cells)[PRICE].basis == "simulation alone"
    timings = [
        Timing("xfs", "mixed", design, 9, 9, 9, 1.0, 2.0, extents, 1)
        for design, extents in (("cow", 1), ("folio-flag", 33))
    ]
    found = answered(*cells, real=Real([FileSystem("xfs")], timings))[PRICE]
    assert "at most 1 extent; XFS's own copy-on-write" in found.words
    assert "in up to 33 (folio-flag)" in found.words
    assert "XFS" in found.basis


def test_what_req_atomic_saves_is_told_where_it_was_used() -> None:
    found = answered(cell("cow", device="none", atomic_bios=0, bytes=2000), cell("cow", bytes=1000))[PRICE].words
    assert "REQ_ATOMIC, where the log could be left out (mixed), saved 50.0 % of them." in found
    assert "REQ_ATOMIC" not in answered(cell("cow", atomic_bios=0))[PRICE].words


def test_what_writethrough_costs_is_measured_against_the_folio_flag() -> None:
    words = answered(FOLIO, cell("writethrough", bios=30, bytes=4000))[THROUGH].words
    assert "3.00 times the bios and 4.00 times the bytes, most in mixed. 1 of 1" in words


def test_refusals_are_counted() -> None:
    words = answered(cell("writethrough", Verdict.REFUSED), cell("cow"))[SMALL].words
    assert words == ("writethrough refuse, and of the 1 combinations, written plainly then, 1 tore. cow never refused.")


def test_a_run_in_which_a_taken_page_tore_is_broken_and_one_with_a_mix_is_not() -> None:
    assert cell("cow", Verdict.TORN).broken
    assert not any(cell("folio-flag", one).broken for one in (Verdict.LOST, Verdict.REFUSED, Verdict.WHOLE))
