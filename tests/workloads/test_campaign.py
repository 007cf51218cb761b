"""The campaign over many sequences: what it says, that it goes on where it was, and its exit code."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.defects.catalogue import DEFECTS, with_defect
from tests.workloads import results as results_module
from tests.workloads.campaign import BAD, FINE, INTERRUPTED, Campaign
from tests.workloads.outcome import explored
from tests.workloads.target import Generated

GOOD = [Generated((name,), "512", "content") for name in ("cut", "order", "checkpoint")]
WORSE = Generated(("write",), "512", "content")
ROOT = Path(__file__).parents[2]


class Sick(Generated):
    """Bad after every crash."""

    def recover(self, storage: object) -> None:
        raise RuntimeError("sick")


class Broken(Generated):
    """Bad without a crash."""

    def recording(self) -> object:  # type: ignore[override]
        raise RuntimeError("broken")


def run(sequences: list[Generated], file: Path) -> tuple[int, list[str]]:
    said: list[str] = []
    return Campaign(sequences, len(sequences), file, said.append).run(1), said


def test_all_is_well(tmp_path: Path) -> None:
    code, said = run(GOOD, tmp_path / "results")

    assert code == FINE
    assert said[-1].startswith("3 of 3 sequences, 1 of them the same as another: 2 explorations")
    assert "0 bad" in said[-1]


def test_a_bad_one_is_told_with_the_command_that_does_it_again(tmp_path: Path) -> None:
    sick = Sick(("write",), "512", "content")

    code, said = run([*GOOD, sick], tmp_path / "results")

    assert code == BAD
    name, verdict, command = said[0].splitlines()
    assert name == f"BAD {sick.name}"
    assert "RuntimeError: sick" in verdict
    assert shlex.split(command)[:4] == ["python", "-m", "tests.workloads", "--only"]


def test_one_that_fails_without_a_crash_is_bad(tmp_path: Path) -> None:
    code, said = run([Broken(("write",), "512", "content")], tmp_path / "results")

    assert code == BAD
    assert "BAD without a crash: RuntimeError: broken" in said[0]


def test_a_second_run_goes_on_and_tells_what_was_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results"
    run([*GOOD, Sick(("write",), "512", "content")], file)
    kept = file.read_text()

    monkeypatch.setattr("tests.workloads.campaign.explored", lambda generated: pytest.fail("explored again"))
    code, said = run([*GOOD, WORSE], file)

    assert code == BAD
    assert said[0] == f"going on from {file}, which has 3 explorations"
    assert said[1].startswith("BAD ")
    assert file.read_text() == kept


def test_a_line_that_was_cut_off_is_explored_again(tmp_path: Path) -> None:
    file = tmp_path / "results"
    run(GOOD, file)
    file.write_text(file.read_text()[:-20])

    code, said = run(GOOD, file)

    assert code == FINE
    assert said[0] == f"going on from {file}, which has 1 explorations"
    assert "2 explorations" in said[-1]


def test_results_of_other_code_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results"
    run(GOOD, file)
    monkeypatch.setattr(results_module, "source", lambda: "other")

    code, said = run(GOOD, file)

    assert code == FINE
    assert said[0] == f"{file} was made with other code: all begins anew"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.workloads", *arguments]


@pytest.mark.usefixtures("signals_as_usual")
def test_interrupted_it_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / "results"
    arguments = command("--device", "512", "--processes", "1", "--results", str(file))
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            deadline = time.monotonic() + 60
            while not file.exists() or len(file.read_text().splitlines()) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            said, _ = child.communicate(timeout=60)
        finally:
            child.kill()

    assert child.returncode == INTERRUPTED
    assert f"goes on from {file}" in said
    assert len(file.read_text().splitlines()) >= 3


def test_one_sequence_alone_tells_what_came_of_it() -> None:
    done = subprocess.run(
        command("--only", "order,commit", "--start", "missing"), cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == FINE, done.stderr
    assert done.stdout.startswith("missing: order, commit, close; device 512: certified: ")


def test_what_is_not_plain_after_a_clean_end_is_bad() -> None:
    generated = Generated(("write",), "512", "content")
    assert not explored(generated).bad

    with with_defect(DEFECTS["the unlink is not synced"]):
        outcome = explored(generated)

    assert outcome.bad
    assert "not plain" in outcome.verdict
