"""What the certificate's checker itself knows of a state: legal sets, what is left of them, and how many they are.

For each crash point of a layer it holds the number of ways to give every variable of the layer a value, as an exact
integer, and changes it by what a decision takes away. A group of sectors that do not all match counts as all ways
less those in which all match. Layers are independent, so a state of several layers counts as a product.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from untorn.crashmodel.variables import Variable
from untorn.explore.certificate.rules import Sweep
from untorn.explore.certificate.versions import Span
from untorn.explore.masks import Rows, Tally, bits, meeting, rows_of, union
from untorn.explore.search_record import ORDER, Key, Layer, Snapshot


class RefusedError(Exception):
    """Why a search is not certified."""


@dataclass(slots=True)
class CheckedAlternatives:
    """One variable: its values in the order of the search, and our own crash points of each."""

    labels: tuple[Any, ...]
    legal_classes: tuple[int, ...]
    rows: Rows = field(init=False, repr=False)
    tally: Tally = field(init=False, repr=False)
    """How many of the values are legal at each class."""

    def __post_init__(self) -> None:
        self.rows = rows_of(self.legal_classes)
        self.tally = Tally(self.legal_classes)


@dataclass
class CheckedLayer:
    """One layer as we see it: classes are the search's, legal sets our own."""

    class_starts: Sequence[int]
    values: dict[Variable, CheckedAlternatives]
    deciders: dict[Variable, list[tuple[Variable, int | None]]]
    """By variable: those that decide it, the lowest first, each with the place in its tuples if it has such."""
    totals: list[int]
    """By class: the number of ways to give every variable a value."""
    distinct: int
    """The classes that a legal set tells from the one before."""
    births: dict[int, Any]
    sectors: dict[int, set[int]] = field(default_factory=dict)
    """By inode: the sectors that operations of this layer changed."""


def checked_layer(sweep: Sweep, layer: Layer, last: int) -> CheckedLayer:
    """Our legal sets in terms of the search's classes and values; RefusedError where the search lacks some."""
    class_starts = layer.class_starts
    if not class_starts or any(
        low >= high for low, high in zip(class_starts, [*class_starts[1:], last + 1], strict=True)
    ):
        raise RefusedError("the classes of crash points are not in order")
    values: dict[Variable, CheckedAlternatives] = {}
    for variable, spans in sweep.spans().items():
        own = _masks(spans, class_starts, last, variable)
        alternatives = layer.alternatives.get(variable)
        if alternatives is None:
            if set(own) != {spans[0].value}:
                raise RefusedError(f"the search does not know {variable}")
            continue
        theirs = set(alternatives.values)
        missing = [value for value, mask in own.items() if mask and value not in theirs]
        if missing or len(theirs) != len(alternatives.values):
            raise RefusedError(f"the search does not know a legal value of {variable}")
        masks = tuple(own.get(value, 0) for value in alternatives.values)
        if masks != alternatives.legal_classes:
            raise RefusedError(f"the search has a value of {variable} at other crash points")
        values[variable] = CheckedAlternatives(alternatives.values, masks)
    for variable, alternatives in layer.alternatives.items():
        if variable not in values and sum(map(bool, alternatives.legal_classes)) > 1:
            raise RefusedError(f"the search knows {variable}, which no operation changed")
    return _with_deciders(sweep, layer, values, _totals(values, class_starts))


def _totals(values: Mapping[Variable, CheckedAlternatives], class_starts: Sequence[int]) -> list[int]:
    """By class: in how many ways every variable can be given a value."""
    steps: list[list[tuple[int, int]]] = [[] for _ in class_starts]
    for variable, found in values.items():
        changes = {0: 0}
        for mask in found.legal_classes:
            for at in bits(mask & ~(mask << 1)):
                changes[at] = changes.get(at, 0) + 1
            for at in bits(mask << 1 & ~mask & (1 << len(class_starts)) - 1):
                changes[at] = changes.get(at, 0) - 1
        before, count = 1, 0
        for at in sorted(changes):
            count += changes[at]
            if not count:
                raise RefusedError(f"{variable} has no legal value at event {class_starts[at]}")
            steps[at].append((before, count))
            before = count
    total = 1
    totals = []
    for here in steps:
        for before, now in here:
            total = total // before * now
        totals.append(total)
    return totals


