"""What ``os.stat`` and ``os.scandir`` give of explored files.

Nothing is looked up before the program looks at it: each look may be a branch of the search.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final

from untorn.crashmodel.storage import SimulatedStorage
from untorn.storage.interface import FileStat

BLOCK: Final = 4096
"""st_blksize, as on ext4 and XFS; until Python 3.13 also the size of a buffer."""

_FIELDS: Final = ("mode", "ino", "dev", "nlink", "uid", "gid", "size", "atime", "mtime", "ctime")
_SECOND_NS: Final = 1_000_000_000


class StatResult:
    """As ``os.stat_result``, field by field when it is looked at. The times are all the modification time."""

    def __init__(self, found: FileStat) -> None:
        self._found = found

    @property
    def __class__(self) -> type[Any]:  # for isinstance
        return os.stat_result

    @__class__.setter
    def __class__(self, value: type[Any]) -> None:
        raise TypeError("__class__ of a stat result")

    @property
    def st_mode(self) -> int:
        return self._found.mode

    @property
    def st_ino(self) -> int:
        return self._found.inode

    @property
    def st_dev(self) -> int:
        return self._found.device

    @property
    def st_nlink(self) -> int:
        return self._found.links

    @property
    def st_uid(self) -> int:
        return self._found.uid

    @property
    def st_gid(self) -> int:
        return self._found.gid

    @property
    def st_size(self) -> int:
        return BLOCK if stat.S_ISDIR(self._found.mode) else self._found.size

    @property
    def st_mtime_ns(self) -> int:
        return self._found.mtime_ns

    @property
    def st_mtime(self) -> float:
        return self._found.mtime_ns / _SECOND_NS

    st_atime_ns = st_ctime_ns = st_mtime_ns
    st_atime = st_ctime = st_mtime

    @property
    def st_blksize(self) -> int:
        return BLOCK

    @property
    def st_blocks(self) -> int:
        return -(-self.st_size // BLOCK) * (BLOCK // 512)

    @property
    def st_rdev(self) -> int:
        return 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        name = _FIELDS[index]
        value = getattr(self, f"st_{name}")
        return int(value) if name.endswith("time") else value

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(_FIELDS)))

    def __len__(self) -> int:
        return len(_FIELDS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, os.stat_result) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"os.stat_result({', '.join(f'st_{name}={self[at]}' for at, name in enumerate(_FIELDS))})"


class Entry:
    """As ``os.DirEntry``."""

    def __init__(self, storage: SimulatedStorage, place: str, path: Any, name: Any) -> None:
        self.name = name
        self.path = path
        self._storage = storage
        self._place = place
        self._found: dict[bool, FileStat] = {}

    @property
    def __class__(self) -> type[Any]:  # for isinstance
        return os.DirEntry

    @__class__.setter
    def __class__(self, value: type[Any]) -> None:
        raise TypeError("__class__ of a directory entry")

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def _look(self, *, follow: bool) -> FileStat:
        if follow not in self._found:
            place = self._place
            found = self._storage.stat(place)
            if follow and stat.S_ISLNK(found.mode):
                found = self._storage.stat(self._storage.resolve(place))
            self._found[follow] = found
        return self._found[follow]

    def _is(self, kind: Callable[[int], bool], *, follow: bool) -> bool:
        try:
            return kind(self._look(follow=follow).mode)
        except FileNotFoundError:
            return False

    def stat(self, *, follow_symlinks: bool = True) -> StatResult:
        try:
            return StatResult(self._look(follow=follow_symlinks))
        except OSError as error:
            error.filename = self.path
            raise

    def inode(self) -> int:
        return self._look(follow=False).inode

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._is(stat.S_ISDIR, follow=follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._is(stat.S_ISREG, follow=follow_symlinks)

    def is_symlink(self) -> bool:
        return self._is(stat.S_ISLNK, follow=False)

    def is_junction(self) -> bool:
        return False


class Scan:
    """As the iterator of ``os.scandir``: what is in the directory now."""

    def __init__(self, storage: SimulatedStorage, place: str, path: Any) -> None:
        self._storage = storage
        self._place = place
        self._path = path
        self._names = iter(storage.listdir(place))

    def __iter__(self) -> Scan:
        return self

    def __next__(self) -> Entry:
        name: Any = next(self._names)
        place = posixpath.join(self._place, name)
        if isinstance(self._path, bytes):
            name = os.fsencode(name)
        path = name if isinstance(self._path, int) else posixpath.join(self._path, name)
        return Entry(self._storage, place, path, name)

    def close(self) -> None:
        self._names = iter(())

    def __enter__(self) -> Scan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
