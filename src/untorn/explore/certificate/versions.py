"""Versions of variables and their witnesses, and what is legal at each crash point; for the certificate's own rules.

Versions that come each by itself need no more than their witnesses. An atomic write brings versions of several sectors
or of none, so these lie in **levels** of their own between plain ones: a crash leaves of each sector what its highest
level says, and one that says nothing has None. A level says something for sure once a version in it has its witness;
once one above has, in every sector, it need not be asked any more and has None again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from untorn.crashmodel.variables import NEVER, Variable


class Span(NamedTuple):
    """A value and the crash points [since, until) at which it is legal."""

    value: Any
    since: int
    until: int


@dataclass(slots=True, eq=False)
class Version:
    """One value that a variable was given."""

    value: Any
    issued: int
    completed: int
    witness: int = NEVER
    """The first event that proves it durable."""
    broken: bool = False
    """A sync of it failed, or it is garbage: nothing makes it durable."""
    gone: bool = False
    """Of a name: its own directory was synced, or a later version of the name is durable."""
    twin: Version | None = None
    """Of a name that a rename took: the version of the new name."""
    place: int = 0
    """Its index in the chain."""


class _Bond(NamedTuple):
    """A row with this version of one name, or a later one, must have that of the other, or a later one."""

    holder: Variable
    held: Version
    partner: Variable
    owed: Version


class _Level(NamedTuple):
    """Versions of one sector from index ``first`` on, up to the next level; those of ``variable`` come together."""

    variable: Variable
    first: int


class Chains:
    """Every variable's versions in the order of issue."""

    def __init__(self) -> None:
        self._chains: dict[Variable, list[Version]] = {}
        self._bonds: list[_Bond] = []
        self._levels: dict[Variable, list[_Level]] = {}
        self._serial = 0

    def get(self, variable: Variable) -> list[Version]:
        return self._chains.get(variable, [])

    def begin(self, variable: Variable, base: Any) -> None:
        """A chain, with what the variable had at the start."""
        self._chains[variable] = [Version(base, 0, 0, 0)]

    def append(self, variable: Variable, version: Version) -> None:
        chain = self._chains[variable]
        version.place = len(chain)
        chain.append(version)

    def bind(self, holder: Variable, held: Version, partner: Variable, owed: Version) -> None:
        """No crash leaves ``held`` of one name, or what came after it, without ``owed`` of the other."""
        self._bonds.append(_Bond(holder, held, partner, owed))

    # Levels

    def plain(self, variable: Variable) -> None:
        """The next version of this sector comes by itself."""
        levels = self._levels.get(variable)
        if levels and levels[-1].variable.kind == "sectors":
            self._serial += 1
            levels.append(_Level(variable._replace(level=self._serial), len(self._chains[variable])))

    def together(self, variables: Sequence[Variable]) -> None:
        """The next version of each of these sectors comes with those of the others."""
        indices = tuple(variable.key for variable in variables)
        tops = {self._levels.get(variable, [_Level(variable, 0)])[-1].variable for variable in variables}
        top = next(iter(tops))
        if len(tops) == 1 and top.kind == "sectors" and top.key == indices:
            return
        self._serial += 1
        joint = Variable("sectors", variables[0].inode, indices, self._serial)
        for variable in variables:
            self._levels.setdefault(variable, [_Level(variable, 0)]).append(_Level(joint, len(self._chains[variable])))

    # What is legal

    def spans(self) -> dict[Variable, list[Span]]:
        """By variable: its values with their crash points, oldest first; the first is what it had at the start."""
        result: dict[Variable, list[Span]] = {}
        named: set[Variable] = set()
        for members in self._connected():
            named.update(members)
            result[Variable("names", 0, tuple(members))] = self._rows(members)
        for variable, chain in self._chains.items():
            if variable not in named and variable not in self._levels:
                result[variable] = [Span(v.value, low, high) for v, low, high in windows(chain)]
        together: dict[Variable, tuple[list[list[Version]], list[int]]] = {}
        for variable in sorted(self._levels):  # by index, as in the keys of what comes together
            for level, part, rest in self._parts(variable):
                if level.variable.kind == "sectors":
                    parts, above = together.setdefault(level.variable, ([], []))
                    parts.append(part)
                    above.append(_proved(rest))
                else:
                    said = _said([part], [_proved(rest)], lowest=not level.first)
                    result[level.variable] = [Span(value, since, until) for (value,), since, until in said]
        for variable, (parts, above) in together.items():
            result[variable] = list(_said(parts, above))
        return result

    def _parts(self, variable: Variable) -> Iterator[tuple[_Level, list[Version], list[Version]]]:
        """The levels of a sector, each with its own versions and those above."""
        chain, levels = self._chains[variable], self._levels[variable]
        for level, upper in zip(levels, [*levels[1:], None], strict=True):
            end = len(chain) if upper is None else upper.first
            yield level, chain[level.first : end], chain[end:]

    # Names that renames connect

    def _connected(self) -> list[list[Variable]]:
        group: dict[Variable, set[Variable]] = {}
        for source, _, target, _ in self._bonds:
            union = group.get(source, {source}) | group.get(target, {target})
            group.update(dict.fromkeys(union, union))
        return [sorted(union) for variable, union in group.items() if variable == min(union)]

    def _rows(self, members: Sequence[Variable]) -> list[Span]:
        """All rows of versions that are legal at one time and that break no bond."""
        rows: list[tuple[list[Version], int, int]] = [([], 0, NEVER)]
        at = {variable: index for index, variable in enumerate(members)}
        owed: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for bond in self._bonds:
            if bond.holder in at:
                owed.setdefault((at[bond.holder], at[bond.partner]), []).append((bond.held.place, bond.owed.place))
        for index, variable in enumerate(members):
            found = windows(self._chains[variable])
            rules = {pair: places for pair, places in owed.items() if max(pair) == index}
            rows = [
                (longer, since, until)
                for row, low, high in rows
                for longer, since, until in _longer(row, low, high, found)
                if _whole(longer, rules)
            ]
        return [Span(tuple(version.value for version in row), low, high) for row, low, high in rows]


