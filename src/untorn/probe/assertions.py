"""What a file that takes RWF_ATOMIC has to do, one function for each assertion.

The sources are the kernel's own test suites: ``generic/``, ``xfs/`` and ``ext4/`` are tests of xfstests, ``nvme/``
and ``scsi/`` of blktests; *errno table* is the order in which the kernel checks (pwritev2(2) and
generic_atomic_write_valid); *6.18* are two holes that were found in that kernel. What only a power failure can
show (generic/775 and 778, xfs/839 and 840) is not here: ``untorn explore`` and ``compare`` cut the power.

Rules that every write has to obey come first, then what may lie beneath it, then work of many writes.
"""

from __future__ import annotations

import errno
import io
import itertools
import mmap
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from untorn.probe.probed import SIZE_TRIED_MAX, Broken, Probed, name_of
from untorn.probe.scratch import Unsupported
from untorn.storage.api import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC, RWF_SYNC

_NOWAIT: Final = 0x08  # linux/fs.h
_UNKNOWN: Final = 1 << 30
_SIZE_MAX: Final = 1 << 30
"""No file is asked for a write of more bytes than this, not even in order to be refused."""
_BLOCK: Final = 4096
_WORK: Final = 300
"""Writes and truncates of the random work."""


@dataclass(frozen=True)
class Assertion:
    """One thing that must hold."""

    name: str
    words: str
    source: str
    run: Callable[[Probed], str | None]
    """Raises Broken or Unsupported; may return what was tried."""
    promised: bool = True
    """Asked only of a file that offers atomic writes; False: only of one that does not."""


def _limits(p: Probed) -> str:
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


def _every_size(p: Probed) -> str:
    for size in p.sizes():
        for place in (0, 1):
            p.whole(size, place * size)
        p.clear()
    return f"{len(p.sizes())} sizes, {p.sizes()[0]} to {p.sizes()[-1]} bytes"


def _too_small(p: Probed) -> str:
    size = p.limits.unit_min // 2
    if not size:
        raise Unsupported("the smallest size is one byte")
    _ground(p, 2 * p.limits.unit_min)
    p.refused([p.fresh(size)], 0, errno.EINVAL)
    return f"{size} bytes"


def _too_large(p: Probed) -> str:
    size = p.limits.unit_max * 2
    if size > _SIZE_MAX:
        raise Unsupported("the largest size is too large to be exceeded here")
    p.refused([bytes(size)], 0, errno.EINVAL)
    return f"{size} bytes"


def _odd_sizes(p: Probed) -> str:
    sizes = {3 * p.limits.unit_min}
    for unit in p.units():
        sizes |= {unit - 1, unit + 1}
    tried = sorted(size for size in sizes if 0 < size <= min(p.limits.unit_max, SIZE_TRIED_MAX) + 1)
    _ground(p, 2 * max(tried))
    for size in tried:
        if size & (size - 1):
            p.refused([p.fresh(size)], 0, errno.EINVAL)
    return f"{', '.join(map(str, tried))} bytes"


