"""A generated sequence as a target of the explorer: device, start, and what must hold after each crash."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.workloads.session import CLOSE, SIZE, Session
from untorn.api import functions as api
from untorn.crashmodel.storage import SimulatedStorage
from untorn.errors import CorruptLogError, ForeignEditError, UntornWarning
from untorn.explore.oracles import Content, plain, state_is_a_commit
from untorn.explore.search.engine import Recording, recording_of
from untorn.explore.selftest.scripted_session import BLOCK, PATH, stamp
from untorn.explore.targets.protocol import Acknowledged
from untorn.storage.interface import AtomicLimits

DEVICES: Final[dict[str, dict[str, Any]]] = {
    "512": {"block": BLOCK},
    "4096": {"sector": 4096},
    "no-attributes": {"xattrs": False, "block": BLOCK},
    "atomic": {"atomic": AtomicLimits(BLOCK, 4 * BLOCK, 0, 1)},
    "garbage-512": {"powersafe": False, "block": BLOCK},
    "garbage-4096": {"powersafe": False, "sector": 4096},
}
"""Options of the simulated machine, by name."""

WRITING: Final = -1
"""In place of the number of a state: another program was writing it."""

STARTS: Final[dict[str, Content]] = {"content": stamp(1, SIZE), "missing": None}
"""What the file holds at first, by name."""


@dataclass
class Generated:
    """One sequence of operations. After a crash the file is one of its commits, whole and plain."""

    operations: Sequence[str]
    device: str
    start: str
    ending: str = CLOSE
    sites: bool = False
    """Whether a story names the line behind each operation."""
    states: list[Content] = field(default_factory=list)
    """What was committed, in order; of the last recording."""
    refused: bool = False
    """Whether the last recovery refused another program's edit."""

    @property
    def name(self) -> str:
        return f"{self.start}: {', '.join((*self.operations, self.ending))}; device {self.device}"

    @property
    def _garbage(self) -> bool:
        return not DEVICES[self.device].get("powersafe", True)

    def session(self, *, watched: bool = False) -> Session:
        """Does it all once; whatever it raises is a defect that needs no crash."""
        session = Session(STARTS[self.start], watched=watched, sites=self.sites, **DEVICES[self.device])
        try:
            session.run(self.operations, self.ending)
        except BaseException:
            session.kill()
            raise
        return session

    def recording(self) -> Recording:
        """Of this sequence, to be cut off at or after its last operation."""
        session = self.session()
        self.states = session.states
        return recording_of(session.machine, session.first)

    def record(self) -> SimulatedStorage:
        return self.session().machine

    def needs_no_recovery(self) -> tuple[NeedsNoRecovery, Recording] | None:
        """The same for programs that read the file after its end and know nothing of untorn; None if it has no end."""
        session = self.session()
        if session.over:
            return None
        target = NeedsNoRecovery(self.operations, self.device, self.start, self.ending, self.sites, session.states)
        return target, recording_of(session.machine, session.ended)

    def recover(self, storage: SimulatedStorage) -> None:
        self.refused = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UntornWarning)
                api.recover(PATH, storage=storage)
        except FileNotFoundError:
            pass
        except (CorruptLogError, ForeignEditError) as error:
            # What turned to garbage may be what would tell an edit from a checkpoint that was cut off.
            if "edit" not in self.operations or (isinstance(error, CorruptLogError) and not self._garbage):
                raise
            self.refused = True

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        edited = "edit" in self.operations
        edit = acknowledged(_edit) if edited else None
        if edit == WRITING:
            return
        if edit is not None:
            if storage.read_file(PATH) != self.states[edit]:
                raise AssertionError("written over: the file does not hold what another program wrote")
        elif self.refused:
            raise AssertionError("refused: no other program's edit stands against this recovery")
        else:
            # A new log that turned to garbage cannot be told from one of another file, which is set aside.
            quarantined = edited or self._garbage
            state_is_a_commit(plain(storage, PATH, quarantined=quarantined), self.states, acknowledged)


class NeedsNoRecovery(Generated):
    """After a clean end any program reads the file, without untorn and after any crash (I6)."""

    def recover(self, storage: SimulatedStorage) -> None:
        pass


def _edit(told: Sequence[tuple[str, int]]) -> int | None:
    """The number of the state that another program wrote and no session of ours has begun on; WRITING while it wrote.

    None if there is none.
    """
    edit = None
    for word, state in told:
        match word:
            case "edit":
                edit = WRITING
            case "edited":
                edit = state
            case "kept":
                edit = None
    return edit
