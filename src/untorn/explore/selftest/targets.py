"""The library's targets: each workload, what recovers it, and the guarantee that must hold."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from untorn.api import functions as api
from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import ForeignEditError, UntornWarning, UntrustedLogError
from untorn.explore.oracles import Content, plain, state_is_a_commit
from untorn.explore.selftest import workloads
from untorn.explore.selftest.scripted_session import BLOCK, PATH, Script, stamp
from untorn.explore.targets.protocol import Acknowledged
from untorn.log.writer import log_path
from untorn.storage.interface import AtomicLimits

Workload = Callable[[Script], None]

_SEVERAL: Final = 3 * BLOCK + 200


@dataclass
class SelfTest:
    """One workload on a file of ``size`` bytes, or none; after a crash the file is a commit, whole and plain."""

    name: str
    workload: Workload
    size: int | None = _SEVERAL
    machine: dict[str, Any] = field(default_factory=dict)
    """Options of the simulated machine."""
    depth: int = 1
    """How many times recovery is itself cut off."""
    states: list[Content] = field(default_factory=list)
    """What was committed, in order; of the last recording."""
    transactions: int = 0

    @property
    def spec(self) -> dict[str, Any]:
        """What makes the same target again."""
        return {"builtin": self.name, "machine": self.machine}

    def record(self) -> SimulatedStorage:
        script = Script(None if self.size is None else stamp(1, self.size), **self.machine)
        self.workload(script)
        self.states, self.transactions = script.states, script.transactions
        return script.machine

    @property
    def may_quarantine(self) -> bool:
        """Whether a log may be set aside: one whose first slot is garbage cannot be told from another program's."""
        return not self.machine.get("powersafe", True)

    def recover(self, storage: SimulatedStorage) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntornWarning)
            self.recover_file(storage)

    def recover_file(self, storage: SimulatedStorage) -> None:
        """What comes after the crash."""
        try:
            api.recover(PATH, storage=storage)
        except FileNotFoundError:
            pass

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        state_is_a_commit(plain(storage, PATH, quarantined=self.may_quarantine), self.states, acknowledged)


class RecoverByOpening(SelfTest):
    """Recovered by opening the file to write."""

    def recover_file(self, storage: SimulatedStorage) -> None:
        api.open(PATH, "r+b", storage=storage).close()


class RecoverOnFullDisk(SelfTest):
    """Recovered on a full disk; where no copy could make room, somebody else does."""

    def recover_file(self, storage: SimulatedStorage) -> None:
        try:
            with workloads.full_disk():
                super().recover_file(storage)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            super().recover_file(storage)


class ReadBeforeRecovery(SelfTest):
    """A reader looks at it before it is recovered: both must see the same."""

    def recover_file(self, storage: SimulatedStorage) -> None:
        with api.open(PATH, "rb", storage=storage) as file:
            seen = file.read()
        super().recover_file(storage)
        if storage.read_file(PATH) != seen:
            raise AssertionError("a reader saw another state than recovery installed")


class MayQuarantine(SelfTest):
    """A log that cannot be this file's may be set aside."""

    @property
    def may_quarantine(self) -> bool:
        return True


class DiscardedLog(MayQuarantine):
    """The commits in the log were given up; a log that was half renamed is refused until one name of it is removed."""

    def recover_file(self, storage: SimulatedStorage) -> None:
        try:
            super().recover_file(storage)
        except UntrustedLogError:
            storage.unlink(log_path(PATH))


class RecoverByCreating(SelfTest):
    """Recovered by opening the file to append, which makes it where it is missing."""

    def recover_file(self, storage: SimulatedStorage) -> None:
        api.open(PATH, "a+b", storage=storage).close()

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        state_is_a_commit(plain(storage, PATH, quarantined=True), [state or b"" for state in self.states], acknowledged)


class ForeignEdit(MayQuarantine):
    """Another program wrote the file: what it wrote stays, or is refused; it is never written over (I8)."""

    def recover_file(self, storage: SimulatedStorage) -> None:
        try:
            super().recover_file(storage)
        except ForeignEditError:
            pass

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        edit = acknowledged(_edit)
        if edit is None:
            super().check(storage, acknowledged)
        elif edit and storage.read_file(PATH) != self.states[edit]:
            raise AssertionError("written over: the file does not hold what another program wrote")


