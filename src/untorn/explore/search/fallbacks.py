"""What is tried when the budget cannot see a search through, best first; none of it is ever certified.

They take chosen states one by one: at each crash point all whole writes in every combination while they are
few, then prefixes with one or two operations left out or one sector torn, then seeded chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from xxhash import xxh3_64_intdigest

from untorn.explore.result import Coverage
from untorn.explore.search.pinned_state import Baseline, PinnedState, default, legal_at
from untorn.explore.search_record import ORDER, Key, Layer

_WRITES_MAX: Final = 10
"""Operations in flight at a crash point of which every combination is tried."""


def open_operations(layer: Layer, at: int) -> dict[int, dict[Key, int]]:
    """What may be lost at class ``at``: by event of the operation, its variables with the value before it."""
    result: dict[int, dict[Key, int]] = {}
    start = layer.class_starts[at]
    for variable, alternatives in layer.alternatives.items():
        key = (0, variable)
        legal = legal_at(layer, key, at)
        if len(legal) < 2 or variable == ORDER:
            continue
        written = [
            (since, value)
            for since, value in alternatives.written
            if since <= start and alternatives.legal_classes[value] >> at & 1
        ]
        for (_, before), (since, value) in itertools.pairwise(written):
            if value != before:
                result.setdefault(since, {})[key] = before
    return result


def whole_writes(layer: Layer) -> Iterator[PinnedState]:
    """Coverage WRITES: every crash point, every subset of the operations in flight; skips points with too many."""
    for at in range(len(layer.class_starts)):
        operations = list(open_operations(layer, at).values())
        if len(operations) > _WRITES_MAX:
            continue
        for lost in itertools.product((False, True), repeat=len(operations)):
            yield _without(at, [one for one, gone in zip(operations, lost, strict=True) if gone])


def is_complete(layer: Layer) -> bool:
    """Whether ``whole_writes`` skips nothing."""
    return all(len(open_operations(layer, at)) <= _WRITES_MAX for at in range(len(layer.class_starts)))


def tears(layer: Layer) -> Iterator[PinnedState]:
    """Coverage TEARS: every crash point with none, one or two operations lost, or one sector of one."""
    for at in range(len(layer.class_starts)):
        operations = list(open_operations(layer, at).values())
        yield PinnedState((at,), Baseline.NEWEST)
        yield PinnedState((at,), Baseline.OLDEST)
        for count in (1, 2):
            for some in itertools.combinations(operations, count):
                yield _without(at, some)
        for one in operations:
            for key, value in one.items():
                yield PinnedState((at,), Baseline.NEWEST, {key: value})


def samples(layer: Layer, seed: int) -> Iterator[PinnedState]:
    """Coverage SAMPLED: states by chance, the same for the same seed; without end."""
    for serial in itertools.count():
        at = xxh3_64_intdigest(f"{serial}".encode(), seed) % len(layer.class_starts)
        deviations: dict[Key, int] = {}
        for number, variable in enumerate(layer.alternatives):
            key = (0, variable)
            legal = legal_at(layer, key, at)
            value = legal[xxh3_64_intdigest(f"{serial} {number}".encode(), seed) % len(legal)]
            if value != default(layer, key, at, Baseline.NEWEST):
                deviations[key] = value
        yield PinnedState((at,), Baseline.NEWEST, deviations)


def _without(at: int, operations: Iterable[dict[Key, int]]) -> PinnedState:
    """The state at class ``at`` without these operations; a variable of several has the value before the first."""
    deviations: dict[Key, int] = {}
    for operation in operations:
        for key, value in operation.items():
            deviations.setdefault(key, value)
    return PinnedState((at,), Baseline.NEWEST, deviations)


def coverages(layer: Layer, seed: int) -> list[tuple[Coverage, Iterator[PinnedState]]]:
    """The coverages below the exhaustive one; the last is without end."""
    return [
        (Coverage.WRITES, whole_writes(layer)),
        (Coverage.TEARS, tears(layer)),
        (Coverage.SAMPLED, samples(layer, seed)),
    ]
