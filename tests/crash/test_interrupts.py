"""An exception at every line of a write, a truncate, a transaction and a commit, as Ctrl-C may raise one.

A write that raises has changed nothing, a commit that raises is old or new, and nothing ever is half done. Only on
the way out of a ``with`` on one of its locks, where the tracer can strike and a signal cannot, may the lock be left
held: then the next call says so instead of waiting for ever.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NamedTuple

import pytest

import untorn
from tests.defects.plants import Patch
from tests.support.crash_driver import Driver
from tests.support.file_history import overwritten, resized, stamp
from untorn.api.block_end import handled
from untorn.crashmodel.variables import newest, oldest, seeded
from untorn.inode import Inode
from untorn.inode.cached import CachedFile

BLOCK: Final = 4096
OLD: Final = stamp(1, 6 * BLOCK + 100)
NEW: Final = stamp(2, 20 * BLOCK)
SOURCE: Final = os.path.dirname(os.path.abspath(untorn.__file__)) + os.sep
STORAGE: Final = (SOURCE + "storage" + os.sep, SOURCE + "crashmodel" + os.sep)


class Interrupt(KeyboardInterrupt):
    """Told apart from a real Ctrl-C."""


class Tracer:
    """Raises at the nth line that is run in untorn above the storage; never if that is 0."""

    def __init__(self, nth: int = 0) -> None:
        self.places: list[str] = []
        self._nth = nth

    def run(self, call: Callable[[], object]) -> bool:
        """Whether the call came to its end undisturbed."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            call()
            return True
        except Interrupt:
            return False
        except untorn.ReentrantError as error:  # what a ``with`` on its way out met after the interrupt
            if _stems_from_interrupt(error) and _is_unguarded(self.places[-1]):
                return False
            raise
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        return self._line if name.startswith(SOURCE) and not name.startswith(STORAGE) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.places.append(f"{frame.f_code.co_filename[len(SOURCE) :]}:{frame.f_lineno}")
            if len(self.places) == self._nth:
                raise Interrupt(self.places[-1])
        return self._line


class Case(NamedTuple):
    """A call that is interrupted; ``before`` happens undisturbed on a file that holds OLD."""

    call: Callable[[Any], object]
    after: Callable[[bytes], bytes] = lambda content: content
    """What the call makes of the content."""
    commits: bool = False
    whole: bool = False
    """Whether an interrupted call may have had its whole effect: a transaction that ended and then could not commit."""
    before: Callable[[Driver], object] = lambda driver: None
    mode: str = "r+b"
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


def _put(length: int, offset: int) -> Case:
    return Case(lambda file: file.pwrite(NEW[:length], offset), lambda old: overwritten(old, offset, NEW[:length]))


def _in_transaction(file: Any) -> None:
    with file.transaction():
        file.pwrite(NEW[:100], 10)
        file.pwrite(NEW[:5000], 2 * BLOCK + 10)


def _nested(file: Any) -> None:
    with file.transaction():
        file.pwrite(NEW[:100], 10)
        try:
            with file.transaction():
                file.pwrite(NEW[:5000], 2 * BLOCK + 10)
                raise KeyError
        except KeyError:
            pass


def _dirty(driver: Driver) -> None:
    driver.pwritev([stamp(3, 50)], 5)
    driver.pwritev([stamp(4, 5000)], 3 * BLOCK + 5)


def _behind(driver: Driver) -> None:
    driver.seek(3 * BLOCK + 5, 0)


def _transacted(old: bytes) -> bytes:
    return overwritten(overwritten(old, 10, NEW[:100]), 2 * BLOCK + 10, NEW[:5000])