class NeedsNoRecovery(SelfTest):
    """After a clean close or a recovery any program reads the file, without untorn and after any crash (I6)."""

    def recover_file(self, storage: SimulatedStorage) -> None:
        pass

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        closed = acknowledged(_closed)
        if closed is not None and plain(storage, PATH) != self.states[closed]:
            raise AssertionError("not plain: the file is not as it was closed")


def _closed(told: Sequence[Any]) -> int | None:
    """The number of the state as which the file was closed, None if it may be open."""
    word, state = next((one for one in reversed(told) if one[0] in ("closed", "opened")), ("opened", 0))
    return state if word == "closed" else None


def _edit(told: Sequence[Any]) -> int | None:
    """The number of the state that another program wrote, 0 if it was still writing, None if it had not begun."""
    edits = dict(told)
    return edits.get("edited", 0 if "edit" in edits else None)


WORKLOADS: Final = (
    SelfTest("commits", workloads.commits),
    SelfTest("restarts", workloads.restarts, depth=2),
    SelfTest("truncates", workloads.truncates),
    RecoverByOpening("spills", workloads.spills, 6 * BLOCK),
    SelfTest("gives back", workloads.gives_back),
    RecoverByOpening("orders", workloads.orders, depth=2),
    SelfTest("grows", workloads.grows, None),
    RecoverByCreating("grows, then made anew", workloads.grows, None),
    SelfTest("rewrites", workloads.rewrites),
    ReadBeforeRecovery("reads", workloads.reads),
    SelfTest("sessions", workloads.sessions, depth=2),
    SelfTest("kills", workloads.kills),
    SelfTest("deaths", workloads.deaths),
    SelfTest("fails", workloads.fails),
    SelfTest("fails in a cut", workloads.fails_cut),
    SelfTest("fails again", workloads.fails_again),
    RecoverOnFullDisk("crowded", workloads.crowded),
    SelfTest("outages", workloads.outages, depth=2),
    ForeignEdit("edited hot", workloads.edited_hot, depth=2),
    ForeignEdit("edited open", workloads.edited_open, depth=2),
    ForeignEdit("edited early", workloads.edited_early, depth=2),
    ForeignEdit("takes over", workloads.takes_over),
    ForeignEdit("takes over a new file", workloads.takes_over, None),
    NeedsNoRecovery("closes", workloads.closes),
    DiscardedLog("discards", workloads.discards, depth=2),
    SelfTest("in place", workloads.in_place, depth=2),
)
"""Each on a device with sectors of 512 bytes, powersafe overwrite, attributes, and no atomic writes."""

_ATOMIC: Final = AtomicLimits(BLOCK, 4 * BLOCK, 0, 1)
_SECTORS: Final[dict[str, dict[str, Any]]] = {
    "": {},
    "4096": {"sector": 4096},
    "garbage": {"powersafe": False},
    "garbage of 4096": {"powersafe": False, "sector": 4096},
}
_MORE: Final[dict[str, dict[str, Any]]] = {
    "": {}, "no attributes": {"xattrs": False}, "atomic writes": {"atomic": _ATOMIC}
}  # fmt: skip
DEVICES: Final = {
    ", ".join(filter(None, (sector, more))): {**_SECTORS[sector], **_MORE[more]}
    for sector in _SECTORS
    for more in _MORE
}
"""By name: options of the machine."""


def on(target: SelfTest, device: str) -> SelfTest:
    """The same on this device. Garbage multiplies the states, so that there recovery is cut off once."""
    name = ", ".join(filter(None, (target.name, device)))
    depth = target.depth if DEVICES[device].get("powersafe", True) else min(target.depth, 1)
    return replace(target, name=name, machine=DEVICES[device], depth=depth)


MATRIX: Final = tuple(on(target, device) for device in DEVICES for target in WORKLOADS)
"""Every workload on every device."""

_ALSO: Final = (
    "commits, 4096", "truncates, 4096", "commits, garbage of 4096", "sessions, garbage of 4096",
    "truncates, garbage of 4096",
    "restarts, no attributes", "discards, no attributes", "kills, garbage, no attributes", "in place, atomic writes",
    "in place, garbage, atomic writes",
)  # fmt: skip
GARBAGE: Final = SelfTest("garbage", workloads.blocks, machine=DEVICES["garbage"], depth=2)
TARGETS: Final = (
    *(target for target in MATRIX if target.machine in ({}, DEVICES["garbage"]) or target.name in _ALSO), GARBAGE
)  # fmt: skip
"""What ``make test`` explores: every workload without and with garbage, and some on other devices."""
