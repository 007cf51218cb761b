"""Which sequences there are, which of them are the same, and a tenth of them that has all pairs and all devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random
from typing import Final

from xxhash import xxh3_128_hexdigest

from tests.workloads.session import CHANGES, COMMITS, ENDINGS, OPERATIONS, SESSION_ENDS
from tests.workloads.target import DEVICES, STARTS, Generated
from untorn.crashmodel.trace import Operation
from untorn.explore.search.engine import Recording
from untorn.explore.search.recovery_crashes import LOOKS
from untorn.storage.interface import RWF_ATOMIC

LENGTH_MAX: Final = 3
_SEED: Final = 20_261_128


def every(devices: Sequence[str] = tuple(DEVICES), longest: int = LENGTH_MAX) -> Iterator[Generated]:
    """Every sequence on every device from every start, the shortest first: they make the best reproductions.

    Those of one length come shuffled, always the same way, so that what is found early is found all over.
    """
    rng = Random(_SEED)
    for length in range(1, longest + 1):
        sequences = list(product(OPERATIONS, repeat=length))
        rng.shuffle(sequences)
        for operations in sequences:
            for start in STARTS:
                for device in devices:
                    for ending in ENDINGS:
                        yield Generated(operations, device, start, ending)


def count(devices: Sequence[str] = tuple(DEVICES), longest: int = LENGTH_MAX) -> int:
    """How many ``every`` gives."""
    lengths = range(1, longest + 1)
    return len(devices) * len(STARTS) * len(ENDINGS) * sum(int(len(OPERATIONS) ** length) for length in lengths)


def tenth() -> list[Generated]:
    """Always the same: each operation alone on every device from every start, each pair, and a tenth of the threes.

    Those are all in which a change is committed and then a session ends, and a sample of the others. Pairs and threes
    get one device and start each, in turn, so that all of those are met equally often; the sample also one ending.
    """
    rng = Random(_SEED)
    places = list(product(DEVICES, STARTS))
    ends = list(product(DEVICES, STARTS, ENDINGS))
    pairs = list(product(OPERATIONS, repeat=2))
    ended = list(product(CHANGES, COMMITS, SESSION_ENDS))
    threes = list(product(OPERATIONS, repeat=3))
    rest = sorted(set(threes) - set(ended))
    for some in (places, ends, pairs, rest, ended):
        rng.shuffle(some)
    rest = rest[: len(threes) // 10 - len(ended)]
    found = [Generated((name,), device, start) for name in OPERATIONS for device, start in places]
    found += [Generated(some, *places[at % len(places)]) for at, some in enumerate([*pairs, *ended])]
    found += [Generated(three, *ends[at % len(ends)]) for at, three in enumerate(rest)]
    return found


class Seen:
    """The recordings that were met: what is recorded a second time need not be explored a second time."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def new(self, generated: Generated, recording: Recording) -> bool:
        """Whether exploring this may find what nothing before it could.

        What an exploration finds depends on the disk at the start, the operations that change something or tell
        something, the states that were committed, the device, and the first crash point; on nothing else. That the
        device takes atomic writes matters where there was one.
        """
        trace, options = recording.trace, recording.options
        atomic = any(one.name == "pwritev" and one.arguments[2] & RWF_ATOMIC for one in trace.operations)
        device = options.atomic if atomic else None, options.xattrs, options.sector, options.powersafe
        deeds = [one for one in trace.operations if not _only_looks(one)]
        what = f"{generated.start} {device} {generated.states!r} {list(map(_line, deeds))}"
        key = xxh3_128_hexdigest(what.encode())
        first = sum(one.issued <= recording.first for one in deeds)
        if self._first.get(key, first + 1) <= first:
            return False
        self._first[key] = first
        return True


def _only_looks(operation: Operation) -> bool:
    """Whether it changes and tells nothing; where in the trace it comes decides no crash."""
    if operation.name == "open":
        return not operation.arguments[2]
    return operation.name in LOOKS and operation.name != "acknowledge"


def _line(operation: Operation) -> str:
    return f"{operation.name} {operation.path} {operation.inode} {operation.arguments} {operation.mtime_ns}"
