"""A simulated machine with atomic limits, and every disk that a power failure may leave of what was done on it.

Hardware that writes atomically is simulated here; what these tests show of it rests on the rules of the simulation.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from xxhash import xxh3_128_digest

import untorn
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import Choose, Value, Variable, newest, oldest, seeded
from untorn.storage.interface import AtomicLimits, Storage

PATH: Final = "/file"
K: Final = 1024
BLOCK: Final = 4 * K
FOLIO: Final = 16 * K
LIMITS: Final = AtomicLimits(unit_min=4 * K, unit_max=64 * K, unit_max_opt=0, segments_max=1)
TRACKED: Final = ("folio-flag", "mapping-flag")
ATOMIC: Final = (*TRACKED, "writethrough")
IN_PLACE: Final = (*ATOMIC, "plain")
ALL: Final = (*IN_PLACE, "cow")
QUESTIONS: Final = {
    "stat",
    "resolve",
    "pread",
    "getxattr",
    "atomic_limits",
    "first_hole",
    "check_size",
    "lock",
    "close",
}
"""Operations that change nothing."""


def machine(data: bytes = b"o" * 8 * FOLIO, limits: AtomicLimits = LIMITS, **options: Any) -> SimulatedStorage:
    """A disk with one file on it."""
    storage = SimulatedStorage(atomic=limits, **options)
    storage.write_file(PATH, data)
    return storage


def opened(storage: Storage, design: str, **options: Any) -> Any:
    """The file, opened to be updated."""
    return untorn.open(PATH, "r+b", design=design, storage=storage, **options)  # type: ignore[call-overload]


def bios(file: Any) -> list[untorn.TraceEvent]:
    """From now on every bio, in a list that grows."""
    seen: list[untorn.TraceEvent] = []
    file.set_trace(lambda step: seen.append(step) if step.event == "bio" else None)
    return seen


def cuts(storage: SimulatedStorage, samples: int = 40) -> Iterator[tuple[int, SimulatedStorage]]:
    """What a power failure may leave, with the moment: all disks where they are few, else a seeded sample.

    Moments are the ends and beginnings of what changes something; a disk that was seen since the last
    acknowledgement is not given again.
    """
    changes = [one for one in storage.trace.operations if one.name not in QUESTIONS]
    told = {one.issued for one in changes if one.name == "acknowledge"}
    seen: set[bytes] = set()
    for at in sorted({0, *(one.issued for one in changes), *(one.completed or 0 for one in changes)}):
        if at in told:
            seen.clear()
        for choose in choices(storage.history(at).undetermined(), samples, at):
            disk = storage.power_cut(choose, at)
            if (shown := _fingerprint(disk)) not in seen:
                seen.add(shown)
                yield at, disk


def disks(storage: SimulatedStorage, samples: int = 40) -> Iterator[SimulatedStorage]:
    """As cuts, where the moment does not matter."""
    for _, disk in cuts(storage, samples):
        yield disk


def _fingerprint(disk: SimulatedStorage) -> bytes:
    parts = []
    for name in disk.listdir("/"):
        info = disk.stat(f"/{name}")
        attributes = sorted(disk.attributes(f"/{name}").items())
        parts.append((name, info.size, info.mtime_ns, xxh3_128_digest(disk.read_file(f"/{name}")), attributes))
    return xxh3_128_digest(repr(parts).encode())


def choices(undetermined: Mapping[Variable, Sequence[Value]], samples: int, seed: int) -> Iterator[Choose]:
    """Every way to choose where there are few, else a seeded sample of them."""
    variables = list(undetermined)
    if math.prod(map(len, undetermined.values())) <= samples:
        for indices in itertools.product(*(range(len(undetermined[one])) for one in variables)):
            yield _fixed(dict(zip(variables, indices, strict=True)))
        return
    chance = random.Random(seed)
    yield oldest
    yield newest
    for _ in range(samples // 4):
        yield _but(chance.choice(variables), oldest, newest)
        yield _but(chance.choice(variables), newest, oldest)
        yield seeded(chance.getrandbits(64))


def _fixed(indices: Mapping[Variable, int]) -> Choose:
    return lambda variable, legal: indices.get(variable, 0)


def _but(one: Variable, most: Choose, other: Choose) -> Choose:
    return lambda variable, legal: (other if variable == one else most)(variable, legal)


def contents(storage: SimulatedStorage, samples: int = 40) -> set[bytes]:
    """What the file may hold after a power failure, read through untorn, which recovers it."""
    found = set()
    for disk in disks(storage, samples):
        with untorn.open(PATH, "r+b", storage=disk) as file:
            content = file.read()
        assert disk.read_file(PATH) == content, "recovery left something other than one ordinary file"
        assert disk.listdir("/") == [PATH[1:]]
        found.add(content)
    return found


def is_whole(content: bytes, start: int, length: int, values: Sequence[bytes]) -> bool:
    """Whether these bytes are one of the values, and not part of this and part of that."""
    return content[start : start + length] in values


Work = Callable[[Any], None]


def done(design: str, work: Work, **options: Any) -> SimulatedStorage:
    """The machine on which the work was done, and the file closed."""
    storage = machine(**options)
    file = opened(storage, design)
    work(file)
    file.close()
    return storage
