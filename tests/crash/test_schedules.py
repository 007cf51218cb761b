"""Two threads at one file, under every schedule with few preemptions: what they see and what is left is what some order
of their steps gives, one after the other, transactions being one step; and what a flush acknowledged is durable.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import untorn
from tests.crash.schedules import Lock, Scheduler, Stuck, Threading, every_schedule
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import oldest
from untorn.inode import handle_state
from untorn.inode.handle_state import Guarded
from untorn.inode.inode import Inode
from untorn.storage.fault_injection import FaultyStorage

PATH: Final = "/file"
FOLIO: Final = 4096
OLD: Final = b"o" * (2 * FOLIO)

Outcomes = list[list[str]]


class Step(NamedTuple):
    """One thing that a thread does: a call, or a transaction of writes that is left well or by an exception."""

    name: str
    writes: tuple[int, ...] = ()
    """Offsets; each gets the thread's own letter."""
    keep: bool = True


STEPS: Final = {
    "w": Step("write", (0,)),
    "x": Step("write", (FOLIO - 1,)),
    "T": Step("transaction", (0, FOLIO + 7)),
    "R": Step("transaction", (0, FOLIO + 7), keep=False),
    "f": Step("flush"),
    "c": Step("commit"),
    "b": Step("rollback"),
    "t": Step("truncate"),
    "e": Step("close"),
}


class Left(Exception):
    """How a transaction is left that is not to be kept."""


def perform(file: Any, step: Step, letter: bytes) -> None:
    if step.name == "write":
        file.pwrite(letter * 4, step.writes[0])
    elif step.name == "transaction":
        with file.transaction():
            for offset in step.writes:
                file.pwrite(letter * 4, offset)
            if not step.keep:
                raise Left
    elif step.name == "truncate":
        file.truncate(FOLIO + 2)
    else:
        getattr(file, step.name)()


class Model:
    """The file, one step after the other."""

    def __init__(self) -> None:
        self.content = bytearray(OLD)
        self.committed = OLD
        self.closed = False

    def apply(self, step: Step, letter: bytes) -> str:
        """What the step's caller sees."""
        if self.closed:
            return "ok" if step.name == "close" else "ValueError"
        if step.name == "write":
            self._write(step.writes[0], letter)
        elif step.name == "transaction":
            if not step.keep:
                return "Left"
            for offset in step.writes:
                self._write(offset, letter)
            self.committed = bytes(self.content)
        elif step.name == "truncate":
            size = FOLIO + 2
            self.content = self.content[:size].ljust(size, b"\0")
        elif step.name == "rollback":
            self.content = bytearray(self.committed)
        else:
            self.committed = bytes(self.content)
            self.closed = step.name == "close"
        return "ok"

    def _write(self, offset: int, letter: bytes) -> None:
        if len(self.content) < offset + 4:
            self.content.extend(bytes(offset + 4 - len(self.content)))
        self.content[offset : offset + 4] = letter * 4


def explained(
    scripts: Sequence[str], outcomes: Outcomes, left: bytes, durable: Sequence[tuple[int, int, bytes]]
) -> bool:
    """Whether some order of the steps gives what was seen: outcomes, what is left, what was durable when.

    ``durable``: thread, number of its step that had just acknowledged something, and what a power cut then left.
    """
    turns = [0] * len(scripts[0]) + [1] * len(scripts[1])
    for order in set(itertools.permutations(turns)):
        model, at = Model(), [0, 0]
        seen: Outcomes = [[], []]
        states: list[bytes] = [OLD]
        after: dict[tuple[int, int], int] = {}
        for thread in order:
            step = STEPS[scripts[thread][at[thread]]]
            seen[thread].append(model.apply(step, b"AB"[thread : thread + 1]))
            states.append(model.committed)
            after[thread, at[thread]] = len(states) - 1
            at[thread] += 1
        if not model.closed:
            model.committed = bytes(model.content)
        if seen != outcomes or left != model.committed:
            continue
        if all(content in states[after[thread, number] :] for thread, number, content in durable):
            return True
    return False


