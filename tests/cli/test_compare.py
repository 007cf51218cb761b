"""``untorn compare`` and ``untorn trace``, as they are used."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.commands import run
from untorn.debate.compare import Comparison
from untorn.debate.compare.crash_check import Verdict

QUICK = ("compare", "--quick", "--simulated", "--jobs", "0")


@cache
def quick() -> dict[str, Any]:
    result = run(*QUICK, "--json")
    assert result.exit_code == 0
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def verdicts(design: str, device: str = "nvme-16k") -> dict[str, str]:
    cells = quick()["simulated"]["cells"]
    chosen = [cell for cell in cells if (cell["design"], cell["device"]) == (design, device)]
    return {cell["workload"]: cell["crashes"]["verdict"] for cell in chosen}


def test_the_designs_tear_where_they_must_and_nowhere_else() -> None:
    assert set(verdicts("plain").values()) == {"refused, torn"}
    for design in ("mapping-flag", "writethrough", "cow"):
        assert set(verdicts(design).values()) == {"whole"}
    assert verdicts("folio-flag") == {
        "random-8k": "whole", "mixed-apart": "whole", "mixed-overlapping": "torn after a mix",
    }  # fmt: skip
    assert set(verdicts("cow", "none").values()) == {"whole"}
    assert set(verdicts("folio-flag", "none").values()) == {"refused, torn"}


def test_json_has_what_the_table_has() -> None:
    found = quick()
    assert (found["schema"], found["command"], found["real"]) == (1, "compare", None)
    (cell,) = [
        cell for cell in found["simulated"]["cells"]
        if (cell["workload"], cell["design"], cell["device"]) == ("mixed-apart", "mapping-flag", "nvme-16k")
    ]  # fmt: skip
    costs = cell["costs"]
    assert costs["atomic_bios"] == costs["taken"] == 96
    assert costs["mean_bio"] == costs["bytes"] / costs["bios"]
    assert len(found["answers"]) == 6
    assert all(answer["basis"] == "simulation alone" for answer in found["answers"])


def test_the_table_and_the_answers_are_for_people() -> None:
    result = run(
        *QUICK, "--workload", "mixed-overlapping", "--device", "nvme-16k", "--design", "folio-flag", "--design", "cow"
    )
    assert result.exit_code == 0
    assert result.stdout.startswith("In simulation (no hardware here writes atomically):")
    assert re.search(r"^  folio-flag +torn after a mix in \d+ of \d+ .* 9\+0 +nvme-16k$", result.stdout, re.MULTILINE)
    assert re.search(r"^  cow +whole, (certified|every state) .* 0\+0 +nvme-16k$", result.stdout, re.MULTILINE)
    assert "plain" not in result.stdout.partition("whole: no page")[0].partition("design")[2]
    assert "Is a page flag needed?\n  No: cow kept every page whole" in result.stdout


def test_a_design_that_tears_ends_with_1_and_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from untorn.debate.compare import crash_check

    monkeypatch.setattr(crash_check, "LOSES", frozenset())
    result = run(*QUICK, "--workload", "mixed-overlapping", "--device", "nvme-16k", "--design", "folio-flag")
    assert result.exit_code == 1
    assert "TORN: mixed-overlapping in folio-flag on nvme-16k" in result.stdout
    assert re.search(r"torn: .* of write 1 at 0", result.stdout)


@pytest.mark.parametrize("option", ["--workload", "--device"])
def test_a_name_that_is_not_known_is_answered_with_those_that_are(option: str) -> None:
    result = run("compare", option, "nothing")
    assert result.exit_code == 2
    assert "nothing: there is no such" in result.stderr
    assert "hot" in result.stderr or "nvme-16k" in result.stderr


def test_the_names_are_listed() -> None:
    result = run("compare", "--list")
    assert re.search(r"^  checkpoint +a PostgreSQL checkpoint", result.stdout, re.MULTILINE)
    assert "nvme-16k-b128k  16 KiB whole, nothing across a multiple of 128 KiB" in result.stdout
    assert "hot" in json.loads(run("compare", "--list", "--json").stdout)["workloads"]


def test_the_report_is_one_sound_file_that_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(*QUICK, "--report", path).exit_code == 0
    text = path.read_text(encoding="utf-8")
    tree = ElementTree.fromstring(text.partition("\n")[2])
    assert not re.search(r'(src|href)="(?!#)', text)
    assert not [one for one in tree.iter() if one.tag in ("script", "link", "img", "iframe")]
    words = " ".join("".join(tree.itertext()).split())
    for answer in quick()["answers"]:
        assert answer["question"] in words
        assert " ".join(answer["words"].split()) in words
    assert "Whole: mapping-flag, writethrough, cow. Torn after a mix: folio-flag" in words
    assert words.count("simulated") > 6
    assert "The shortest ways to a torn page" in words
    assert "torn: of the 8,192 bytes of write 1 at 0, 4,096 are new and 4,096 are older" in words
    squares = [one for one in tree.iter("title") if one.text and one.text.startswith("mixed-overlapping, folio-flag,")]
    assert len(squares) == 2


def test_a_report_of_a_broken_design_says_so_at_the_top() -> None:
    from untorn.debate.compare.matrix import cells
    from untorn.report.compared import page

    found = Comparison(cells("hot", "writethrough", ["nvme-16k"], 0))
    found.cells[0].crashes.verdict = Verdict.TORN
    assert "<h1>Torn: writethrough</h1>" in page(found)


# trace


def test_a_trace_is_told_in_the_words_of_the_kernel() -> None:
    result = run("trace", "random-8k", "--design", "folio-flag")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "random-8k in folio-flag on nvme-16k, simulated"
    assert lines[2].split() == ["2", "write", "index=0", "flags=locked|uptodate|dirty|atomic", "blocks=__AA"]
    assert any(line.split()[1:3] == ["bio", "home"] and line.endswith("REQ_OP_WRITE|REQ_ATOMIC") for line in lines)


def test_a_trace_as_json_and_for_a_viewer(tmp_path: Path) -> None:
    steps, viewer = tmp_path / "steps", tmp_path / "trace.json"
    steps.write_text("atomic 0 8K\nsync\n", encoding="utf-8")
    found = json.loads(run("trace", steps, "--design", "writethrough", "--json", "--perfetto", viewer).stdout)
    assert found["simulated"] is True
    assert [step["event"] for step in found["steps"]] == [
        "pwrite", "write", "bio", "end_writeback", "flush", "fsync", "close",
    ]  # fmt: skip
    assert json.loads(viewer.read_text(encoding="utf-8"))["traceEvents"]


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "is neither a file nor a workload"), ("jump", "line 1: expected"), ("\udcff", "decode")]
)
def test_steps_that_cannot_be_read_are_a_wrong_use(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "steps"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    result = run("trace", path)
    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_device_that_is_not_known_is_a_wrong_use() -> None:
    assert "no such device" in run("trace", "hot", "--device", "tape").stderr
