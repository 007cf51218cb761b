"""The demo's power cuts: plain writes are seen to tear, untorn ones are certified, and a planted defect is found."""

from __future__ import annotations

import random
import warnings

import pytest

from tests.defects.plants import Patch, Plant, log_not_synced
from tests.defects.unchecked import digests_unchecked
from untorn.crashmodel.file import SimulatedFile
from untorn.demo.cuts import PAGE, CutEffort, Cuts, Kind, Overwriting, cut_power
from untorn.errors import UntornWarning
from untorn.log import checkpoint
from untorn.log.writer import Log
from untorn.sizes import SECTOR

DATA = random.Random(7).randbytes(8 * PAGE)
SMALL = CutEffort(commits=3, pages=2)
LEAST = CutEffort(commits=1, pages=1)


def cut(kind: Kind, effort: CutEffort = SMALL, seed: int = 1, jobs: int = 0) -> Cuts:
    return cut_power(kind, DATA, effort, seed, lambda done: None, jobs)


def test_plain_writes_are_seen_to_tear_and_untorn_ones_are_certified_by_the_same_check() -> None:
    plain, untorn = cut(Kind.PLAIN), cut(Kind.UNTORN)

    assert (plain.torn, plain.certified) == (True, False)
    assert plain.bad > plain.recoveries // 2
    assert plain.verdict == f"BAD: {plain.bad} of {plain.recoveries} recoveries ended in a bad state"
    assert (untorn.torn, untorn.certified, untorn.bad, untorn.example) == (False, True, 0, "")
    assert untorn.verdict.startswith("certified: about 2^")
    assert untorn.states > plain.states
    assert untorn.recoveries > untorn.nested > 0


def test_the_example_tells_when_the_power_fails_and_how_much_of_a_commit_is_there() -> None:
    words = cut(Kind.PLAIN).example

    # The first of two pages is written, and the other one is not.
    assert words.startswith("The power fails after operation 2, write of 4096 bytes at ")
    assert words.endswith("then the file is part old, part new: 8 of the 16 sectors of a commit are new")


def test_the_same_seed_gives_the_same_figures_and_another_one_other_pages() -> None:
    for kind in Kind:
        assert cut(kind, LEAST) == cut(kind, LEAST, jobs=2)
    assert cut(Kind.PLAIN, LEAST).example != cut(Kind.PLAIN, LEAST, seed=2).example


def test_every_mixture_of_sectors_is_a_state() -> None:
    plain = cut(Kind.PLAIN, LEAST)

    # Before the write one; after it those of eight sectors and the file's time; after the sync those of its time.
    assert plain.states == 1 + 2**9 + 2
    # Whatever its first sector is, the file is torn as soon as one of the other seven is not like that.
    assert plain.bad == 2 * 7
    assert plain.recoveries == 2 * 7 + 2


def test_one_sector_cannot_tear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("untorn.demo.cuts.PAGE", SECTOR)

    plain = cut(Kind.PLAIN, CutEffort(commits=2, pages=1))

    assert (plain.torn, plain.bad, plain.certified, plain.example) == (False, 0, True, "")


def test_progress_comes_to_its_end() -> None:
    told: list[float] = []

    cut_power(Kind.UNTORN, DATA, SMALL, 1, told.append)

    assert 0.0 < min(told) <= max(told) == told[-1] == 1.0


def nothing_digested(patch: Patch) -> None:
    """Neither in recovery nor at a checkpoint, which reads the log back."""
    digests_unchecked(patch)
    patch(checkpoint, "_proved", lambda log, salt, extent: log.read(extent.length, extent.position))


def log_left_behind(patch: Patch) -> None:
    patch(Log, "remove", Log.close)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (log_not_synced, "lost: the file holds commit "),
        (nothing_digested, "TornError: the first "),
        (log_left_behind, "not plain: beside the file there is file-untorn"),
    ],
)
def test_a_planted_defect_is_found(monkeypatch: pytest.MonkeyPatch, plant: Plant, words: str) -> None:
    plant(monkeypatch.setattr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntornWarning)
        found = cut(Kind.UNTORN, LEAST)

    assert (found.bad > 0, found.certified) == (True, False)
    assert found.example.startswith("The power fails ")
    assert words in found.example


def test_an_acknowledged_commit_that_is_lost_is_bad_even_where_nothing_tears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("untorn.demo.cuts.PAGE", SECTOR)
    monkeypatch.setattr(SimulatedFile, "fdatasync", lambda file: None)

    plain = cut(Kind.PLAIN, LEAST)

    assert (plain.torn, plain.bad > 0) == (False, True)
    assert "lost: the file holds commit 0, and commit 1 was acknowledged as durable" in plain.example


def test_an_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Overwriting, "check", interrupt)

    with pytest.raises(KeyboardInterrupt):
        cut(Kind.UNTORN)
