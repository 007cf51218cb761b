"""A tenth of the generated sequences under the explorer: no crash of any breaks a guarantee."""

from __future__ import annotations

import pytest

from tests.workloads.limits import BAD_DEVICES
from tests.workloads.outcome import explored
from tests.workloads.sequences import tenth
from tests.workloads.target import DEVICES, Generated

_SLICES = 4
"""Of each device, so that several workers have something to do."""


def chosen(device: str, part: int) -> list[Generated]:
    return [generated for generated in tenth() if generated.device == device][part::_SLICES]


@pytest.mark.parametrize("part", range(_SLICES))
@pytest.mark.parametrize("device", [device for device in DEVICES if device not in BAD_DEVICES])
def test_no_crash_of_the_tenth_breaks_a_guarantee(device: str, part: int) -> None:
    found = [explored(generated) for generated in chosen(device, part)]

    bad = [f"{outcome.name}\n  {outcome.verdict}\n  {outcome.command}" for outcome in found if outcome.bad]
    assert not bad, "\n".join(bad)
    assert sum(outcome.recoveries for outcome in found) > len(found)


@pytest.mark.parametrize("device", sorted(BAD_DEVICES))
def test_what_the_library_does_not_hold_under_is_found(device: str) -> None:
    assert any(explored(generated).bad for generated in chosen(device, 0))
