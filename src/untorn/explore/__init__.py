"""The explorer: every crash state of a recorded run, recovered, checked and counted.

``explore`` takes a :class:`FunctionTarget` or :class:`ModuleTarget` (plain Python that knows nothing of untorn, run
on a simulated disk), or anything else with ``record``, ``recover`` and ``check``. In a test suite::

    def test_settings_survive_a_power_failure() -> None:
        assert_survives(workload, check, prepare=prepare)
"""

from untorn.explore.explorer import Budget, Progress, explore
from untorn.explore.interpose import UnseenAccessError, ack, acknowledged
from untorn.explore.result import Counterexample, Coverage, Result
from untorn.explore.targets.python_module import FunctionTarget, ModuleTarget
from untorn.explore.testing import CrashError, assert_survives

__all__ = [
    "Budget",
    "Counterexample",
    "Coverage",
    "CrashError",
    "FunctionTarget",
    "ModuleTarget",
    "Progress",
    "Result",
    "UnseenAccessError",
    "ack",
    "acknowledged",
    "assert_survives",
    "explore",
]
