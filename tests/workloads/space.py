"""What a sequence of large operations leaves reserved, as the simulated machine counts its blocks. No crashes.

After a rollback, a cut, a refused write, a commit or a checkpoint, blocks are held for the file, for the records in its
log, for what is still dirty twice over (once in the log, once where the file grows), and for a slack of 2 MiB, or an
eighth of all that if it is more.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Final

from untorn.crashmodel.disk_image import PAGE
from untorn.explore.selftest.scripted_session import PATH, Script
from untorn.log.writer import log_path
from untorn.sizes import round_up

MIB: Final = 1 << 20
LARGE: Final = 8 * MIB
CAPACITY: Final = 64 * MIB
"""Of the machine."""
_TOO_MUCH: Final = 40 * MIB
"""A write for which there is no room, once in the log and once where the file grows."""
LOG: Final = MIB
"""Bytes in the log that make a checkpoint due."""
SLACK: Final = 2 * MIB


class TooMuchError(AssertionError):
    """More is reserved than the bound."""


class Holder(Script):
    """A script of operations by name, each followed by a look at the blocks."""

    def __init__(self) -> None:
        super().__init__(bytes(PAGE), capacity=CAPACITY)
        self._enter()

    def _enter(self) -> None:
        self.open(folio_size=1 << 14, cache_bytes=64 * MIB, checkpoint_bytes=LOG)

    def kill(self) -> None:
        super().kill()
        self._died = False

    def run(self, operations: Sequence[str]) -> None:
        """Does it all; TooMuchError after the first operation that leaves too much."""
        for name in operations:
            OPERATIONS[name](self)
            if name not in _ADDING:
                self.look(name)
        self.close()
        self.look("close")

    def put(self, offset: int, length: int) -> None:
        self.file.pwrite(bytes(length), offset)
        self.content = bytes(max(len(self.content), offset + length))

    def refused(self) -> None:
        """A write that finds no space, and changes nothing."""
        try:
            self.file.pwrite(bytes(_TOO_MUCH), len(self.content))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return
        raise AssertionError("a write for which there is no room was taken")

    def savepoint(self) -> None:
        """A large block within what is not committed, rolled back."""
        with self.transaction(keep=False):
            self.put(len(self.content), LARGE)

    def die(self) -> None:
        self.kill()
        self._enter()
        self.content = self.machine.read_file(PATH)

    def reopen(self) -> None:
        self.close()
        self._enter()

    # The bound

    def look(self, after: str) -> None:
        """TooMuchError if more blocks are held than there is reason for."""
        dirty = tail = 0
        if self.file is not None:
            dirty = len(self.file._inode.pages.dirty) << 14
            tail = self.file.stats()["log_bytes"]
        size = max(len(self.content), self._size(PATH))
        needed = round_up(size, PAGE) + tail + 2 * dirty
        bound = needed + max(SLACK, needed // 8)
        held = self._held(PATH) + self._held(log_path(PATH))
        if held > bound:
            raise TooMuchError(
                f"after {after}: {held} bytes are held for a file of {size} bytes, {tail} bytes in its log, "
                f"{dirty} dirty; the bound is {bound}"
            )

    def _size(self, path: str) -> int:
        found = self.machine.disk.walk(path, follow=False).inode
        return found.content.size if found else 0

    def _held(self, path: str) -> int:
        found = self.machine.disk.walk(path, follow=False).inode
        return found.content.blocks * PAGE if found else 0


OPERATIONS: Final[dict[str, Callable[[Holder], None]]] = {
    "write": lambda holder: holder.put(0, 100),
    "large": lambda holder: holder.put(len(holder.content), LARGE),
    "far": lambda holder: holder.put(len(holder.content) + LARGE, 100),
    "refused": Holder.refused,
    "savepoint": Holder.savepoint,
    "rollback": Holder.rollback,
    "cut": lambda holder: holder.truncate(min(PAGE, len(holder.content))),
    "commit": lambda holder: holder.commit(),
    "order": lambda holder: holder.commit(durable=False),
    "reopen": Holder.reopen,
    "kill": Holder.die,
}
_ADDING: Final = ("write", "large", "far")
"""After these more may be asked for ahead than is dirty yet."""


def every(longest: int = 3) -> Iterator[tuple[str, ...]]:
    """Every sequence, the shortest first."""
    for length in range(1, longest + 1):
        yield from product(OPERATIONS, repeat=length)


def too_much(operations: Sequence[str]) -> str:
    """What a sequence leaves reserved beyond the bound; empty if nothing."""
    holder = Holder()
    try:
        holder.run(operations)
    except TooMuchError as error:
        return str(error)
    finally:
        holder.kill()
    return ""
