"""All states of a crash, one by one, each as a machine on which recovery really runs.

What a lazy search finds must be just what comes out here. The states are put together from the legal sets of the
certificate's own rules, value by value; nothing here is lazy, and no mask, class or question of the search is used.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from untorn.crashmodel.disk_image import Content, Image, Inode, Name
from untorn.crashmodel.machine import Disk
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Trace
from untorn.crashmodel.variables import Variable, members
from untorn.crashmodel.variables import number as number_of
from untorn.explore.certificate.checker import Certificate, check
from untorn.explore.certificate.initial_disk import ImageStart
from untorn.explore.certificate.rules import Sweep
from untorn.explore.certificate.versions import Span
from untorn.explore.lazy.layers import rules
from untorn.explore.search.engine import Search, all_executions, nested_searches, recording_of, search_of
from untorn.explore.search_record import SearchRecord
from untorn.storage.interface import FileStat

See = Callable[[Hashable], None]


@dataclass
class Case:
    """A recorded machine, what recovers it, and what is looked at afterwards."""

    machine: SimulatedStorage
    recovery: Callable[[SimulatedStorage, See], None]
    """Tells by its second argument what it has seen."""
    look: Callable[[SimulatedStorage], Hashable]
    name: str = "case"
    seen: list[Hashable] = field(default_factory=list)
    outcome: Hashable = None

    def record(self) -> SimulatedStorage:
        return self.machine

    def recover(self, storage: SimulatedStorage) -> None:
        self.seen, self.outcome = [], None
        try:
            self.recovery(storage, self.seen.append)
        except OSError as error:
            self.seen.append(("failed", error.errno))

    def check(self, storage: SimulatedStorage, acknowledged: Any) -> None:
        self.outcome = (tuple(self.seen), self.look(storage), tuple(acknowledged()))


class Listing(Disk):
    """Knows whether anybody was told of two names or more, so that their order mattered."""

    told = False

    def listed(self, directory: int) -> list[str]:
        names = super().listed(directory)
        Listing.told |= len(names) > 1
        return names


class TooManyError(Exception):
    """More states than the test has time for."""


# One by one


def brutally(case: Case, *, depth: int = 0, limit: int = 5000) -> set[Hashable]:
    """What comes out of every state: of a crash, and of up to ``depth`` crashes in recovery after it."""
    machine, options = case.machine, case.machine.disk.options
    result: set[Hashable] = set()
    left = itertools.count(limit, -1)
    start = machine.trace
    numbers = max([*start.image.inodes, *(o.inode for o in start.operations)], default=0)
    seen: set[Hashable] = set()
    Listing.told = False

    def one(image: Image, told: Sequence[Any], crashes: int, *, backwards: bool) -> None:
        key = (_frozen(image), tuple(told), crashes, backwards)
        if key in seen:
            return
        seen.add(key)
        if not next(left):
            raise TooManyError
        disk = Listing(image, options, crashes)
        disk.backwards = backwards
        disk.time_ns, disk.inodes = machine.disk.time_ns, max(numbers, *image.inodes)
        storage = SimulatedStorage(disk)
        case.recover(storage)
        trace = Trace(storage.trace.image)
        trace.operations, trace.now = list(storage.trace.operations), storage.trace.now
        storage.kill_process()
        case.check(storage, lambda: told)
        result.add(case.outcome)
        if crashes <= depth:
            for _, inner in disks(trace, **rules(options)):
                one(inner, told, crashes + 1, backwards=backwards)

    acknowledgements = [o for o in start.operations if o.name == "acknowledge"]
    for time, image in disks(start, **rules(options)):
        so_far = [o.arguments[0] for o in acknowledgements if (o.completed or 1 << 62) <= time]
        one(image, so_far, 1, backwards=False)
        if Listing.told:
            one(image, so_far, 1, backwards=True)
    return result


def _frozen(image: Image) -> Hashable:
    inodes = []
    for number in sorted({image.root, *image.names.values()}):
        inode = image.inodes[number]
        content = inode.content.read(0, inode.content.size)
        attributes = tuple(sorted(inode.attributes.items()))
        inodes.append((number, content, inode.mode, inode.gid, inode.mtime_ns, attributes))
    return tuple(inodes), tuple(sorted(image.names.items()))


def disks(trace: Trace, *, profile: str, sector: int, powersafe: bool, block: int = 0) -> Iterator[tuple[int, Image]]:
    """Every crash point of a trace with every disk that it may leave; the same disk may come more than once."""
    start = ImageStart(trace.image, sector)
    sweep = Sweep(trace.operations, start, trace.now, profile=profile, sector=sector, block=block, powersafe=powersafe)
    spans = sweep.spans()
    births = {number: _newborn(number, found, trace) for number, found in sweep.births.items()}
    told = {o.completed for o in trace.operations if o.name == "acknowledge"}
    before: dict[Variable, list[Any]] | None = None
    for time in range(trace.now + 1):
        legal = {variable: _legal(values, time) for variable, values in spans.items()}
        if legal != before or time in told:
            before = legal
            for image in _images(trace.image, births, legal, sector):
                yield time, image


def _newborn(number: int, found: FileStat, trace: Trace) -> Inode:
    inode = Inode(number, found.mode, found.uid, found.gid, found.mtime_ns, found.birth_ns)
    inode.target = next((o.arguments[0] for o in trace.operations if (o.name, o.inode) == ("symlink", number)), "")
    return inode


def _legal(spans: Sequence[Span], time: int) -> list[Any]:
    return list(dict.fromkeys(span.value for span in spans if span.since <= time < span.until))


def _images(start: Image, births: dict[int, Inode], legal: dict[Variable, list[Any]], sector: int) -> Iterator[Image]:
    choices = [v for v in legal if v.kind in ("name", "names")]
    for row in itertools.product(*(legal[variable] for variable in choices)):
        names: dict[Name, int | None] = dict(start.names)
        for variable, value in zip(choices, row, strict=True):
            for member, one in zip(members(variable), value if variable.kind == "names" else (value,), strict=True):
                names[member.inode, str(member.key)] = one
        present = _reachable(start.root, {name: number for name, number in names.items() if number is not None})
        numbers = sorted({start.root, *present.values()})
        for inodes in itertools.product(*(_inodes(number, start, births, legal, sector) for number in numbers)):
            yield Image({inode.number: inode.copy() for inode in inodes}, dict(present), start.root)


def _reachable(directory: int, names: dict[Name, int]) -> dict[Name, int]:
    """The names in a directory and in those below."""
    result = {name: number for name, number in names.items() if name[0] == directory}
    for number in list(result.values()):
        result |= _reachable(number, names)
    return result


def _inodes(
    number: int, start: Image, births: dict[int, Inode], legal: dict[Variable, list[Any]], sector: int
) -> list[Inode]:
    base = births.get(number) or start.inodes[number]
    own = {v: values for v, values in legal.items() if v.inode == number and v.kind != "name"}
    plain = [v for v in own if v.kind not in ("sector", "sectors", "size")]
    result = []
    for content in _contents(base.content, own, sector):
        for row in itertools.product(*(own[variable] for variable in plain)):
            inode = base.copy()
            inode.content = Content(content)
            for variable, value in zip(plain, row, strict=True):
                if variable.kind == "xattr":
                    inode.attributes.pop(str(variable.key), None)
                    if value is not None:
                        inode.attributes[str(variable.key)] = value
                else:
                    setattr(inode, "mtime_ns" if variable.kind == "mtime" else variable.kind, value)
            result.append(inode)
    return result


def _contents(base: Content, own: dict[Variable, list[Any]], sector: int) -> set[bytes]:
    cells = sorted((v for v in own if v.kind in ("sector", "sectors")), key=lambda v: v.level)
    sizes = next((values for v, values in own.items() if v.kind == "size"), [base.size])
    result = set()
    for size in sizes:
        last = -(-size // sector)
        seen = [v for v in cells if (v.key[0] if isinstance(v.key, tuple) else number_of(v.key)) < last]
        for row in itertools.product(*(own[cell] for cell in seen)):
            parts = {at: base.sector(at, sector) for at in range(last)}
            for cell, value in zip(seen, row, strict=True):  # from the lowest to the highest
                keys, values = (cell.key, value) if isinstance(cell.key, tuple) else ((cell.key,), (value,))
                parts.update((at, said) for at, said in zip(keys, values, strict=True) if said is not None)
            result.add(b"".join(parts[at] for at in range(last))[:size])
    return result


# Lazily


def lazily(case: Case, *, depth: int = 0) -> tuple[set[Hashable], SearchRecord]:
    """What comes out of every run of the lazy search, and the search."""
    result: set[Hashable] = set()

    def explore(search: Search, left: int) -> SearchRecord:
        done = SearchRecord(search.shared.layers[-1])
        for execution in all_executions(search, nested=left > 0):
            if execution.outcome.problem is not None:
                raise AssertionError(execution.outcome.problem)
            result.add(case.outcome)
            done.executions.append(execution)
            for crash, inner in zip(execution.recovery_crashes, nested_searches(search, execution), strict=True):
                done.nested_searches[crash.choices] = explore(inner, left - 1)
        return done

    return result, explore(search_of(case, recording_of(case.machine)), depth)


def certified(case: Case, search: SearchRecord, *, depth: int = 0) -> Certificate:
    return check(search, case.machine.trace, rules=rules(case.machine.disk.options), depth=depth)


def compare(case: Case, *, depth: int = 0, limit: int = 5000) -> Certificate:
    """Both ways give the same, and the search gets its certificate."""
    slow = brutally(case, depth=depth, limit=limit)
    quick, search = lazily(case, depth=depth)
    assert not quick - slow, f"the search came to what no crash leaves: {sorted(map(repr, quick - slow))[:2]}"
    assert not slow - quick, f"the search did not come to what a crash leaves: {sorted(map(repr, slow - quick))[:2]}"
    return certified(case, search, depth=depth)
