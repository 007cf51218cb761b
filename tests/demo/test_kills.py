"""The demo's killed writers, and the judge of what they leave."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from untorn.api.functions import recover
from untorn.demo import kills, writer
from untorn.demo.cuts import Kind
from untorn.demo.kills import Expected, KillEffort, WriterError, judge, kill_writers
from untorn.demo.pattern import PAGE, Pattern
from untorn.demo.subject import Subject
from untorn.errors import CorruptLogError
from untorn.sizes import SECTOR

ORIGINAL = random.Random(3).randbytes(40 * PAGE + 777)
PATTERN = Pattern(seed=5, pages=40, pages_each=4)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A copy of a file that does not end with a page."""
    path = tmp_path / "copy"
    path.write_bytes(ORIGINAL)
    return Subject("source", len(ORIGINAL), str(path), ORIGINAL, "ext4")


def quiet(done: float) -> None:
    """Progress that nobody watches."""


@pytest.mark.parametrize("kind", Kind)
def test_killed_writers_are_counted_and_the_copy_is_as_it_was(subject: Subject, kind: Kind) -> None:
    found = kill_writers(kind, subject, KillEffort(kills=2, pages=8, delay_s=0.02), 1, quiet)

    assert found.kills == 2
    assert found.acknowledged >= 2
    assert found.lost == found.refused == 0
    if kind is Kind.UNTORN:
        assert found.torn == 0
        assert found.recovered > 0
    assert Path(subject.path).read_bytes() == ORIGINAL
    assert os.listdir(os.path.dirname(subject.path)) == ["copy"]


def test_a_slow_disk_is_killed_less_often_but_twice(subject: Subject) -> None:
    found = kill_writers(Kind.UNTORN, subject, KillEffort(kills=50, pages=1, delay_s=0, limit_s=0), 1, quiet)

    assert (found.kills, found.bad) == (2, 0)


def test_a_writer_that_does_not_run_is_an_error_and_no_result(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(WriterError, match="No such file"):
        kill_writers(Kind.UNTORN, Subject("", 1, str(tmp_path / "none"), ORIGINAL, ""), KillEffort(1), 1, quiet)
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(WriterError, match="it said nothing"):
        kill_writers(Kind.PLAIN, subject, KillEffort(1), 1, quiet)


def test_a_recovery_that_fails_is_a_bad_state(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> int:
        recover(path)
        raise CorruptLogError("planted", path)

    monkeypatch.setattr(kills, "recover", refuse)

    found = kill_writers(Kind.UNTORN, subject, KillEffort(kills=2, pages=4, delay_s=0), 1, quiet)

    assert (found.kills, found.refused, found.bad) == (1, 1, 1)
    assert "planted" in found.example


@pytest.mark.parametrize("kind", Kind)
def test_both_writers_write_the_pattern(subject: Subject, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(writer, "tell", told.append)

    write = writer.write_untorn if kind is Kind.UNTORN else writer.write_plainly
    write(subject.path, PATTERN, range(1, 4))

    expected = Expected(ORIGINAL, PATTERN)
    assert judge(subject.path, expected) == ""
    assert (told, expected.transaction) == ([1, 2, 3], 3)


# The judge


def written(path: str, transactions: range) -> None:
    with open(path, "r+b") as file:
        for transaction in transactions:
            for data, offset in PATTERN.writes(transaction):
                os.pwrite(file.fileno(), data, offset)


def cut_within(path: str) -> Iterator[None]:
    """The next transaction, one page after the other, and a page sector by sector."""
    with open(path, "r+b") as file:
        for number, (data, offset) in enumerate(PATTERN.writes(4)):
            if number == 0:
                for at in range(0, PAGE, SECTOR):
                    os.pwrite(file.fileno(), data[at : at + SECTOR], offset + at)
                    yield
            else:
                os.pwrite(file.fileno(), data, offset)
                yield


def test_a_transaction_is_torn_until_its_last_page_is_there(subject: Subject) -> None:
    written(subject.path, range(1, 4))
    expected = Expected(ORIGINAL, PATTERN)
    expected.advance(3)
    verdicts = [judge(subject.path, expected.copy()) for _ in cut_within(subject.path)]

    assert verdicts == ["torn"] * (PAGE // SECTOR + 2) + [""]
    assert judge(subject.path, expected) == ""
    assert expected.transaction == 4


def flip(path: str) -> None:
    with open(path, "r+b") as file:
        byte = os.pread(file.fileno(), 1, len(ORIGINAL) - 5)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), len(ORIGINAL) - 5)


def shorten(path: str) -> None:
    os.truncate(path, len(ORIGINAL) - 1)


def lengthen(path: str) -> None:
    os.truncate(path, len(ORIGINAL) + 1)


def leave_something_beside(path: str) -> None:
    Path(path + "-untorn").touch()


@pytest.mark.parametrize("harm", [flip, shorten, lengthen, leave_something_beside])
def test_whatever_is_not_exactly_one_commit_is_torn(subject: Subject, harm: Callable[[str], None]) -> None:
    written(subject.path, range(1, 4))
    expected = Expected(ORIGINAL, PATTERN)
    expected.advance(2)
    assert judge(subject.path, expected.copy()) == ""

    harm(subject.path)

    assert judge(subject.path, expected) == "torn"
    assert expected.transaction == 2


def test_an_older_commit_than_the_acknowledged_one_is_lost(subject: Subject) -> None:
    written(subject.path, range(1, 4))
    expected = Expected(ORIGINAL, PATTERN)
    expected.advance(4)

    assert judge(subject.path, expected) == "lost"


def test_the_original_is_a_commit_even_if_it_came_from_an_earlier_demo(subject: Subject) -> None:
    original = bytearray(ORIGINAL)
    other = Pattern(seed=PATTERN.seed, pages=40, pages_each=4)
    original[:PAGE] = other.page(1 << 60, 0)
    Path(subject.path).write_bytes(original)

    assert judge(subject.path, Expected(bytes(original), PATTERN)) == ""


def test_a_sector_tells_its_transaction_only_if_it_is_whole() -> None:
    sector = PATTERN.page(9, 2)[3 * SECTOR : 4 * SECTOR]

    assert PATTERN.transaction_of(sector) == 9
    assert PATTERN.transaction_of(sector[:-1] + b"\0") == 0
    assert PATTERN.transaction_of(sector[:-1]) == 0
    assert Pattern(6, 40, 4).transaction_of(sector) == 0
    assert PATTERN.transaction_of(bytes(SECTOR)) == 0
