"""A tenth of the generated sequences under the explorer: no crash of any breaks a guarantee."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.defects.catalogue import DEFECTS, with_defect
from tests.workloads.outcome import explored
from tests.workloads.sequences import Seen, tenth
from tests.workloads.target import DEVICES, Generated

_SLICES = 4
"""Of each device, so that several workers have something to do."""


@cache
def distinct() -> list[Generated]:
    """The tenth without those that have the same recording as one before."""
    seen = Seen()
    return [generated for generated in tenth() if seen.new(generated, generated.recording())]


def chosen(device: str, part: int) -> list[Generated]:
    return [generated for generated in distinct() if generated.device == device][part::_SLICES]


@pytest.mark.parametrize("part", range(_SLICES))
@pytest.mark.parametrize("device", list(DEVICES))
def test_no_crash_of_the_tenth_breaks_a_guarantee(device: str, part: int) -> None:
    found = [explored(generated) for generated in chosen(device, part)]

    bad = [f"{outcome.name}\n  {outcome.verdict}\n  {outcome.command}" for outcome in found if outcome.bad]
    assert not bad, "\n".join(bad)
    assert found


@pytest.mark.parametrize(
    ("name", "generated"),
    [
        ("the log is not synced", Generated(("write",), "512", "content")),
        ("rolled-back spills are applied", Generated(("write", "savepoint"), "512", "content")),
        ("what was cut stays in home", Generated(("cut", "overlap"), "512", "content")),
        ("a commit in home is not atomic", Generated(("write", "commit"), "atomic", "content")),
        ("an edit is overlooked at checkpoint", Generated(("write", "commit", "edit"), "512", "content")),
        ("recovery does not sync its copy", Generated(("write", "order", "kill"), "512", "content")),
        ("the unlink is not synced", Generated(("write",), "512", "content")),
    ],
)
def test_a_planted_defect_of_each_kind_is_caught(name: str, generated: Generated) -> None:
    assert not explored(generated).bad
    with with_defect(DEFECTS[name]):
        assert explored(generated).bad


def test_the_table_in_the_docs_has_every_defect_that_exploring_catches() -> None:
    page = (Path(__file__).parents[2] / "docs" / "design" / "workloads.md").read_text(encoding="utf-8")
    rows = page.partition("| defect |")[2].splitlines()[2:]

    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        name for name, defect in DEFECTS.items() if defect.target
    ]
