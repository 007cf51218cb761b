"""The benchmark runs, measures all that it promises, and leaves nothing behind. What it measures is not looked at."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from bench import __main__ as command
from bench.contenders import Plain, check_content, make_file
from bench.ideal import Ideal, record_length
from bench.measure import KIB, MIB, Cell, Series, Source, race, size_text
from bench.run import PARTS, about, as_json, filesystem, measure
from bench.scale import Scale, Session
from bench.table import render
from bench.targets import Results, verdicts

TINY = Scale(
    file_bytes=2 * MIB,
    pages=(4 * KIB, 16 * KIB),
    batches=((1, 2), (64, 2)),
    sessions=(Session(16 * KIB, 64, 2 * MIB, 12 * MIB, 1),),
    append_lengths=(100,),
    append_batches=((1, 2), (3, 2)),
    small_rounds=1,
    micro_rounds=2,
    micro_calls=8,
    recovery_rounds=1,
    explored_saves=8,
    explored_appends=20,
)


def test_every_part_measures_every_contender_and_all_of_it_gets_a_verdict(tmp_path: Path) -> None:
    results = measure(tmp_path, TINY)
    assert not list(tmp_path.iterdir())
    assert [cell.label for cell in results.burst] == ["4 KiB x 1", "4 KiB x 64", "16 KiB x 1", "16 KiB x 64"]
    assert results.burst[0].times.keys() == {"plain", "double", "ideal", "untorn", "untorn_default"}
    assert results.burst[2].times.keys() == {"plain", "double", "ideal", "untorn"}
    assert results.sustained[0].times.keys() == {"plain", "double", "ideal", "untorn"}
    assert [cell.label for cell in results.appends] == ["100 B x 1", "100 B x 3"]
    assert [cell.times.keys() for cell in results.small] == [{"plain", "rename", "ideal", "untorn"}] * 2
    assert [cell.times.keys() for cell in results.micro] == [{"os", "untorn"}] * 2
    assert results.recovery is not None
    assert results.amounts is not None
    assert 1 < results.amounts.before_checkpoint < results.amounts.with_checkpoints
    cells = results.burst + results.sustained + results.appends + results.small + results.micro
    assert all(series.median_s >= series.min_s > 0 for cell in cells for series in cell.times.values())

    judged = verdicts(results)
    assert results.exploring is not None
    assert len(judged) == 22
    facts = about(tmp_path, quick=True)
    assert json.loads(json.dumps(as_json(results, judged, facts)))["schema"] == 1
    shown = render(results, judged, facts)
    assert all(one.target in shown for one in judged)
    assert all(cell.label in shown for cell in cells)


def test_the_command_measures_one_part_and_writes_it_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "QUICK", TINY)
    target = tmp_path / "figures.json"
    arguments = ["--quick", "--only", "appends", "--dir", str(tmp_path), "--json", str(target)]
    assert command.main(arguments) == 0
    told = json.loads(target.read_text())
    assert told["about"]["filesystem"] == filesystem(tmp_path)
    assert told["burst"] == []
    assert [cell["label"] for cell in told["appends"]] == ["100 B x 1", "100 B x 3"]
    assert "TARGETS" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [target]


def test_a_part_that_fails_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(place: Path, scale: Scale) -> None:
        make_file(place / "left", 4096)
        raise OSError("the disk went away")

    monkeypatch.setitem(PARTS, "micro", fails)
    with pytest.raises(OSError, match="went away"):
        measure(tmp_path, TINY, ("micro",))
    assert not list(tmp_path.iterdir())


def test_every_contender_runs_once_a_round_and_none_is_always_first() -> None:
    order: list[str] = []

    def contender(name: str) -> float:
        order.append(name)
        return float(len(order))

    names = ("a", "b", "c")
    times = race({name: partial(contender, name) for name in names}, 6, warm_up=1)
    rounds = [order[start : start + 3] for start in range(0, len(order), 3)]
    assert len(rounds) == 7
    assert all(sorted(one) == list(names) for one in rounds)
    assert {one[0] for one in rounds} == set(names)
    assert [series.runs for series in times.values()] == [6, 6, 6]
    assert min(series.min_s for series in times.values()) == 4.0


def test_what_a_turn_begins_with_does_not_count() -> None:
    ran = iter(range(100))
    (series,) = race({"only": lambda: float(next(ran))}, 2, warm_up=1, lead=1, runs=2).values()
    # Turns of three: 0, 1, 2 warm up; of 3, 4, 5 and 6, 7, 8 the first ones lead.
    assert (series.runs, series.min_s, series.median_s) == (4, 4.0, 6.0)


def test_the_ideal_leaves_what_was_committed_and_nothing_beside_it(tmp_path: Path) -> None:
    path = make_file(tmp_path / "file", MIB)
    source = Source(MIB)
    ideal = Ideal(path, MIB)
    newest: dict[int, bytes] = {}
    for _ in range(12):
        pages = source.pages(16 * KIB, 8)
        newest.update(pages)
        ideal.commit(pages)
    assert len(list(tmp_path.iterdir())) == 2
    ideal.close()
    assert list(tmp_path.iterdir()) == [path]
    check_content(path, newest.items())


def test_work_that_was_not_done_is_noticed(tmp_path: Path) -> None:
    path = make_file(tmp_path / "file", 64 * KIB)
    page = (4096, bytes(4096))
    with pytest.raises(RuntimeError, match="byte 4096"):
        check_content(path, [page])
    plain = Plain(path)
    plain.commit([page])
    plain.close()
    check_content(path, [page])


def test_the_worst_case_decides_whether_a_target_is_met() -> None:
    def cell(label: str, count: int, untorn: float) -> Cell:
        times = {"ideal": Series(1.0, 1.0, 3), "untorn": Series(untorn, 1.0, 3)}
        return Cell(label, 4096, count, 4096 * count, times)

    judged = verdicts(Results(burst=[cell("one", 1, 1.4), cell("few", 8, 1.2), cell("many", 64, 1.35)]))
    assert [(one.limit, one.seen, one.where, one.met_in, one.of, one.met) for one in judged] == [
        (1.3, 1.35, "many", 1, 2, False),
        (1.5, 1.4, "one", 1, 1, True),
    ]


def test_record_lengths_are_those_of_the_log() -> None:
    assert record_length(1, 4096) == 8192
    assert record_length(64, 64 * 16 * KIB) == 64 * 16 * KIB + 4096
    assert record_length(512, 512 * 4096) == 512 * 4096 + 16384


def test_sizes_read_as_a_person_writes_them() -> None:
    assert [size_text(size) for size in (100, 4096, 65536, 256 * MIB)] == ["100 B", "4 KiB", "64 KiB", "256 MiB"]
