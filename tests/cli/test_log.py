"""``untorn log``: what it says of a log's transactions is what was done."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_intdigest

import untorn
from tests.support.commands import PAGE, damage_record, in_dying_process, leave_log, run
from untorn.api.log_view import Fate, read_log
from untorn.errors import CorruptLogError


def records(path: Path, *options: str) -> list[dict[str, Any]]:
    """What ``untorn log --json`` says."""
    found: list[dict[str, Any]] = json.loads(run("log", "--json", *options, path).stdout)["records"]
    return found


def test_each_commit_is_one_line_with_its_sizes_and_digest(tmp_path: Path) -> None:
    leave_log(tmp_path / "file", 3)

    result = run("log", tmp_path / "file")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].startswith(f"{tmp_path}/file-untorn: waiting commits, generation 1")
    rows = [line.split() for line in lines[3:6]]
    assert [row[:6] for row in rows] == [[str(n), "COMMIT", str(n), "1", "4,096", "32,768"] for n in (1, 2, 3)]
    assert [int(row[6]) for row in rows] == [32768, 40960, 49152]
    assert lines[6] == "3 transactions in 3 records"
    assert lines[7].startswith("The log ends at byte 57,344: record 4: ")


def test_a_record_is_durable_if_a_later_one_says_so(tmp_path: Path) -> None:
    leave_log(tmp_path / "file", 3)

    assert [record["durable"] for record in records(tmp_path / "file")] == [True, True, False]


def test_extents_come_with_the_digests_of_their_bytes(tmp_path: Path) -> None:
    leave_log(tmp_path / "file", 2)
    view = read_log(tmp_path / "file")
    assert view.slot is not None

    found = records(tmp_path / "file", "--extents")

    for number, record in enumerate(found, 1):
        digest = xxh3_64_intdigest(bytes([number]) * PAGE, view.slot.salt)
        (extent,) = record["extents"]
        assert (extent["offset"], extent["length"]) == (number * PAGE, PAGE)
        assert int(extent["digest"], 16) == digest
        with open(tmp_path / "file-untorn", "rb") as log:
            log.seek(extent["position"])
            assert log.read(PAGE) == bytes([number]) * PAGE
    assert "extents" not in records(tmp_path / "file")[0]
    assert "    offset 4,096, 4,096 bytes, digest " in run("log", "--extents", tmp_path / "file").stdout


def transactions(path: Path) -> None:
    """A log with a spilled commit, a savepoint rolled back within another, and a transaction that never ended."""
    file = untorn.open(path, "r+b", commit="explicit", folio_size=PAGE)
    file.pwrite(b"one", 0)
    with file.transaction():  # 1 DATA: what was dirty; 2 COMMIT: with it
        file.pwrite(b"two", PAGE)
    file.commit()
    with file.transaction():
        file.pwrite(b"three", 0)
        with pytest.raises(ZeroDivisionError), file.transaction():  # 3 DATA: three
            file.pwrite(b"four", PAGE)
            with file.transaction():  # 4 DATA: four, rolled back
                file.pwrite(b"five", PAGE)
            raise ZeroDivisionError
    file.commit()  # 5 COMMIT, with 3
    file.pwrite(b"six", 0)
    file._begin()  # 6 DATA, unfinished
    os._exit(0)


def test_spills_belong_to_their_commit_are_rolled_back_or_unfinished(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * PAGE))
    in_dying_process(lambda: transactions(path))

    found = [(record["kind"], record["transaction"], record["fate"]) for record in records(path)]

    assert found == [
        ("DATA", 2, Fate.COMMITTED),
        ("COMMIT", 2, Fate.COMMITTED),
        ("DATA", 5, Fate.COMMITTED),
        ("DATA", None, Fate.ROLLED_BACK),
        ("COMMIT", 5, Fate.COMMITTED),
        ("DATA", None, Fate.UNFINISHED),
    ]
    text = run("log", path).stdout
    assert "not said  unfinished" in text
    assert "rolled back" in text
    assert "2 transactions in 6 records" in text


def test_a_damaged_log_is_shown_up_to_the_damage(tmp_path: Path) -> None:
    leave_log(tmp_path / "file", 3)
    start = damage_record(tmp_path / "file", 2)

    result = run("log", tmp_path / "file")

    assert result.exit_code == 1
    assert f"The log ends at byte {start:,}: record 2: " in result.stdout
    assert "DAMAGED" in result.stdout
    assert "untorn check" in result.stderr
    assert [record["durable"] for record in records(tmp_path / "file")] == [True]
    assert isinstance(read_log(tmp_path / "file").problem, CorruptLogError)


def test_a_torn_tail_is_the_end_and_nothing_bad(tmp_path: Path) -> None:
    leave_log(tmp_path / "file", 3)
    damage_record(tmp_path / "file", 3)

    result = run("log", tmp_path / "file")

    assert result.exit_code == 0
    assert "2 transactions in 2 records" in result.stdout
    assert "a tail that a crash tore" in result.stdout


def test_a_plain_file_has_no_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")

    assert run("log", tmp_path / "file").stdout == f"{tmp_path}/file: there is no log that can be read (plain)\n"
    found = json.loads(run("log", "--json", tmp_path / "file").stdout)
    assert (found["schema"], found["records"], found["slot"], found["end"]) == (1, [], None, None)
