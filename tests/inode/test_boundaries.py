"""Reads, writes and cuts around the edges of folios, against a bytearray; and what a caller may pass and ask."""

from __future__ import annotations

import array
import ctypes
import errno
import io
import itertools
from typing import Any

import pytest

import untorn
from untorn.crashmodel.storage import SimulatedStorage
from untorn.inode import SIZE_MAX
from untorn.storage.interface import IOV_MAX

FOLIO = 4096
PATH = "/data"
EDGES = sorted({max(0, k * FOLIO + d) for k in range(4) for d in (-2, -1, 0, 1, 2)})
SIZES = [0, 1, FOLIO - 1, FOLIO, FOLIO + 1, 2 * FOLIO, 3 * FOLIO + 5]
CONTENT = bytes(1 + number * 31 % 255 for number in range(4 * FOLIO))


def machine(content: bytes) -> SimulatedStorage:
    storage = SimulatedStorage()
    storage.write_file(PATH, content)
    return storage


def opened(storage: SimulatedStorage, mode: str = "r+b", **options: Any) -> Any:
    return untorn.open(PATH, mode, folio_size=FOLIO, storage=storage, **options)


class Model:
    """The file as it should be."""

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)

    def pwrite(self, data: bytes, offset: int) -> None:
        if data:
            self.content.extend(bytes(max(0, offset - len(self.content))))
            self.content[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))


def pattern(start: int, stop: int, salt: int) -> bytes:
    return bytes([salt % 255 + 1]) * (stop - start)


