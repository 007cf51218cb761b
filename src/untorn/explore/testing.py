"""For test suites: a test that explores every crash of a workload, and fails with the story of a bad one."""

from __future__ import annotations

from typing import Any

from untorn.explore.explorer import Budget, explore
from untorn.explore.result import Result
from untorn.explore.targets.calls import Function
from untorn.explore.targets.python_module import FunctionTarget


class CrashError(AssertionError):
    """A crash leaves a bad state; its text is the story."""


def assert_survives(
    workload: Function, check: Function, *, recover: Function | None = None, prepare: Function | None = None,
    certified: bool = True, seconds: float | None = 60, recovery_crashes: int = 1, **options: Any,
) -> Result:  # fmt: skip
    """Explores every power failure during ``workload(dir)``; CrashError if ``check(dir)`` raises after one.

    Also if nothing was measured: no file was changed, the check did not judge, ``python -O`` took its asserts away.
    With ``certified`` also if the exploration was not complete within ``seconds``, None for no limit.
    ``recovery_crashes``: how many crashes of ``recover`` follow the first crash, one within the other. ``options`` of
    the simulated machine: ``profile`` (``"strict"`` or ``"linux"``), ``sector`` (512 or 4096 bytes), ``powersafe``
    (False if a sector that is being written when the power fails may hold garbage afterwards). UnseenAccessError if
    the program does what the explorer cannot see.
    """
    name = getattr(workload, "__name__", "workload")
    target = FunctionTarget(name, workload=workload, check=check, recover=recover, prepare=prepare, options=options)
    result = explore(target, recovery_crashes=recovery_crashes, budget=Budget(seconds=seconds))
    if result.bad:
        raise CrashError("\n\n".join([result.verdict(), *(story.text for story in result.counterexamples)]))
    if result.unmeasured:
        raise CrashError(result.verdict())
    if certified and not result.certified:
        raise CrashError(f"{result.verdict()}; give it more seconds, a smaller workload, or certified=False")
    return result