CASES: Final[dict[str, Case]] = {
    "a small write": _put(100, 50),
    "a small write over a dirty folio": _put(100, 50)._replace(before=_dirty),
    "a whole folio": _put(BLOCK, BLOCK),
    "a write over several folios": _put(3 * BLOCK, BLOCK + 50)._replace(before=_dirty),
    "a write at the position": Case(
        lambda file: file.write(NEW[:5000]), lambda old: overwritten(old, 3 * BLOCK + 5, NEW[:5000]), before=_behind
    ),
    "a write that extends": _put(3 * BLOCK, 6 * BLOCK),
    "a write beyond the end": _put(10, 9 * BLOCK + 5),
    "an append": Case(lambda file: file.write(NEW[:5000]), lambda old: old + NEW[:5000], mode="a+b", before=_dirty),
    "a write of many buffers": Case(
        lambda file: file.pwritev([NEW[:10], NEW[10:5000], NEW[5000:9000]], 77),
        lambda old: overwritten(old, 77, NEW[:9000]),
    ),
    "a write that spills others": _put(3 * BLOCK, BLOCK)._replace(before=_dirty, options={"cache_bytes": 8 * BLOCK}),
    "a write that commits others": _put(3 * BLOCK, BLOCK)._replace(
        before=_dirty, options={"cache_bytes": 8 * BLOCK, "commit": "write"}
    ),
    "a huge write": _put(18 * BLOCK, BLOCK + 5)._replace(before=_dirty, options={"cache_bytes": 8 * BLOCK}),
    "a huge write at the position": Case(
        lambda file: file.write(NEW), lambda old: overwritten(old, 3 * BLOCK + 5, NEW),
        before=_behind, options={"cache_bytes": 8 * BLOCK},
    ),
    "a cut": Case(lambda file: file.truncate(BLOCK + 9), lambda old: resized(old, BLOCK + 9), before=_dirty),
    "growth": Case(lambda file: file.truncate(9 * BLOCK), lambda old: resized(old, 9 * BLOCK), before=_dirty),
    "a transaction": Case(_in_transaction, _transacted, commits=True, whole=True, before=_dirty),
    "a transaction to be committed later": Case(
        _in_transaction, _transacted, whole=True, before=_dirty, options={"commit": "explicit"}
    ),
    "a savepoint": Case(_nested, lambda old: overwritten(old, 10, NEW[:100]), commits=True, whole=True, before=_dirty),
    "a commit": Case(lambda file: file.commit(), commits=True, before=_dirty),
    "a commit that is not durable": Case(lambda file: file.commit(durable=False), commits=True, before=_dirty),
    "a flush": Case(lambda file: file.flush(), commits=True, before=_dirty),
    "a commit with a checkpoint": Case(
        lambda file: file.commit(), commits=True, before=_dirty, options={"checkpoint_bytes": BLOCK}
    ),
    "a durable write": _put(5000, 77)._replace(
        call=lambda file: file.pwrite(NEW[:5000], 77, untorn.RWF_DSYNC), commits=True, whole=True
    ),
}  # fmt: skip


def prepared(case: Case) -> Driver:
    driver = Driver(OLD)
    driver.open(case.mode, **{"folio_size": BLOCK, "cache_bytes": 64 * BLOCK, **case.options})
    case.before(driver)
    return driver


def moments(case: Case) -> list[int]:
    """The first two times and the last time that each line is run, counted in lines from 1."""
    driver = prepared(case)
    tracer = Tracer()
    assert tracer.run(lambda: case.call(driver.file))
    driver.kill()
    times: dict[str, list[int]] = {}
    for nth, place in enumerate(tracer.places, 1):
        times.setdefault(place, []).append(nth)
    return sorted({nth for all_times in times.values() for nth in (*all_times[:2], all_times[-1])})


def interrupt_every_line(case: Case) -> Counter[str]:
    """Returns how it went, in words."""
    seen: Counter[str] = Counter()
    for nth in moments(case):
        driver = prepared(case)
        tracer = Tracer(nth)
        try:
            assert not tracer.run(lambda: case.call(driver.file))  # noqa: B023 - called at once
            seen[judge(driver, case, tracer.places[-1])] += 1
        except BaseException as error:
            error.add_note(f"interrupted at {tracer.places[-1]}")
            driver.kill()
            raise
    return seen


