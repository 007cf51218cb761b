"""What the inode asks of a design: where committed bytes are, and how dirty folios get there.

``write``, ``sync`` and ``checkpoint`` do the I/O and are called without the inode's state lock, so that readers
go on; ``complete_write`` and ``finish_checkpoint`` then make the result visible under it. The inode's commit mutex lets
only one of them run at a time.

What every design must say is abstract. The rest is for a design with a log: space that is reserved before a write,
states to roll back to, checkpoints. A design without one has nothing to do there, and that is what is written here.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from untorn.pagecache.folio import Folio
from untorn.storage.interface import AtomicLimits
from untorn.trace_event import TraceCallback


class Savepoint(NamedTuple):
    """A state of the design to roll back to; opaque to the inode."""

    state: Any
    changes: int
    """Grows with every ``write`` and ``truncate``: where it differs, folios read since may show what is rolled back."""


class Design(ABC):
    """One way to make writes whole. Sizes and offsets in bytes."""

    name: ClassVar[str]
    """As ``untorn.open`` knows it."""

    after_error: ClassVar[str]
    """What an error in writeback leaves on disk, for the note on it: "the file is ..."."""

    dirty_max: int = sys.maxsize
    """Folios that one ``write`` takes at most."""

    trace: TraceCallback | None = None

    def set_trace(self, callback: TraceCallback | None) -> None:
        """Calls ``callback`` at each bio and sync from now on."""
        self.trace = callback

    committed_size: int
    """The file's size as of the last commit."""

    allocated_end: int
    """Below this offset the file has its blocks: overwriting needs no new space."""

    changes = 0
    """As in Savepoint."""

    # What is on disk

    @abstractmethod
    def read_folio(self, index: int) -> bytes:
        """The folio as last written, uncommitted spills and cuts included; may end early, the rest is zeros."""

    @abstractmethod
    def truncate(self, size: int) -> None:
        """The bytes from ``size`` on are gone, though not yet committed."""

    @abstractmethod
    def write(
        self, folios: Mapping[int, Folio], size: int, size_min: int, *, commit: bool, durable: bool,
        begins: bool = True,
    ) -> Any:  # fmt: skip
        """Writes the dirty ranges, as a commit or as a spill; returns what ``complete_write`` takes.

        ``durable`` says that ``sync`` will follow at once; ``begins`` is false for further pieces of a write of which
        the pieces before are not complete yet.
        """

    @abstractmethod
    def complete_write(self, written: Any, size: int, *, commit: bool) -> None:
        """What ``write`` wrote is the current state."""

    @abstractmethod
    def sync(self) -> None:
        """Makes every commit durable, and the file's name. Never tried again after a failure."""

    @abstractmethod
    def release(self) -> None:
        """Closes what is open and leaves the rest to recovery. Cannot fail."""

    # What is to be known

    @abstractmethod
    def limits(self) -> AtomicLimits:
        """Which buffered writes with RWF_ATOMIC the design takes, all 0 if none."""

    @abstractmethod
    def memory_cost(self) -> tuple[int, int]:
        """What the page cache must remember for the design: bits for each folio and for each file."""

    @abstractmethod
    def stats(self) -> dict[str, int]:
        """Counters by name."""

    @property
    def at_home(self) -> bool:
        """Whether home holds all that is committed, so that its own descriptor shows it."""
        return True

    # Space that is reserved before a write changes anything. Without a log it is found at writeback, or not.

    @property
    def blocks(self) -> int:
        """Bytes from the start for which the file has blocks; no less than ``allocated_end``."""
        return self.allocated_end

    def reserve(self, folios: int, records: int) -> None:
        """Space for all that is to be written: so many dirty folios, in so many writes; ENOSPC and nothing changed."""

    @abstractmethod
    def reserve_growth(self, first: int, last: int, end: int) -> None:
        """Folios ``first`` to ``last`` will need new blocks, up to byte ``end``; EFBIG if that cannot be."""

    def release_growth(self, indices: Iterable[int]) -> None:
        """These folios are not dirty, and will not be: they need new blocks only if they were written before."""

    def grow_for(self, dirty: Mapping[int, Folio]) -> None:
        """Nothing is in the log: home will grow for these dirty folios and no others."""

    def covers(self, folios: int, records: int) -> bool:
        """Whether there is space for as much without reserving."""
        return True

    def retain_reservation(self, folios: int, records: int) -> None:
        """No more than that is to be written: space that is idle is given back, if it is much. Cannot fail."""

    def check_limit(self, folios: int) -> None:
        """EFBIG, and nothing changed, if so many may not be written any more, for the limit of sizes was lowered."""

    def assert_space(
        self, dirty: Mapping[int, Folio], asked: range, least: tuple[int, int], most: tuple[int, int]
    ) -> None:
        """Asserts that what is reserved is what is needed; a design that reserves says how.

        ``asked``: folios whose growth was asked for. ``least`` and ``most``: folios and records for which space must,
        and may, be reserved.
        """

    # States to roll back to. Without a log what was written back stays.

    def savepoint(self) -> Savepoint:
        """The state now. Nothing is dirty, or the inode rolls that back itself."""
        return Savepoint(None, self.changes)

    def rollback(self, savepoint: Savepoint) -> None:
        """Back to that state; cannot fail."""

    # Checkpoints, from the log home

    def checkpoint_due(self) -> bool:
        """Whether enough has gathered to be moved home."""
        return False

    def reclaimable(self) -> bool:
        """Whether a checkpoint could be made now and would free space."""
        return False

    def checkpoint(self, cached: Callable[[int], Folio | None]) -> None:
        """Moves what is committed home; ``cached(index)`` saves reading it.

        CheckpointError if space fails: nothing is lost and nothing changed for readers.
        """

    def finish_checkpoint(self) -> None:
        """Home holds everything now, but for what became dirty meanwhile; ``grow_for`` must follow."""

    def remove(self) -> None:
        """After a checkpoint: leaves an ordinary file and nothing beside it."""
