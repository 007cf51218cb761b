"""Random calls on each design against a bytearray; and what a power failure after a flush leaves."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.atomic_machine import ALL, BLOCK, FOLIO, LIMITS, PATH, machine, opened
from untorn import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC
from untorn.crashmodel.variables import oldest
from untorn.storage.interface import AtomicLimits

SMALL: Final[dict[str, Any]] = {"folio_size": FOLIO, "cache_bytes": 3 * FOLIO}
"""So that little may be dirty and much has to go out before it was asked for."""

SIZE: Final = 6 * FOLIO

offsets = st.one_of(st.integers(0, SIZE), st.integers(0, SIZE // BLOCK).map(lambda block: block * BLOCK))
lengths = st.one_of(st.integers(1, 3 * BLOCK), st.sampled_from([BLOCK, FOLIO, 5 * FOLIO]))
calls = st.one_of(
    st.tuples(st.just("pwrite"), offsets, lengths, st.sampled_from([0, 0, RWF_DSYNC])),
    st.tuples(st.just("atomic"), st.integers(0, SIZE // BLOCK), st.integers(0, 2), st.sampled_from([0, 0, RWF_DSYNC])),
    st.tuples(st.just("append"), lengths),
    st.tuples(st.just("truncate"), st.integers(0, SIZE)),
    st.tuples(st.just("store"), offsets, st.integers(1, 2 * BLOCK)),
    st.tuples(st.just("read"), offsets, st.integers(1, 2 * FOLIO)),
    st.tuples(st.just("flush")),
    st.tuples(st.just("reopen")),
)


class Pair:
    """A file and the bytearray that it must be like."""

    def __init__(self, design: str, limits: AtomicLimits, old: int) -> None:
        self.design = design
        self.storage = machine(b"o" * old, limits)
        self.file = opened(self.storage, design, **SMALL)
        self.model = bytearray(b"o" * old)
        self.serial = 0

    def fresh(self, length: int) -> bytes:
        self.serial += 1
        return (f"{self.serial:05}|".encode() * (length // 6 + 1))[:length]

    def put(self, data: bytes, offset: int) -> None:
        self.model.extend(bytes(max(0, offset + len(data) - len(self.model))))
        self.model[offset : offset + len(data)] = data

    def pwrite(self, offset: int, length: int, flags: int) -> None:
        data = self.fresh(length)
        assert self.file.pwrite(data, offset, flags) == length
        self.put(data, offset)
        if flags:
            self.check_durable()

    def atomic(self, block: int, power: int, flags: int) -> None:
        length = BLOCK << power
        offset = block * BLOCK // length * length
        if self.file.statx().unit_max < length:
            return
        data = self.fresh(length)
        assert self.file.pwrite(data, offset, RWF_ATOMIC | flags) == length
        self.put(data, offset)
        if flags:
            self.check_durable()

    def append(self, length: int) -> None:
        data = self.fresh(length)
        assert self.file.pwrite(data, 0, RWF_APPEND) == length
        self.put(data, len(self.model))

    def truncate(self, size: int) -> None:
        assert self.file.truncate(size) == size
        self.model.extend(bytes(max(0, size - len(self.model))))
        del self.model[size:]

    def store(self, offset: int, length: int) -> None:
        if self.design == "cow" or offset + length > len(self.model):
            return
        data = self.fresh(length)
        self.file._inode.store(data, offset)
        self.put(data, offset)

    def read(self, offset: int, length: int) -> None:
        assert self.file.pread(length, offset) == self.model[offset : offset + length]

    def flush(self) -> None:
        self.file.flush()
        self.check_durable()

    def check_durable(self) -> None:
        """In a design without a log what was flushed is all there is; writethrough's other writes may come later."""
        if self.design == "cow":
            return
        if self.design == "writethrough" and (self.file._inode.pages.dirty or self.file._inode.design._unsynced):
            return
        disk = self.storage.power_cut(oldest, self.storage.trace.now)
        assert disk.read_file(PATH) == self.model

    def reopen(self) -> None:
        self.file.close()
        assert self.storage.read_file(PATH) == self.model
        assert self.storage.listdir("/") == [PATH[1:]]
        self.file = opened(self.storage, self.design, **SMALL)


@pytest.mark.parametrize("limits", [LIMITS, AtomicLimits()], ids=["atomic", "no limits"])
@pytest.mark.parametrize("design", ALL)
@given(old=st.sampled_from([0, 5000, 2 * FOLIO, 2 * FOLIO + 700]), story=st.lists(calls, min_size=1, max_size=25))
def test_every_design_holds_the_bytes_that_were_written(
    design: str, limits: AtomicLimits, old: int, story: list[tuple[Any, ...]]
) -> None:
    pair = Pair(design, limits, old)
    try:
        for name, *arguments in story:
            getattr(pair, name)(*arguments)
        assert pair.file.pread(len(pair.model) + 1, 0) == pair.model
        pair.reopen()
    finally:
        pair.file.close()
