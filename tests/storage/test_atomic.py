"""RWF_ATOMIC through the seam: what is refused, with which errno and in which order, and that nothing is written then.

The table is that of the kernel (pwritev2(2); fs/read_write.c, fs/xfs/xfs_file.c and block/ of Linux 6.18).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

import pytest

from tests.storage.test_conformance import code
from tests.support.recording_storage import RecordingStorage
from untorn.crashmodel.storage import SimulatedStorage
from untorn.storage.fault_injection import Fault, FaultyStorage, ProcessDeath
from untorn.storage.interface import IOV_MAX, RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, AtomicLimits, Storage

LIMITS = AtomicLimits(unit_min=4096, unit_max=16384, unit_max_opt=0, segments_max=1)
K = 1024
OLD = b"o" * 64 * K
DIRECT = os.O_RDWR | os.O_DIRECT
WRAPPERS = [lambda storage: storage, RecordingStorage, FaultyStorage]


def machine(limits: AtomicLimits = LIMITS, *, boundary: int = 0, old: bytes = OLD, **options: Any) -> SimulatedStorage:
    simulated = SimulatedStorage(atomic=limits, atomic_boundary=boundary, **options)
    simulated.write_file("/f", old)
    return simulated


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_limits_are_told_as_the_device_has_them(wrapper: type[RecordingStorage]) -> None:
    for limits in (LIMITS, AtomicLimits()):
        storage: Storage = wrapper(machine(limits))
        for flags in (os.O_RDONLY, DIRECT):
            assert storage.open("/f", flags).atomic_limits() == limits


# length of each buffer, offset, further write flags, open flags, errno
REFUSALS: dict[str, tuple[Sequence[int], int, int, int, int]] = {
    "the smallest": ([4 * K], 4 * K, 0, DIRECT, 0),
    "the largest": ([16 * K], 32 * K, 0, DIRECT, 0),
    "beyond the end": ([16 * K], 128 * K, 0, DIRECT, 0),
    "with RWF_DSYNC": ([8 * K], 0, RWF_DSYNC, DIRECT, 0),
    "nothing": ([0], 0, 0, DIRECT, 0),
    "nothing, whatever the flag": ([0], 0, 1 << 20, DIRECT, 0),
    "below the minimum": ([2 * K], 0, 0, DIRECT, errno.EINVAL),
    "above the maximum": ([32 * K], 0, 0, DIRECT, errno.EINVAL),
    "no power of two": ([12 * K], 0, 0, DIRECT, errno.EINVAL),
    "not natural": ([16 * K], 8 * K, 0, DIRECT, errno.EINVAL),
    "offset of a byte": ([4 * K], 1, 0, DIRECT, errno.EINVAL),
    "two buffers": ([4 * K, 4 * K], 0, 0, DIRECT, errno.EINVAL),
    "two buffers, one of them empty": ([8 * K, 0], 0, 0, DIRECT, errno.EINVAL),
    "buffered": ([8 * K], 0, 0, os.O_RDWR, errno.EOPNOTSUPP),
    "buffered, and too large": ([32 * K], 0, 0, os.O_RDWR, errno.EINVAL),
    "buffered, and two buffers": ([4 * K, 4 * K], 0, 0, os.O_RDWR, errno.EINVAL),
    "a flag that nobody knows, and too large": ([32 * K], 0, 1 << 20, DIRECT, errno.EOPNOTSUPP),
    "a negative offset, read only": ([4 * K], -4 * K, 0, os.O_RDONLY, errno.EINVAL),
    "read only": ([4 * K], 0, 1 << 20, os.O_RDONLY, errno.EBADF),
    "too many buffers, and no power of two": ([1] * (IOV_MAX + 1), 0, 0, os.O_RDWR, errno.EINVAL),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("row", REFUSALS.values(), ids=REFUSALS)
def test_an_atomic_write_is_whole_or_refused(
    row: tuple[Sequence[int], int, int, int, int], wrapper: type[RecordingStorage]
) -> None:
    lengths, offset, flags, how, expected = row
    simulated = machine()
    file = wrapper(simulated).open("/f", how)
    buffers = [b"n" * length for length in lengths]
    assert code(lambda: file.pwritev(buffers, offset, RWF_ATOMIC | flags)) == expected
    after = simulated.read_file("/f")
    new = b"n" * (0 if expected else sum(lengths))
    assert after == OLD[:offset].ljust(offset, b"\0") + new + OLD[offset + len(new) :] if offset >= 0 else OLD


def test_without_limits_no_write_is_atomic_whatever_its_shape() -> None:
    file = machine(AtomicLimits()).open("/f", DIRECT)
    for buffers, offset in (([bytes(4 * K)], 0), ([bytes(5)], 3), ([b"a", b"b"], 0)):
        assert code(lambda: file.pwritev(buffers, offset, RWF_ATOMIC)) == errno.EOPNOTSUPP  # noqa: B023


def test_a_write_across_the_boundary_is_refused_and_one_beside_it_is_not() -> None:
    file = machine(boundary=8 * K).open("/f", DIRECT)
    assert code(lambda: file.pwritev([bytes(16 * K)], 0, RWF_ATOMIC)) == errno.EINVAL
    assert code(lambda: file.pwritev([bytes(8 * K)], 8 * K, RWF_ATOMIC)) == 0
    assert code(lambda: file.pwritev([bytes(16 * K)], 0)) == 0


def test_an_append_counts_where_it_lands() -> None:
    for old, expected in ((64 * K, 0), (68 * K, errno.EINVAL)):
        file = machine(old=bytes(old)).open("/f", DIRECT)
        assert code(lambda: file.pwritev([bytes(16 * K)], 0, RWF_ATOMIC | RWF_APPEND)) == expected  # noqa: B023
    file = machine().open("/f", DIRECT)
    assert code(lambda: file.pwritev([bytes(16 * K)], 4 * K, RWF_ATOMIC | RWF_APPEND)) == errno.EINVAL


def test_an_atomic_write_is_never_short() -> None:
    limits: dict[int, dict[str, Any]] = {errno.ENOSPC: {"capacity": 72 * K}, errno.EFBIG: {"size_max": 72 * K}}
    for expected, options in limits.items():
        simulated = machine(**options)
        file = simulated.open("/f", DIRECT)
        assert code(lambda: file.pwritev([bytes(16 * K)], 64 * K, RWF_ATOMIC)) == expected  # noqa: B023
        assert simulated.read_file("/f") == OLD
        assert file.pwritev([bytes(16 * K)], 64 * K) == 8 * K


def test_faults_do_not_cut_an_atomic_write_either() -> None:
    for death in (False, True):
        simulated = machine()
        storage = FaultyStorage(simulated, Fault(nth=0, names=["pwritev"], transfer=0.5, death=death))
        file = storage.open("/f", DIRECT)
        try:
            assert file.pwritev([b"n" * 16 * K], 0, RWF_ATOMIC) == 16 * K
        except ProcessDeath:
            assert death
        assert simulated.read_file("/f") == b"n" * 16 * K + OLD[16 * K :]


@pytest.mark.parametrize(("length", "offset"), [(100, 0), (512, 100), (513, 512)])
def test_direct_io_moves_whole_sectors_only(length: int, offset: int) -> None:
    simulated = machine()
    direct, buffered = simulated.open("/f", DIRECT), simulated.open("/f", os.O_RDWR)
    assert code(lambda: direct.pwritev([bytes(length)], offset)) == errno.EINVAL
    assert code(lambda: direct.pread(length, offset)) == errno.EINVAL
    assert simulated.read_file("/f") == OLD
    assert buffered.pread(length, offset) == OLD[:length]
    assert direct.pwritev([bytes(512)], 512) == 512
    assert direct.pread(1024, 0) == OLD[:512] + bytes(512)
