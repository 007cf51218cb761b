"""The demo's power cuts: they see a plain write tear, and a defect of ours if one is planted."""

from __future__ import annotations

import itertools
import math
import os
import random
import warnings
from collections.abc import Iterator

import pytest

from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import NEVER, Legal, Variable
from untorn.demo import cuts
from untorn.demo.cuts import PAGE, CutEffort, Cuts, Kind, cut_power, states_log2
from untorn.log import checkpoint
from untorn.log.format import Extent
from untorn.log.writer import Log
from untorn.sizes import SECTOR
from untorn.storage.interface import StorageFile

DATA = random.Random(7).randbytes(8 * PAGE)
SMALL = CutEffort(commits=3, pages=2, samples=6)


def cut(kind: Kind, effort: CutEffort = SMALL, seed: int = 1) -> Cuts:
    return cut_power(kind, DATA, effort, seed, lambda done: None)


def test_plain_writes_are_seen_to_tear_and_untorn_ones_never_do() -> None:
    plain, untorn = cut(Kind.PLAIN), cut(Kind.UNTORN)

    assert plain.torn > plain.tried // 2
    assert "sectors of a commit are new, the others old" in plain.example
    assert (untorn.bad, untorn.example) == (0, "")
    assert untorn.tried > plain.tried
    assert not plain.complete


def test_the_same_seed_gives_the_same_figures_and_another_one_other_disks() -> None:
    assert cut(Kind.UNTORN) == cut(Kind.UNTORN)
    assert cut(Kind.PLAIN) == cut(Kind.PLAIN)
    assert cut(Kind.PLAIN, seed=2) != cut(Kind.PLAIN)


def test_the_power_is_cut_before_in_and_after_every_operation() -> None:
    plain = cut(Kind.PLAIN)

    # open, close, and for each commit two writes and a sync; the acknowledgements are moments, too.
    assert plain.operations == 2 + 3 * 3
    assert plain.moments == 2 * (plain.operations + 3) + 1


def test_where_few_disks_may_be_left_all_are_tried() -> None:
    effort = CutEffort(commits=1, pages=1, samples=1 << 10)

    plain = cut(Kind.PLAIN, effort)

    assert plain.complete
    # The eight sectors of the page and its time; the two whole ones are the old and the new commit.
    assert plain.states_log2 == 9
    assert plain.tried == 1 << 9
    assert plain.torn == (1 << 9) - 4


def forget_to_sync(log: Log) -> None:
    log.synced_through = log.sequence


def no_digest(*arguments: object) -> bool:
    return True


def unproved(log: StorageFile, salt: int, extent: Extent) -> bytes:
    return log.read(extent.length, extent.position)


def keep_the_log(log: Log) -> None:
    log.close()


MUTANTS = [
    pytest.param([(Log, "sync", forget_to_sync)], "lost", id="no-sync-at-commit"),
    pytest.param([(SimulatedFile, "verify", no_digest), (checkpoint, "_proved", unproved)], "torn", id="no-digest"),
    pytest.param([(Log, "remove", keep_the_log)], "refused", id="log-left-behind"),
]


@pytest.mark.parametrize(("defects", "kind"), MUTANTS)
def test_a_planted_defect_is_found(
    monkeypatch: pytest.MonkeyPatch, defects: list[tuple[object, str, object]], kind: str
) -> None:
    for where, name, defect in defects:
        monkeypatch.setattr(where, name, defect)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cut(Kind.UNTORN)

    assert getattr(found, kind) > 0
    assert found.bad > 0
    assert "power cut after event" in found.example


def test_an_acknowledged_commit_that_is_lost_is_bad_even_where_nothing_tears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedFile, "fdatasync", lambda file: None)

    assert cut(Kind.PLAIN).lost > 0


# How many states there are


def counted(chains: list[list[Legal]], last: int) -> int:
    """Every choice of one value each that is legal at some moment, counted one by one."""
    return sum(
        any(all(one.since <= at < one.until for one in choice) for at in range(last + 1))
        for choice in itertools.product(*chains)
    )


def tables() -> Iterator[tuple[dict[Variable, list[Legal]], int]]:
    """Of real traces, small enough to count one by one."""
    for seed in range(6):
        chance = random.Random(seed)
        storage = SimulatedStorage()
        storage.write_file("/file", bytes(SECTOR * 3))
        file = storage.open("/file", os.O_RDWR)
        for _ in range(7):
            match chance.randrange(4):
                case 0:
                    file.fdatasync()
                case 1:
                    file.truncate(chance.randrange(1, 4) * SECTOR)
                case _:
                    file.write([chance.randbytes(SECTOR)], chance.randrange(3) * SECTOR)
        last = storage.trace.now
        yield storage.history(last).table(), last


def test_the_number_of_states_is_what_counting_them_one_by_one_gives() -> None:
    sizes = set()
    for table, last in tables():
        chains = [cuts._merged(chain) for chain in table.values()]
        expected = counted(chains, last)
        assert states_log2(table, last) == pytest.approx(math.log2(expected))
        sizes.add(expected)
    assert len(sizes) > 3


def test_values_that_are_never_legal_at_one_time_are_no_state_together() -> None:
    first, second = Variable("sector", 1, 0), Variable("sector", 1, 1)
    table = {
        first: [Legal(b"a", 0, 5), Legal(b"b", 1, NEVER)],
        second: [Legal(b"c", 0, NEVER), Legal(b"d", 6, NEVER)],
    }

    # Without (a, d): when d comes, a is no longer legal.
    assert states_log2(table, 9) == pytest.approx(math.log2(3))
