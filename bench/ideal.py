"""The best that untorn's design allows: the same bytes to the same places by bare system calls.

No code of untorn is used. There are no digests, no page cache, no locks and no way to recover: what is left is
what the design itself costs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.measure import MIB, Page

_MARK: Final = "user.untorn-bench"
_RECORDS: Final = 8192
_IOV_MAX: Final = 1024
_RUN_MAX: Final = 8 * MIB


def record_length(extents: int, payload: int) -> int:
    """Bytes of a record: a header sector, a table of 24 bytes an extent in whole sectors, the payload; padded."""
    return -(-(_head_length(extents) + payload) // 4096) * 4096


def _head_length(extents: int) -> int:
    return 512 + -(-24 * extents // 512) * 512


class Ideal:
    """Header, table and pages in one pwritev to the log, and one fdatasync; home when the log is full."""

    def __init__(self, path: Path, log_bytes: int, *, create: bool = False) -> None:
        self._file = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
        self._log_path = path.with_name(path.name + "-ideal")
        self._directory = path.parent
        self._log_bytes = log_bytes
        self._log = -1
        self._tail = _RECORDS
        self._logged: list[Page] = []

    def commit(self, pages: Sequence[Page], extents: int | None = None) -> None:
        """``extents``: how many there are if not one a page."""
        if self._log < 0:
            self._start()
        head = bytes(_head_length(len(pages) if extents is None else extents))
        buffers = [head, *[data for _, data in pages]]
        length = sum(map(len, buffers))
        buffers.append(bytes(-length % 4096))
        if self._tail + length + 4096 > self._log_bytes:
            self.checkpoint()
        self._tail += os.pwritev(self._log, buffers, self._tail)
        os.fdatasync(self._log)
        self._logged += pages

    def make_room(self, pages: Sequence[Page]) -> None:
        needed = record_length(len(pages), sum(len(data) for _, data in pages))
        if self._tail + needed + 4096 > self._log_bytes:
            self.checkpoint()

    def lap(self) -> None:
        """Writes all of the log once, so that its blocks are used again."""
        if self._log < 0:
            self._start()
        for start in range(_RECORDS, self._log_bytes, MIB):
            os.pwrite(self._log, bytes(min(MIB, self._log_bytes - start)), start)
        os.fdatasync(self._log)

    def checkpoint(self) -> None:
        """Slot, sync; pages home in file order, sync; slot, sync."""
        self._write_slot(0)
        newest = dict(self._logged)
        for offset, run in _runs(sorted(newest.items())):
            os.pwritev(self._file, run, offset)
        os.fsync(self._file)
        self._write_slot(4096)
        self._logged.clear()
        self._tail = _RECORDS

    def close(self) -> None:
        """As untorn closes: checkpoint, mark removed, log unlinked, all of it durable."""
        if self._log >= 0:
            self.checkpoint()
            with contextlib.suppress(OSError):
                os.removexattr(self._file, _MARK)
            os.fsync(self._file)
            self._log_path.unlink()
            _sync_directory(self._directory)
            os.close(self._log)
        os.close(self._file)

    def _start(self) -> None:
        self._log = os.open(self._log_path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.posix_fallocate(self._log, 0, self._log_bytes)
        os.pwrite(self._log, bytes(_RECORDS), 0)
        os.fsync(self._log)
        _sync_directory(self._directory)
        # A file system without attributes: untorn does without, too.
        with contextlib.suppress(OSError):
            os.setxattr(self._file, _MARK, bytes(16))
        os.fsync(self._file)

    def _write_slot(self, offset: int) -> None:
        os.pwrite(self._log, bytes(512), offset)
        os.fdatasync(self._log)


def _runs(pages: Sequence[Page]) -> Iterator[tuple[int, list[bytes]]]:
    """Pages that touch, as one write each."""
    first = end = 0
    run: list[bytes] = []
    for offset, data in pages:
        if run and (offset != end or end - first >= _RUN_MAX or len(run) == _IOV_MAX):
            yield first, run
            run = []
        if not run:
            first = offset
        run.append(data)
        end = offset + len(data)
    if run:
        yield first, run


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
