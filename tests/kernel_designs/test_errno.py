"""Which atomic writes each design takes, and with which errno and in which order it refuses the others."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from typing import Any, Final

import pytest

import untorn
from tests.support.atomic_machine import ATOMIC, FOLIO, IN_PLACE, LIMITS, PATH, TRACKED, K, bios, machine, opened
from untorn import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, STATX_WRITE_ATOMIC_BUF, STATX_WRITE_ATOMIC_DIO, AtomicLimits
from untorn.storage.fault_injection import Fault, FaultyStorage

UNKNOWN: Final = 0x200

# lengths of the buffers, offset, further flags, errno
TABLE: Final[dict[str, tuple[list[int], int, int, int]]] = {
    "the smallest": ([4 * K], 12 * K, 0, 0),
    "a folio": ([16 * K], 32 * K, 0, 0),
    "beyond the end": ([8 * K], 256 * K, 0, 0),
    "with RWF_DSYNC": ([8 * K], 0, RWF_DSYNC, 0),
    "nothing": ([], 3, 0, 0),
    "nothing, with an unknown flag": ([0, 0], 3, UNKNOWN, 0),
    "a sector": ([512], 0, 0, errno.EINVAL),
    "a byte less": ([4 * K - 1], 0, 0, errno.EINVAL),
    "a byte more": ([4 * K + 1], 0, 0, errno.EINVAL),
    "three blocks": ([12 * K], 0, 0, errno.EINVAL),
    "above the maximum": ([128 * K], 0, 0, errno.EINVAL),
    "not natural": ([16 * K], 8 * K, 0, errno.EINVAL),
    "at a sector": ([4 * K], 512, 0, errno.EINVAL),
    "at byte 1": ([4 * K], 1, 0, errno.EINVAL),
    "two buffers": ([4 * K, 4 * K], 0, 0, errno.EINVAL),
    "two buffers, one of them empty": ([8 * K, 0], 0, 0, errno.EINVAL),
    "a negative offset": ([4 * K], -4 * K, 0, errno.EINVAL),
    "an unknown flag, and a bad length": ([5], 0, UNKNOWN, errno.EOPNOTSUPP),
    "a negative offset, and an unknown flag": ([5], -1, UNKNOWN, errno.EINVAL),
}


def code(call: Callable[[], object]) -> int:
    """The errno of the call; 0 if it raises none."""
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.mark.parametrize("design", ATOMIC)
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_an_atomic_write_is_taken_whole_or_refused_and_nothing_is_dirty(
    row: tuple[list[int], int, int, int], design: str
) -> None:
    lengths, offset, flags, expected = row
    storage = machine()
    before = storage.read_file(PATH)
    with opened(storage, design) as file:
        buffers = [b"n" * length for length in lengths]
        assert code(lambda: file.pwritev(buffers, offset, RWF_ATOMIC | flags)) == expected
        assert not (expected and file._inode.pages.dirty)
        after = file.read()
    if expected or not sum(lengths):
        assert after == before == storage.read_file(PATH)
    else:
        assert after == before[:offset].ljust(offset, b"\0") + b"n" * sum(lengths) + before[offset + sum(lengths) :]


@pytest.mark.parametrize("design", IN_PLACE)
def test_without_limits_every_atomic_write_is_eopnotsupp_whatever_its_shape(design: str) -> None:
    limits = LIMITS if design == "plain" else AtomicLimits()
    with opened(machine(limits=limits), design) as file:
        assert file.statx() == AtomicLimits()
        for length, offset in ((4 * K, 0), (5, 3), (128 * K, 1)):
            assert code(lambda: file.pwrite(bytes(length), offset, RWF_ATOMIC)) == errno.EOPNOTSUPP  # noqa: B023
        assert file.pwrite(b"plain", 3) == 5


def test_copy_on_write_takes_any_length_at_any_offset_in_any_number_of_buffers() -> None:
    for limits in (LIMITS, AtomicLimits()):
        with opened(machine(limits=limits), "cow") as file:
            for name, (lengths, offset, flags, _) in TABLE.items():
                if "unknown" in name or "negative" in name:
                    continue
                buffers = [b"n" * length for length in lengths]
                assert file.pwritev(buffers, offset, RWF_ATOMIC | flags) == sum(lengths)
                assert file.pread(sum(lengths), offset) == b"n" * sum(lengths)


@pytest.mark.parametrize("design", ATOMIC)
@pytest.mark.parametrize(("size", "expected"), [(64 * K, 0), (68 * K, errno.EINVAL), (5000, errno.EINVAL)])
def test_an_atomic_append_is_judged_by_where_it_lands(design: str, size: int, expected: int) -> None:
    """Linux 6.18 judges the offset argument: an append lands unaligned, and zeroes bytes before it."""
    storage = machine(b"o" * size)
    with opened(storage, design) as file:
        for offset in (0, 4 * K):
            assert code(lambda: file.pwrite(b"n" * 16 * K, offset, RWF_ATOMIC | RWF_APPEND)) == expected  # noqa: B023
            file.truncate(size)
        assert file.read() == b"o" * size


@pytest.mark.parametrize("design", IN_PLACE)
def test_a_write_is_never_short_at_the_limit_of_the_file_size(design: str) -> None:
    """Linux 6.18 takes 40 KiB of an atomic write of 64 KiB under RLIMIT_FSIZE, and tears it."""
    storage = machine(b"o" * 16 * K, size_max=40 * K)
    with opened(storage, design, folio_size=64 * K) as file:
        flags = 0 if design == "plain" else RWF_ATOMIC
        assert code(lambda: file.pwrite(b"n" * 64 * K, 0, flags)) == errno.EFBIG
        assert code(lambda: file.pwrite(b"n" * 64 * K, 8 * K)) == errno.EFBIG
        assert file.pread(64 * K, 0) == b"o" * 16 * K
        assert file.pwrite(b"n" * 16 * K, 16 * K, flags) == 16 * K
        assert file.pread(64 * K, 0) == b"o" * 16 * K + b"n" * 16 * K


def test_limits_of_buffered_writes_are_told_apart_from_those_of_direct_ones() -> None:
    """As the RFC proposes; it reports neither to one who asks for both."""
    for design in TRACKED:
        with opened(machine(), design) as file:
            assert file.statx() == file.statx(STATX_WRITE_ATOMIC_BUF) == AtomicLimits(4 * K, FOLIO, 0, 1)
            assert file.statx(STATX_WRITE_ATOMIC_DIO) == LIMITS
            assert file.statx(STATX_WRITE_ATOMIC_BUF | STATX_WRITE_ATOMIC_DIO) == AtomicLimits()
        with opened(machine(), design, folio_size=4 * K) as file:
            assert file.statx() == AtomicLimits(4 * K, 4 * K, 0, 1)
        with opened(machine(limits=AtomicLimits(512, 32 * K, 8 * K, 1)), design) as file:
            assert file.statx() == AtomicLimits(4 * K, FOLIO, 8 * K, 1)
        with opened(machine(limits=AtomicLimits(32 * K, 64 * K, 0, 1)), design) as file:
            assert file.statx() == AtomicLimits()
    with opened(machine(), "writethrough") as file:
        assert file.statx() == LIMITS
    with opened(machine(), "plain") as file:
        assert file.statx() == AtomicLimits()


@pytest.mark.parametrize("design", ATOMIC)
def test_every_size_that_statx_offers_is_sent_as_one_atomic_bio(design: str) -> None:
    with opened(machine(), design) as file:
        sent = bios(file)
        size = file.statx().unit_min
        while size <= file.statx().unit_max:
            file.pwrite(b"n" * size, size, RWF_ATOMIC)
            file.flush()
            assert [(bio.offset, bio.length) for bio in sent if "ATOMIC" in bio.flags] == [(size, size)]
            sent.clear()
            size *= 2


@pytest.mark.parametrize("design", ATOMIC)
def test_a_buffer_that_cannot_be_copied_leaves_nothing_dirty(design: str) -> None:
    gone = memoryview(bytearray(4 * K))
    gone.release()
    with opened(machine(), design) as file:
        for buffer in (gone, "text", None, 5):
            with pytest.raises((TypeError, ValueError), match=r".+"):
                file.pwrite(buffer, 0, RWF_ATOMIC)
        assert not file._inode.pages.dirty
        assert file.read() == b"o" * 8 * FOLIO


@pytest.mark.parametrize("design", IN_PLACE)
def test_a_write_that_cannot_read_in_the_rest_of_a_folio_leaves_nothing_dirty(design: str) -> None:
    flags = 0 if design == "plain" else RWF_ATOMIC
    simulated = machine()
    for length, offset, how in ((4 * K, 4 * K, flags), (20 * K, 10 * K, 0)):
        storage = FaultyStorage(simulated, Fault(nth=0, names=["pread"], error=errno.EIO))
        with opened(storage, design) as file:
            assert code(lambda: file.pwrite(b"n" * length, offset, how)) == errno.EIO  # noqa: B023
            assert not file._inode.pages.dirty
            assert file.pread(8 * FOLIO, 0) == b"o" * 8 * FOLIO
    assert simulated.read_file(PATH) == b"o" * 8 * FOLIO


def test_a_reader_tells_the_limits_of_its_design() -> None:
    storage = machine()
    for design in ("folio-flag", "plain", "cow", "writethrough"):
        with untorn.open(PATH, "rb", design=design, storage=storage) as reader, opened(machine(), design) as writer:
            assert reader.statx() == writer.statx()
            assert reader.read() == b"o" * 8 * FOLIO


@pytest.mark.parametrize("design", IN_PLACE)
def test_what_cannot_be_taken_back_is_not_promised(design: str) -> None:
    storage = machine()
    for commit in ("close", "write", "explicit"):
        with pytest.raises(ValueError, match="writes back when it must"):
            opened(storage, design, commit=commit)
    with opened(storage, design) as file:
        for call in (file.rollback, lambda: file.transaction().__enter__()):
            with pytest.raises(io.UnsupportedOperation):
                call()


def test_an_unknown_design_is_refused() -> None:
    with pytest.raises(ValueError, match="design must be one of cow, folio-flag, mapping-flag, writethrough, plain"):
        opened(machine(), "page-flag")


@pytest.mark.parametrize("design", IN_PLACE)
def test_a_log_left_by_copy_on_write_is_recovered_first(design: str) -> None:
    storage = machine()
    file = opened(storage, "cow")
    file.pwrite(b"new", 5)
    file.pwrite(b"far", 5 * FOLIO)
    file.flush()
    storage.kill_process()
    file._inode.forked()
    with opened(storage, design) as after:
        content: Any = after.read()
    assert content[5:8] == b"new"
    assert content[5 * FOLIO :][:3] == b"far"
    assert storage.listdir("/") == [PATH[1:]]


def test_a_file_that_is_replaced_while_it_is_opened_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    from untorn.kernel_designs.in_place import InPlace

    storage = machine()
    storage.write_file("/other", b"other")
    before = InPlace._open_direct

    def replaced(design: InPlace) -> Any:
        storage.rename("/other", PATH)
        return before(design)

    monkeypatch.setattr(InPlace, "_open_direct", replaced)
    with pytest.raises(FileNotFoundError):
        untorn.open(PATH, "r+b", design="folio-flag", storage=storage)
    assert storage.read_file(PATH) == b"other"
