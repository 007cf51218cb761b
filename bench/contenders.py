"""Ways to write pages durably: untorn, and two that it is compared with. The third one is in ``ideal``.

Each contender has a file of its own, for untorn refuses a file that was changed behind its back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import untorn
from bench.ideal import record_length
from bench.measure import KIB, MIB, Page, Source


class Contender(Protocol):
    """Something that commits pages to a file."""

    def commit(self, pages: Sequence[Page]) -> None:
        """Writes the pages; durable when it returns."""

    def make_room(self, pages: Sequence[Page]) -> None:
        """Sees to it that committing these pages makes no checkpoint."""

    def close(self) -> None:
        """Leaves an ordinary file and nothing else."""


class Plain:
    """One pwrite a page and one fdatasync. Tears."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR)

    def commit(self, pages: Sequence[Page]) -> None:
        file = self._file
        for offset, data in pages:
            os.pwrite(file, data, offset)
        os.fdatasync(file)

    def make_room(self, pages: Sequence[Page]) -> None:
        """Needs none."""

    def close(self) -> None:
        os.close(self._file)


class DoubleWrite:
    """The pages to an area of their own, synced, then in place, synced. Does not tear."""

    def __init__(self, path: Path, area_bytes: int) -> None:
        self._file = os.open(path, os.O_RDWR)
        self._area_path = path.with_name(path.name + "-area")
        self._area = os.open(self._area_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        # Written, not only reserved: the first write to a reserved block costs a journal commit.
        for start in range(0, area_bytes, MIB):
            os.pwrite(self._area, bytes(min(MIB, area_bytes - start)), start)
        os.fsync(self._area)

    def commit(self, pages: Sequence[Page]) -> None:
        file, area = self._file, self._area
        at = 0
        for _, data in pages:
            at += os.pwrite(area, data, at)
        os.fdatasync(area)
        for offset, data in pages:
            os.pwrite(file, data, offset)
        os.fdatasync(file)

    def make_room(self, pages: Sequence[Page]) -> None:
        """Needs none."""

    def close(self) -> None:
        os.close(self._file)
        os.close(self._area)
        self._area_path.unlink()


class Untorn:
    """A page at a time into the page cache, then a durable commit."""

    def __init__(self, path: Path, log_bytes: int, folio_size: int = 16 * KIB) -> None:
        self.file = untorn.open(path, "r+b", commit="explicit", checkpoint_bytes=log_bytes, folio_size=folio_size)
        self._log_bytes = log_bytes
        # Every folio once: the cache is warm.
        while self.file.read1():
            pass

    def commit(self, pages: Sequence[Page]) -> None:
        pwrite = self.file.pwrite
        for offset, data in pages:
            pwrite(data, offset)
        self.file.commit()

    def make_room(self, pages: Sequence[Page]) -> None:
        length = sum(len(data) for _, data in pages)
        # An extent ends where its folio ends, and no folio is smaller than 4096 bytes.
        needed = record_length(len(pages) + length // 4096, length)
        if self.file.stats()["log_bytes"] + needed > self._log_bytes:
            self.lap()

    def lap(self) -> None:
        """Goes on through the log until it has been moved home, so that its blocks are used again."""
        file = self.file
        before = file.stats()["checkpoints"]
        size = file.seek(0, os.SEEK_END)
        step = min(MIB, size)
        source = Source(size, seed=2)
        while file.stats()["checkpoints"] == before:
            for offset in range(0, size - step + 1, step):
                file.pwrite(source.data(step), offset)
                file.commit(durable=False)

    def close(self) -> None:
        self.file.close()


def make_file(path: Path, size: int, seed: int = 3) -> Path:
    """A durable file of random bytes, all of it in the kernel's cache."""
    source = Source(size, seed)
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(source.data(min(MIB, size - start)))
        file.flush()
        os.fsync(file.fileno())
    return path


def check_content(path: Path, pages: Iterable[Page]) -> None:
    """RuntimeError unless the file holds these pages: a race is worth nothing if the work was not done."""
    with path.open("rb", buffering=0) as file:
        for offset, data in pages:
            if os.pread(file.fileno(), len(data), offset) != data:
                raise RuntimeError(f"{path.name} does not hold at byte {offset} what was committed there")