def windows(chain: Sequence[Version]) -> list[tuple[Version, int, int]]:
    """The versions of a chain that ever are legal, each with its crash points."""
    result = []
    until = NEVER
    for version in reversed(chain):
        if version.issued < until:
            result.append((version, version.issued, until))
        until = min(until, version.witness)
    result.reverse()
    return result


def _longer(
    row: list[Version], low: int, high: int, found: Sequence[tuple[Version, int, int]]
) -> Iterator[tuple[list[Version], int, int]]:
    """A row with each version that is legal while the row is; ``found`` is in order of both its bounds."""
    for at in range(bisect_right(found, low, key=itemgetter(2)), len(found)):
        version, since, until = found[at]
        if since >= high:
            return
        yield [*row, version], max(low, since), min(high, until)


def _whole(row: Sequence[Version], owed: Mapping[tuple[int, int], Sequence[tuple[int, int]]]) -> bool:
    """Whether a row breaks no bond; of several of two names the last that counts asks for the most."""
    for (holder, partner), places in owed.items():
        count = bisect_right(places, row[holder].place, key=itemgetter(0))
        if count and row[partner].place < places[count - 1][1]:
            return False
    return True


def _proved(versions: Sequence[Version]) -> int:
    """When the first of them was proved durable."""
    return min((version.witness for version in versions), default=NEVER)


def _said(parts: Sequence[list[Version]], above: Sequence[int], *, lowest: bool = False) -> Iterator[Span]:
    """The values of a level, of the sectors that it is about; ``above``: when each of them is covered for sure.

    The lowest one always says something, all others nothing at first and when all their sectors are covered.
    """
    covered = max(above)
    rows = list(zip(*parts, strict=True))
    witnesses = [min(version.witness for version in row) for row in rows]
    nothing = (None,) * len(parts)
    if not lowest:
        yield Span(nothing, 0, min(covered, *witnesses))
    for at, row in enumerate(rows):
        until = min([covered, *witnesses[at + 1 :]])
        if row[0].issued < until:
            yield Span(tuple(version.value for version in row), row[0].issued, until)
    if covered < NEVER:
        yield Span(tuple(version.value for version in rows[-1]) if lowest else nothing, covered, NEVER)
