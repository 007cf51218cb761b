"""Whole, whatever lies beneath the write and beside it, and where Linux 6.18 is not."""

from __future__ import annotations

import errno
import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

from untorn.debate.probe.probe_file import Broken, Probed, name_of
from untorn.debate.probe.scratch_file import Unsupported
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, RWF_DSYNC

_BLOCK: Final = 4096
_WORK: Final = 300
"""Writes and truncates of the random work."""


def on_written(p: Probed) -> None:
    for unit in p.units():
        p.ground(4 * unit)
        for place in (1, 3, 1):
            p.whole(unit, place * unit, words=", over written blocks")


def on_hole(p: Probed) -> None:
    for unit in p.units():
        p.clear()
        p.truncate(4 * unit)
        for place in (1, 3, 0):
            p.whole(unit, place * unit, words=", in a hole")


def on_unwritten(p: Probed) -> None:
    for unit in p.units():
        p.clear()
        p.allocate(0, 4 * unit)
        for place in (1, 3, 0):
            p.whole(unit, place * unit, words=", over reserved blocks")


def on_mixture(p: Probed) -> None:
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


def at_end(p: Probed) -> None:
    """Beyond the end, just at it, and across it."""
    for unit in p.units(at_least=2):
        p.ground(unit)
        p.whole(unit, unit, words=", at the end")
        p.whole(unit, 3 * unit, words=", beyond the end")
        p.truncate(4 * unit + unit // 2)
        p.whole(unit, 4 * unit, words=", across the end")


def on_shared(p: Probed) -> None:
    for unit in p.units():
        p.ground(2 * unit)
        before = bytes(p.expected)
        with closing(p.file.clone()) as clone:
            p.whole(unit, unit, words=", over shared blocks")
            if clone.content() != before:
                raise Broken(f"{unit} bytes at {unit}, over shared blocks: the clone changed too")


def beside_cache(p: Probed) -> None:
    for unit in p.units():
        p.ground(4 * unit)
        p.cached(p.fresh(3 * unit), 0)
        p.whole(unit, unit, words=", over dirty pages")


def beside_mapping(p: Probed) -> str:
    refusals = 0
    for unit in p.units():
        p.ground(4 * unit)
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


def random_work(p: Probed) -> str:
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


def parallel(p: Probed) -> str:
    """Each thread has units of its own."""
    if not p.file.threads:
        raise Unsupported("the file is for one thread")
    unit = min(p.sizes(), key=lambda size: abs(size - (16 << 10)))
    threads, rounds = 4, 8
    p.ground(threads * unit)

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


def reopened(p: Probed) -> None:
    unit = p.units()[-1]
    p.ground(2 * unit)
    p.whole(unit, unit)
    p.whole(p.units()[0], 0)
    p.compare(p.file.reread(), "closed and opened again,")


# The holes of 6.18


def under_limit(p: Probed) -> str:
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


def append_in_block(p: Probed) -> str:
    """The file ends inside a block of the file system."""
    tried = []
    for unit in p.units(at_least=1024)[:2]:
        p.clear()
        size = unit + unit // 4
        p.ground(2 * unit)
        p.truncate(size)
        refusal = p.either([p.fresh(unit)], 0, flags=RWF_APPEND, append=True, words=f", which is at {size}")
        tried.append("taken whole" if refusal is None else f"refused with {name_of(refusal)}")
    return ", ".join(sorted(set(tried)))


def append_unaligned(p: Probed) -> str:
    """The file ends on a block, though not where a write of this size may begin."""
    unit = p.units(at_least=4 * p.limits.unit_min)[0]
    size = unit // 4
    p.ground(size)
    refusal = p.either([p.fresh(unit)], 0, flags=RWF_APPEND, append=True, words=f", which is at {size}")
    if refusal is None and p.exact:
        raise Broken(f"{unit} bytes landed at {size}, where no write of that size is whole")
    return "taken whole" if refusal is None else f"refused with {name_of(refusal)}"
