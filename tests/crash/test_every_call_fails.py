"""Every storage call of a session made to fail in turn: an exception or success, never silence, and old or new."""

from __future__ import annotations

import errno
from collections import Counter
from typing import Any, Final

import pytest

from tests.crash.sessions import SESSIONS, Session
from tests.defects.catalogue import DEFECTS
from tests.defects.finders import BY_CALL
from tests.support.crash_driver import Driver
from untorn.crashmodel.variables import newest, oldest, seeded
from untorn.storage.fault_injection import TRANSFERS

SYNCS: Final = frozenset({"fdatasync", "fsync", "sync_directory"})

FAULTS: Final[dict[str, dict[str, Any]]] = {
    **{name: {"error": getattr(errno, name)} for name in ("EIO", "ENOSPC", "EDQUOT", "EINTR")},
    "half a transfer": {"transfer": 0.5},
    "one byte": {"transfer": 1},
    "death": {"death": True},
    "death in the call": {"death": True, "transfer": 0.6},
}


THOROUGH: Final = ("EIO", "ENOSPC", "death", "death in the call")

IDLE: Final = {"an empty new file"}
"""Sessions that transfer no bytes."""


def calls_of(session: Session) -> list[str]:
    """The names of the calls that the session makes undisturbed."""
    driver = session.prepare()
    storage = driver.storage
    first = len(storage.log)
    session.play(driver)
    return storage.log[first:]


def play(session: Session, nth: int, kind: str) -> Driver:
    """The session with one call failing; the driver compares at every step that comes through."""
    driver = session.prepare()
    storage = driver.storage
    first = len(storage.log)
    driver.plant(kind, nth=nth, **FAULTS[kind])
    try:
        session.play(driver)
    except BaseException:
        driver.kill()
        raise
    after = storage.log[first + nth + 1 :]
    if "error" in FAULTS[kind] and storage.log[first + nth] in SYNCS:
        assert not SYNCS & set(after), "a sync was made after one had failed"
    return driver


def judge(driver: Driver, nth: int, kind: str) -> None:
    """What power cuts and the death of the process leave is legal, and recovery of it ends in a plain file."""
    if driver.file is not None:
        driver.kill()
    # EDQUOT, EINTR and short transfers go the ways of EIO, ENOSPC and of no fault at all.
    for choose in (oldest, newest, seeded(nth)) if kind in THOROUGH else (oldest,):
        reopen(driver.after_cut(choose))
    reopen(driver)


def reopen(driver: Driver) -> None:
    if driver.open("r+b"):
        driver.close()


def fail_every_call(session: Session, kind: str) -> Counter[str]:
    """Returns what came up, by name."""
    seen: Counter[str] = Counter()
    for nth, name in enumerate(calls_of(session)):
        if "transfer" in FAULTS[kind] and name not in TRANSFERS:
            continue
        driver = play(session, nth, kind)
        judge(driver, nth, kind)
        seen += driver.seen
    return seen


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in SESSIONS for kind in FAULTS if name not in IDLE or "transfer" not in FAULTS[kind]],
)
def test_a_failing_call_gives_an_exception_or_success_and_leaves_old_or_new(name: str, kind: str) -> None:
    seen = fail_every_call(SESSIONS[name], kind)

    if kind in ("half a transfer", "one byte"):
        assert seen[f"survived: {kind}"]
        assert not seen[f"failed: {kind}"], "a short transfer is not an error"
    elif "error" in FAULTS[kind]:
        assert seen[f"failed: {kind}"]
    else:
        assert seen["died in a call"]


@pytest.mark.parametrize(
    ("defect", "name", "kind"),
    [(defect, *place) for defect, place in BY_CALL.items()] + [("a failed handle goes on", "spills", "EIO")],
)
def test_a_failing_call_shows_a_planted_defect(
    defect: str, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    DEFECTS[defect].plant(monkeypatch.setattr)

    with pytest.raises((AssertionError, OSError)):
        fail_every_call(SESSIONS[name], kind)