def scene(scripts: Sequence[str], scheduler: Scheduler) -> None:
    """One run of two scripts, and its judgement."""
    machine = SimulatedStorage()
    machine.write_file(PATH, OLD)
    storage = Yielding(machine, scheduler)
    file = untorn.open(PATH, "r+b", folio_size=FOLIO, storage=storage, timeout=None)
    outcomes: Outcomes = [[], []]
    durable: list[tuple[int, int, bytes]] = []

    def work(thread: int) -> Callable[[], None]:
        def run() -> None:
            for number, key in enumerate(scripts[thread]):
                scheduler.point()
                try:
                    perform(file, STEPS[key], b"AB"[thread : thread + 1])
                except (Left, ValueError) as error:
                    outcomes[thread].append(type(error).__name__)
                else:
                    outcomes[thread].append("ok")
                    if key in "fcT":
                        durable.append((thread, number, after_cut(machine)))

        return run

    try:
        scheduler.run([work(0), work(1)])
        file.close()
    finally:
        with suppress(Exception):
            file._inode.close(commit=False, speak=False)
    left = after_cut(machine)
    assert machine.read_file(PATH) == left
    assert machine.listdir("/") == ["file"]
    assert explained(scripts, outcomes, left, durable), (scripts, outcomes, describe(left))


def describe(content: bytes) -> str:
    return f"{len(content)} bytes: {content[:4]!r}, {content[FOLIO - 1 : FOLIO + 11]!r}"


def after_cut(machine: SimulatedStorage) -> bytes:
    """What is left of the file if the power fails now, and all that is not synced is lost."""
    other = machine.power_cut(oldest, at=machine.trace.now)
    untorn.recover(PATH, storage=other)
    return other.read_file(PATH)


class Yielding(FaultyStorage):
    """Lets another thread come before each call."""

    def __init__(self, inner: SimulatedStorage, scheduler: Scheduler) -> None:
        super().__init__(inner)
        self._scheduler = scheduler

    def call(self, name: str, path: str, make: Any, **rest: Any) -> Any:
        if name in ("pwritev", "fdatasync", "fsync", "truncate", "unlink"):
            self._scheduler.point()
        return super().call(name, path, make, **rest)


def run_all(scripts: Sequence[str], preemptions: int) -> int:
    """Every schedule of the two scripts; how many there were."""
    count = 0

    for _ in every_schedule(lambda scheduler: run_once(scripts, scheduler), preemptions):
        count += 1
    return count


def run_once(scripts: Sequence[str], scheduler: Scheduler) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handle_state, "threading", Threading(scheduler))
        scene(scripts, scheduler)


SHORT: Final = ("w", "T", "R", "f", "c", "b", "t", "e")
LONGER: Final = ("wf", "wT", "wR", "we", "Tw", "xc", "TT")
PAIRS: Final = [
    *itertools.combinations_with_replacement(SHORT, 2),
    *itertools.product(SHORT, LONGER),
    ("we", "we"), ("wR", "wT"), ("wf", "TT"), ("we", "Tw"),
]  # fmt: skip


@pytest.mark.parametrize("scripts", PAIRS, ids="-".join)
def test_two_threads_do_what_some_order_of_their_steps_does(scripts: tuple[str, str]) -> None:
    assert run_all(scripts, 1) > 1


@settings(max_examples=15)
@given(
    st.text("wxTRfcbte", min_size=1, max_size=3),
    st.text("wxTRfcbte", min_size=1, max_size=3),
    st.lists(st.sampled_from([0, 0, 0, 0, 1]), max_size=120),
)
def test_longer_scripts_under_drawn_schedules(first: str, second: str, choices: list[int]) -> None:
    run_once((first, second), Scheduler(choices))


# Controls: each takes out one rule, and some schedule shows it.


def no_turns(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Guarded, "_claim_turn", lambda _: None)
    patch.setattr(Inode, "flush", lambda inode: None if inode.levels else inode.commit(durable=True))


def end_and_commit_apart(patch: pytest.MonkeyPatch) -> None:
    end = Inode.end

    def apart(inode: Inode, depth: int, *, keep: bool, commit: bool) -> bool:
        outermost = end(inode, depth, keep=keep, commit=False)
        if keep and commit and outermost:
            inode.commit(durable=True)
        return outermost

    patch.setattr(Inode, "end", apart)


def close_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Inode, "end_io", lambda _: False)


@pytest.mark.parametrize(
    ("plant", "scripts"),
    [
        (no_turns, ("wf", "R")),
        (no_turns, ("T", "T")),
        (end_and_commit_apart, ("T", "wb")),
        (close_does_not_wait, ("T", "we")),
    ],
)
def test_control_a_rule_that_is_missing_is_seen(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], scripts: tuple[str, str]
) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, untorn.TransactionError)):
        run_all(scripts, 2)


def test_control_a_deadlock_is_seen() -> None:
    def once(scheduler: Scheduler) -> None:
        locks = Lock(scheduler), Lock(scheduler)

        def work(first: int) -> Callable[[], None]:
            def run() -> None:
                with locks[first], locks[1 - first]:
                    pass

            return run

        scheduler.run([work(0), work(1)])

    with pytest.raises(Stuck):
        for _ in every_schedule(once, 1):
            pass