def _with_deciders(
    sweep: Sweep, layer: Layer, values: dict[Variable, CheckedAlternatives], totals: list[int]
) -> CheckedLayer:
    distinct = 1
    for found in values.values():
        for mask in found.legal_classes:
            distinct |= mask ^ mask << 1
    distinct &= (1 << len(layer.class_starts)) - 1
    checked = CheckedLayer(layer.class_starts, values, _deciders(values), totals, distinct, sweep.births)
    for variable in checked.deciders:
        if variable.kind == "sector":
            assert isinstance(variable.key, int)
            checked.sectors.setdefault(variable.inode, set()).add(variable.key)
    return checked


def _deciders(values: Iterable[Variable]) -> dict[Variable, list[tuple[Variable, int | None]]]:
    deciders: dict[Variable, list[tuple[Variable, int | None]]] = {}
    for owner in sorted(values, key=lambda variable: variable.level):
        if isinstance(owner.key, tuple):
            for place, key in enumerate(owner.key):
                member = key if owner.kind == "names" else Variable("sector", owner.inode, key)
                deciders.setdefault(member, []).append((owner, place))
        else:
            deciders.setdefault(owner._replace(level=0), []).append((owner, None))
    return deciders


def _masks(spans: Iterable[Span], class_starts: Sequence[int], last: int, variable: Variable) -> dict[Any, int]:
    """By value: the classes at which it is legal; the search must not have put two crash points that differ in one."""
    windows: dict[Any, list[tuple[int, int]]] = {}
    for value, since, until in spans:
        low, high = max(since, class_starts[0]), min(until, last + 1)
        if low < high:
            windows.setdefault(value, []).append((low, high))
    result: dict[Any, int] = {}
    for value, found in windows.items():
        mask = 0
        for low, high in _merged(found):
            first, end = bisect.bisect_left(class_starts, low), bisect.bisect_left(class_starts, high)
            if class_starts[first : first + 1] != [low] or (high <= last and class_starts[end : end + 1] != [high]):
                raise RefusedError(f"crash points that {variable} tells apart are one class of the search")
            mask |= (1 << end) - (1 << first)
        result[value] = mask
    return result


