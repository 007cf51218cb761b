"""Endless random work on one file, the same for the process that does it and the one that checks it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import untorn

CommitMode = Literal["flush", "close", "write", "explicit"]
MODES: Final[tuple[CommitMode, ...]] = ("flush", "close", "write", "explicit")

SIZE_MAX: Final = 120_000
OPTIONS: Final[dict[str, Any]] = {"folio_size": 4096, "cache_bytes": 12 * 4096, "checkpoint_bytes": 24 * 4096}
"""Small, so that spills and checkpoints are frequent."""


class Step(NamedTuple):
    """One call; ``state`` is what the file holds after it if that may be what a crash returns to."""

    call: str
    arguments: tuple[Any, ...] = ()
    state: bytes | None = None
    promises: bool = False
    """Whether, once the call has returned, no earlier state is legal any more."""


class Undone(Exception):
    """Leaves a transaction by the way that rolls it back."""


def steps(seed: int, mode: CommitMode, base: bytes) -> Iterator[Step]:
    """The calls that a writer in this commit mode makes, from a file that holds ``base``."""
    chance = random.Random(seed)
    model, committed = bytearray(base), base
    while True:
        kind = chance.choices(
            ["write", "truncate", "commit", "flush", "rollback", "transaction", "reopen"], [10, 2, 3, 3, 1, 3, 1]
        )[0]
        if kind in ("write", "truncate"):
            yield _change(chance, kind, model, legal=mode == "write")
            if mode == "write":
                committed = bytes(model)
        elif kind == "commit":
            committed = bytes(model)
            yield Step("commit", (chance.random() < 0.7,), committed, promises=True)
        elif kind == "flush":
            commits = mode in ("flush", "write")
            committed = bytes(model) if commits else committed
            yield Step("flush", (), committed if commits else None, promises=commits)
        elif kind == "rollback":
            # In the mode "write" nobody knows which of the last writes were committed already.
            if mode != "write":
                model[:] = committed
                yield Step("rollback")
        elif kind == "transaction":
            keep = chance.random() < 0.7
            before = bytes(model)
            changes = tuple(
                _change(chance, chance.choice(["write", "write", "truncate"]), model, legal=False)
                for _ in range(chance.randrange(1, 12))
            )
            if not keep:
                model[:] = before
            commits = keep and mode in ("flush", "write")
            committed = bytes(model) if commits else committed
            yield Step("transaction", (changes, keep), committed if commits else None, promises=commits)
        else:
            if mode == "explicit":
                model[:] = committed
            committed = bytes(model)
            yield Step("reopen", (), committed, promises=True)


def _change(chance: random.Random, kind: str, model: bytearray, *, legal: bool) -> Step:
    """One write or truncate, applied to ``model``."""
    if kind == "truncate":
        size = chance.randrange(SIZE_MAX)
        if size < len(model):
            del model[size:]
        else:
            model.extend(bytes(size - len(model)))
        return Step("truncate", (size,), bytes(model) if legal else None)
    offset = chance.randrange(SIZE_MAX)
    length = chance.choice([1, 100, 4096, 9000, 40_000])
    if chance.random() < 0.4:
        offset, length = offset // 4096 * 4096, 4096 * chance.choice([1, 2, 7])
    data = bytes([chance.randrange(1, 256)]) * length
    model.extend(bytes(max(0, offset - len(model))))
    model[offset : offset + length] = data
    return Step("pwrite", (data, offset), bytes(model) if legal else None)


class Writer:
    """Does what the steps say."""

    def __init__(self, path: str, mode: CommitMode) -> None:
        self._path = path
        self._mode = mode
        self.file: Any = self._open()

    def _open(self) -> Any:
        return untorn.open(self._path, "r+b", commit=self._mode, **OPTIONS)

    def do(self, step: Step) -> None:
        """Makes the call."""
        if step.call == "reopen":
            self.file.close()
            self.file = self._open()
        elif step.call == "transaction":
            self._transaction(*step.arguments)
        else:
            getattr(self.file, step.call)(*step.arguments)

    def _transaction(self, changes: tuple[Step, ...], keep: bool) -> None:
        half = len(changes) // 2
        try:
            with self.file.transaction():
                for step in changes[:half]:
                    self.do(step)
                # A savepoint that is rolled back leaves no trace.
                try:
                    with self.file.transaction():
                        self.file.pwrite(b"never" * 2000, 0)
                        raise Undone
                except Undone:
                    pass
                for step in changes[half:]:
                    self.do(step)
                if not keep:
                    raise Undone
        except Undone:
            pass
