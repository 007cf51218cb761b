"""Every rule of the table matters: a trace where it decides, and a mutant of the rule that decides otherwise.

A mutant that is too weak allows what no disk may hold and would report a bug that nobody has; one that is too
strong would miss a real one. Pictures as in tests/support/disk_pictures.py; content is followed by what is set of
``user.a``, if anything, as ``=x``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import pytest

from tests.support.disk_pictures import (
    SECTOR,
    Work,
    create,
    cut,
    d,
    failed,
    pictures,
    rename,
    steps,
    sync,
    sync_d,
    unlink,
    w,
)
from untorn.crashmodel import rules
from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.history import Issued, Names
from untorn.crashmodel.profiles import LINUX
from untorn.crashmodel.rules import History
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.trace import Operation, Trace
from untorn.crashmodel.variables import Value, Variable, Version, put
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC

Make = Callable[[Trace], History]
NAME = frozenset({"name"})


class Rule(NamedTuple):
    """A trace, what it may leave and what it may not, and what a mutant makes of that."""

    row: str
    """Of the tables in the docstring of persistence."""
    says: str
    work: Work
    legal: str
    illegal: str
    """Pictures, separated by commas."""
    mutant: Make
    make: Make = History
    names: Sequence[str] = ("f",)
    content: str = "AAA"


# Mutants of History


class WritesWhole(History):
    """A write as one: all of its sectors or none."""

    def _add_sectors(self, operation: Operation, indices: Iterable[int], **rest: object) -> None:
        content = self._cached[operation.inode]
        indices = list(indices)
        self._add_together(operation, operation.inode, indices, [content.sector(index) for index in indices])


class Settled(History):
    """What is of ``kind`` is durable at once."""

    kind = ""

    def _add(self, operation: Issued, variable: Variable, value: Value, *rest: object, **more: object) -> Version:
        if variable.kind == self.kind:
            put(self._inodes[variable.inode], variable, value)
            return Version(value, operation.issued, operation.issued)
        return super()._add(operation, variable, value, *rest, **more)  # type: ignore[arg-type]


class SizesSettled(Settled):
    kind = "size"


class PassesNothing(History):
    """A write moves the end at one blow."""

    def _sizes_between(self, old: int, offset: int, end: int) -> Iterable[int]:
        return ()


class PassesGaps(History):
    """Between the old end and the data the size may be anywhere."""

    def _sizes_between(self, old: int, offset: int, end: int) -> Iterable[int]:
        return super()._sizes_between(old, old, end)


class SectorsSettled(Settled):
    kind = "sector"


class NeverDurable(History):
    def _complete(self, operation: Operation) -> None:
        """No sync says anything."""


class InFlightToo(History):
    """A sync covers what had been issued, whether or not it had returned."""

    def _settle(self, owner: object, kinds: frozenset[str], operation: Issued, durable: object) -> bool:
        return super()._settle(owner, kinds, operation, lambda version: version.issued < operation.issued)  # type: ignore[arg-type]


class DataOnly(History):
    """fsync is fdatasync, and RWF_SYNC is RWF_DSYNC."""

    def _settle(self, owner: object, kinds: frozenset[str], *rest: object) -> bool:
        return super()._settle(owner, kinds & rules.DATA, *rest)  # type: ignore[arg-type]


class FdatasyncIsFsync(History):
    def _settle(self, owner: object, kinds: frozenset[str], *rest: object) -> bool:
        kinds = kinds | rules.META if kinds & rules.DATA else kinds
        return super()._settle(owner, kinds, *rest)  # type: ignore[arg-type]


class DsyncCoversAll(History):
    """RWF_DSYNC as a write and an fdatasync."""

    def _synced_write(self, operation: Operation) -> None:
        self._settle(operation.inode, rules.DATA, operation, lambda version: True)


class AtomicIsPlain(History):
    def _add_together(self, operation: Issued, inode: int, indices: Sequence[int], values: Iterable[bytes]) -> None:
        for index, value in zip(indices, values, strict=True):
            self._add(operation, Variable("sector", inode, index), value)


class AtomicAboveAtomicOnly(History):
    """A plain write over an atomic one comes only with it."""

    def _add(self, operation: Issued, variable: Variable, value: Value, *rest: object, **more: object) -> Version:
        levels = self._levels.get(variable, [])
        joint = levels[-1].joint if levels else None
        if joint is None:
            return super()._add(operation, variable, value, *rest, **more)  # type: ignore[arg-type]
        key = joint.variable.key
        assert isinstance(key, tuple)
        content = self._cached[variable.inode]
        self._add_together(operation, variable.inode, key, [content.sector(index) for index in key])
        return self._chains[variable][-1]


class AtomicSync(History):
    """An atomic write is durable when it returns."""

    def _complete(self, operation: Operation) -> None:
        super()._complete(operation)
        if operation.name == "pwritev" and operation.arguments[2] & RWF_ATOMIC:
            self._synced_write(operation)


class RenamesApart(History):
    """The two names of a rename know nothing of each other."""

    def _issue(self, operation: Operation) -> None:
        super()._issue(operation)
        self._ties.clear()


class OneDirectory(History):
    """A rename's old name is gone for good with its own directory's sync."""

    def _synced_names(self, operation: Operation, names: Names) -> None:
        for variable in self._open.get(names, {}):
            for version in self._chains[variable]:
                version.twin = None
        super()._synced_names(operation, names)


class RenameBringsData(History):
    """A rename flushes what it renames, as ext4 does over a target that exists."""

    def _issue(self, operation: Operation) -> None:
        if operation.name == "rename":
            self._settle(operation.inode, rules.DATA, operation, lambda version: True)
        super()._issue(operation)


class BringsItself(History):
    """A directory's sync makes its own name durable, too."""

    def _synced_names(self, operation: Operation, names: Names) -> None:
        super()._synced_names(operation, names)
        for owner in [owner for owner in self._open if isinstance(owner, Names)]:
            self._settle(owner, NAME, operation, lambda version: version.value == names.directory)


