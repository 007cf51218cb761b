"""One crash state, chosen: a crash point for each layer and what each variable then holds.

What is not said holds its baseline: ``NEWEST`` as if all that was issued had reached the disk, ``OLDEST`` as if
nothing had but what is durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from untorn.explore.lazy.crash_state import CrashState
from untorn.explore.search.engine import Search
from untorn.explore.search_record import (
    ORDER,
    AskCrashPoint,
    AskDigest,
    AskValue,
    Key,
    Layer,
    Outcome,
    Question,
    Snapshot,
)


class Baseline(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True)
class PinnedState:
    """A crash state: class of the crash point by layer, baseline, and the values that deviate from it."""

    classes: tuple[int, ...]
    baseline: Baseline
    deviations: Mapping[Key, int] = field(default_factory=dict)


def legal_at(layer: Layer, key: Key, at: int) -> list[int]:
    """The indices of the values legal at class ``at``, in the order in which the cache had them."""
    return list(dict.fromkeys(_there(layer, key, at)))


def _there(layer: Layer, key: Key, at: int) -> list[int]:
    alternatives, start = layer.alternatives[key[1]], layer.class_starts[at]
    return [
        index
        for (since, index), until in zip(alternatives.written, alternatives.ends, strict=True)
        if since <= start < until
    ]


def default(layer: Layer, key: Key, at: int, baseline: Baseline) -> int:
    """The index of the value that the variable has by default."""
    legal = _there(layer, key, at)
    return legal[-1] if baseline is Baseline.NEWEST or key[1] == ORDER else legal[0]


class Steering:
    """A chooser that makes an execution show exactly one state."""

    def __init__(self, layers: Sequence[Layer], state: PinnedState) -> None:
        self.layers = layers
        self.state = state

    def value(self, key: Key) -> int:
        found = self.state.deviations.get(key)
        at = self.state.classes[key[0]]
        return default(self.layers[key[0]], key, at, self.state.baseline) if found is None else found

    def __call__(self, question: Question, branches: int) -> int:
        match question:
            case AskValue(key, parts):
                value = self.value(key)
                return next((branch for branch, part in enumerate(parts) if value in part), 0)
            case AskDigest(members):
                return 0 if all(self.value(key) in matching for key, matching in members) else 1
            case AskCrashPoint(layer, masks):
                at = self.state.classes[layer]
                return next((branch for branch, mask in enumerate(masks) if mask >> at & 1), 0)


def show(search: Search, state: PinnedState) -> tuple[Outcome, CrashState]:
    """One execution of recovery and check on one state."""
    start = search.start
    masks = tuple(1 << at for at in state.classes)
    domains = start.domains if start else {}
    groups = start.groups if start else ()
    return search.run_pinned(Steering(search.shared.layers, state), Snapshot(masks, domains, groups))


def is_legal(search: Search, state: PinnedState) -> bool:
    """Whether every deviation may be had at the state's crash points, and the search's own start agrees with it.

    A recovery that was cut off did what it did because of what it saw. Of what the crash before it left, a state may
    differ from that no more than recovery could not see.
    """
    layers, start = search.shared.layers, search.start
    if not all(
        layers[key[0]].alternatives[key[1]].legal_classes[value] >> state.classes[key[0]] & 1
        for key, value in state.deviations.items()
    ):
        return False
    if start is None:
        return True
    value = Steering(layers, state).value
    return (
        all(mask >> at & 1 for mask, at in zip(start.masks, state.classes, strict=False))
        and all(value(key) in domain for key, domain in start.domains.items())
        and not any(all(value(key) in matching for key, matching in group.items()) for group in start.groups)
    )


def state_of(
    search: Search, outcome: Outcome, baseline: Baseline, classes: tuple[int, ...] | None = None
) -> PinnedState:
    """One of the states that an outcome stands for: at its first crash points, what nobody asked about by default."""
    layers = search.shared.layers
    end = outcome.end
    if classes is None:
        classes = tuple((mask & -mask).bit_length() - 1 for mask in end.masks)
    deviations: dict[Key, int] = {}
    for key, domain in end.domains.items():
        at = classes[key[0]]
        legal = [value for value in legal_at(layers[key[0]], key, at) if value in domain]
        wanted = default(layers[key[0]], key, at, baseline)
        if wanted not in legal:
            deviations[key] = legal[-1] if baseline is Baseline.NEWEST else legal[0]
    for group in end.groups:
        state = PinnedState(classes, baseline, deviations)
        steering = Steering(layers, state)
        if all(steering.value(key) in matching for key, matching in group.items()):
            deviations |= _unmatch(layers, group, classes, end)
    return PinnedState(classes, baseline, deviations)


def _unmatch(
    layers: Sequence[Layer], group: Mapping[Key, frozenset[int]], classes: tuple[int, ...], end: Snapshot
) -> dict[Key, int]:
    """One sector of a group given a value that does not match."""
    for key, matching in group.items():
        for value in legal_at(layers[key[0]], key, classes[key[0]]):
            if value not in matching and value in end.domains.get(key, (value,)):
                return {key: value}
    raise AssertionError("an outcome without a state")
