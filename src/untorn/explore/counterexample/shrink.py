"""From a bad outcome to a 1-minimal crash state: the earliest crash point, and no deviation that could be left out.

A deviation is one operation that a crash treated otherwise than the baseline says. Sectors of one write count as one
deviation if all of them together are as bad; else the write is torn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from untorn.explore.search.engine import NondeterminismError, Search
from untorn.explore.search.pinned_state import Baseline, PinnedState, default, is_legal, legal_at, show, state_of
from untorn.explore.search_record import ORDER, Key, Layer, Outcome, Problem

_TRIES: Final = 600
_POINTS: Final = 200
T = TypeVar("T")


@dataclass(frozen=True)
class Shrunk:
    """A bad state that nothing can be left out of."""

    state: PinnedState
    problem: Problem
    tries: int


def minimize(items: Sequence[T], bad: Callable[[Sequence[T]], bool]) -> list[T]:
    """A 1-minimal subset of ``items`` that still is bad (Zeller and Hildebrandt, ddmin)."""
    current = list(items)
    if current and bad([]):
        return []
    size = max(1, len(current) // 2)
    while True:
        at = 0
        removed = False
        while at < len(current):
            fewer = current[:at] + current[at + size :]
            if fewer != current and bad(fewer):
                current = fewer
                removed = True
            else:
                at += size
        if size > 1:
            size = max(1, size // 2)
        elif not removed:
            return current


class Shrinker:
    """Tries states of one search; ``tries`` counts them."""

    def __init__(self, search: Search, outcome: Outcome) -> None:
        assert outcome.problem is not None
        self.search = search
        self.outcome = outcome
        self.kind = outcome.problem.kind, outcome.problem.stage
        self.problem = outcome.problem
        self.tries = 0

    @property
    def layers(self) -> Sequence[Layer]:
        return self.search.shared.layers

    def bad(self, state: PinnedState) -> bool:
        """Whether the state is bad in the same way as the outcome."""
        if self.tries >= _TRIES or not is_legal(self.search, state):
            return False
        self.tries += 1
        problem = show(self.search, state)[0].problem
        if problem is None or (problem.kind, problem.stage) != self.kind:
            return False
        self.problem = problem
        return True

    def shrink(self) -> Shrunk:
        candidates = []
        for baseline in (Baseline.NEWEST, Baseline.OLDEST):
            state = self._fewest(state_of(self.search, self.outcome, baseline))
            if state is not None:
                candidates.append(state)
        if not candidates:
            raise NondeterminismError("the outcome is bad, and no state of it is")
        best = min(candidates, key=self._length)
        self.tries = 0
        best = self._earliest(best)
        best = self._fewest(best) or best
        assert self.bad(best) or self.tries >= _TRIES
        return Shrunk(best, self.problem, self.tries)

    def _length(self, state: PinnedState) -> tuple[int, bool, int]:
        """Operations first. "This write was lost" says more than "nothing that was not synced is there"."""
        backwards = (0, ORDER) in state.deviations
        return (
            max(1, len(set(self.operations_of(state).values())) - backwards),
            state.baseline is Baseline.OLDEST,
            len(state.deviations),
        )

    # Fewer deviations

    def _fewest(self, state: PinnedState) -> PinnedState | None:
        """Operations first, all sectors at once; then, of what is left, single sectors."""
        whole = self._whole(state)
        if not self.bad(state):
            if not self.bad(whole):
                return None
            state = whole
        elif whole.deviations != state.deviations and self.bad(whole):
            state = whole
        by_operation: dict[tuple[int, int], dict[Key, int]] = {}
        for key, operation in self.operations_of(state).items():
            by_operation.setdefault(operation, {})[key] = state.deviations[key]
        kept = minimize(
            list(by_operation), lambda some: self.bad(replace(state, deviations=_merge(by_operation, some)))
        )
        state = replace(state, deviations=_merge(by_operation, kept))
        for operation in kept:
            if set(by_operation[operation]) == set(self._whole_operation(state, operation)):
                continue  # the whole operation is one deviation already
            rest = {key: value for key, value in state.deviations.items() if key not in by_operation[operation]}
            pairs = list(by_operation[operation].items())
            state = replace(state, deviations={**rest, **dict(minimize(pairs, self._with(state, rest)))})
        return state

    def _with(self, state: PinnedState, rest: dict[Key, int]) -> Callable[[Sequence[tuple[Key, int]]], bool]:
        return lambda some: self.bad(replace(state, deviations={**rest, **dict(some)}))

    def operations_of(self, state: PinnedState) -> dict[Key, tuple[int, int]]:
        """By deviating variable: layer and event of issue of the operation that the deviation is about."""
        return {key: self.operation(state, key) for key in state.deviations}

    def operation(self, state: PinnedState, key: Key) -> tuple[int, int]:
        """The operation whose value is lost, or, over the oldest, the one whose value came early."""
        depth, variable = key
        layer = self.layers[depth]
        start = layer.class_starts[state.classes[depth]]
        wanted = state.deviations.get(key) if state.baseline is Baseline.OLDEST else None
        written = layer.alternatives[variable].written
        found = [since for since, value in written if since <= start and wanted in (None, value)]
        return depth, max(found, default=0)

    def _whole(self, state: PinnedState) -> PinnedState:
        """The same with every operation that deviates in a sector deviating in all of its sectors."""
        deviations = dict(state.deviations)
        for operation in set(self.operations_of(state).values()):
            deviations.update(self._whole_operation(state, operation))
        return replace(state, deviations=deviations)

    def _whole_operation(self, state: PinnedState, operation: tuple[int, int]) -> dict[Key, int]:
        result: dict[Key, int] = {}
        for depth, layer in enumerate(self.layers):
            at = state.classes[depth]
            for variable in layer.alternatives:
                key = (depth, variable)
                if variable.kind not in ("sector", "size") or layer.alternatives[variable].written[-1][0] == 0:
                    continue
                legal = legal_at(layer, key, at)
                usual = default(layer, key, at, state.baseline)
                others = [value for value in legal if value != usual]
                if not others:
                    continue
                value = others[-1] if state.baseline is Baseline.NEWEST else others[0]
                if variable.kind == "size":
                    before = self._size_before(state, key, operation[1])
                    if before is None:
                        continue
                    value = before
                if self.operation(replace(state, deviations={key: value}), key) == operation:
                    result[key] = value
        return result

    def _size_before(self, state: PinnedState, key: Key, event: int) -> int | None:
        """The size that a file had before an operation, if it may have that again and if that is a loss."""
        layer, at = self.layers[key[0]], state.classes[key[0]]
        legal = legal_at(layer, key, at)
        before = [value for since, value in layer.alternatives[key[1]].written if since < event and value in legal]
        return before[-1] if before and state.baseline is Baseline.NEWEST else None

    # Earlier

    def _earliest(self, state: PinnedState) -> PinnedState:
        """The same deviations at the earliest crash points, of the workload first, at which they are as bad."""
        for depth, last in enumerate(state.classes):
            for at in range(0, last, max(1, last // _POINTS)):
                earlier = replace(state, classes=(*state.classes[:depth], at, *state.classes[depth + 1 :]))
                if self.bad(earlier):
                    state = earlier
                    break
        return state


def _merge(
    by_operation: Mapping[tuple[int, int], Mapping[Key, int]], some: Iterable[tuple[int, int]]
) -> dict[Key, int]:
    return {key: value for operation in some for key, value in by_operation[operation].items()}