class InTwoPlaces(History):
    """A directory may stand under its old name and its new one, as a file may."""

    def _issue(self, operation: Operation) -> None:
        known = len(self._ties)
        super()._issue(operation)
        del self._ties[known + 1 :]


class MovesAtOnce(History):
    """A directory's rename is durable when it returns."""

    def _complete(self, operation: Operation) -> None:
        super()._complete(operation)
        if operation.name == "rename" and self._inodes[operation.inode].is_directory:
            for owner in [owner for owner in self._open if isinstance(owner, Names)]:
                self._settle(owner, NAME, operation, lambda version: version.issued == operation.issued)


class IntoItself(History):
    """Where a directory comes to lie says nothing of the moves above it."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self._tree.move = lambda *_: []  # type: ignore[method-assign]


class FailureForgotten(History):
    """A sync that failed may be tried again."""

    def _complete(self, operation: Operation) -> None:
        if operation.error is None:
            super()._complete(operation)


class FailureForEver(History):
    """What a failed sync put in doubt stays so when it is written again."""

    def _append(self, operation: Issued, variable: Variable, *rest: object) -> Version:
        doubt = self._chain(variable)[-1].broken
        version = super()._append(operation, variable, *rest)  # type: ignore[arg-type]
        version.broken = doubt
        return version


class FileKeepsNames(History):
    """fsync of a file keeps its names, as under ``linux``."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.keeps_new_names = True


class FsyncTakesAll(History):
    """fsync of a new file makes durable all names that came before, as a journal would."""

    def _synced_new_names(self, operation: Operation, inode: int) -> None:
        for group in list(self._open.values()):
            for variable in group:
                for version in self._chains[variable]:
                    version.synced = version.completed < operation.issued


class FsyncStopsThere(History):
    """fsync of a new file leaves the new directory above it in doubt."""

    def _synced_new_names(self, operation: Operation, inode: int) -> None:
        if inode == operation.inode:
            super()._synced_new_names(operation, inode)


