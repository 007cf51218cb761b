"""The state machine of hypothesis over the driver: which step comes when, and with what."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.support.crash_driver import Driver
from tests.support.file_history import stamp
from untorn.crashmodel.variables import Choose, Value, Variable, newest, oldest, seeded

EXAMPLES: Final = int(os.environ.get("UNTORN_EXAMPLES", "400"))
STEPS: Final = 40
HUNT: Final = 400
"""Most runs until a planted defect has to be found. What is tried depends on the constants of all that is imported."""

BLOCK: Final = 4096
DRAWN_MAX: Final = 24
"""Most values of one power cut that are drawn one by one; of more, a seed decides."""
SYNCS: Final = ("fdatasync", "fsync", "sync_directory")
ROOM_BLOCKS: Final = 40
"""What is freed on a full disk on which the file could not even be opened: as many blocks as the file may have."""

lengths = st.one_of(
    st.sampled_from([1, 100, 511, 512, 513, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 4 * BLOCK]),
    st.integers(0, 3 * BLOCK),
)
huge_lengths = st.integers(6, 14).map(lambda blocks: blocks * BLOCK + 77)
offsets = st.tuples(st.integers(0, 14), st.sampled_from([0, 0, 0, -1, 1, 100, 512, -512, -513])).map(
    lambda place: max(0, place[0] * BLOCK + place[1])
)
modes = st.sampled_from(["r+b", "r+b", "r+b", "a+b", "w+b"])
options = st.fixed_dictionaries(
    {
        "commit": st.sampled_from(["flush", "flush", "close", "write", "explicit"]),
        "folio_size": st.sampled_from([BLOCK, BLOCK, 4 * BLOCK]),
        # Small caches and logs, so that spills, evictions and checkpoints are frequent.
        "cache_bytes": st.sampled_from([2 * BLOCK, 16 * BLOCK, 16 * BLOCK, 256 * BLOCK]),
        "checkpoint_bytes": st.sampled_from([BLOCK, 16 * BLOCK, 1 << 26]),
    }
)
cuts = st.sampled_from(["drawn", "drawn", "seeded", "newest", "oldest"])


class CrashMachine(RuleBasedStateMachine):
    """Sessions of a file on a simulated machine, cut off anywhere, against a plain history of bytes.

    Every rule works on an open file: where the one before lost it to a fault, it is opened again first.
    """

    seen: ClassVar[Counter[str]] = Counter()
    limits: ClassVar[st.SearchStrategy[dict[str, Any]]] = st.just({})
    """How much the simulated machine holds."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(b"")
        self.serial = 0

    def data_of(self, length: int) -> bytes:
        self.serial += 1
        return stamp(self.serial, length)

    def choice(self, kind: str, data: st.DataObject) -> Choose:
        """Any legal choice of values: each drawn by itself, or where there are many, by a seed."""
        self.serial += 1
        fixed = {"newest": newest, "oldest": oldest, "seeded": seeded(self.serial)}
        if kind in fixed:
            return fixed[kind]
        count = 0

        def choose(variable: Variable, legal: Sequence[Value]) -> int:
            nonlocal count
            count += 1
            if count > DRAWN_MAX:
                return fixed["seeded"](variable, legal)
            return data.draw(st.integers(0, len(legal) - 1), label=f"{variable.kind} {variable.key}")

        return choose

    def ready(self) -> Driver:
        """The driver with an open file."""
        driver = self.driver
        while driver.file is None:
            self.serial += 1
            if self.serial % 2:
                driver.cut_power(seeded(self.serial))
            if not driver.open("r+b" if driver.exists() else "a+b", cache_bytes=2 * BLOCK, folio_size=BLOCK):
                driver.make_room(ROOM_BLOCKS)
        return driver

    @initialize(
        blocks=st.sampled_from([None, 0, 1, 3, 8]),
        extra=st.sampled_from([0, 0, 100]),
        xattrs=st.sampled_from([True, True, True, False]),
        tick_ns=st.sampled_from([1000, 1]),
        mode=modes,
        options=options,
        data=st.data(),
    )
    def start(
        self, blocks: int | None, extra: int, xattrs: bool, tick_ns: int, mode: str, options: dict[str, Any],
        data: st.DataObject,
    ) -> None:  # fmt: skip
        initial = None if blocks is None else self.data_of(blocks * BLOCK + extra)
        limits = data.draw(self.limits, label="limits")
        self.driver = Driver(initial, self.seen, xattrs=xattrs, tick_ns=tick_ns, **limits)
        self.driver.open(mode if self.driver.exists() else "w+b", **options)

    # Between sessions

    @rule(
        ending=st.sampled_from(["close", "close", "exception", "kill", "power cut", "edit"]),
        steps=st.lists(st.sampled_from(["look", "edit", "power cut", "recovery cut off"]), max_size=3),
        unsynced=st.lists(st.tuples(offsets, lengths), max_size=3),
        nth=st.integers(0, 30),
        length=lengths,
        cut=cuts,
        data=st.data(),
        mode=modes,
        options=options,
    )
    def next_session(
        self, ending: str, steps: list[str], unsynced: list[tuple[int, int]], nth: int, length: int, cut: str,
        data: st.DataObject, mode: str, options: dict[str, Any],
    ) -> None:  # fmt: skip
        """The session ends, this or that happens to the file, and another one begins."""
        driver = self.ready()
        for offset, wanted in unsynced:
            if driver.file is not None:
                driver.pwritev([self.data_of(wanted)], offset)
            if driver.file is not None:
                driver.commit(durable=False)
        driver = self.ready()
        match ending:
            case "close":
                driver.close()
            case "exception":
                driver.leave_by_exception()
            case "kill":
                driver.kill()
            case _:
                steps = [ending, *steps]
        for step in steps:
            match step:
                case "look" if driver.file is None:
                    driver.look()
                case "edit" if driver.may_be_edited():
                    driver.edit(self.data_of(length))
                case "power cut":
                    driver.cut_power(self.choice(cut, data))
                case "recovery cut off" if driver.exists() and driver.file is None:
                    driver.plant("death", nth=nth, death=True, transfer=0.5)
                    if driver.open("r+b"):
                        driver.kill()
        if driver.file is not None:
            driver.kill()
        driver.open(mode if driver.exists() else "w+b", **options)

    @rule(
        kind=st.sampled_from(["death", "death in a write", "error", "failed sync", "short transfer"]),
        nth=st.integers(0, 20),
        error=st.sampled_from([errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR]),
        share=st.sampled_from([0.5, 0.8, 1.0]),
    )
    def plant(self, kind: str, nth: int, error: int, share: float) -> None:
        """A fault in one of the calls to come."""
        driver = self.ready()
        match kind:
            case "death":
                driver.plant(kind, nth=nth, death=True)
            case "death in a write":
                driver.plant(kind, nth=nth // 2, names=["pwritev"], death=True, transfer=share)
            case "error":
                driver.plant(kind, nth=nth, error=error)
            case "failed sync":
                driver.plant(kind, nth=nth // 4, names=SYNCS, error=errno.EIO)
            case _:
                driver.plant(kind, nth=nth, transfer=share)

    # Within a session

    @rule(length=lengths)
    def write(self, length: int) -> None:
        self.ready().write(self.data_of(length))

    @rule(offset=offsets, lengths=st.lists(lengths, min_size=1, max_size=3))
    def pwritev(self, offset: int, lengths: list[int]) -> None:
        self.ready().pwritev([self.data_of(length) for length in lengths], offset)

    @rule(offset=offsets, length=huge_lengths)
    def write_huge(self, offset: int, length: int) -> None:
        self.ready().pwritev([self.data_of(length)], offset)

    @rule(offset=offsets, length=lengths, append=st.booleans())
    def write_flagged(self, offset: int, length: int, append: bool) -> None:
        if append:
            self.ready().append_write(self.data_of(length))
        else:
            self.ready().write_durably(self.data_of(length), offset)

    @rule(size=offsets)
    def truncate(self, size: int) -> None:
        self.ready().truncate(size)

    @rule(low=offsets, high=offsets, length=lengths, between=st.booleans())
    def cut_and_grow(self, low: int, high: int, length: int, between: bool) -> None:
        """Down and up in one transaction: old bytes must not come back."""
        driver = self.ready()
        driver.begin()
        if driver.file is not None:
            driver.truncate(min(low, high))
        if driver.file is not None and between:
            driver.pwritev([self.data_of(length)], low)
        if driver.file is not None:
            driver.truncate(max(low, high))
        if driver.file is not None:
            driver.end(keep=True)

    @rule(offset=offsets, whence=st.sampled_from([0, 1, 2]), sign=st.sampled_from([1, -1]))
    def seek(self, offset: int, whence: int, sign: int) -> None:
        self.ready().seek(offset * sign, whence)

    @rule(length=lengths, offset=st.one_of(st.none(), offsets))
    def read(self, length: int, offset: int | None) -> None:
        self.ready().read(length, offset)

    @rule()
    def compare(self) -> None:
        self.ready().compare()

    @rule()
    def flush(self) -> None:
        self.ready().flush()

    @rule(durable=st.booleans())
    def commit(self, durable: bool) -> None:
        self.ready().commit(durable=durable)

    @rule()
    def rollback(self) -> None:
        self.ready().rollback()

    @rule()
    def begin(self) -> None:
        driver = self.ready()
        if len(driver.levels) < 3:
            driver.begin()

    @rule(keep=st.booleans())
    def end(self, keep: bool) -> None:
        driver = self.ready()
        if driver.levels:
            driver.end(keep=keep)

    def teardown(self) -> None:
        """Whatever happened, what a power cut leaves now is legal too."""
        if sys.exc_info()[0] is not None:
            self.driver.kill()
            return
        self.driver.cut_power(seeded(self.serial))
        self.driver.make_room(ROOM_BLOCKS)
        if self.driver.exists():
            self.driver.open("r+b")
            self.driver.close()


def run(base: type[CrashMachine], examples: int, phases: tuple[Phase, ...]) -> Counter[str]:
    """Makes so many runs of the machine; returns how often each situation came up."""

    class Machine(base):  # type: ignore[misc, valid-type]
        seen: ClassVar[Counter[str]] = Counter()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    return Machine.seen
