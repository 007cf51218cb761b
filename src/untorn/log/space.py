"""The blocks of the log: reserved before a write changes anything, given back when nobody needs them.

ENOSPC comes at the write (I7), so whatever a commit, a spill or a checkpoint will need is allocated by then. What home
will need is held as blocks of the log too: home itself is not touched before its checkpoint slot is durable.

Definitions, in bytes:

- *tail*: where the next record will lie. What is below stays until the restart, rolled-back records too.
- *records*: the most that records still to come will take: of folios that are dirty, on their way, or may become dirty
  without asking again, and the end of the transaction.
- *growth*: the blocks that home lacks for what is in the log, dirty, or asked for ahead.
- *lent*: the part of growth that the checkpoint in progress has handed to home, or given up so that home can get it.
- *owed*: tail + records + growth - lent, in whole blocks.
- *kept*: how far the generation before reached, at most ``keep_max``. Those blocks were written, so that the next
  generation writes over them without work for the file system's journal.
- *slack*: an eighth of what is owed or kept, at least 1 MiB and at most two steps. To give back and reserve again costs
  two system calls and a journal commit, which is little beside that much data, and much beside less.
- *allocated*: the log's size. All of it has blocks.

Between any two calls, from the first reservation on:

S1. allocated >= owed. So what was admitted goes out, and goes home. The exception is a checkpoint that found no space,
    because another process took what was lent: then *short* says what is missing, and the next write has to get that.
S2. allocated <= max(owed, kept) + slack. So what was rolled back, cut, committed or refused is not reserved for.
S3. lent = 0 when no checkpoint is in progress.

The log grows in steps: as much again as is needed, up to half a MiB or a sixteenth, and never more than ``STEP_MAX``.
A transaction of N new bytes takes at its peak 2 N, headers and tables, and three steps: N as records and N as growth,
which home gets piece by piece, each before the log gives one up.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

from untorn.log.format import RECORDS_OFFSET
from untorn.sizes import BLOCK, round_up
from untorn.storage.interface import NO_SPACE, StorageFile

SLACK_MIN: Final = 1 << 20
STEP_MAX: Final = 1 << 23


class LogSpace(ABC):
    """The part of a log that knows of its blocks. Writers reserve while a checkpoint gives back."""

    def __init__(self, keep_max: int) -> None:
        self.file: StorageFile | None = None
        self.tail = RECORDS_OFFSET
        self.allocated = 0
        self._records = 0
        self._growth = 0
        self._lent = 0
        self._short = 0
        self._kept = self._kept_limit = 0
        self._keep_max = keep_max
        self._space = threading.RLock()

    @abstractmethod
    def _create(self) -> StorageFile:
        """Makes the log's file."""

    @property
    def owed(self) -> int:
        """As the module's definitions have it."""
        return round_up(self.tail + self._records + self._growth - self._lent, BLOCK)

    def reserve(self, records: int, growth: int) -> None:
        """Allocates for so many bytes of ``records`` and of home's ``growth``, in all.

        ENOSPC, EDQUOT or EFBIG here, and nothing changed.
        """
        with self._space:
            if self.file is None:
                self.file = self._create()
            needed = round_up(self.tail + records + growth - self._lent, BLOCK)
            if needed > self.allocated:
                try:
                    self.allocated = self._allocate(needed, needed + _step(needed))
                except BaseException:
                    # What was had in part is of more use to others.
                    self.file.truncate(self.allocated)
                    raise
            self._records, self._growth, self._short = records, growth, 0
            self._trim()

    def reserve_growth(self, more: int) -> bool:
        """Allocates for so many more bytes of home's growth; False, and nothing changed, if there is no space."""
        with self._space:
            try:
                self.reserve(self._records, self._growth + more)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                return False
            return True

    def _allocate(self, needed: int, ample: int) -> int:
        """Allocates ``ample`` bytes, or ``needed`` if there are no more; returns which."""
        assert self.file is not None
        try:
            self.file.allocate(self.allocated, ample - self.allocated, keep_size=False)
            return ample
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
        self.file.allocate(self.allocated, needed - self.allocated, keep_size=False)
        # Of the first try more may be left than is needed.
        self.file.truncate(needed)
        return needed

    def covers(self, records: int, growth: int) -> bool:
        """Whether what is allocated has room for as much."""
        return self.file is not None and self.tail + records + growth <= self.allocated

    def retain_reservation(self, records: int, growth: int) -> None:
        """No more than that is owed from now on; what is idle beyond the slack goes back. Cannot fail."""
        with self._space:
            self._records, self._growth = records, growth
            if self._short:
                self._short = min(self._short, max(self.owed - self.allocated, 0))
            # In every commit, so the rest is asked only if there may be something to do.
            if self.allocated > self._kept_limit and self.allocated - self.tail - records - growth > SLACK_MIN:
                self._trim()

    def _trim(self) -> None:
        base = self._base()
        if self.file is not None and self.allocated - base > _slack(base):
            with suppress(OSError):  # it stays allocated then, which harms nobody's data
                self._cut(base)

    def _base(self) -> int:
        return max(self.owed, self._kept)

    def _cut(self, size: int) -> None:
        assert size >= self.tail, "a record would be cut off"
        # The number first: an interrupt in between leaves blocks that nobody counts on, not the other way round.
        self.allocated = size
        assert self.file is not None
        self.file.truncate(size)

    def restarted(self) -> None:
        """The next record will be the first one again."""
        with self._space:
            self._kept = min(round_up(self.tail, BLOCK), self._keep_max)
            self._kept_limit = self._kept + _slack(self._kept)
            self.tail = RECORDS_OFFSET

    # Handing over to home

    def release_unused(self, growth: int = 0) -> bool:
        """Frees what is idle, and so many bytes more that are held for home; whether that was anything."""
        with self._space:
            self._lent = min(self._lent + growth, self._growth)
            size = self.owed
            idle = size < self.allocated
            if idle:
                self._cut(size)
        assert self.file is not None
        # Some file systems free blocks only when their own journal commits.
        self.file.fsync()
        return idle

    def handed_over(self, growth: int) -> None:
        """Home has got so many bytes of its growth, which need not be held for it any more."""
        with self._space:
            self._lent = min(self._lent + growth, self._growth)
            self._trim()

    def end_hand_over(self) -> None:
        """From now on the growth that is retained and reserved is without what home has got."""
        self._lent = 0

    def take_back(self, growth: int) -> None:
        """Home could not get all of its ``growth``: holds it again, as far as there is space."""
        with self._space:
            self._lent = 0
            try:
                self.reserve(self._records, growth)
            except OSError:
                self._growth = growth
                self._short = max(self.owed - self.allocated, 0)

    def assert_space(self, records: range, growth: int) -> None:
        """Asserts S1 to S3, and that they speak of this file, of that ``growth``, and of records within a range."""
        base = self._base()
        assert self._records in records, f"{self._records} bytes are reserved for records, not {records}"
        assert self._growth == growth, f"{self._growth} bytes are reserved for home, which grows by {growth}"
        assert not self._lent, f"S3: {self._lent} bytes are lent"
        if not self.allocated:
            assert not self._records + self._growth, "S1: nothing is allocated"
            return
        assert self.file is not None
        held = self.allocated + self._short
        assert held >= self.owed, f"S1: {self.allocated} bytes are allocated, {self.owed} owed"
        assert self.allocated <= base + _slack(base), f"S2: {self.allocated} bytes are allocated, {base} owed or kept"
        assert self.file.stat().size == self.allocated, "the log's size is not what is allocated"


def _slack(base: int) -> int:
    return max(SLACK_MIN, min(base // 8, 2 * STEP_MAX))


def _step(needed: int) -> int:
    """How much more to allocate than is needed: at most half the slack, or the next commit would give it back."""
    return min(max(min(needed, SLACK_MIN // 2), needed // 16), STEP_MAX) // BLOCK * BLOCK