class LeavesBehind(History):
    """fsync of a new file says nothing of what had its name before and was renamed."""

    def _moved_away(self, versions: Iterable[Version]) -> None:
        """Nothing is said."""


class SizesInOrder(History):
    """The size by a write takes its place in the metadata order when the write is issued."""

    def _add(self, operation: Issued, variable: Variable, value: Value, *rest: object, **more: object) -> Version:
        ordered = {"ordered": True} if variable.kind == "size" else {}
        return super()._add(operation, variable, value, *rest, **{**more, **ordered})  # type: ignore[arg-type]


class WholeCutInOrder(History):
    """The rest of the block that a truncate cuts through comes with the blocks that it frees."""

    def _add_sectors(self, operation: Operation, indices: Iterable[int], **rest: object) -> None:
        freed = None if rest.get("freed") is None else 0
        super()._add_sectors(operation, indices, **{**rest, "freed": freed})  # type: ignore[arg-type]


# Traces


def mark(machine: SimulatedStorage, file: SimulatedFile) -> None:
    file.setxattr("user.a", b"x")


def fsync(machine: SimulatedStorage, file: SimulatedFile) -> None:
    file.fsync()


def late(machine: SimulatedStorage, file: SimulatedFile) -> None:
    """The sync before was issued before the write before it had returned."""
    write, flush = machine.trace.operations[-2:]
    write.completed, flush.issued = flush.issued, write.completed or 0


def move_away(machine: SimulatedStorage, file: SimulatedFile) -> None:
    machine.rename("/e/f", "/d/g")


def new_in_new(machine: SimulatedStorage, file: SimulatedFile) -> None:
    machine.mkdir("/d/s")
    create(machine, "/d/s/f", "B").fsync()


def move(machine: SimulatedStorage, file: SimulatedFile) -> None:
    machine.rename("/d", "/e/d")


MOVED = ("/d/f", "/e/d/f")


def inside_out(machine: SimulatedStorage, file: SimulatedFile) -> None:
    """A directory moves into one that lay in it."""
    machine.mkdir("/d/p")
    machine.sync_directory("/d")
    machine.rename("/d/p", "/e/p")
    machine.rename("/d", "/e/p/d")


def made(name: str, letters: str = "B", *, flushed: bool = False) -> Work:
    def work(machine: SimulatedStorage, _: SimulatedFile) -> None:
        file = create(machine, f"/d/{name}", letters)
        if flushed:
            file.fsync()

    return work


linux = partial(History, profile=LINUX)
BLOCKS = "A" * 16
K4 = 8
"""Sectors in a block of 4096 bytes."""