@pytest.mark.parametrize("size", SIZES)
def test_reads_between_all_edges(size: int) -> None:
    content = CONTENT[:size]
    with opened(machine(content), commit="explicit") as file:
        for state in ("clean", "dirty", "logged"):
            if state == "dirty":
                file.pwrite(content, 0)
            elif state == "logged":
                file.commit()
                file._inode.pages.clean.clear()
            for start, stop in itertools.combinations_with_replacement([*EDGES, 5 * FOLIO], 2):
                assert file.pread(stop - start, start) == content[start:stop], (state, start, stop)
                file.seek(start)
                assert file.read(stop - start) == content[start:stop]
                assert file.tell() == max(start, min(stop, size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dirty", [False, True])
def test_writes_between_all_edges(size: int, dirty: bool) -> None:
    content = CONTENT[:size]
    with opened(machine(content), commit="explicit") as file:
        for number, (start, stop) in enumerate(itertools.combinations_with_replacement(EDGES, 2)):
            model = Model(content)
            if dirty:
                file.pwrite(b"dirty", 2 * FOLIO - 3)
                model.pwrite(b"dirty", 2 * FOLIO - 3)
            data = pattern(start, stop, number)
            assert file.pwrite(data, start) == len(data)
            model.pwrite(data, start)
            assert file.pread(SIZE_MAX, 0) == model.content, (start, stop)
            file.rollback()
            assert file.pread(SIZE_MAX, 0) == content


@pytest.mark.parametrize("cache_bytes", [FOLIO, 1 << 20])
@pytest.mark.parametrize("commit_every", [1, 3, 1000])
def test_writes_between_all_edges_one_over_the_other_are_all_in_the_file(cache_bytes: int, commit_every: int) -> None:
    content = CONTENT[: FOLIO + 7]
    storage = machine(content)
    model = Model(content)
    with opened(storage, commit="explicit", cache_bytes=cache_bytes, checkpoint_bytes=16 * FOLIO) as file:
        pairs = list(itertools.combinations(EDGES, 2))
        # Neither ever growing nor ever shrinking.
        for number, (start, stop) in enumerate(pairs[::2] + pairs[1::2][::-1]):
            data = pattern(start, stop, number)
            file.pwrite(data, start)
            model.pwrite(data, start)
            if number % 7 == 6:
                size = EDGES[number % len(EDGES)]
                file.truncate(size)
                model.truncate(size)
            assert file.pread(SIZE_MAX, 0) == model.content
            if number % commit_every == 0:
                file.commit(durable=number % 2 == 0)
        file.commit()
    assert storage.read_file(PATH) == model.content


@pytest.mark.parametrize("state", ["clean", "dirty", "logged", "logged and dirty"])
@pytest.mark.parametrize("size", [FOLIO + 1, 3 * FOLIO + 5])
def test_cuts_down_and_up_between_all_edges_show_zeros(size: int, state: str) -> None:
    content = CONTENT[:size]
    model = Model(content)
    storage = machine(content)
    with opened(storage, commit="explicit") as file:
        if "logged" in state:
            file.pwrite(b"logged" * 600, 1)
            model.pwrite(b"logged" * 600, 1)
            file.commit()
        before = bytes(model.content)
        for down, up in itertools.product(EDGES, EDGES):
            model = Model(before)
            if "dirty" in state:
                file.pwrite(b"dirty", FOLIO - 2)
                model.pwrite(b"dirty", FOLIO - 2)
            for cut in (down, up):
                assert file.truncate(cut) == cut
                model.truncate(cut)
                assert file.pread(SIZE_MAX, 0) == model.content, (down, up)
            file.pwrite(b"end", up + 1)
            model.pwrite(b"end", up + 1)
            assert file.pread(SIZE_MAX, 0) == model.content, (down, up)
            file.rollback()
            assert file.pread(SIZE_MAX, 0) == before
        file.truncate(FOLIO - 1)
        file.truncate(2 * FOLIO)
        file.commit()
    assert storage.read_file(PATH) == before[: FOLIO - 1] + bytes(FOLIO + 1)


# Reading by other ways


@pytest.mark.parametrize("position", EDGES)
def test_peek_read1_and_readinto_around_edges(position: int) -> None:
    content = CONTENT[: 2 * FOLIO + 5]
    with opened(machine(content), "rb") as file:
        file.seek(position)
        ahead = file.peek()
        assert ahead == content[position : (position // FOLIO + 1) * FOLIO]
        assert file.peek(FOLIO + 1)[: FOLIO + 1] == content[position : position + FOLIO + 1]
        assert file.tell() == position
        assert file.read1() == content[position : position + FOLIO]
        file.seek(position)
        assert file.read1(3) == content[position : position + 3]
        file.seek(position)
        assert file.read1(0) == b""
        for kind in (bytearray(FOLIO + 3), array.array("H", bytes(2 * FOLIO)), (ctypes.c_char * 9)()):
            file.seek(position)
            view = memoryview(kind).cast("B")
            expected = content[position : position + len(view)]
            assert file.readinto(kind) == len(expected)
            assert bytes(view) == expected + bytes(len(view) - len(expected))
            assert file.tell() == position + len(expected)
        file.seek(position)
        with pytest.raises(TypeError):
            file.readinto(b"fixed")
        assert file.tell() == position


# Writing many buffers, and flags


def test_pwritev_writes_buffers_of_all_kinds_as_one() -> None:
    storage = machine(b"")
    matrix = memoryview(bytes(range(6))).cast("B", (2, 3))
    buffers: list[Any] = [
        b"bytes", bytearray(b"array"), memoryview(b"view")[1:], array.array("H", [1, 2]), b"",
        (ctypes.c_char * 3)(b"c"), memoryview(b"every second")[::2], matrix,
    ]  # fmt: skip
    expected = b"".join(memoryview(buffer).tobytes() for buffer in buffers)
    with opened(storage) as file:
        assert file.pwritev(buffers, FOLIO - 7) == len(expected)
        assert file.pwritev([], 9 * FOLIO) == 0
        assert file.pwritev([b"", b""], 9 * FOLIO) == 0
        many = [bytes([number % 251]) * 5 for number in range(2 * IOV_MAX)]
        assert file.pwritev(many, 2 * FOLIO) == 10 * IOV_MAX
        assert file.tell() == 0
        for wrong in (["text"], [b"ok", None], [b"ok", 3]):
            with pytest.raises(TypeError):
                file.pwritev(wrong, 0)
    data = storage.read_file(PATH)
    assert data[: FOLIO - 7] == bytes(FOLIO - 7)
    assert data[FOLIO - 7 :][: len(expected)] == expected
    assert data[2 * FOLIO :] == b"".join(many)


def after_power_failure(storage: SimulatedStorage) -> set[bytes]:
    """What untorn may read after power failed now: with as little of what was not synced as can be, and with all."""
    contents = set()
    for index in (0, -1):
        later = storage.power_cut(lambda _, legal, index=index: index % len(legal), at=storage.trace.now)  # type: ignore[misc]
        with untorn.open(PATH, "rb", storage=later) as file:
            contents.add(file.read())
    return contents


@pytest.mark.parametrize("flags", [untorn.RWF_DSYNC, untorn.RWF_SYNC, untorn.RWF_DSYNC | untorn.RWF_ATOMIC])
def test_a_write_with_a_sync_flag_is_durable_when_it_returns(flags: int) -> None:
    storage = machine(b"old")
    with opened(storage, commit="explicit") as file:
        assert file.pwrite(b"new", 0, flags) == 3
        assert after_power_failure(storage) == {b"new"}
        assert file.pwritev([b"n", b"ext"], 0, flags) == 4
        assert after_power_failure(storage) == {b"next"}


def test_control_without_a_sync_flag_it_is_not() -> None:
    storage = machine(b"old")
    with opened(storage, commit="explicit") as file:
        file.pwrite(b"new", 0, untorn.RWF_ATOMIC)
        assert after_power_failure(storage) == {b"old"}
        file.commit(durable=False)
        assert b"old" in after_power_failure(storage)
        file.commit()
        assert after_power_failure(storage) == {b"new"}


def test_append_writes_at_the_end_and_leaves_the_position() -> None:
    storage = machine(b"old")
    with opened(storage) as file:
        assert file.pwrite(b"+1", 0, untorn.RWF_APPEND) == 2
        assert file.pwritev([b"+", b"2"], 1, untorn.RWF_APPEND | untorn.RWF_ATOMIC) == 2
        assert file.tell() == 0
        file.truncate(2 * FOLIO - 1)
        file.pwrite(b"edge", 0, untorn.RWF_APPEND)
        file.pwrite(b"X", 0)
    assert storage.read_file(PATH) == b"Xld+1+2" + bytes(2 * FOLIO - 8) + b"edge"
    with opened(storage, "ab") as file:
        file.pwrite(b"Y", 0)
        file.write(b"end")
    assert storage.read_file(PATH) == b"Yld+1+2" + bytes(2 * FOLIO - 8) + b"edgeend"


@pytest.mark.parametrize("flag", [1 << bit for bit in range(31)])
def test_every_other_flag_is_refused_and_changes_nothing(flag: int) -> None:
    storage = machine(b"old")
    known = untorn.RWF_ATOMIC | untorn.RWF_DSYNC | untorn.RWF_SYNC | untorn.RWF_APPEND
    with opened(storage) as file:
        if flag & known:
            assert file.pwrite(b"new", 0, flag) == 3
            return
        for flags in (flag, flag | untorn.RWF_ATOMIC):
            with pytest.raises(OSError) as caught:
                file.pwrite(b"new", 0, flags)
            assert caught.value.errno == errno.EOPNOTSUPP
        assert file.read() == b"old"


def test_offsets_that_cannot_be_are_refused_and_change_nothing() -> None:
    storage = machine(b"old")
    with opened(storage) as file:
        refused: list[tuple[Any, ...]] = [
            (file.pwrite, b"x", -1),
            (file.pread, 1, -1),
            (file.pread, -1, 0),
            (file.pwrite, b"x", -1, 2),
        ]
        for call, *arguments in refused:
            with pytest.raises(OSError) as caught:
                call(*arguments)
            assert caught.value.errno == errno.EINVAL
        for offset in (SIZE_MAX, SIZE_MAX + 1):
            with pytest.raises(OSError) as caught:
                file.pwrite(b"x", offset)
            assert caught.value.errno == errno.EFBIG
        assert file.pread(1, SIZE_MAX) == b""
        assert file.read() == b"old"
        assert file.stats()["folios_dirty"] == 0


# What it says of itself


def test_statx_offers_any_size() -> None:
    storage = machine(b"old")
    with opened(storage) as file:
        limits = file.statx()
        assert limits == untorn.AtomicLimits(unit_min=1, unit_max=SIZE_MAX, unit_max_opt=0, segments_max=SIZE_MAX)
        for length in (limits.unit_min, 3 * FOLIO + 1):
            assert file.pwrite(b"x" * length, 3, untorn.RWF_ATOMIC) == length
    with pytest.raises(ValueError, match="closed"):
        file.statx()


@pytest.mark.parametrize("size", [0, 1, 700, FOLIO, FOLIO + 5, 3 * FOLIO + 100, 9 * FOLIO + 1])
@pytest.mark.parametrize("start", [0, 3, FOLIO - 1, 2 * FOLIO + 50])
def test_a_write_of_more_than_memory_over_the_edge_of_the_file_is_as_it_was_written(size: int, start: int) -> None:
    content = pattern(0, size, 1)
    storage, model = machine(content), Model(content)
    data = bytes(number % 251 for number in range(40 * FOLIO + 77))
    with opened(storage, cache_bytes=8 * FOLIO, commit="explicit") as file:
        for offset in (start, start + 3):
            file.pwrite(data, offset)
            model.pwrite(data, offset)
            assert file.pread(1 << 30, 0) == model.content
        file.commit()
        assert file.pread(1 << 30, 0) == model.content
    assert storage.read_file(PATH) == model.content


def test_stats_count_what_was_done() -> None:
    storage = machine(CONTENT)
    with opened(storage, commit="explicit") as file:
        assert (file.stats()["syncs"], file.stats()["folios_clean"]) == (0, 0)
        file.pread(1, 0)
        file.pread(1, FOLIO)
        assert (file.stats()["folios_clean"], file.stats()["folios_loaded"]) == (2, 2)
        file.pwrite(b"x", FOLIO)
        file.pwrite(b"y" * FOLIO, 2 * FOLIO)
        assert (file.stats()["folios_dirty"], file.stats()["commits"], file.stats()["bytes_to_log"]) == (2, 0, 0)
        file.commit()
        stats = file.stats()
        assert (stats["folios_dirty"], stats["commits"], stats["extents"]) == (0, 1, 2)
        assert FOLIO + 1 < stats["bytes_to_log"] <= 3 * FOLIO
        assert (stats["checkpoints"], stats["bytes_to_home"]) == (0, 0)
        syncs = stats["syncs"]
        file.pwrite(b"z", 0)
        file.commit()
        assert file.stats()["syncs"] == syncs + 1
        file.commit(durable=False)
        assert file.stats()["commits"] == 2, "a commit of nothing was counted"
    assert (file.stats()["checkpoints"], file.stats()["bytes_to_home"]) == (1, 3 * FOLIO), "whole blocks go home"


def test_a_reader_may_not_write() -> None:
    with opened(machine(b"old"), "rb") as file:
        for call in (lambda: file.write(b"x"), lambda: file.pwrite(b"x", 0), lambda: file.pwritev([b"x"], 0),
                     lambda: file.truncate(0), file.commit, file.rollback, file.transaction):  # fmt: skip
            with pytest.raises(io.UnsupportedOperation):
                call()
        assert file.read() == b"old"