def _merged(windows: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    windows.sort()
    start, end = windows[0]
    for low, high in windows[1:]:
        if low > end:
            yield start, end
            start, end = low, high
        end = max(end, high)
    yield start, end


Group = Mapping[Key, frozenset[int]]
"""Sectors that do not all match: by variable, the indices of the values that would."""


@dataclass
class CheckedState:
    """What is left at one node of a tree: our own, of every layer."""

    layers: Sequence[CheckedLayer]
    masks: tuple[int, ...]
    """By layer: the classes that are left."""
    domains: dict[Key, tuple[int, ...]]
    groups: tuple[Group, ...]
    known: tuple[dict[int, int] | None, ...]
    """By layer: what ``counts`` found, as long as no decision about the layer came after."""

    @staticmethod
    def first(layer: CheckedLayer) -> CheckedState:
        return CheckedState([layer], ((1 << len(layer.totals)) - 1,), {}, (), (None,))

    def above(self, layer: CheckedLayer) -> CheckedState:
        """The state of a recovery that began in this one and is itself cut off."""
        root = CheckedState.first(layer)
        return CheckedState(
            [*self.layers, layer], self.masks + root.masks, self.domains, self.groups, self.known + root.known
        )

    @property
    def ways(self) -> int:
        """How many states of the disk, over all crash points; those that no legal set tells apart count once.

        In which order directories list their names is no state of the disk.
        """
        every = prod(
            sum(count for at, count in counts.items() if layer.distinct >> at & 1)
            for layer, counts in zip(self.layers, self.counts(), strict=True)
        )
        return every // len(self.legal((0, ORDER)))

    # How many ways are left

    def counts(self) -> tuple[dict[int, int], ...]:
        """By layer and class: the number of ways that are left, by what decisions took away of all there were."""
        self.known = tuple(
            self._counted(depth) if counts is None else counts for depth, counts in enumerate(self.known)
        )
        return tuple(counts for counts in self.known if counts is not None)

    def _counted(self, depth: int) -> dict[int, int]:
        totals = self.layers[depth].totals
        counts = {at: totals[at] for at in bits(self.masks[depth])}
        grouped = {key for group in self.groups for key in group}
        for key in self.domains:
            if key[0] == depth and key not in grouped:
                self._discount(counts, {key: frozenset()})
        if depth == 0:
            for group in self.groups:
                self._discount(counts, group)
        if not all(count > 0 for count in counts.values()):
            raise RefusedError("a crash point is left at which nothing is legal")
        return counts

    def _discount(self, counts: dict[int, int], group: Group) -> None:
        """Takes away what the domains of some variables leave out, and the ways in which all of them match."""
        depth = next(iter(group))[0]
        removed, could = 0, self.masks[depth]
        tallies = []
        for key, matching in group.items():
            masks = self.values(key).legal_classes
            every = meeting(self.values(key).rows, self.masks[depth])
            kept = self._meeting(key, self.domains.get(key))
            staying, matched = set(kept), [masks[at] for at in kept if at in matching]
            removed |= union(masks[at] for at in every if at not in staying)
            could &= union(matched)
            tallies.append((self.values(key).tally, Tally(masks[at] for at in kept), Tally(matched)))
        for at in bits((removed | could) & self.masks[depth]):
            before, after, same = (prod(tally.count(at) for tally in column) for column in zip(*tallies, strict=True))
            counts[at] = counts[at] // before * (after - same)

    # What is legal here

    def values(self, key: Key) -> CheckedAlternatives:
        found = self.layers[key[0]].values.get(key[1])
        if found is None:
            raise RefusedError(f"asked about {key[1]}, which no operation changed")
        return found

    def domain(self, key: Key) -> Sequence[int]:
        found = self.domains.get(key)
        return range(len(self.values(key).legal_classes)) if found is None else found

    def group(self, key: Key) -> Group | None:
        return next((group for group in self.groups if key in group), None)

    def legal(self, key: Key) -> tuple[int, ...]:
        """The values that some crash point and some values of all other variables go with."""
        masks, mask = self.values(key).legal_classes, self.masks[key[0]]
        found = self._meeting(key, self.domains.get(key))
        group = self.group(key)
        if group is not None and len(found) > 1:
            others = mask & union(
                self.values(member).legal_classes[at]
                for member, matching in group.items()
                if member != key
                for at in self.domain(member)
                if at not in matching
            )
            found = [at for at in found if at not in group[key] or masks[at] & others]
        return tuple(found)

    def _meeting(self, key: Key, domain: Sequence[int] | None) -> list[int]:
        """Of these values, of all for None, those that some crash point goes with."""
        values, mask = self.values(key), self.masks[key[0]]
        return (
            meeting(values.rows, mask) if domain is None else [at for at in domain if values.legal_classes[at] & mask]
        )

    # What a decision leaves

    def narrowed(self, key: Key, part: tuple[int, ...]) -> CheckedState:
        """The state in which a variable has one of these values."""
        depth = key[0]
        masks = self.values(key).legal_classes
        domains = {**self.domains, key: part}
        left = self.masks[depth] & union(masks[at] for at in part)
        group, groups = self.group(key), self.groups
        if group is not None:
            left &= self._unmatched(group, domains)
            if group[key].isdisjoint(part):
                groups = tuple(other for other in groups if other is not group)
        return self._with(depth, left, domains, groups)

    def matched(self, members: Group) -> CheckedState:
        """The state in which all members match."""
        state = self
        for key, matching in members.items():
            state = state.narrowed(key, tuple(at for at in state.legal(key) if at in matching))
        return state

    def mismatched(self, members: Group) -> CheckedState:
        """The state in which not all of them do."""
        domains = {**self.domains, **{key: self.legal(key) for key in members}}
        left = self.masks[0] & self._unmatched(members, domains)
        return self._with(0, left, domains, (*self.groups, members))

    def _unmatched(self, group: Group, domains: Mapping[Key, Sequence[int]]) -> int:
        """The classes at which some member of a group may be something that does not match."""
        return union(
            self.values(key).legal_classes[at]
            for key, matching in group.items()
            for at in domains[key]
            if at not in matching
        )

    def within(self, depth: int, mask: int) -> CheckedState:
        """The state in which the crash came in one of these classes."""
        return self._with(depth, self.masks[depth] & mask, self.domains, self.groups)

    def _with(
        self, depth: int, mask: int, domains: dict[Key, tuple[int, ...]], groups: tuple[Group, ...]
    ) -> CheckedState:
        masks, known = (*self.masks[:depth], mask, *self.masks[depth + 1 :]), list(self.known)
        known[depth] = None
        return CheckedState(self.layers, masks, domains, groups, tuple(known))

    def differs(self, end: Snapshot) -> str:
        """What a search says of this state that is not so; empty if all is."""
        if tuple(end.masks) != self.masks:
            return "the crash points"
        for key in {*end.domains, *self.domains}:
            theirs, ours = end.domains.get(key), self.domains.get(key)
            if theirs != ours and self._meeting(key, theirs) != self._meeting(key, ours):
                return f"the values of {key[1]}"
        groups = [frozenset(group.items()) for group in self.groups]
        if len(groups) != len(end.groups) or {frozenset(group.items()) for group in end.groups} != set(groups):
            return "the verified groups"
        return ""
