"""The state machine of tests/crash where the device writes atomically, so that many commits go to home.

Random sessions, crashes at any call, faults, edits by others and recoveries that are cut off.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.crash.machine import BLOCK, CrashMachine
from untorn.designs import cow
from untorn.designs.cow import CopyOnWrite
from untorn.storage.api import AtomicLimits

EXAMPLES: Final = int(os.environ.get("UNTORN_EXAMPLES", "100"))
HUNT: Final = 150
"""Most runs until a mutant has to be found."""


class AtomicMachine(CrashMachine):
    """As CrashMachine, with pages written durably one by one."""

    machine_options: ClassVar[dict[str, Any]] = {"atomic": AtomicLimits(512, 8 * BLOCK, 0, 1)}

    @rule(place=st.integers(0, 15), power=st.integers(0, 6), times=st.integers(1, 3))
    def pages(self, place: int, power: int, times: int) -> None:
        """Pages, naturally aligned, each a durable commit."""
        for number in range(times):
            driver = self.ready()
            length = 512 << power
            driver.write_durably(self.data_of(length), (place + number) * BLOCK // length * length)
            if driver.file is not None:
                self.seen["in home"] += driver.file.stats()["atomic_bios"] > 0


def run(seen: Counter[str], examples: int, *phases: Phase) -> None:
    class Machine(AtomicMachine):
        pass

    Machine.seen = seen
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def test_after_any_crash_the_file_is_one_commit_at_or_after_the_last_durable_one() -> None:
    seen: Counter[str] = Counter()
    run(seen, EXAMPLES, Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
    assert seen["in home"] > EXAMPLES
    assert seen["died in a call"] > EXAMPLES // 10


def not_atomic(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cow, "RWF_ATOMIC", 0)


def not_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cow, "RWF_DSYNC", 0)


def time_not_learned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CopyOnWrite, "_leave_home", lambda self: None)


def edits_overlooked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CopyOnWrite, "_check_unchanged", lambda self: self._home.stat())


MUTANTS: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "the bio is not atomic": not_atomic,
    "the bio is not durable": not_durable,
    "the slot does not learn home's time": time_not_learned,
    "an edit by another program is overlooked": edits_overlooked,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_machine_finds_a_planted_defect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    with pytest.raises((AssertionError, OSError)):
        run(Counter(), HUNT, Phase.generate)
