"""The rules that every write with RWF_ATOMIC has to obey: sizes, offsets, buffers, flags, and their errno."""

from __future__ import annotations

import errno
import io
import mmap
from contextlib import closing
from typing import Final

from untorn.debate.probe.probe_file import SIZE_TRIED_MAX, Broken, Probed, name_of
from untorn.debate.probe.scratch_file import Unsupported
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC

_NOWAIT: Final = 0x08  # linux/fs.h
_UNKNOWN: Final = 1 << 30
_SIZE_MAX: Final = 1 << 26
"""No file is asked for a write of more bytes than this, not even in order to be refused."""
_BLOCK: Final = 4096


def limits(p: Probed) -> str:
    low, high, best, segments = p.limits
    for name, size in (("smallest", low), ("largest", high), ("fast", best)):
        if p.exact and size & (size - 1):
            raise Broken(f"the {name} size, {size}, is no power of two")
    if not low <= high or (best and not low <= best <= high):
        raise Broken(f"the sizes are out of order: smallest {low}, fast {best}, largest {high}")
    if segments < 1 or (p.exact and segments != 1):
        raise Broken(f"{segments} buffers a call")
    if p.exact and low < p.block_size:
        raise Broken(f"the smallest size, {low}, is below the block size, {p.block_size}")
    return f"{low} to {high} bytes"


def every_size(p: Probed) -> str:
    for size in p.sizes():
        for place in (0, 1):
            p.whole(size, place * size)
        p.clear()
    return f"{len(p.sizes())} sizes, {p.sizes()[0]} to {p.sizes()[-1]} bytes"


def too_small(p: Probed) -> str:
    size = p.limits.unit_min // 2
    if not size:
        raise Unsupported("the smallest size is one byte")
    p.ground(2 * p.limits.unit_min)
    p.refused([p.fresh(size)], 0, errno.EINVAL)
    return f"{size} bytes"


def too_large(p: Probed) -> str:
    size = p.limits.unit_max * 2
    if size > _SIZE_MAX:
        raise Unsupported("the largest size is too large to be exceeded here")
    p.refused([bytes(size)], 0, errno.EINVAL)
    return f"{size} bytes"


def odd_sizes(p: Probed) -> str:
    sizes = {3 * p.limits.unit_min}
    for unit in p.units():
        sizes |= {unit - 1, unit + 1}
    tried = sorted(size for size in sizes if 0 < size <= min(p.limits.unit_max, SIZE_TRIED_MAX) + 1)
    p.ground(2 * max(tried))
    for size in tried:
        if size & (size - 1):
            p.refused([p.fresh(size)], 0, errno.EINVAL)
    return f"{', '.join(map(str, tried))} bytes"


def offsets(p: Probed) -> str:
    tried = 0
    for unit in p.units(at_least=2):
        p.ground(4 * unit)
        for offset in sorted({1, 512, unit // 2, unit + 512, unit + unit // 2}):
            if offset % unit:
                p.refused([p.fresh(unit)], offset, errno.EINVAL)
                tried += 1
    return f"{tried} offsets"


def two_buffers(p: Probed) -> None:
    half = p.units(at_least=2)[-1] // 2
    p.ground(4 * half)
    p.refused([p.fresh(half), p.fresh(half)], 0, errno.EINVAL)
    p.refused([p.fresh(2 * half), b""], 0, errno.EINVAL)


def memory(p: Probed) -> str:
    """Memory that begins at an odd address."""
    unit = p.units()[-1]
    p.ground(2 * unit)
    memory = memoryview(bytearray(unit + 1))[1:]
    memory[:] = p.fresh(unit)
    refusal = p.either([memory], unit, raw=True)
    if refusal is not None and refusal.errno != errno.EINVAL:
        raise Broken(f"{name_of(refusal)}, not EINVAL")
    return "taken" if refusal is None else "refused with EINVAL"


def fault(p: Probed) -> None:
    for unit in p.units(at_least=2 * mmap.PAGESIZE):
        p.ground(2 * unit)
        try:
            count = p.file.write_faulting(unit, unit, RWF_ATOMIC)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise Broken(f"{unit} bytes: {name_of(error)}, not EFAULT") from error
        else:
            raise Broken(f"{unit} bytes: returned {count}, not EFAULT")
        p.check(f"{unit} bytes: refused with EFAULT, yet")


def nothing(p: Probed) -> None:
    p.ground(p.units()[-1])
    refusal = p.either([b""], 0)
    if refusal is not None:
        raise Broken(f"refused with {name_of(refusal)}")


def unknown_flag(p: Probed) -> None:
    unit = p.units()[0]
    p.ground(unit)
    refusal = p.either([p.fresh(unit)], 0, flags=_UNKNOWN)
    if refusal is None or refusal.errno != errno.EOPNOTSUPP:
        raise Broken(f"{'taken' if refusal is None else name_of(refusal)}, not EOPNOTSUPP")


def reading(p: Probed) -> None:
    p.ground(_BLOCK)
    try:
        data = p.file.read_flagged(_BLOCK, RWF_ATOMIC)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise Broken(f"{name_of(error)}, not EOPNOTSUPP") from error
    else:
        raise Broken(f"{len(data)} bytes were read, not EOPNOTSUPP")


def read_only(p: Probed) -> None:
    unit = p.units()[0]
    p.ground(unit)
    with closing(p.file.read_only()) as file:
        try:
            count = file.pwritev([p.fresh(unit)], 0, RWF_ATOMIC)
        except io.UnsupportedOperation:
            pass  # as files of io say it
        except OSError as error:
            if error.errno != errno.EBADF:
                raise Broken(f"{name_of(error)}, not EBADF") from error
        else:
            raise Broken(f"{count} bytes were written, not EBADF")
        p.compare(file.content(), "refused, yet")


def durable(p: Probed) -> None:
    for unit in p.units():
        for number, flags in enumerate((RWF_DSYNC, RWF_SYNC, RWF_DSYNC | RWF_SYNC)):
            p.whole(unit, number * unit, flags)
        p.clear()


def nowait(p: Probed) -> str:
    unit = p.units()[-1]
    p.ground(2 * unit)
    refusal = p.either([p.fresh(unit)], unit, flags=_NOWAIT)
    if refusal is not None and refusal.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
        raise Broken(f"{name_of(refusal)}, not EAGAIN")
    return "taken" if refusal is None else f"refused with {name_of(refusal)}"


def no_promise(p: Probed) -> str:
    """Valid geometry first; the kernel may judge bad geometry before or after support."""
    p.ground(4 * _BLOCK)
    for size in (p.block_size, 4 * p.block_size):
        refusal = p.either([p.fresh(size)], 0)
        if refusal is None:
            raise Broken(f"{size} bytes were taken, though nothing promises that they are whole")
        if refusal.errno != errno.EOPNOTSUPP:
            raise Broken(f"{size} bytes: {name_of(refusal)}, not EOPNOTSUPP")
    for data, offset in ((p.fresh(512), 0), (p.fresh(3 * _BLOCK), 0), (p.fresh(_BLOCK), 1)):
        refusal = p.either([data], offset)
        if refusal is None or refusal.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise Broken(f"{len(data)} bytes at {offset}: {'taken' if refusal is None else name_of(refusal)}")
    return "EOPNOTSUPP"
