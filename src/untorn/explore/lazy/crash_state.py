"""The state of one lazily explored crash: what is decided so far, and the questions that decide more.

State = for each layer the mask of crash points that are still possible, for each variable asked about the values
that it may still have (its **domain**), and for each group of sectors that failed a digest the constraint that
they do not all match it. A question partitions a domain; the **chooser** picks the part. What nobody asks about
stays open, so one execution stands for all its values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final, Protocol

from untorn.crashmodel.variables import LAYERED, Variable
from untorn.explore.masks import bits, meeting
from untorn.explore.search_record import (
    INHERITED,
    AskCrashPoint,
    AskDigest,
    AskValue,
    Key,
    Layer,
    Question,
    Snapshot,
)

Deciders = tuple[tuple[Key, int | None], ...]
"""Who decides a variable, uppermost first: variables of layers, each with the place in its tuples if it has such."""


class NondeterminismError(Exception):
    """Recovery or check asked something else than it had asked before."""


class Chooser(Protocol):
    """Picks the branch of a question."""

    def __call__(self, question: Question, branches: int) -> int: ...


@dataclass(slots=True)
class Group:
    """Sectors that do not all match: by variable, the indices of the values that would."""

    matching: dict[Key, frozenset[int]]


class Undecided:
    """The type of UNDECIDED."""


UNDECIDED: Final = Undecided()


class CrashState:
    """What is decided of one crash, or of a chain of them: layer 0 is cut off first."""

    def __init__(self, layers: Sequence[Layer], choose: Chooser, start: Snapshot | None = None) -> None:
        self.layers = list(layers)
        self._choose = choose
        if start is None:
            start = Snapshot((), {}, ())
        self.masks = list(start.masks) + [layer.all for layer in layers[len(start.masks) :]]
        self.domains = dict(start.domains)
        self.groups = [Group(dict(matching)) for matching in start.groups]
        self._grouped: dict[Key, Group] = {key: group for group in self.groups for key in group.matching}
        self._deciders: dict[Variable, Deciders] = self.layers[-1].chain
        self._nested = len(self.layers) > 1
        self.asked = 0
        """How often something was asked, decided or not."""
        self.expected: tuple[int, Question] | None = None
        """What an execution before this one was asked next, and how often by then: it need not be found out again."""

    def snapshot(self) -> Snapshot:
        return Snapshot(tuple(self.masks), dict(self.domains), tuple(dict(group.matching) for group in self.groups))

    # Looking without deciding

    def legal(self, key: Key) -> Sequence[int]:
        """The indices of the values that the variable may still have."""
        domain: Sequence[int] | None = self.domains.get(key)
        if domain is not None and len(domain) == 1:
            return domain  # every mask since then is within its own
        depth, variable = key
        alternatives, mask = self.layers[depth].alternatives[variable], self.masks[depth]
        if domain is None:
            found = meeting(alternatives.rows, mask)
        else:
            masks = alternatives.legal_classes
            found = [at for at in domain if masks[at] & mask]
        if len(found) > 1 and key in self._grouped:
            found = [at for at in found if self._after(key, (at,))]
        return found

    def _after(self, key: Key, part: Sequence[int]) -> int:
        """The mask of the variable's layer after its domain were ``part``; 0 if that cannot be."""
        depth, variable = key
        masks = self.layers[depth].alternatives[variable].legal_classes
        mask = self.masks[depth]
        mask &= reduce(or_, (masks[at] for at in part), 0)
        group = self._grouped.get(key)
        return mask if group is None or not mask else mask & self._unmatched(group, mask, key, part)

    def _unmatched(self, group: Group, mask: int, key: Key, part: Sequence[int]) -> int:
        """The classes of the group's layer at which not all its sectors need to match."""
        result = 0
        for member, matching in group.matching.items():
            masks = self.layers[member[0]].alternatives[member[1]].legal_classes
            domain: Sequence[int] = part if member == key else self.domains.get(member) or range(len(masks))
            for at in domain:
                if at not in matching:
                    result |= masks[at]
        return result & mask

    def decided_value(self, variable: Variable, base: Callable[[], Any]) -> Any:
        """The variable's value if nothing is left to decide about it, else UNDECIDED."""
        for key, place in self.deciders(variable):
            found = self.legal(key)
            if len(found) > 1:
                return UNDECIDED
            value: Any = self.layers[key[0]].alternatives[key[1]].values[found[0]]
            if value is not INHERITED:
                value = value if place is None else value[place]
                return UNDECIDED if value is None else self._left(variable, key[0], value)
        return self._left(variable, -1, base())

    def _left(self, variable: Variable, depth: int, value: Any) -> Any:
        """What the crashes since have left of a value of layer ``depth``: of a sector, what is below the size."""
        if not self._nested or variable.kind != "sector":
            return value
        deciders = self.deciders(Variable("size", variable.inode))
        if not deciders or deciders[0][0][0] <= depth:
            return value  # no layer since has changed the size, so nobody sees what lies beyond
        kept = len(value)
        assert isinstance(variable.key, int)
        for crash in range(max(depth, 0), len(self.layers) - 1):
            size = self._size_at(deciders, crash)
            if size is not None:
                kept = min(kept, max(size - variable.key * len(value), 0))
        return value if kept == len(value) else value[:kept] + bytes(len(value) - kept)

    def _size_at(self, deciders: Deciders, crash: int) -> int | None:
        """The size after the crash of a layer; None where nobody asked for it, and so nobody changed it either."""
        for key, _ in deciders:
            if key[0] <= crash:
                found = self.legal(key)
                value = self.layers[key[0]].alternatives[key[1]].values[found[0]]
                if len(found) > 1 or value is not INHERITED:
                    return value if len(found) == 1 else None
        base = self.layers[0].trace.image.inodes.get(deciders[0][0][1].inode)
        return None if base is None else base.content.size

    # Deciding

    def branch(self, question: Question, branches: int) -> int:
        """Asks the chooser; every decision goes through here."""
        return self._choose(question, branches)

    def ask_value(self, variable: Variable, classify: Callable[[Any], Hashable], base: Callable[[], Any]) -> Any:
        """What ``classify`` says of the value, deciding it if need be; ``base`` is the value where no layer has it."""
        return self._ask(variable, classify, base, deciding=True)

    def ask_upper(self, variable: Variable, classify: Callable[[Any], Hashable], base: Callable[[], Any]) -> Any:
        """As ``ask_value``, but UNDECIDED where only the lowest layer has to decide, and it has not."""
        return self._ask(variable, classify, base, deciding=False)

    def _ask(
        self, variable: Variable, classify: Callable[[Any], Hashable], base: Callable[[], Any], *, deciding: bool
    ) -> Any:
        deciders = self._deciders.get(variable)
        if deciders is None:
            deciders = self.deciders(variable)
        for at, (key, place) in enumerate(deciders):
            left_open = not deciding and at == len(deciders) - 1 and key[0] == 0
            chosen: Any = UNDECIDED
            if not left_open:
                self.asked += 1
                if self.expected is not None and self.expected[0] == self.asked:
                    chosen = self._again(deciders, at, variable, classify, base)
            if chosen is UNDECIDED:
                legal = self.legal(key)
                if len(legal) == 1:  # as below, for what is asked most
                    value = self.layers[key[0]].alternatives[key[1]].values[legal[0]]
                    value = value if place is None or value is INHERITED else value[place]
                    if value is not INHERITED and value is not None:
                        return classify(self._left(variable, key[0], value))
                by_answer = self._by_answer(deciders, at, legal, variable, classify, base)
                if len(by_answer) == 1:
                    chosen = next(iter(by_answer))
                elif left_open:
                    return UNDECIDED
                else:
                    chosen = self._decide(key, by_answer)
            if chosen is not INHERITED:
                return chosen
        return classify(self._left(variable, -1, base()))

    def _again(
        self,
        deciders: Deciders,
        at: int,
        variable: Variable,
        classify: Callable[[Any], Hashable],
        base: Callable[[], Any],
    ) -> Any:
        """The answer to a question that an execution before this one was asked at the same point, else UNDECIDED."""
        known, key = self._known(), deciders[at][0]
        if not isinstance(known, AskValue) or known.key != key:
            return UNDECIDED
        part = known.parts[self.branch(known, len(known.parts))]
        self.restrict(key, part)
        by_answer = self._by_answer(deciders, at, part, variable, classify, base)
        if len(by_answer) != 1:
            raise NondeterminismError(f"what had one answer before has {len(by_answer)} now: {key[1]}")
        return next(iter(by_answer))

    def _known(self) -> Question | None:
        """What an execution before this one was asked at this point."""
        return self.expected[1] if self.expected is not None and self.expected[0] == self.asked else None

    def possible_answers(
        self, variable: Variable, classify: Callable[[Any], Hashable], base: Callable[[], Any]
    ) -> set[Any]:
        """Every answer that the variable's value may give; decides nothing."""
        return self._possible_answers(0, variable, classify, base)

    def _possible_answers(
        self, at: int, variable: Variable, classify: Callable[[Any], Hashable], base: Callable[[], Any]
    ) -> set[Hashable]:
        deciders = self.deciders(variable)
        if at == len(deciders):
            return {classify(self._left(variable, -1, base()))}
        answers = set(self._by_answer(deciders, at, self.legal(deciders[at][0]), variable, classify, base))
        if INHERITED in answers:
            answers.remove(INHERITED)
            answers |= self._possible_answers(at + 1, variable, classify, base)
        return answers

    def _by_answer(
        self, deciders: Deciders, at: int, legal: Sequence[int], variable: Variable,
        classify: Callable[[Any], Hashable], base: Callable[[], Any],
    ) -> dict[Hashable, list[int]]:  # fmt: skip
        """These values by the answer that they give; what is inherited gives one answer if it can give no other."""
        key, place = deciders[at]
        values = self.layers[key[0]].alternatives[key[1]].values
        layered = variable.kind in LAYERED
        crashed = self._nested and variable.kind == "sector"
        by_answer: dict[Hashable, list[int]] = {}
        for index in legal:
            value = values[index]
            if place is not None and value is not INHERITED:
                value = value[place]
            answer: Hashable
            if value is INHERITED or (value is None and layered):
                below = self._possible_answers(at + 1, variable, classify, base)
                answer = below.pop() if len(below) == 1 else INHERITED
            else:
                answer = classify(self._left(variable, key[0], value) if crashed else value)
            by_answer.setdefault(answer, []).append(index)
        return by_answer

    def deciders(self, variable: Variable) -> Deciders:
        found = self._deciders.get(variable)
        if found is None:
            found = self._deciders[variable] = tuple(
                ((depth, owner), place)
                for depth in range(len(self.layers) - 1, -1, -1)
                for owner, place in self.layers[depth].deciders.get(variable, ())
            )
        return found

    def _decide(self, key: Key, by_answer: dict[Hashable, list[int]]) -> Hashable:
        """Lets the chooser pick one answer and takes the values that give another away."""
        answers = list(by_answer)
        parts = [tuple(by_answer[answer]) for answer in answers]
        picked = self.branch(AskValue(key, tuple(parts)), len(parts))
        self.restrict(key, parts[picked])
        return answers[picked]

    def restrict(self, key: Key, part: tuple[int, ...]) -> None:
        """The variable has one of these values from now on."""
        self.masks[key[0]] = self._after(key, part)
        assert self.masks[key[0]], "a branch without a crash point"
        self.domains[key] = part
        group = self._grouped.get(key)
        if group is not None and group.matching[key].isdisjoint(part):
            self._forget(group)

    def _forget(self, group: Group) -> None:
        self.groups.remove(group)
        for key in group.matching:
            del self._grouped[key]

    def ask_crash_point(self, depth: int, classify: Callable[[int], Hashable]) -> Hashable:
        """What ``classify`` says of the layer's crash point, deciding it if need be; it is given a class's number."""
        self.asked += 1
        known = self._known()
        if isinstance(known, AskCrashPoint) and known.depth == depth:
            self.masks[depth] = mask = known.parts[self.branch(known, len(known.parts))]
            return classify((mask & -mask).bit_length() - 1)
        by_answer: dict[Hashable, int] = {}
        for at in bits(self.masks[depth]):
            answer = classify(at)
            by_answer[answer] = by_answer.get(answer, 0) | 1 << at
        if len(by_answer) == 1:
            return next(iter(by_answer))
        picked = self.branch(AskCrashPoint(depth, tuple(by_answer.values())), len(by_answer))
        self.masks[depth] = list(by_answer.values())[picked]
        return list(by_answer)[picked]

    def ask_digest(self, members: dict[Key, frozenset[int]]) -> bool:
        """Whether all of these variables, all of layer 0, have one of the values that match; decides it if need be."""
        mask = self.masks[0]
        legal = {key: self.legal(key) for key in members}
        if any(members[key].isdisjoint(found) for key, found in legal.items()):
            return False
        open_members = {key: matching for key, matching in members.items() if not matching.issuperset(legal[key])}
        if not open_members:
            return True
        for group in {
            id(self._grouped[key]): self._grouped[key] for key in open_members if key in self._grouped
        }.values():
            if self._implied(group, open_members, legal):
                return False
        assert not any(key in self._grouped for key in open_members), (
            "overlapping groups must be asked about one by one"
        )
        masks = {key: self.layers[0].alternatives[key[1]].legal_classes for key in open_members}
        matched, unmatched = mask, 0
        for key, matching in open_members.items():
            matched &= reduce(or_, (masks[key][at] for at in legal[key] if at in matching), 0)
            unmatched |= reduce(or_, (masks[key][at] for at in legal[key] if at not in matching), 0)
        unmatched &= mask
        if not matched:
            return False
        question = AskDigest(tuple((key, tuple(sorted(matching))) for key, matching in open_members.items()))
        if self.branch(question, 2) == 0:
            self.masks[0] = matched
            for key, matching in open_members.items():
                self.domains[key] = tuple(at for at in legal[key] if at in matching)
            return True
        self.masks[0] = unmatched
        for key in open_members:
            self.domains[key] = tuple(legal[key])
        group = Group(open_members)
        self.groups.append(group)
        self._grouped.update(dict.fromkeys(open_members, group))
        return False

    def overlapping(self, members: dict[Key, frozenset[int]]) -> list[Key]:
        """The members that are in a group already, unless that group answers the question."""
        legal = {key: self.legal(key) for key in members}
        if any(members[key].isdisjoint(found) for key, found in legal.items()):
            return []
        groups = {id(self._grouped[key]): self._grouped[key] for key in members if key in self._grouped}
        if any(self._implied(group, members, legal) for group in groups.values()):
            return []
        return [key for key in members if key in self._grouped and not members[key].issuperset(legal[key])]

    def _implied(self, group: Group, members: dict[Key, frozenset[int]], legal: dict[Key, Sequence[int]]) -> bool:
        """Whether "not all match" of a group says the same of ``members``: to match these is to match those."""
        for key, matching in group.matching.items():
            found = legal.get(key)
            if found is None:
                found = self.legal(key)
                if not matching.issuperset(found):
                    return False
            elif not matching.issuperset(at for at in found if at in members.get(key, frozenset(found))):
                return False
        return True
