"""A machine in memory whose process can be killed and whose power can be cut.

It behaves as Linux does over the seam. ``trace`` records what its files and names went through,
not the questions that only look (stat, resolve, user). A power cut leaves what the rules of
:mod:`untorn.crashmodel.rules` allow, and nothing else.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from untorn.crashmodel.disk_image import PAGE, Image, Inode
from untorn.crashmodel.file import SimulatedFile
from untorn.crashmodel.machine import PATH_MAX, Disk, Options, Place, failure
from untorn.crashmodel.rules import History
from untorn.crashmodel.trace import Operation, Trace
from untorn.crashmodel.variables import Choose, newest
from untorn.storage.interface import Directory, FileStat, Storage, StorageFile


class SimulatedStorage(Storage):
    """One process on a simulated machine. Options as fields of :class:`Options`, by keyword."""

    opened: type[SimulatedFile] = SimulatedFile
    """What an open file is."""

    def __init__(self, disk: Disk | None = None, process: int = 1, **options: Any) -> None:
        self.process = process
        self._disk = Disk(Image(), Options(**options)) if disk is None else disk
        self._history: History | None = None

    @property
    def disk(self) -> Disk:
        """The machine itself."""
        return self._disk

    @property
    def trace(self) -> Trace:
        """Everything since the machine was started or settled."""
        return self._disk.trace

    def acknowledge(self, value: object) -> None:
        """Records that the program told the world ``value``."""
        self.trace.acknowledge(value)

    # The seam

    def _begin(self, name: str, path: str, inode: int, *arguments: Any) -> Operation:
        return self._disk.trace.begin(name, path, inode, *arguments)

    def _check(self, path: str) -> None:
        if self._disk.dead:
            raise failure(errno.EIO, path)

    def open(self, path: str, flags: int, mode: int = 0o666) -> SimulatedFile:
        self._check(path)
        disk = self._disk
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            return self._nameless(path, flags, mode)
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        place = disk.walk(path, follow=not flags & os.O_NOFOLLOW and not exclusive)
        inode = place.inode
        created = inode is None
        if inode is None:
            if not flags & os.O_CREAT:
                raise failure(errno.ENOENT, path)
            disk.check_writable(place.parent, path)
            inode = disk.new_inode(stat.S_IFREG | mode & 0o777)
        elif exclusive:
            raise failure(errno.EEXIST, path)
        elif inode.is_link:
            raise failure(errno.ELOOP, path)
        elif inode.is_directory and flags & (os.O_ACCMODE | os.O_CREAT):
            raise failure(errno.EISDIR, path)
        elif flags & os.O_DIRECTORY and not inode.is_directory:
            raise failure(errno.ENOTDIR, path)
        operation = self._begin("open", place.path, inode.number, flags, mode, created)
        if created:
            disk.bind(place.key, inode)
        disk.serial += 1
        disk.handles[disk.serial] = (self.process, inode)
        disk.trace.end(operation, disk.stat(inode))
        file = self.opened(disk, disk.serial, inode, path, place.path, flags)
        if flags & os.O_TRUNC and not created and flags & os.O_ACCMODE:
            file.truncate(0)
        return file

    def _nameless(self, path: str, flags: int, mode: int) -> SimulatedFile:
        """open(2) with O_TMPFILE: a file without a name, which only ``link_open`` can give it one."""
        disk, (directory, parent) = self._disk, self._directory(path)
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise failure(errno.EINVAL, path)
        disk.check_writable(parent, path)
        inode = disk.new_inode(stat.S_IFREG | mode & 0o777)
        operation = self._begin("tmpfile", directory, inode.number, flags, mode)
        disk.live.inodes[inode.number] = inode
        if not flags & os.O_EXCL:
            disk.nameless.add(inode.number)
        disk.serial += 1
        disk.handles[disk.serial] = (self.process, inode)
        disk.trace.end(operation, disk.stat(inode))
        place = os.path.join(directory, f"#{inode.number}")  # as /proc tells it
        return self.opened(disk, disk.serial, inode, place, place, flags & ~os.O_TMPFILE)

    def link_open(self, file: StorageFile, target: str) -> None:
        """linkat(2) of an open file (AT_EMPTY_PATH, or through /proc/self/fd): ENOENT once its last name is gone."""
        assert isinstance(file, SimulatedFile)
        goal = self._new(target)
        inode = file.inode
        if inode.is_directory:
            raise failure(errno.EPERM, target)
        if inode.number not in self._disk.nameless and not self._disk.links(inode):
            raise failure(errno.ENOENT, target)
        operation = self._begin("link", file.path, inode.number, goal.path)
        self._disk.bind(goal.key, inode)
        self._disk.nameless.discard(inode.number)
        self._disk.trace.end(operation)

    def stat(self, path: str) -> FileStat:
        self._check(path)
        return self._disk.stat(self._disk.existing(path, follow=False)[1])

    def resolve(self, path: str) -> str:
        self._check(path)
        return self._disk.walk(path, follow=True).path

    def unlink(self, path: str) -> None:
        self._check(path)
        place, inode = self._disk.existing(path, follow=False)
        self._disk.check_writable(place.parent, path)
        if inode.is_directory:
            raise failure(errno.EISDIR, path)
        operation = self._begin("unlink", place.path, inode.number)
        self._disk.unbind(place.key)
        self._disk.forget(inode)
        self._disk.trace.end(operation)

    def rename(self, source: str, target: str) -> None:
        self._check(source)
        disk = self._disk
        place, inode = disk.existing(source, follow=False)
        goal = disk.walk(target, follow=False)
        for directory in (place.parent, goal.parent):
            disk.check_writable(directory, source)
        last = {path.rstrip("/").rpartition("/")[2] for path in (source, target)}
        refusal = errno.EBUSY if last & {"", ".", ".."} else _state_error(disk, place, inode, goal)
        if refusal:
            raise failure(refusal, source)
        operation = self._begin("rename", place.path, inode.number, goal.path)
        if goal.inode is not inode:
            disk.unbind(place.key)
            disk.bind(goal.key, inode)
            if goal.inode is not None:
                disk.forget(goal.inode)
        disk.trace.end(operation)

    def sync_directory(self, path: str) -> None:
        self._disk.trace.end(self._begin("sync_directory", *self._directory(path)))

    def fail_sync_directory(self, path: str, code: int) -> None:
        """A directory sync that fails with errno ``code``."""
        self._disk.trace.end(self._begin("sync_directory", *self._directory(path)), error=code)
        raise failure(code, path)

    def _directory(self, path: str) -> tuple[str, int]:
        """The path of a directory without symbolic links, and its inode."""
        self._check(path)
        place, inode = self._disk.existing(path, follow=True)
        if not inode.is_directory:
            raise failure(errno.ENOTDIR, path)
        return place.path, inode.number

    def directory(self, path: str) -> Directory:
        return _HeldDirectory(self, path)

    # Names that only a simulated machine makes: programs run on it, not only our library

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        """mkdir(2): a directory, whose name is durable after sync_directory of its parent."""
        self._make("mkdir", path, stat.S_IFDIR | mode & 0o1777, mode)

    def symlink(self, target: str, path: str) -> None:
        """symlink(2): durable as any other name, with its target."""
        if not target:
            raise failure(errno.ENOENT, path)
        if len(os.fsencode(target)) >= PATH_MAX:
            raise failure(errno.ENAMETOOLONG, path)
        self._make("symlink", path, stat.S_IFLNK | 0o777, target).target = target

    def _make(self, name: str, path: str, mode: int, argument: int | str) -> Inode:
        place = self._new(path)
        inode = self._disk.new_inode(mode)
        operation = self._begin(name, place.path, inode.number, argument)
        self._disk.bind(place.key, inode)
        self._disk.trace.end(operation, self._disk.stat(inode))
        return inode

    def _new(self, path: str) -> Place:
        """Where a name is to be that is not there yet."""
        self._check(path)
        place = self._disk.walk(path, follow=False)
        if place.inode is not None:
            raise failure(errno.EEXIST, path)
        self._disk.check_writable(place.parent, path)
        return place

    def link(self, source: str, target: str) -> None:
        """link(2): another name for a file, or for a symbolic link itself."""
        self._check(source)
        place, inode = self._disk.existing(source, follow=False)
        goal = self._new(target)
        if inode.is_directory:
            raise failure(errno.EPERM, source)
        operation = self._begin("link", place.path, inode.number, goal.path)
        self._disk.bind(goal.key, inode)
        self._disk.trace.end(operation)

    def rmdir(self, path: str) -> None:
        """rmdir(2): removes an empty directory; durable after sync_directory of its parent."""
        self._check(path)
        place, inode = self._disk.existing(path, follow=False)
        if place.path == "/":
            raise failure(errno.EBUSY, path)
        self._disk.check_writable(place.parent, path)
        if not inode.is_directory:
            raise failure(errno.ENOTDIR, path)
        if self._disk.names(inode.number):
            raise failure(errno.ENOTEMPTY, path)
        operation = self._begin("rmdir", place.path, inode.number)
        self._disk.unbind(place.key)
        self._disk.forget(inode)
        self._disk.trace.end(operation)

    def set_times(self, path: str, mtime_ns: int) -> None:
        """utimensat(2) of the name itself, with the time of modification; that of access is not kept."""
        self._check(path)
        place, inode = self._disk.existing(path, follow=False)
        operation = self._begin("set_times", place.path, inode.number, mtime_ns)
        inode.mtime_ns = mtime_ns
        self._disk.trace.end(operation, mtime_ns=mtime_ns)

    def readlink(self, path: str) -> str:
        """Where a symbolic link leads; EINVAL for anything else."""
        self._check(path)
        inode = self._disk.existing(path, follow=False)[1]
        if not inode.is_link:
            raise failure(errno.EINVAL, path)
        return inode.target

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted or, on a machine that lists so, backwards."""
        return self._disk.listed(self._directory(path)[1])

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted: for those who look at the machine and are no program on it."""
        return self._disk.names(self._directory(path)[1])

    def random_bytes(self, length: int) -> bytes:
        self._check("")
        return self._disk.random_bytes(length)

    def user(self) -> int:
        return self._disk.options.uid

    # Setting the scene and looking at it

    def make_directory(self, path: str, *, writable: bool = True) -> None:
        """A directory, durable at once; in one that is not writable names cannot change (EACCES)."""
        place = self._new(path)
        self._disk.settled_inode(place.key, stat.S_IFDIR | (0o755 if writable else 0o555))
        self.set_writable(path, writable)

    def set_writable(self, path: str, writable: bool) -> None:
        """Whether names in a directory may change."""
        change = self._disk.unwritable.discard if writable else self._disk.unwritable.add
        change(self._directory(path)[1])

    def write_file(self, path: str, data: bytes, attributes: dict[str, bytes] | None = None) -> None:
        """Gives a file this content and these attributes, durable at once.

        Before the first operation it becomes part of the disk that the trace starts from;
        later it is an edit by another program, in the trace like any other.
        """
        fresh = not self.trace.operations
        file = self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        file.write([data], 0)
        for name, value in (attributes or {}).items():
            file.setxattr(name, value)
        file.fsync()
        file.close()
        self.sync_directory(os.path.dirname(path) or "/")
        if fresh:
            self.settle()

    def settle(self) -> None:
        """Makes all that is cached durable and begins a new trace there."""
        self._disk.trace = Trace(self._disk.live.copy(), sites=self._disk.options.sites)

    def read_file(self, path: str) -> bytes:
        """The whole content as the cache has it."""
        inode = self._disk.existing(path, follow=True)[1]
        return inode.content.read(0, inode.content.size)

    def attributes(self, path: str) -> dict[str, bytes]:
        """The extended attributes as the cache has them."""
        return self._disk.existing(path, follow=True)[1].attributes.copy()

    def free_bytes(self) -> int:
        """Bytes that can still be allocated."""
        return self._disk.free_blocks() * PAGE

    # Crashes

    def another_process(self, process: int) -> SimulatedStorage:
        """The same machine as another process sees it: its locks are its own."""
        return SimulatedStorage(self._disk, process)

    def kill_process(self) -> None:
        """The process dies: its files close and its locks go; the cache stays, and is not durable.

        The storage goes on as the next process with the same number.
        """
        for handle, (process, _) in list(self._disk.handles.items()):
            if process == self.process:
                self._disk.release(handle)

    def power_cut(self, choose: Choose = newest, at: int | None = None) -> SimulatedStorage:
        """The machine after a power failure: one legal disk, all of it durable, nothing open.

        ``choose`` picks the index of each undetermined value. Without ``at`` the power fails now,
        and this machine is dead but for further cuts. With ``at`` it only tells what a cut just
        after that event would have left, and runs on; rising ``at`` are cheapest.
        """
        if at is None:
            self._disk.dead = True
        image = self.history(self.trace.now if at is None else at).image(choose)
        disk = Disk(image, self._disk.options, self._disk.generation + 1)
        disk.unwritable = self._disk.unwritable.copy()
        disk.time_ns = max(disk.time_ns, self._disk.time_ns)
        disk.inodes = max(disk.inodes, self._disk.inodes)
        return SimulatedStorage(disk, self.process)

    def history(self, at: int) -> History:
        """The rules applied to the trace up to event ``at``."""
        history = self._history
        if history is None or history.trace is not self.trace or history.now > at:
            options = self._disk.options
            history = self._history = History(
                self.trace,
                profile=options.profile,
                sector=options.sector,
                block=options.block,
                powersafe=options.powersafe,
            )
        history.advance(at)
        return history


class _HeldDirectory(Directory):
    """A directory that stays the same wherever it is renamed to; ENOENT once it is removed."""

    def __init__(self, storage: SimulatedStorage, path: str) -> None:
        super().__init__(storage, path)
        self._disk = storage.disk
        self._number = storage._directory(path)[1]

    def _place(self) -> str:
        return self._disk.path_of(self._number)


def _state_error(disk: Disk, place: Place, inode: Inode, goal: Place) -> int:
    """The errno with which Linux refuses to rename something there, in the order in which it asks; 0 if it does not."""
    if inode.is_directory and inode.number in disk.above(goal.parent):
        return errno.EINVAL
    if goal.inode is None or goal.inode is inode:
        return 0
    if not goal.inode.is_directory:
        return errno.ENOTDIR if inode.is_directory else 0
    if goal.inode.number in disk.above(place.parent):
        return errno.ENOTEMPTY
    if not inode.is_directory:
        return errno.EISDIR
    return errno.ENOTEMPTY if disk.names(goal.inode.number) else 0