RULES = [
    Rule("sector (inode, index)", "each sector of a write by itself", w(0, "BB"), "BAA, ABA", "CAA", WritesWhole),
    Rule("sector (inode, index)", "as large as the device says", w(0, "B" * K4), "A" * 16 + ", " + "B" * 8 + "A" * 8,
         "B" + "A" * 15, History, partial(History, sector=4096), content=BLOCKS),
    Rule("sector (inode, index)", "garbage without powersafe", w(0, "B"), "#AA, BAA", "", History,
         partial(History, powersafe=False)),
    Rule("size (inode)", "a variable of its own", w(3, "B"), "AAA, AAA.", "AA", SizesSettled),
    Rule("xattr (inode, name), mtime, mode, gid", "durable by fsync only", steps(mark, sync), "AAA, AAA=x", "",
         FdatasyncIsFsync),
    Rule("name (directory, name)", "not durable by the file's fsync", made("g", flushed=True), "AAA -, AAA B", "",
         FileKeepsNames, names=("f", "g")),
    Rule("name (directory, name)", "durable by the directory's sync", steps(unlink, sync_d), "-", "AAA", NeverDurable),
    Rule("name (directory, name)", "gone with its directory",
         steps(new_in_new, d(lambda m: m.sync_directory("/d/s"))), "-, B", "", BringsItself, names=("s/f",)),
    Rule("fdatasync", "ends what was before", steps(w(0, "B"), sync), "BAA", "AAA", NeverDurable),
    Rule("fdatasync", "not what is in flight", steps(w(0, "B"), sync, late), "AAA, BAA", "", InFlightToo),
    Rule("fsync", "attributes too", steps(mark, fsync), "AAA=x", "AAA", DataOnly),
    Rule("pwritev, at the end", "block by block", w(3, "BBB"), "AAA, AAAB, AAABB, AAABBB", "", PassesNothing),
    Rule("pwritev, at the end", "not where it leaves a gap", w(6, "B"), "AAA, AAA...B", "AAA.", PassesGaps),
    Rule("pwritev, RWF_DSYNC", "its own sectors", w(0, "B", RWF_DSYNC), "BAA", "AAA", NeverDurable),
    Rule("pwritev, RWF_DSYNC", "nothing written before", steps(w(0, "B"), w(1, "C", RWF_DSYNC)), "ACA, BCA", "AAA",
         DsyncCoversAll),
    Rule("pwritev, RWF_SYNC", "attributes too", steps(mark, w(0, "B", RWF_SYNC)), "BAA=x", "BAA", DataOnly),
    Rule("pwritev, RWF_ATOMIC", "all or none", w(0, "BB", RWF_ATOMIC), "AAA, BBA", "BAA, ABA", AtomicIsPlain),
    Rule("pwritev, RWF_ATOMIC", "no durability", w(0, "BB", RWF_ATOMIC), "AAA", "BAA", AtomicSync),
    Rule("pwritev, RWF_ATOMIC", "later writes by their own rule", steps(w(0, "BB", RWF_ATOMIC), w(1, "C")),
         "ACA, BCA, BBA", "BAA, ABA", AtomicAboveAtomicOnly),
    Rule("truncate", "cut data may return", steps(cut(1), cut(3)), "AAA, A..", "", SectorsSettled),
    Rule("truncate", "until it is synced", steps(cut(1), cut(3), sync), "A..", "AAA", NeverDurable),
    Rule("allocate", "the size may not come", lambda m, f: f.allocate(0, 5 * SECTOR, keep_size=False), "AAA, AAA..", "",
         SizesSettled),
    Rule("link", "a name like any other", steps(d(lambda m: m.link("/d/f", "/d/g")), unlink), "- AAA, - -, AAA -", "",
         partial(History, profile=LINUX), names=("f", "g")),
    Rule("rename", "never neither", rename, "AAA -, - AAA, AAA AAA", "- -", RenamesApart, names=("f", "g")),
    Rule("rename", "may come before its data", steps(made("g", "B"), sync_d, d(lambda m: m.rename("/d/g", "/d/f"))),
         "0 -, . -, B -", "- -", RenameBringsData, names=("f", "g")),
    Rule("rename", "durable by both directories", steps(d(lambda m: create(m, "/e/f", "B").fsync()),
         d(lambda m: m.sync_directory("/e")), move_away, d(lambda m: m.sync_directory("/e"))), "- B, B B", "",
         OneDirectory, names=("/e/f", "g")),
    Rule("rename of a directory", "never in two places", move, "AAA -, - AAA", "AAA AAA, - -", InTwoPlaces,
         names=MOVED),
    Rule("rename of a directory", "not durable at once", move, "AAA -, - AAA", "", MovesAtOnce, names=MOVED),
    Rule("rename of a directory", "durable by its new directory", steps(move, d(lambda m: m.sync_directory("/e"))),
         "- AAA", "AAA -, AAA AAA, - -", NeverDurable, names=MOVED),
    Rule("rename of a directory", "not by its old one", steps(move, d(lambda m: m.sync_directory("/"))),
         "AAA -, - AAA", "", OneDirectory, names=MOVED),
    Rule("rename of a directory", "never in itself", inside_out, "AAA -, - AAA", "- -", IntoItself,
         names=("/d/f", "/e/p/d/f")),
    Rule("rename of a directory", "else in any order", steps(d(lambda m: create(m, "/e/h", "B").fsync()),
         d(lambda m: m.sync_directory("/e")), d(lambda m: m.rename("/d", "/b")), d(lambda m: m.rename("/e", "/a"))),
         "AAA - - B", "", partial(History, profile=LINUX), names=("/d/f", "/b/f", "/e/h", "/a/h")),
    Rule("a sync that fails", "never made good", steps(w(0, "B"), failed, sync), "AAA, BAA", "", FailureForgotten),
    Rule("a sync that fails", "but by writing again", steps(w(0, "B"), failed, w(0, "B"), sync), "BAA", "AAA",
         FailureForEver),
    Rule("metadata order", "names in their order", steps(made("g"), unlink), "AAA -, AAA B, - B", "- -", History, linux,
         names=("f", "g")),
    Rule("metadata order", "a rename at one place of it", rename, "AAA -, - AAA", "AAA AAA, - -", History, linux,
         names=("f", "g")),
    Rule("metadata order", "attributes and sizes in it", steps(cut(1), mark), "A, A=x", "AAA=x", History, linux),
    Rule("metadata order", "blocks that are freed", steps(cut(K4), cut(16)), "A" * 8 + "." * 8, "A" * 8 + "." * 7 + "A",
         History, linux, content=BLOCKS),
    Rule("fsync, new file", "its name too", made("g", flushed=True), "AAA B", "AAA -", History, linux,
         names=("f", "g")),
    Rule("fsync, new file", "and the new directory", new_in_new, "B", "-", FsyncStopsThere, linux, names=("s/f",)),
    Rule("fsync, new file", "and what had its name before", steps(rename, made("f", flushed=True)), "B AAA", "B -",
         partial(LeavesBehind, profile=LINUX), linux, names=("f", "g")),
    Rule("fsync, nothing else", "not the names before it", steps(made("g"), made("h", flushed=True)), "- B, B B", "",
         partial(FsyncTakesAll, profile=LINUX), linux, names=("g", "h")),
    Rule("size by a write", "not in the order", steps(made("g"), d(lambda m: m.rename("/d/g", "/d/f"))), "0 -, B -",
         "- -", partial(SizesInOrder, profile=LINUX), linux, names=("f", "g")),
    Rule("size by a write", "by whole blocks", w(0, "B" * 9), "0, " + "B" * K4 + ", " + "B" * 9, "B, BB",
         History, linux, content=""),
    Rule("sectors", "the rest of a block apart", steps(cut(1), cut(3)), "A.A", "", partial(WholeCutInOrder,
         profile=LINUX), linux),
]  # fmt: skip


def left(rule: Rule, make: Make) -> set[str]:
    return pictures(rule.work, names=rule.names, content=rule.content, make=make)


def listed(states: str) -> set[str]:
    return {state.strip() for state in states.split(",")} - {""}


@pytest.mark.parametrize("rule", RULES, ids=[f"{rule.row}: {rule.says}" for rule in RULES])
def test_a_rule_decides_and_its_mutant_decides_otherwise(rule: Rule) -> None:
    legal, illegal = listed(rule.legal), listed(rule.illegal)
    states = left(rule, rule.make)
    assert legal <= states
    assert not illegal & states
    mutant = left(rule, rule.mutant)
    assert not legal <= mutant or illegal & mutant


def test_every_row_of_the_tables_has_such_a_trace() -> None:
    assert rules.__doc__
    tables = re.findall(r"^=+  =+\n.*?\n=+  =+\n(.*?)\n=+  =+$", rules.__doc__, re.DOTALL | re.MULTILINE)
    rows: list[str] = []
    for line in "\n".join(tables).splitlines():
        cell = line[:25].strip()
        if cell and rows and rows[-1].endswith(","):
            rows[-1] += f" {cell}"
        elif cell:
            rows.append(cell)
    assert set(rows) == {rule.row for rule in RULES}