def _offsets(p: Probed) -> str:
    tried = 0
    for unit in p.units(at_least=2):
        _ground(p, 4 * unit)
        for offset in sorted({1, 512, unit // 2, unit + 512, unit + unit // 2}):
            if offset % unit:
                p.refused([p.fresh(unit)], offset, errno.EINVAL)
                tried += 1
    return f"{tried} offsets"


def _two_buffers(p: Probed) -> None:
    half = p.units(at_least=2)[-1] // 2
    _ground(p, 4 * half)
    p.refused([p.fresh(half), p.fresh(half)], 0, errno.EINVAL)
    p.refused([p.fresh(2 * half), b""], 0, errno.EINVAL)


def _memory(p: Probed) -> str:
    """Memory that begins at an odd address."""
    unit = p.units()[-1]
    _ground(p, 2 * unit)
    memory = memoryview(bytearray(unit + 1))[1:]
    memory[:] = p.fresh(unit)
    refusal = p.either([memory], unit, raw=True)
    if refusal is not None and refusal.errno != errno.EINVAL:
        raise Broken(f"{name_of(refusal)}, not EINVAL")
    return "taken" if refusal is None else "refused with EINVAL"


def _fault(p: Probed) -> None:
    for unit in p.units(at_least=2 * mmap.PAGESIZE):
        _ground(p, 2 * unit)
        try:
            count = p.file.write_faulting(unit, unit, RWF_ATOMIC)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise Broken(f"{unit} bytes: {name_of(error)}, not EFAULT") from error
        else:
            raise Broken(f"{unit} bytes: returned {count}, not EFAULT")
        p.check(f"{unit} bytes: refused with EFAULT, yet")


def _nothing(p: Probed) -> None:
    _ground(p, p.units()[-1])
    refusal = p.either([b""], 0)
    if refusal is not None:
        raise Broken(f"refused with {name_of(refusal)}")


def _unknown_flag(p: Probed) -> None:
    unit = p.units()[0]
    _ground(p, unit)
    refusal = p.either([p.fresh(unit)], 0, flags=_UNKNOWN)
    if refusal is None or refusal.errno != errno.EOPNOTSUPP:
        raise Broken(f"{'taken' if refusal is None else name_of(refusal)}, not EOPNOTSUPP")


def _reading(p: Probed) -> None:
    _ground(p, _BLOCK)
    try:
        data = p.file.read_flagged(_BLOCK, RWF_ATOMIC)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise Broken(f"{name_of(error)}, not EOPNOTSUPP") from error
    else:
        raise Broken(f"{len(data)} bytes were read, not EOPNOTSUPP")


def _read_only(p: Probed) -> None:
    unit = p.units()[0]
    _ground(p, unit)
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


def _durable(p: Probed) -> None:
    for unit in p.units():
        for number, flags in enumerate((RWF_DSYNC, RWF_SYNC, RWF_DSYNC | RWF_SYNC)):
            p.whole(unit, number * unit, flags)
        p.clear()


def _nowait(p: Probed) -> str:
    unit = p.units()[-1]
    _ground(p, 2 * unit)
    refusal = p.either([p.fresh(unit)], unit, flags=_NOWAIT)
    if refusal is not None and refusal.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
        raise Broken(f"{name_of(refusal)}, not EAGAIN")
    return "taken" if refusal is None else f"refused with {name_of(refusal)}"


def _no_promise(p: Probed) -> str:
    """Valid geometry first; the kernel may judge bad geometry before or after support."""
    _ground(p, 4 * _BLOCK)
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


# What lies beneath the write


def _ground(p: Probed, size: int) -> None:
    """The file holds that many bytes that were written before."""
    p.clear()
    p.plain(p.fresh(-(-size // p.file.granule) * p.file.granule), 0)


def _on_written(p: Probed) -> None:
    for unit in p.units():
        _ground(p, 4 * unit)
        for place in (1, 3, 1):
            p.whole(unit, place * unit, words=", over written blocks")


def _on_hole(p: Probed) -> None:
    for unit in p.units():
        p.clear()
        p.truncate(4 * unit)
        for place in (1, 3, 0):
            p.whole(unit, place * unit, words=", in a hole")


def _on_unwritten(p: Probed) -> None:
    for unit in p.units():
        p.clear()
        p.allocate(0, 4 * unit)
        for place in (1, 3, 0):
            p.whole(unit, place * unit, words=", over reserved blocks")


def _on_mixture(p: Probed) -> None:
    """Half written, half hole, and the other way round; in the largest also reserved blocks."""
    for unit in p.units(at_least=max(2 * _BLOCK, 2 * p.file.granule)):
        for first in (0, 1):
            p.clear()
            p.truncate(2 * unit)
            for at in range(unit + first * unit // 2, 2 * unit, unit):
                p.plain(p.fresh(unit // 2), at)
            if unit >= 4 * _BLOCK and not first:
                try:
                    p.allocate(unit + unit // 2, unit // 4)
                except Unsupported:
                    pass
            p.whole(unit, unit, words=", over blocks and holes")


def _at_end(p: Probed) -> None:
    """Beyond the end, just at it, and across it."""
    for unit in p.units(at_least=2):
        _ground(p, unit)
        p.whole(unit, unit, words=", at the end")
        p.whole(unit, 3 * unit, words=", beyond the end")
        p.truncate(4 * unit + unit // 2)
        p.whole(unit, 4 * unit, words=", across the end")


def _on_shared(p: Probed) -> None:
    for unit in p.units():
        _ground(p, 2 * unit)
        before = bytes(p.expected)
        with closing(p.file.clone()) as clone:
            p.whole(unit, unit, words=", over shared blocks")
            if clone.content() != before:
                raise Broken(f"{unit} bytes at {unit}, over shared blocks: the clone changed too")


def _beside_cache(p: Probed) -> None:
    for unit in p.units():
        _ground(p, 4 * unit)
        p.cached(p.fresh(3 * unit), 0)
        p.whole(unit, unit, words=", over dirty pages")


def _beside_mapping(p: Probed) -> str:
    refusals = 0
    for unit in p.units():
        _ground(p, 4 * unit)
        data = p.fresh(3 * unit)
        with p.file.stored(data, 0):
            p.expected[: len(data)] = data
            refusal = p.either([p.fresh(unit)], unit, words=", over a mapping")
        if refusal is not None and refusal.errno != errno.EAGAIN:
            raise Broken(f"{unit} bytes at {unit}, over a mapping: refused with {name_of(refusal)}")
        refusals += refusal is not None
        p.check("after the mapping is gone,")
    return f"{refusals} refused with EAGAIN" if refusals else "all taken"


# Work of many writes


def _random_work(p: Probed) -> str:
    """Atomic and plain writes and truncates, each checked against a model."""
    chance = random.Random(776)
    units = [unit for unit in p.sizes() if unit <= 64 << 10] or p.sizes()[:1]
    space = 8 * units[-1]
    granule = p.file.granule
    atomic = 0
    for _ in range(_WORK):
        match chance.choices(("atomic", "plain", "truncate"), (6, 3, 1))[0]:
            case "atomic":
                unit = chance.choice(units)
                p.whole(unit, chance.randrange(space // unit) * unit)
                atomic += 1
            case "plain":
                length = chance.randrange(1, max(2, space // 4 // granule)) * granule
                p.plain(p.fresh(length), chance.randrange(max(1, (space - length) // granule)) * granule)
                p.check(f"a plain write of {length} bytes:")
            case _:
                p.truncate(chance.randrange(space))
                p.check(f"a truncate to {len(p.expected)}:")
    return f"{_WORK} operations, {atomic} of them atomic"


def _parallel(p: Probed) -> str:
    """Each thread has units of its own."""
    if not p.file.threads:
        raise Unsupported("the file is for one thread")
    unit = min(p.sizes(), key=lambda size: abs(size - (16 << 10)))
    threads, rounds = 4, 8
    _ground(p, threads * unit)

    def work(index: int) -> bytes:
        data = b""
        for number in range(rounds):
            data = random.Random(index * rounds + number).randbytes(unit)
            count = p.file.pwritev([data], index * unit, RWF_ATOMIC)
            if count != unit:
                raise Broken(f"{unit} bytes at {index * unit}: returned {count}")
        return data

    with ThreadPoolExecutor(threads) as pool:
        last = list(pool.map(work, range(threads)))
    p.expected[:] = b"".join(last)
    p.check("after all had written,")
    return f"{threads} threads, {rounds} writes of {unit} bytes each"


def _reopened(p: Probed) -> None:
    unit = p.units()[-1]
    _ground(p, 2 * unit)
    p.whole(unit, unit)
    p.whole(p.units()[0], 0)
    p.compare(p.file.reread(), "closed and opened again,")


# The holes of 6.18


def _under_limit(p: Probed) -> str:
    """The file may grow to the middle of the write only: the kernel trims a write there after it judged it."""
    tried = []
    for unit in p.units(at_least=1024)[:2]:
        limit = unit // 2 + unit // 8
        for size, flags in itertools.product((unit, 0), (0, RWF_DSYNC)):
            p.renew()
            p.plain(p.fresh(size), 0, RWF_DSYNC)
            with p.file.limited(limit):
                refusal = p.either([p.fresh(unit)], 0, flags=flags, words=f", no file may exceed {limit}")
            p.check("after the limit is gone,")
            tried.append("taken whole" if refusal is None else name_of(refusal))
    return ", ".join(sorted(set(tried)))


def _append_in_block(p: Probed) -> str:
    """The file ends inside a block of the file system."""
    tried = []
    for unit in p.units(at_least=1024)[:2]:
        p.clear()
        size = unit + unit // 4
        _ground(p, 2 * unit)
        p.truncate(size)
        refusal = p.either([p.fresh(unit)], 0, flags=RWF_APPEND, append=True, words=f", which is at {size}")
        tried.append("taken whole" if refusal is None else f"refused with {name_of(refusal)}")
    return ", ".join(sorted(set(tried)))


def _append_unaligned(p: Probed) -> str:
    """The file ends on a block, though not where a write of this size may begin."""
    unit = p.units(at_least=4 * p.limits.unit_min)[0]
    size = unit // 4
    _ground(p, size)
    refusal = p.either([p.fresh(unit)], 0, flags=RWF_APPEND, append=True, words=f", which is at {size}")
    if refusal is None and p.exact:
        raise Broken(f"{unit} bytes landed at {size}, where no write of that size is whole")
    return "taken whole" if refusal is None else f"refused with {name_of(refusal)}"


ASSERTIONS: Final = (
    Assertion("limits", "The limits make sense", "generic/765", _limits),
    Assertion("every-size", "Every power of two within the limits is taken whole", "generic/767 768", _every_size),
    Assertion("too-small", "Half the smallest size is refused", "generic/767 768", _too_small),
    Assertion("too-large", "Twice the largest size is refused", "generic/767 768", _too_large),
    Assertion("odd-size", "A size that is no power of two is refused", "generic/765", _odd_sizes),
    Assertion("offset", "An offset that is no multiple of the size is refused", "generic/765 768", _offsets),
    Assertion("two-buffers", "Two buffers are refused", "generic/765", _two_buffers),
    Assertion("memory", "Memory at an odd address: whole, or refused", "errno table", _memory),
    Assertion("fault", "Memory of which half is not there is refused", "errno table", _fault),
    Assertion("nothing", "A write of nothing returns 0", "errno table", _nothing),
    Assertion("unknown-flag", "An unknown flag is refused", "errno table", _unknown_flag),
    Assertion("read", "A read with the flag is refused", "errno table", _reading),
    Assertion("read-only", "A file opened for reading refuses", "errno table", _read_only),
    Assertion("durable", "RWF_DSYNC and RWF_SYNC may be asked for too", "generic/775", _durable),
    Assertion("nowait", "RWF_NOWAIT: whole, or refused", "errno table", _nowait),
    Assertion("no-promise", "Without a promise every atomic write is refused", "generic/765", _no_promise, False),
    Assertion("written", "Whole over written blocks", "generic/765 769", _on_written),
    Assertion("hole", "Whole in a hole", "generic/765 770", _on_hole),
    Assertion("unwritten", "Whole over reserved blocks", "generic/765 770", _on_unwritten),
    Assertion("mixed", "Whole over blocks and holes at once", "generic/774 ext4/063", _on_mixture),
    Assertion("end", "Whole at, across and beyond the end", "generic/770 775", _at_end),
    Assertion("shared", "Whole over shared blocks, and the clone stays", "generic/769", _on_shared),
    Assertion("dirty-cache", "Whole over dirty pages of the page cache", "generic/774", _beside_cache),
    Assertion("mapping", "Whole, or refused, over stores to a mapping", "errno table", _beside_mapping),
    Assertion("random", "Atomic and plain writes mixed match a model", "generic/776", _random_work),
    Assertion("parallel", "Threads that write side by side do no harm", "generic/773", _parallel),
    Assertion("reopened", "It is all there when opened again", "generic/770 775", _reopened),
    Assertion("size-limit", "Never short under RLIMIT_FSIZE", "6.18", _under_limit),
    Assertion("append", "An append leaves the bytes before it alone", "6.18", _append_in_block),
    Assertion("append-place", "An append lands where it may, or is refused", "6.18", _append_unaligned),
)
