"""The one table of what a power failure may leave.

Everything durable is a set of independent **variables**; each has **versions** in the order in
which they were issued. After a crash at T a variable holds any version issued by T such that no
later one is durable by T.

=======================  ==========================================================================
Variable                 Versions, and what makes them durable
=======================  ==========================================================================
sector (inode, index)    512 bytes, the unit that a device writes whole (NVMe AWUPF >= 0; SQLite's
                         atomic512). A write adds one version, the cached content, to each sector
                         it touches: any subset of them may survive, from issue on.
size (inode)             Each write that moves the end, truncate, and allocate without keep_size.
                         Independent of the data: a size without its data reads zeros.
xattr (inode, name),     Each change; only fsync makes them durable (fdatasync(2): "does not flush
mtime, mode, gid         modified metadata unless needed to retrieve the data").
name (directory, name)   Each create, mkdir, symlink, link, unlink, rmdir and rename; only
                         sync_directory makes them durable (fsync(2): "does not ensure that the
                         entry in the directory ... has also reached disk"). Each name is
                         independent of all others but in a rename. It belongs to its directory's
                         inode, not to a path, so it is where the directory is, and only if that
                         is: one that was synced goes with a directory whose name was not.
=======================  ==========================================================================

=======================  ==========================================================================
Operation                Rule
=======================  ==========================================================================
fdatasync                Its return makes durable the data and size whose operations had returned
                         before it was issued (device flush: Documentation/block/
                         writeback_cache_control.rst); what is in flight meanwhile is not covered.
fsync                    The same, and attributes, times and owner. Never the name.
pwritev, at the end      The size it gives, and before that each multiple of a sector that it passes: the size
                         on disk follows what is written out, block by block (XFS: xfs_setfilesize at the
                         end of each I/O; ext4: i_disksize in mpage_map_and_submit_extent), and a block may
                         have 512 bytes (mkfs.xfs(8)); where a machine is said to have larger ones, each
                         multiple of its block. The block that held the end before is one of them;
                         what lies between it and a write farther on is not. A write with RWF_ATOMIC, a
                         truncate and an allocate pass nothing: one request, or one change of metadata.
pwritev, RWF_DSYNC       Its return makes durable its own sectors, and the size if that is needed
                         to read them (pwritev2(2)); nothing that was written before.
pwritev, RWF_SYNC        The same, and attributes, times and owner as fsync.
pwritev, RWF_ATOMIC      All of its sectors survive or none (pwritev2(2), and block/ of Linux: one
                         request, never split); no durability, no order, nothing of the size. Its
                         sectors are one joint variable, "sectors", whose values are tuples. A later
                         write over a part covers it by a rule of its own: half of an atomic write is
                         never seen beside something older, but it may be beside something later.
                         The later write's versions lie in a level above. One that came back short
                         was a plain write.
truncate                 A size, and zeros for each sector or part that it cuts: until both are
                         durable the cut data may return, even where the file grows again.
allocate                 Zeros where nothing was, so only the size is a variable. Reserved blocks
                         survive only from the next sync on.
link                     A name like any other, also the first one of a file that was opened without
                         (O_TMPFILE); before that a crash leaves nothing of it.
rename                   The new name is old or new, never absent because of the rename; the old
                         name goes only if the new one came (rename(2)). Its data may come later.
                         The old name's removal is durable after sync_directory of both
                         directories. Both names may stand. Names that renames connect are
                         therefore one joint variable, "names", whose values are tuples.
rename of a directory    The same, but it is never in two places (path_resolution(7): one parent; no
                         hard links to directories): the old name goes if and only if the new one
                         came, and so all of it is durable after sync_directory of the new directory.
                         What lies in it moves with it. Nor is it ever in itself: one that moves into
                         what once lay in it comes only if all moves of the directories above its new
                         place came (Linux renames across directories one at a time, s_vfs_rename_mutex).
                         Other renames of directories are independent, as those of files are.
a sync that fails        What was not durable when it returned stays old-or-new for ever (Rebello
                         et al., ATC 2020; wiki.postgresql.org/wiki/Fsync_Errors: pages are marked
                         clean, the cache keeps the new data). A later sync that succeeds promises
                         nothing about it, until it is written again: a sector by a write that
                         touches it, the size by truncate or by a write that reaches the end.
=======================  ==========================================================================

Two options say what the device is. ``sector``: 512 or 4096 bytes survive whole. ``powersafe``: false
for a device without powersafe overwrite (SQLite's SQLITE_IOCAP_POWERSAFE_OVERWRITE), where a sector
in a write that is not durable may also hold garbage, and so may the one that a truncate cuts
through; not in a write with RWF_ATOMIC.

The rules above are the profile ``strict``: what POSIX and the device promise, not what one file
system happens to do. Our own library must hold under it. The profile ``linux`` is to rank what is
found in others' programs. It allows what ext4, XFS or btrfs allow with their default options, so
what it excludes none of the three does. It differs in this:

=======================  ==========================================================================
Rule of ``linux``        What it says, and why
=======================  ==========================================================================
metadata order           Names, xattrs, mode, gid, sizes by truncate and allocate, and the blocks
                         that a truncate frees survive as a prefix of the order of issue (a journal
                         or a transaction; "strictly ordered metadata consistency", J. Mohan, Linux
                         crash recovery guarantees, linux-fsdevel 2019). So a rename is old or new,
                         never both, and data that were cut do not return behind a later change.
                         All that is open in it is one joint variable, "metadata".
fsync, new file          Its names are durable too, and new directories above it (btrfs: log tree;
                         ext4: J. Kara, lwn.net/Articles/799807; XFS: log force). A file is new
                         until its first name is durable. What had the name before and was renamed
                         has its new name then, too (btrfs: log_conflicting_inodes, "fix file loss
                         caused by fsync after rename and new inode").
fsync, nothing else      Nothing that was issued before comes along: ext4 and XFS write all of their
                         journal, but btrfs only what its log tree has of that file. A directory is
                         synced as in ``strict``, for the same reason.
size by a write          Not in the order, nor is mtime: they are written with the data, later
                         (delayed allocation; XFS: at I/O completion). So a rename may come before
                         size and data of what it renames: ext4 flushes these only where the target
                         exists (auto_da_alloc, Documentation/admin-guide/ext4.rst), XFS never.
                         On its way the end passes multiples of 4096, the block of all three.
sectors                  As in ``strict``, also the rest of a block that a truncate cuts through.
=======================  ==========================================================================

Neither profile knows sizes that are no multiple of a block but those that a program gave: that the copying of a write
into the cache is interrupted within a page by a fault of the program's memory, and the power fails in just that moment.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable
from typing import Final

from untorn.crashmodel.cached_names import Tree
from untorn.crashmodel.disk_image import PAGE, Content, Inode, Name
from untorn.crashmodel.history import Ledger, Names, Owner
from untorn.crashmodel.profiles import LINUX, STRICT
from untorn.crashmodel.trace import Operation, Trace
from untorn.crashmodel.variables import (
    NEVER,
    Tie,
    Value,
    Variable,
    Version,
    number,
)
from untorn.sizes import SECTOR, round_up
from untorn.storage.interface import RWF_ATOMIC, RWF_DSYNC, RWF_SYNC, FileStat

DATA: Final = frozenset({"sector", "size"})
META: Final = frozenset({"xattr", "mtime", "mode", "gid"})


class History(Ledger):
    """The rules applied to a trace, event by event, in one forward sweep.

    ``advance`` moves the crash point; ``undetermined`` and ``image`` answer for it, at a cost of
    what is open there, not of what ever was written. ``table`` gives all that was swept over as
    intervals of crash points. A trace that grows can be advanced over further.
    """

    def __init__(
        self, trace: Trace, *, profile: str = STRICT, sector: int = SECTOR, block: int = 0, powersafe: bool = True
    ) -> None:
        super().__init__(trace.image, sector=sector, powersafe=powersafe)
        self.trace = trace
        self.in_order = profile == LINUX
        """Whether names and metadata survive as a prefix of one order."""
        self._block = block or (PAGE if self.in_order else sector)
        self.keeps_new_names = profile == LINUX
        """Whether fsync of a new file makes its names durable too."""
        self._births: dict[int, tuple[Variable, Version]] = {}
        """By inode that the trace made: its first name."""
        self._next = 0
        self._running: list[tuple[int, int, Operation]] = []
        """Operations that were issued and not completed, by the event that completes them."""
        self._cached = {number: inode.content.copy() for number, inode in trace.image.inodes.items()}
        self._tree = Tree(trace.image)
        self._blocks: dict[int, list[tuple[int, int | None, list[int]]]] = {}
        """By inode: (completed, truncated to this size, pages reserved), not yet synced."""

    # The sweep

    def advance(self, time: int) -> None:
        """Moves the crash point forward to just after event ``time``."""
        assert time >= self.now
        self.now = time
        operations, running = self.trace.operations, self._running
        while True:
            issued = operations[self._next].issued if self._next < len(operations) else NEVER
            completed = running[0][0] if running else NEVER
            if min(issued, completed) > time:
                return
            if completed < issued:
                self._complete(heapq.heappop(running)[2])
                continue
            operation = operations[self._next]
            self._next += 1
            self._issue(operation)
            if operation.completed is not None:
                heapq.heappush(running, (operation.completed, self._next, operation))

    def _issue(self, operation: Operation) -> None:
        """The versions that an operation adds; one that failed changed nothing."""
        if operation.error is None:
            apply = _EFFECTS.get(operation.name)
            if apply is not None:
                apply(self, operation)
                if operation.mtime_ns is not None:
                    self._add(operation, Variable("mtime", operation.inode), operation.mtime_ns)

    def _complete(self, operation: Operation) -> None:
        """What the return of an operation makes durable, or breaks."""
        if operation.name == "sync_directory":
            owner: Owner = Names(operation.inode)
        elif operation.name in ("fdatasync", "fsync"):
            owner = operation.inode
        else:
            if operation.name == "pwritev" and operation.arguments[2] & (RWF_DSYNC | RWF_SYNC):
                self._synced_write(operation)
            return
        if operation.error is not None:
            for variable, low in self._open.get(owner, {}).items():
                for version in self._chains[variable][low + 1 :]:
                    version.broken = not version.whole
        elif isinstance(owner, Names):
            self._synced_names(operation, owner)
        else:
            kinds = DATA if operation.name == "fdatasync" else DATA | META
            self._settle(owner, kinds, operation, lambda version: version.completed < operation.issued)
            self._settle_blocks(operation)
            if self.keeps_new_names and operation.name == "fsync":
                self._synced_new_names(operation, owner)
                self._settle_names(operation)

    def _synced_write(self, operation: Operation) -> None:
        """RWF_DSYNC and RWF_SYNC: a write that is durable when it returns."""
        if operation.error is not None:
            return
        offset, _, flags = operation.arguments
        end = offset + operation.result

        def own(version: Version) -> bool:
            return version.issued == operation.issued

        def returned(version: Version) -> bool:
            return version.completed < operation.issued or own(version)

        self._settle(operation.inode, frozenset({"sector"}), operation, own)
        size = Variable("size", operation.inode)
        low = self._open.get(operation.inode, {}).get(size)
        needed = low is not None and any(number(v.value) < end for v in self._chains[size][low:])
        if needed:
            self._settle(operation.inode, frozenset({"size"}), operation, returned)
        if flags & RWF_SYNC:
            self._settle(operation.inode, META | {"size"}, operation, returned)

    def _synced_names(self, operation: Operation, names: Names) -> None:
        for variable, low in self._open.get(names, {}).items():
            for version in self._chains[variable][low + 1 :]:
                if version.completed < operation.issued and not version.broken:
                    version.synced = True
        self._settle_names(operation)

    def _synced_new_names(self, operation: Operation, inode: int) -> None:
        """What fsync of a file that is new says of its names, and of those of new directories above it."""
        variable, birth = self._births.get(inode, (None, None))
        if variable is None or birth is None or self._low(variable) >= birth.ordinal:
            return
        parents = set()
        for owner, group in self._open.items():
            for name, low in group.items() if isinstance(owner, Names) else ():
                for version in self._chains[name][low + 1 :]:
                    own = version if version.twin is None else version.twin
                    if own.value == inode and version.completed < operation.issued and not version.broken:
                        version.synced = True
                        self._moved_away(self._chains[name][low + 1 : version.ordinal])
                        parents.add(name.inode)
        for parent in parents - {inode}:
            self._synced_new_names(operation, parent)

    def _moved_away(self, versions: Iterable[Version]) -> None:
        """A name that comes to another file takes along the renames that took it from the ones before."""
        for version in versions:
            if version.twin is not None:
                version.synced = version.twin.synced = True

    def _settle_names(self, operation: Operation) -> None:
        def durable(version: Version) -> bool:
            return (version.synced or version.whole) and (version.twin is None or version.twin.synced)

        ended = True
        while ended:  # that a name is durable may make the one durable that was renamed to it
            ended = False
            for owner in [owner for owner in self._open if isinstance(owner, Names)]:
                ended |= self._settle(owner, frozenset({"name"}), operation, durable)

    def _settle_blocks(self, operation: Operation) -> None:
        waiting = self._blocks.pop(operation.inode, [])
        for entry in waiting:
            completed, truncated, pages = entry
            if completed >= operation.issued:
                self._blocks.setdefault(operation.inode, []).append(entry)
            elif truncated is None:
                self._inodes[operation.inode].content.reserve(pages)
            else:
                self._inodes[operation.inode].content.release(truncated)

    # What operations add

    def _add_sectors(
        self, operation: Operation, indices: Iterable[int], *, torn: Container[int], freed: int | None = None
    ) -> None:
        """Cached content of sectors; ``torn`` may be garbage without ``powersafe``, ``freed`` is where blocks go."""
        content = self._cached[operation.inode]
        for index in indices:
            variable = Variable("sector", operation.inode, index)
            ordered = self.in_order and freed is not None and index * self.sector >= freed
            self._add(operation, variable, content.sector(index, self.sector), torn=index in torn, ordered=ordered)

    def _add_size(self, operation: Operation) -> None:
        """A size already in the cache is a version of its own only where the last one is broken."""
        variable = Variable("size", operation.inode)
        size = self._cached[operation.inode].size
        chain = self._chains.get(variable)
        newest = chain[-1].value if chain else self._determined(variable)
        if size != newest or (chain and chain[-1].broken):
            self._add(operation, variable, size, ordered=self.in_order and operation.name != "pwritev")

    def _opened(self, operation: Operation) -> None:
        if operation.arguments[2]:
            self._made(operation)

    def _made(self, operation: Operation) -> None:
        if self._made_nameless(operation):
            self._first_name(operation, operation.path)

    def _first_name(self, operation: Operation, path: str) -> None:
        name = self._tree.place(path)
        version = self._name(operation, name, operation.inode)
        self._births.setdefault(operation.inode, (Variable("name", *name), version))

    def _made_nameless(self, operation: Operation) -> bool:
        """Whether it came as far as that there is an inode."""
        found = operation.result
        if isinstance(found, FileStat):
            self._inodes[operation.inode] = inode = Inode(
                operation.inode, found.mode, found.uid, found.gid, found.mtime_ns, found.birth_ns
            )
            if operation.name == "symlink":
                (inode.target,) = operation.arguments
            self._cached[operation.inode] = Content()
        return isinstance(found, FileStat)

    def _written(self, operation: Operation) -> None:
        offset, data, flags = operation.arguments
        length = len(data) if operation.completed is None else operation.result
        if not length:
            return
        content = self._cached[operation.inode]
        old, end = content.size, offset + length
        content.write(offset, data[:length])
        indices = range(offset // self.sector, (offset + length - 1) // self.sector + 1)
        if flags & RWF_ATOMIC and length == len(data):
            values = [content.sector(index, self.sector) for index in indices]
            self._add_together(operation, operation.inode, indices, values)
        else:
            self._add_sectors(operation, indices, torn=indices)
            for size in self._sizes_between(old, offset, end):
                self._add(operation, Variable("size", operation.inode), size)
        if end >= old:
            self._add_size(operation)

    def _sizes_between(self, old: int, offset: int, end: int) -> Iterable[int]:
        """Where the end of a file may be when a write that moves it from ``old`` to ``end`` is only in part on disk."""
        unit = self._block
        if old < round_up(old, unit) <= offset:  # the block that held the end is written up to its own
            yield round_up(old, unit)
        yield from range(round_up(max(old, offset) + 1, unit), end, unit)

    def _truncated(self, operation: Operation) -> None:
        (size,) = operation.arguments
        content = self._cached[operation.inode]
        truncated = set(content.sectors(size, content.size, self.sector) if size < content.size else [])
        # Where an earlier truncate left a hole in the cache, the disk may still hold what was there.
        first, last = size // self.sector, -(-content.size // self.sector)
        waiting = (number(v.key) for v in self._open.get(operation.inode, ()) if v.kind == "sector")
        truncated.update(index for index in waiting if first <= index < last)
        partly = {first} if size % self.sector and size < content.size else set()
        content.truncate(size)
        self._add_sectors(operation, sorted(truncated), torn=partly, freed=round_up(size, PAGE))
        self._add_size(operation)
        self._blocks.setdefault(operation.inode, []).append((operation.completed or NEVER, size, []))

    def _allocated(self, operation: Operation) -> None:
        offset, length, keep_size = operation.arguments
        content = self._cached[operation.inode]
        pages = content.missing(offset, offset + length)
        content.reserve(pages)
        if not keep_size and offset + length > content.size:
            content.truncate(offset + length)
            self._add_size(operation)
        self._blocks.setdefault(operation.inode, []).append((operation.completed or NEVER, None, pages))

    def _attribute_set(self, operation: Operation) -> None:
        name, *value = operation.arguments
        self._change(operation, Variable("xattr", operation.inode, name), value[0] if value else None)

    def _owner_set(self, operation: Operation) -> None:
        mode, gid = operation.arguments
        kind = self._inodes[operation.inode].mode & ~0o7777
        self._change(operation, Variable("mode", operation.inode), kind | mode & 0o7777)
        self._change(operation, Variable("gid", operation.inode), gid)

    def _change(self, operation: Operation, variable: Variable, value: Value, twin: Version | None = None) -> Version:
        """A version of what the metadata order brings, if there is one."""
        return self._add(operation, variable, value, twin, ordered=self.in_order)

    def _unlinked(self, operation: Operation) -> None:
        self._name(operation, self._tree.place(operation.path), None)

    def _linked(self, operation: Operation) -> None:
        if operation.inode in self.trace.image.inodes:
            self._name(operation, self._tree.place(operation.arguments[0]), operation.inode)
        else:
            self._first_name(operation, operation.arguments[0])

    def _renamed(self, operation: Operation) -> None:
        source, target = self._tree.place(operation.path), self._tree.place(operation.arguments[0])
        if source == target or self._tree.bound.get(target) == operation.inode:
            return
        added = self._name(operation, target, operation.inode)
        removed = self._name(operation, source, None, twin=added)
        removed.whole = self._inodes[operation.inode].is_directory
        if self.in_order:  # there both come at one place of the order
            return
        old, new = Variable("name", *source), Variable("name", *target)
        self._ties.append(Tie(old, removed, new, added))
        if removed.whole:
            self._ties.append(Tie(new, added, old, removed))
            if source[0] != target[0]:
                needed = self._tree.move(operation.inode, source, operation.arguments[0], (new, added))
                self._ties += [Tie(new, added, *move) for move in needed]

    def _name(self, operation: Operation, name: Name, inode: int | None, twin: Version | None = None) -> Version:
        self._tree.bind(name, inode)
        return self._change(operation, Variable("name", *name), inode, twin)

    def _times_set(self, operation: Operation) -> None:
        """Only the time, which is added for every operation that moves it."""


_EFFECTS: Final[dict[str, Callable[[History, Operation], object]]] = {
    "open": History._opened,
    "pwritev": History._written,
    "truncate": History._truncated,
    "allocate": History._allocated,
    "setxattr": History._attribute_set,
    "removexattr": History._attribute_set,
    "set_owner": History._owner_set,
    "tmpfile": History._made_nameless,
    "mkdir": History._made,
    "symlink": History._made,
    "link": History._linked,
    "set_times": History._times_set,
    "unlink": History._unlinked,
    "rmdir": History._unlinked,
    "rename": History._renamed,
}
