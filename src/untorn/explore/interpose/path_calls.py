"""The functions of ``os`` that take a path, for explored ones."""

from __future__ import annotations

import errno
import os
import stat as st
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from untorn.crashmodel.file import SimulatedFile
from untorn.explore.interpose.descriptors import Description
from untorn.explore.interpose.directory_entries import BLOCK, Scan, StatResult
from untorn.explore.interpose.errors import UnseenAccessError
from untorn.explore.interpose.explored_paths import Places
from untorn.explore.interpose.fd_calls import FileCalls, failure

_NANO: Final = 1_000_000_000
_NAME_MAX: Final = 255


class NameCalls(FileCalls):
    """Each method is the function of its name, with the same arguments."""

    places: Places
    umask: int

    # Paths

    def at(self, path: Any, dir_fd: int | None = None) -> str:
        """The explored path; EXDEV if it is real, for then the other one is explored."""
        if isinstance(path, int):
            return self.descriptors[path].place
        place = self.places.find(path, dir_fd)
        if place is None:
            raise failure(errno.EXDEV)
        if place.endswith(("/", "/.")):
            self._check_directory(place)
        return place

    def _check_directory(self, place: str) -> None:
        """A path with a slash at its end names a directory, or nothing yet."""
        try:
            found = self.storage.stat(self.storage.resolve(place))
        except FileNotFoundError:
            return
        if not st.S_ISDIR(found.mode):
            raise failure(errno.ENOTDIR)

    def _followed(self, path: Any, dir_fd: int | None = None, *, follow: bool = True) -> str:
        place = self.at(path, dir_fd)
        return self.storage.resolve(place) if follow else place

    @contextmanager
    def _file(self, path: Any, flags: int = os.O_RDONLY, dir_fd: int | None = None) -> Iterator[SimulatedFile]:
        """The file that a descriptor stands for, or that a path names, opened for one call."""
        if isinstance(path, int):
            yield self.descriptors[path].file
            return
        file = self.storage.open(self._followed(path, dir_fd), flags)
        try:
            yield file
        finally:
            file.close()

    # Opening

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = self.at(path, dir_fd)
        if flags & os.O_DIRECT:
            raise failure(errno.EINVAL)
        if flags & os.O_PATH:
            raise UnseenAccessError(f"os.open({place!r}): the explorer has no O_PATH")
        file = self.storage.open(place, flags, mode & ~self.umask)
        return self.descriptors.add(Description(file, place, flags, file.stat().inode))

    # Looking

    def stat(self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> StatResult:
        if isinstance(path, int):
            return self.fstat(path)
        return StatResult(self.storage.stat(self._followed(path, dir_fd, follow=follow_symlinks)))

    def lstat(self, path: Any, *, dir_fd: int | None = None) -> StatResult:
        return self.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def access(
        self, path: Any, mode: int, *,
        dir_fd: int | None = None, effective_ids: bool = False, follow_symlinks: bool = True,
    ) -> bool:  # fmt: skip
        """By the owner's permission bits: the program owns all that it explores."""
        try:
            found = self.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        except OSError:
            return False
        return mode == os.F_OK or not mode & ~(found.st_mode >> 6)

    def listdir(self, path: Any = None) -> list[Any]:
        names = self.storage.listdir(self.at(path))
        return [os.fsencode(name) for name in names] if isinstance(_fspath(path), bytes) else list(names)

    def scandir(self, path: Any = None) -> Scan:
        return Scan(self.storage, self.at(path), _fspath(path))

    def readlink(self, path: Any, *, dir_fd: int | None = None) -> Any:
        target = self.places.shown(self.storage.readlink(self.at(path, dir_fd)))
        return os.fsencode(target) if isinstance(_fspath(path), bytes) else target

    def statvfs(self, path: Any) -> os.statvfs_result:
        self.at(path)
        free = min(self.storage.free_bytes(), 1 << 40) // BLOCK
        return os.statvfs_result((BLOCK, BLOCK, 1 << 28, free, free, 1 << 20, 1 << 20, 1 << 20, 4096, _NAME_MAX))

    fstatvfs = statvfs

    def pathconf(self, path: Any, name: Any) -> int:
        self.at(path)
        return os.pathconf("/", name)

    fpathconf = pathconf

    # Names

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self.storage.mkdir(self.at(path, dir_fd), mode & ~self.umask)

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self.storage.rmdir(self.at(path, dir_fd))

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self.storage.unlink(self.at(path, dir_fd))

    remove = unlink

    def rename(self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        self.storage.rename(self.at(src, src_dir_fd), self.at(dst, dst_dir_fd))

    replace = rename

    def link(
        self, src: Any, dst: Any, *,
        src_dir_fd: int | None = None, dst_dir_fd: int | None = None, follow_symlinks: bool = True,
    ) -> None:  # fmt: skip
        number = os.fsdecode(src).removeprefix("/proc/self/fd/")
        if src_dir_fd is not None and follow_symlinks and number.isdecimal() and int(number) in self.descriptors:
            # Only so does os.link follow: it calls linkat with AT_SYMLINK_FOLLOW.
            self.storage.link_open(self.descriptors[int(number)].file, self.at(dst, dst_dir_fd))
            return
        self.storage.link(self.at(src, src_dir_fd), self.at(dst, dst_dir_fd))

    def symlink(self, src: Any, dst: Any, target_is_directory: bool = False, *, dir_fd: int | None = None) -> None:
        target, place = os.fsdecode(src), self.at(dst, dir_fd)
        stored = self.places.stored(target, place)
        if stored is None:
            raise UnseenAccessError(f"os.symlink({target!r}, {place!r}): it leads out of the explored directory")
        self.storage.symlink(stored, place)

    # Attributes

    def truncate(self, path: Any, length: int) -> None:
        with self._file(path, os.O_WRONLY) as file:
            file.truncate(length)

    def chmod(self, path: Any, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        if not isinstance(path, int) and not follow_symlinks and st.S_ISLNK(self.lstat(path, dir_fd=dir_fd).st_mode):
            raise failure(errno.EOPNOTSUPP)
        with self._file(path, dir_fd=dir_fd) as file:
            found = file.stat()
            file.set_owner(mode, found.uid, found.gid)

    def fchmod(self, fd: int, mode: int) -> None:
        self.chmod(fd, mode)

    def chown(self, path: Any, uid: int, gid: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        """Only to what it is, or to who runs this: the explored program is no root, and owns all that it explores."""
        found = self.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        if uid not in (-1, found.st_uid, os.geteuid()) or gid not in (-1, found.st_gid, os.getegid()):
            raise failure(errno.EPERM)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        self.chown(fd, uid, gid)

    def lchown(self, path: Any, uid: int, gid: int) -> None:
        self.chown(path, uid, gid, follow_symlinks=False)

    def utime(
        self, path: Any, times: tuple[float, float] | None = None, *,
        ns: tuple[int, int] | None = None, dir_fd: int | None = None, follow_symlinks: bool = True,
    ) -> None:  # fmt: skip
        """Sets the modification time; the time of last access is not kept."""
        if times is not None and ns is not None:
            raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
        if ns is not None:
            mtime_ns = ns[1]
        elif times is not None:
            mtime_ns = times[1] * _NANO if isinstance(times[1], int) else int(times[1] * _NANO)
        else:
            mtime_ns = self.storage.disk.tick()
        if isinstance(path, int):
            with self._file(path) as file:
                file.set_times(mtime_ns)
        else:
            self.storage.set_times(self._followed(path, dir_fd, follow=follow_symlinks), mtime_ns)

    def getxattr(self, path: Any, attribute: Any, *, follow_symlinks: bool = True) -> bytes:
        with self._file(path) as file:
            value = file.getxattr(os.fsdecode(attribute))
        if value is None:
            raise failure(errno.ENODATA)
        return value

    def setxattr(self, path: Any, attribute: Any, value: Any, flags: int = 0, *, follow_symlinks: bool = True) -> None:
        with self._file(path) as file:
            if flags and (file.getxattr(os.fsdecode(attribute)) is None) != (flags == os.XATTR_CREATE):
                raise failure(errno.EEXIST if flags == os.XATTR_CREATE else errno.ENODATA)
            file.setxattr(os.fsdecode(attribute), bytes(value))

    def removexattr(self, path: Any, attribute: Any, *, follow_symlinks: bool = True) -> None:
        with self._file(path) as file:
            file.removexattr(os.fsdecode(attribute))

    def listxattr(self, path: Any = None, *, follow_symlinks: bool = True) -> list[str]:
        if isinstance(path, int):
            with self._file(path) as file:
                return file.attributes()
        if not follow_symlinks and st.S_ISLNK(self.lstat(path).st_mode):
            return []
        return sorted(self.storage.attributes(self._followed(path)))


def _fspath(path: Any) -> Any:
    return path if isinstance(path, int) else os.fspath(path)
