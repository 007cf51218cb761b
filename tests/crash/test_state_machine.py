"""Random sessions, crashes and faults against a plain history of bytes, and proof that they would be seen to fail.

``UNTORN_EXAMPLES`` is how many runs of the machine are made, 400 if it is not set.
"""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import Phase

from tests.crash.machine import EXAMPLES, HUNT, CrashMachine, run
from tests.defects.catalogue import DEFECTS
from tests.defects.finders import BY_MACHINE
from untorn.errors import UntornWarning

SITUATIONS: Final = frozenset(
    {
        "a folio was read in for a write",
        "checkpoint in an open session",
        "closed in mode close",
        "closed in mode explicit",
        "closed in mode flush",
        "closed in mode write",
        "died in a call",
        "edit of a hot file refused at open",
        "edit of a plain file taken",
        "edit of an open file refused at close",
        "failed: error",
        "failed: failed sync",
        "handle out of work",
        "looked at a hot file",
        "looked at a plain file",
        "nested transaction",
        "recovered after death",
        "recovered after power cut",
        "rolled back to a savepoint",
        "spilled in a write",
        "survived: short transfer",
        "transaction raised",
    }
)


def test_after_any_crash_the_file_is_one_commit_at_or_after_the_last_durable_one() -> None:
    seen = run(CrashMachine, EXAMPLES, (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))

    assert not SITUATIONS - set(+seen), "what never came up was not tested"


@pytest.mark.parametrize("name", BY_MACHINE)
def test_the_machine_finds_a_planted_defect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DEFECTS[name].plant(monkeypatch.setattr)

    with pytest.raises((AssertionError, OSError, UntornWarning)):
        run(CrashMachine, HUNT, (Phase.generate,))
