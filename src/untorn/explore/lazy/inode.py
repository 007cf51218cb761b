"""The attributes, times and owners of files after a crash, decided when somebody looks."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from untorn.crashmodel.disk_image import Inode
from untorn.crashmodel.machine import DEVICE
from untorn.crashmodel.variables import Variable
from untorn.explore.lazy.content import LazyContent, same
from untorn.explore.lazy.crash_state import CrashState
from untorn.storage.interface import FileStat


class LazyAttributes(dict[str, bytes]):
    """Extended attributes; a name that is in the dict, even as None, was decided or set."""

    def __init__(self, crash_state: CrashState, inode: int, base: dict[str, bytes], names: Sequence[str]) -> None:
        super().__init__()
        self._crash_state, self._inode, self._base, self._names = crash_state, inode, base, names
        self._decided: dict[str, bytes | None] = {}
        self.seen: dict[str, bytes | None] = {}
        """As they were before anything was set, as far as they are decided."""

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self._decided:
            variable = Variable("xattr", self._inode, name)
            self._decided[name] = self.seen[name] = self._crash_state.ask_value(
                variable, same, lambda: self._base.get(name)
            )
        value = self._decided[name]
        return default if value is None else value

    def __getitem__(self, name: str) -> bytes:
        value: bytes | None = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return self.get(str(name)) is not None

    def __setitem__(self, name: str, value: bytes) -> None:
        self._decided[name] = value

    def __delitem__(self, name: str) -> None:
        self._decided[name] = None

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in sorted({*self._base, *self._names, *self._decided}) if name in self])

    def copy(self) -> dict[str, bytes]:
        return {name: self[name] for name in self}


class LazyInode(Inode):
    """An inode whose times and owner are decided when they are asked for."""

    def __init__(self, crash_state: CrashState, base: Inode, content: LazyContent, attributes: LazyAttributes) -> None:
        self._crash_state = crash_state
        self.base = base
        self._set: dict[str, int] = {}
        self.number, self.uid, self.birth_ns, self.target = base.number, base.uid, base.birth_ns, base.target
        self.content: LazyContent = content
        self.attributes: LazyAttributes = attributes
        self._kind = stat.S_IFMT(base.mode)

    def field(self, name: str) -> int:
        """The value of mtime_ns, mode or gid."""
        if name in self._set:
            return self._set[name]
        variable = Variable(name.removesuffix("_ns"), self.number)
        value: int = self._crash_state.ask_value(variable, same, lambda: getattr(self.base, name))
        return value

    @property
    def mtime_ns(self) -> int:
        return self.field("mtime_ns")

    @mtime_ns.setter
    def mtime_ns(self, value: int) -> None:
        self._set["mtime_ns"] = value

    @property
    def mode(self) -> int:
        return self.field("mode")

    @mode.setter
    def mode(self, value: int) -> None:
        self._set["mode"] = value

    @property
    def gid(self) -> int:
        return self.field("gid")

    @gid.setter
    def gid(self, value: int) -> None:
        self._set["gid"] = value

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self._kind)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self._kind)


class LazyStat(FileStat):
    """What an inode was when stat was called; each field is decided when it is looked at."""

    _inode: LazyInode
    _fixed: dict[str, int]
    _links: Callable[[], int]

    @classmethod
    def of(cls, inode: LazyInode, links: Callable[[], int]) -> LazyStat:
        self = cls(DEVICE, inode.number, 0, inode.uid, 0, 0, 0, 0, inode.birth_ns)
        self._inode, self._links = inode, links
        self._fixed = dict(inode._set)
        size = inode.content._size
        if size is not None:
            self._fixed["size"] = size
        return self

    def _field(self, name: str) -> int:
        if name not in self._fixed:
            self._fixed[name] = self._ask(name, same)
        return self._fixed[name]

    def _ask(self, name: str, classify: Callable[[int], Any]) -> Any:
        """The class of a field that is not decided yet."""
        inode = self._inode
        if name == "size":
            variable, base = Variable("size", inode.number), lambda: inode.base.content.size
        else:
            variable, base = Variable(name.removesuffix("_ns"), inode.number), lambda: getattr(inode.base, name)
        return inode._crash_state.ask_value(variable, classify, base)

    def __reduce__(self) -> tuple[Any, ...]:
        """What travels to another process is what is decided."""
        mode, gid, size, mtime = (self._fixed.get(name, 0) for name in ("mode", "gid", "size", "mtime_ns"))
        return FileStat, (self.device, self.inode, mode, self.uid, gid, 0, size, mtime, self.birth_ns)

    @property
    def size(self) -> int:
        return self._field("size")

    @property
    def mtime_ns(self) -> int:
        return self._field("mtime_ns")

    def older_than(self, mtime_ns: int) -> bool:
        """Which of the times on one side of it the inode has stays open."""
        if "mtime_ns" in self._fixed:
            return super().older_than(mtime_ns)
        older: bool = self._ask("mtime_ns", lambda value: value < mtime_ns)
        return older

    @property
    def mode(self) -> int:
        return self._field("mode")

    @property
    def gid(self) -> int:
        return self._field("gid")

    @property
    def links(self) -> int:
        return self._links()
