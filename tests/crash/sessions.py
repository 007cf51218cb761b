"""Scripted sessions for tests that break off every call of them in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from tests.support.crash_driver import Driver
from tests.support.file_history import Content, stamp

BLOCK: Final = 4096
SMALL: Final[dict[str, Any]] = {"folio_size": BLOCK, "cache_bytes": 64 * BLOCK}
TINY: Final[dict[str, Any]] = {"folio_size": BLOCK, "cache_bytes": 8 * BLOCK}

Step = Callable[[Driver], object]


class Session(NamedTuple):
    """``before`` happens undisturbed; each call of ``steps`` may be made to fail."""

    initial: Content
    steps: list[Step]
    before: tuple[Step, ...] = ()
    machine: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def prepare(self) -> Driver:
        """A driver on which ``before`` has happened."""
        driver = Driver(self.initial, **self.machine)
        self.play(driver, self.before)
        return driver

    def play(self, driver: Driver, steps: list[Step] | tuple[Step, ...] | None = None) -> None:
        """Takes every step that finds the file open, or closed if it opens it."""
        for step in self.steps if steps is None else steps:
            opens = (isinstance(step, partial) and step.func is Driver.open) or step in _BETWEEN
            if (driver.file is None) is opens:
                step(driver)


def opened(mode: str, **options: Any) -> Step:
    return partial(Driver.open, mode=mode, **options)


def put(serial: int, offset: int, length: int) -> Step:
    return lambda driver: driver.pwritev([stamp(serial, length)], offset)


def written(serial: int, length: int) -> Step:
    return lambda driver: driver.write(stamp(serial, length))


def truncated(size: int) -> Step:
    return lambda driver: driver.truncate(size)


def ended(*, keep: bool) -> Step:
    return lambda driver: driver.end(keep=keep)


commit: Final[Step] = partial(Driver.commit, durable=True)
order: Final[Step] = partial(Driver.commit, durable=False)
begin: Final[Step] = Driver.begin
flush: Final[Step] = Driver.flush
close: Final[Step] = Driver.close
kill: Final[Step] = Driver.kill
look: Final[Step] = Driver.look
compare: Final[Step] = Driver.compare
raise_through: Final[Step] = Driver.leave_by_exception
_BETWEEN: Final = (look,)

_OLD: Final = stamp(1, 5 * BLOCK + 100)
_HOT: Final = (
    opened("r+b", **SMALL),
    put(2, 10, 100),
    commit,
    put(3, BLOCK - 50, 3 * BLOCK),
    commit,
    truncated(4 * BLOCK),
    put(4, 6 * BLOCK, 200),
    order,
    put(5, 0, 50),
    kill,
)


def _die_in_checkpoint(driver: Driver) -> None:
    """In the second write of a checkpoint to home."""
    driver.plant("death", nth=1, names=["pwritev"], paths=["/file"], death=True, transfer=0.5)
    driver.close()


_HALFWAY: Final = (*_HOT[:-2], _die_in_checkpoint)

SESSIONS: Final[dict[str, Session]] = {
    "update": Session(_OLD, [opened("r+b", **SMALL), put(2, 10, 100), put(3, BLOCK, BLOCK), close]),
    "overwrite": Session(_OLD, [opened("w+b", **SMALL), written(2, 5000), compare, close]),
    "append": Session(_OLD, [opened("a+b", **SMALL), written(2, 5000), flush, written(3, 100), close]),
    "a new file": Session(None, [opened("w+b", **SMALL), written(2, 5000), flush, written(3, 3000), close]),
    "an empty new file": Session(None, [opened("a+b", **SMALL), close]),
    "many folios": Session(_OLD, [opened("r+b", **SMALL), put(2, 50, 14000), commit, put(3, 9000, 9000), close]),
    "commits": Session(
        _OLD,
        [
            opened("r+b", commit="close", **SMALL), put(2, 0, 99), order, put(3, 9000, 99), order, commit,
            put(4, 7, 7), close,
        ],
    ),
    "transactions": Session(
        _OLD,
        [
            opened("r+b", **SMALL), begin, put(2, 0, 5000), begin, put(3, 6000, 100), ended(keep=False),
            put(4, 7000, 100), ended(keep=True), begin, put(5, 0, 99), ended(keep=False), compare, close,
        ],
    ),
    "spills": Session(
        _OLD,
        [
            opened("r+b", **TINY), put(2, 100, 3 * BLOCK), put(3, 4 * BLOCK, 3 * BLOCK), compare,
            put(4, 0, 9 * BLOCK + 5), compare, commit, put(5, 3 * BLOCK, 2 * BLOCK), raise_through,
        ],
    ),
    "mode write": Session(
        _OLD,
        [opened("r+b", commit="write", **TINY), *[put(2 + n, n * 3000, 6000) for n in range(6)], compare, close],
    ),
    "mode explicit": Session(
        _OLD, [opened("r+b", commit="explicit", **SMALL), put(2, 0, 5000), commit, put(3, 0, 100), close]
    ),
    "checkpoints": Session(
        _OLD,
        [
            opened("r+b", checkpoint_bytes=3 * BLOCK, **SMALL), put(2, 0, 99), commit, put(3, 5000, 9000), commit,
            put(4, 50000, 9), commit, close,
        ],
    ),
    "truncates": Session(
        _OLD,
        [
            opened("r+b", **SMALL), truncated(5000), truncated(9000), commit, put(2, 20000, 10), begin, truncated(100),
            put(3, 6000, 100), truncated(30000), ended(keep=True), truncated(0), close,
        ],
    ),
    "recovery": Session(_OLD, [opened("r+b", **SMALL), put(9, 0, 9), close], _HOT),
    "recovery of half a checkpoint": Session(_OLD, [opened("r+b", **SMALL), close], _HALFWAY),
    "recovery for a writer of it all": Session(_OLD, [opened("w+b", **SMALL), written(9, 100), close], _HOT),
    "a reader of a hot file": Session(_OLD, [look], _HOT),
    "update without attributes": Session(
        _OLD, [opened("r+b", **SMALL), put(2, 10, 100), close], (), {"xattrs": False}
    ),
    "recovery without attributes": Session(_OLD, [opened("r+b", **SMALL), close], _HOT, {"xattrs": False}),
}  # fmt: skip
