"""The control: an ordinary file over the same storage, which writes through at once."""

from __future__ import annotations

import io
import os
from typing import Any

from untorn.api.options import parse_mode
from untorn.storage.interface import Storage


class PlainFile(io.BufferedIOBase):
    """As careful as an ordinary program gets: what is written is in the kernel's cache when the call returns,
    flush and close sync the file, and close syncs its name.
    """

    def __init__(self, storage: Storage, path: str, mode: str) -> None:
        self._abandoned = True  # for a process that dies in the open
        parsed = parse_mode(mode)
        flags = os.O_RDWR | {"r": 0, "a": os.O_CREAT, "w": os.O_CREAT | os.O_TRUNC, "x": os.O_CREAT | os.O_EXCL}[
            parsed.action
        ]  # fmt: skip
        self._storage = storage
        self._path = path
        self._file = storage.open(path, flags)
        self._position = 0
        self._append = parsed.action == "a"
        self._abandoned = False

    def pread(self, length: int, offset: int) -> bytes:
        return self._file.read(length, offset)

    def pwrite(self, buffer: Any, offset: int) -> int:
        data = bytes(buffer)
        self._file.write([data], offset)
        return len(data)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._file.stat().size - self._position, 0)
        data = self._file.read(left if size is None or size < 0 else min(size, left), self._position)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def write(self, buffer: Any, /) -> int:
        data = bytes(buffer)
        if self._append:
            self._position = self._file.stat().size
        self._position += self.pwrite(data, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (0, self._position, self._file.stat().size if whence == 2 else 0)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        size = self._position if size is None else size
        self._file.truncate(size)
        return size

    def flush(self) -> None:
        if not self.closed and not self._abandoned:
            self._file.fsync()

    def close(self, *, commit: bool = True) -> None:
        """As a program closes it; ``commit=False``: without a call of the storage, for a process that died."""
        # Python 3.13 tells if a finaliser fails.
        self._abandoned |= not commit
        if self._abandoned:
            super().close()
        elif not self.closed:
            super().close()  # which flushes
            self._storage.sync_directory(os.path.dirname(self._path))
            self._file.close()