def judge(driver: Driver, case: Case, place: str) -> str:
    """What the interrupted handle shows and what crashes leave of it."""
    file, old, new = driver.file, driver.content, case.after(driver.content)
    driver.faulted |= _is_unguarded(place)  # then what is reserved may be more than is needed
    if case.commits:
        driver.history.maybe(old, new)
    if file._inode.busy:
        # Other threads would wait for ever; so it must not come from a line where a signal can strike.
        assert _is_unguarded(place), "a lock was left held"
        for call in (lambda: file.pread(1, 0), lambda: file.write(b"x"), file.commit):
            with suppress(untorn.ReentrantError, untorn.HandleFailedError):
                call()
        driver.history.maybe(overwritten(old, driver.position, b"x"), overwritten(new, driver.position, b"x"))
        crash(driver)
        return "a lock stayed held"
    try:
        content = file.pread(1 << 30, 0)
    except untorn.HandleFailedError:
        with pytest.raises(untorn.HandleFailedError):
            file.write(b"x")
        crash(driver)
        return "out of work"
    if content == old:
        assert file.tell() == driver.position, "the position moved"
    else:
        same = content == new  # by itself: pytest would explain at length how two such contents differ
        assert same, "half a write"
        assert case.whole, "the call raised and had its effect"
    for choose in (oldest, newest, seeded(1)):
        reopen(driver.after_cut(choose))
    go_on(driver, content)
    return "had no effect" if content == old else "had its effect"


def crash(driver: Driver) -> None:
    """The process dies, or the power fails: a commit is left."""
    driver.kill()
    for choose in (oldest, newest, seeded(1)):
        reopen(driver.after_cut(choose))
    reopen(driver)


def reopen(driver: Driver) -> None:
    assert driver.open("r+b")
    driver.close()


def go_on(driver: Driver, content: bytes) -> None:
    """The handle works as if nothing had been."""
    driver.content, driver.position = content, driver.file.tell()
    # Opened all the same, by an exception where no signal can strike: no block ends it.
    if driver.file._inode.rollback_points:
        driver.file._inode.close(commit=False, raise_if_failed=False)
        driver.tidy()
        return
    driver.pwritev([stamp(9, 5000)], 2 * BLOCK + 123)
    driver.compare()
    driver.commit(durable=True)
    driver.truncate(BLOCK)
    # Where a trace function raises within a handler, CPython goes on to show that handler's exception as the one being
    # handled, and a close would roll back for it.
    driver.file._handled_at_open |= handled()
    driver.close()


def _stems_from_interrupt(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, Interrupt):
        error = error.__context__
    return error is not None


def _is_unguarded(place: str) -> bool:
    """Whether the line is a ``with``, to which Python comes back on the way out, or a ``try``.

    Neither is within the blocks around it as far as a tracer's exceptions go, and no signal is handled there.
    """
    name, _, line = place.rpartition(":")
    with open(os.path.join(SOURCE, name), encoding="utf-8") as source:
        text = source.read().splitlines()[int(line) - 1].strip()
    return text.startswith("with ") or text == "try:"


@pytest.mark.parametrize("name", CASES)
def test_an_exception_at_any_line_leaves_all_or_nothing(name: str) -> None:
    seen = interrupt_every_line(CASES[name])

    assert seen["had no effect"] > 10
    assert seen["out of work"] > 10 or not (CASES[name].commits or "spills" in name or "huge" in name)


def _nothing_put_back(patch: Patch) -> None:
    patch(CachedFile, "_undo_write", lambda self, folios, size, position: None)


def _no_roll_back(patch: Patch) -> None:
    patch(Inode, "_roll_back", lambda self, level: None)


def _errors_only(patch: Patch) -> None:
    fail = Inode._poison

    def mutant(self: Inode, error: BaseException) -> None:
        if isinstance(error, Exception):
            fail(self, error)

    patch(Inode, "_poison", mutant)


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        pytest.param(_nothing_put_back, "a small write", id="a write is not undone"),
        pytest.param(_nothing_put_back, "a write over several folios", id="a long write is not undone"),
        pytest.param(_no_roll_back, "a savepoint", id="a transaction is not rolled back"),
        pytest.param(_errors_only, "a commit", id="only errors put the handle out of work"),
    ],
)
def test_a_planted_defect_is_seen(plant: Callable[[Patch], None], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch.setattr)

    with pytest.raises((AssertionError, OSError)):
        interrupt_every_line(CASES[name])
