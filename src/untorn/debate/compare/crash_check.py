"""Crashes a workload in one design, by the explorer: does every page that must not tear stay whole?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from xxhash import xxh3_128_digest

from untorn.api import functions as api
from untorn.crashmodel.storage import SimulatedStorage
from untorn.debate.compare.devices import Device
from untorn.debate.compare.page_stamps import Known, Page, overwritten, pages_of, stamped
from untorn.debate.compare.runner import PATH, Played, open_file, play
from untorn.debate.compare.workloads import Workload
from untorn.explore import Budget, explore
from untorn.explore.oracles import Content, plain, state_is_a_commit
from untorn.explore.result import Result
from untorn.explore.search.engine import Recording, recording_of
from untorn.explore.targets.protocol import Acknowledged

SECTOR: Final = 4096
"""Bytes that the simulated device writes whole without being asked; a page of 8 KiB can still tear in two."""

_SECONDS: Final = 60.0
"""For one exploration; none comes near it."""

LOSES: Final = frozenset({"folio-flag"})
"""Designs that say themselves that a plain write over a dirty atomic page takes the promise from it."""


class Verdict(StrEnum):
    """What the crashes of one workload showed."""

    WHOLE = "whole"
    """No page is torn in any state, and each was taken as atomic."""
    TORN = "TORN"
    """A page that was taken as atomic is torn."""
    LOST = "torn after a mix"
    """Torn pages are those only that a plain write came over, as the design says; all others are whole."""
    REFUSED = "refused, torn"
    """The design takes no such atomic writes here. Written plainly they tear."""
    REFUSED_WHOLE = "refused, whole"
    """As REFUSED, but nothing tore."""
    UNKNOWN = "not finished"
    """No page is torn in the states that were tried, but they were not all."""


@dataclass
class Target:
    """A workload in one design on one device. ``check`` judges the pages that ``wanted`` chooses."""

    workload: Workload
    design: str
    device: Device
    wanted: Callable[[Page], bool] = lambda page: True
    played: Played = field(default_factory=Played)
    states: list[Content] = field(default_factory=list)
    known: Known | None = None

    @property
    def name(self) -> str:
        return f"{self.workload.name} in {self.design} on {self.device.name}"

    def record(self) -> SimulatedStorage:
        machine = SimulatedStorage(sector=SECTOR, sites=True, **self.device.options())
        content = stamped(0, 0, self.workload.short_size)
        machine.write_file(PATH, content)
        self.states = [content]
        file = open_file(PATH, self.design, machine)

        def commit() -> int:
            found = file.pread(1 << 30, 0)
            if found != self.states[-1]:
                self.states.append(found)
            machine.acknowledge(("begin", len(self.states) - 1))
            return len(self.states) - 1

        state = 0

        def told(call: object) -> None:
            nonlocal state
            if getattr(call, "is_sync", False):
                state = commit()

        def done(step: object, call: object) -> None:
            if getattr(call, "is_sync", False):
                machine.acknowledge(("durable", state))

        self.played = play(file, self.workload.short, stamped, done, told)
        state = commit()
        file.close()
        machine.acknowledge(("durable", state))
        self.known = Known(self.workload.short_size, self.played.writes)
        return machine

    def recover(self, storage: SimulatedStorage) -> None:
        if self.design == "cow":
            api.recover(PATH, storage=storage)

    def check(self, storage: SimulatedStorage, acknowledged: Acknowledged) -> None:
        """Of copy-on-write more is asked: the whole file is one of its commits."""
        if self.design == "cow":
            state_is_a_commit(plain(storage, PATH), self.states, acknowledged)
            return
        assert self.known is not None
        content = storage.read_file(PATH)
        for page in self.pages():
            self.known.judge(content, page)

    def pages(self) -> Sequence[Page]:
        return [page for page in pages_of(self.played.writes) if self.wanted(page)]


@dataclass
class Crashes:
    """What the explorer found out, in a form that goes to JSON."""

    verdict: Verdict
    complete: bool
    """Whether every state was explored."""
    certified: bool
    """Whether the second rules, of separate code, confirm that."""
    uncertified: str
    """Why they do not, where every state was explored."""
    states: int
    recoveries: int
    torn: int
    """Of the recoveries, those that ended with a torn page."""
    counted: bool = False
    """Whether these are all recoveries that there are, where a page can tear."""
    headline: str = ""
    """What is torn."""
    story: str = ""
    """The shortest way to it."""
    kept: str = ""
    """For LOST: how the pages were explored that keep the promise."""


class Explorer:
    """Explores workloads in one design; where two devices lead to the same operations it does so once."""

    def __init__(self, *, count: int = 300) -> None:
        """``count``: where a page can tear, how many recoveries are made to see in how many of them it does."""
        self._count = count
        self._known: dict[bytes, Crashes] = {}

    def crashes(self, workload: Workload, design: str, device: Device) -> Crashes:
        target = Target(workload, design, device)
        recording = recording_of(target.record())
        key = _digest(target, recording)
        if key not in self._known:
            self._known[key] = self._explore(target, recording)
        return self._known[key]

    def _explore(self, target: Target, recording: Recording) -> Crashes:
        result = _run(target, recording, Budget(seconds=_SECONDS))
        if not result.bad:
            return _crashes(_good(target, result), result)
        crashes = _crashes(Verdict.TORN, result)
        if self._count > result.recoveries:
            counted = _run(target, recording, Budget(recoveries=self._count), keep_going=True)
            crashes.recoveries, crashes.torn, crashes.states = counted.recoveries, counted.bad, counted.states
            crashes.counted = _is_complete(counted)
        if target.played.taken < target.played.asked:
            crashes.verdict = Verdict.REFUSED
        elif target.design in LOSES:
            steps = target.workload.short
            rest = Target(target.workload, target.design, target.device, lambda page: not overwritten(page, steps))
            kept = _run(rest, recording_of(rest.record()), Budget(seconds=_SECONDS))
            if _is_complete(kept) and not kept.bad:
                crashes.verdict, crashes.kept = Verdict.LOST, kept.verdict()
        return crashes


def _run(target: Target, recording: Recording, budget: Budget, *, keep_going: bool = False) -> Result:
    depth = 1 if target.design == "cow" else 0  # the others have nothing to recover
    return explore(target, recovery_crashes=depth, budget=budget, recording=recording, keep_going=keep_going)


def _is_complete(result: Result) -> bool:
    return not result.coverages and not result.interrupted


def _good(target: Target, result: Result) -> Verdict:
    if not _is_complete(result):
        return Verdict.UNKNOWN
    return Verdict.WHOLE if target.played.taken == target.played.asked else Verdict.REFUSED_WHOLE


def _crashes(verdict: Verdict, result: Result) -> Crashes:
    story = result.counterexamples[0] if result.counterexamples else None
    complete = not result.bad and _is_complete(result)
    return Crashes(
        verdict, complete, result.certified, result.refusal if complete else "", result.states, result.recoveries,
        result.bad, headline=story.problem.message if story else "", story=story.text if story else "",
    )  # fmt: skip


def _digest(target: Target, recording: Recording) -> bytes:
    """Of all that the search depends on; the device matters by what was written only."""
    parts = [(one.name, one.path, one.arguments, one.issued, one.completed) for one in recording.trace.operations]
    return xxh3_128_digest(repr((target.workload.name, target.design, target.played.taken, parts)).encode())
