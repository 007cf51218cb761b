"""A log that ``logging`` writes to an untorn file: each record is durable when the call returns, in a handler too."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import untorn
from tests.support.real_files import killed, read

RECORDS = 5


def failing(logger: logging.Logger, number: int) -> None:
    """Logs an exception from where it is handled, as programs do."""
    try:
        raise KeyError(f"trouble {number}")
    except KeyError:
        logger.exception("while working on %d", number)


def work(file: Any) -> None:
    """Some records, each from within a handler, and the last one from two of them."""
    logger = logging.Logger("untorn.test")
    logger.addHandler(logging.StreamHandler(file))
    for number in range(RECORDS - 1):
        failing(logger, number)
    try:
        raise OSError
    except OSError:
        failing(logger, RECORDS - 1)
    file.write("not a record")


def recovered(path: Path) -> str:
    with untorn.open(path, "r", encoding="utf-8") as file:
        return str(file.read())


@pytest.mark.parametrize("commit", ["flush", "write"])
def test_each_record_is_there_when_the_process_is_killed(tmp_path: Path, commit: Any) -> None:
    path = tmp_path / "log"
    path.write_text("an older record\n")
    killed(path, work, "a", encoding="utf-8", commit=commit)
    text = recovered(path)
    assert text.startswith("an older record\nwhile working on 0\nTraceback (most recent call last):\n")
    for number in range(RECORDS):
        assert text.count(f"while working on {number}\n") == text.count(f"KeyError: 'trouble {number}'\n") == 1
    assert text.endswith(f"KeyError: 'trouble {RECORDS - 1}'\n"), "and nothing that no record was made of"


def test_control_in_the_mode_close_the_records_wait_for_the_close(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("an older record\n")
    killed(path, work, "a", encoding="utf-8", commit="close")
    assert recovered(path) == "an older record\n"


def test_a_record_is_a_commit_at_once_and_its_file_can_be_closed_in_the_handler(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = untorn.open(path, "a", encoding="utf-8")
    logger = logging.Logger("untorn.test")
    logger.addHandler(logging.StreamHandler(file))
    failing(logger, 1)
    assert file.stats()["commits"] == 1
    try:
        raise KeyError
    except KeyError:
        file.close()  # nothing is lost, so nothing is said
    assert read(path).endswith(b"KeyError: 'trouble 1'\n")


@pytest.mark.parametrize("end", ["", "raise KeyError", "sys.exit(3)"])
def test_a_program_that_never_closes_its_log_ends_without_a_word_of_it(tmp_path: Path, end: str) -> None:
    path = tmp_path / "log"
    program = (
        "import logging, sys, untorn\n"
        "logging.basicConfig(stream=untorn.open(sys.argv[1], 'a', encoding='utf-8'))\n"
        "try:\n    1 / 0\n"
        "except ZeroDivisionError:\n    logging.exception('while dividing')\n" + end
    )
    source = str(Path(untorn.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], env={**os.environ, "PYTHONPATH": source},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "untorn" not in done.stderr.lower().replace(str(path).lower(), "")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("ERROR:root:while dividing\n")
    assert text.endswith("ZeroDivisionError: division by zero\n")
    assert os.listdir(tmp_path) == ["log"]
