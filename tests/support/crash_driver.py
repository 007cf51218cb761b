"""The file of a ground used through untorn and followed by a model of bytes.

Every method does something through the library and the same to the model, and compares. Calls may be cut short
by a planted fault: then the model knows what may have been committed, and the next open has to show one of it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import untorn
from tests.support.crash_ground import PATH, Ground, Level, raises
from tests.support.file_history import Content, overwritten, resized
from untorn.log.format import SlotKind
from untorn.log.scan import read_slots
from untorn.log.writer import MARK, log_path

EDITOR: Final = 99
"""Number of the process that edits behind untorn's back."""

ROOM: Final = 1 << 16
"""Bytes that an edit takes at most."""

CHANGES: Final = frozenset(
    {"pwritev", "truncate", "allocate", "setxattr", "removexattr", "unlink", "rename", "set_owner"}
)
"""Calls that a reader must not make."""


class Driver(Ground):
    """The library and the model, step by step."""

    # Opening

    def open(self, mode: str, **options: Any) -> bool:
        """Opens the file, and compares what it shows; False if a fault or the lack of a file prevented that."""
        assert self.file is None
        self._options = {"commit": "flush", **options}

        def call() -> None:
            self.file = untorn.open(PATH, mode, storage=self.storage, **self._options)

        created: list[Content] = []
        if mode[0] in "wa" and not self.exists():
            self.history.settle(None, power=self.power)
            self.power = False
            created = [b""]
        try:
            # What a dead process had reserved is still there; after a power cut it need not be.
            if not self._attempt(call, *created, reserves=mode[0] == "w" or self.power):
                return False
        except FileNotFoundError:
            assert mode == "r+b"
            self.history.settle(None, power=self.power)
            self._settled()
            return False
        try:
            self._opened(mode, created=bool(created))
        except AssertionError:
            self.kill()
            raise
        return True

    def _opened(self, mode: str, *, created: bool) -> None:
        """The new session starts from what the handle shows, which must be legal."""
        self.faulted = self.fired is not None
        self.commit_mode = self._options["commit"]
        self.append = mode[0] == "a"
        self.levels = []
        if self.crashed:
            self.seen[f"recovered after {'power cut' if self.power else 'death'}"] += 1
        if created:
            self.history.commit(b"", durable=False)
        if mode[0] == "w":
            self.content = b""
            self.history.recovered(power=self.power)
            self.crashed = self.power = False
            self.shown = None
        else:
            self.content = self._whole()
            self.file._inode.pages.clean.clear()  # what is done next has to read in what it needs
            self.history.settle(self.content, power=self.power)
            self._settled(self.content)
        self.position = len(self.content) if self.append else 0
        assert self.file.tell() == self.position

    def _settled(self, content: Content = None) -> None:
        """The file was recovered, and durably so."""
        if self.shown is not None:
            assert content == self.shown, "a reader saw another state than recovery installed"
        self.history.recovered(power=self.power)
        self.crashed = self.power = False
        self.shown = None

    def look(self) -> None:
        """Reads the file with a reader, which must show a legal state and change nothing."""
        before = len(self.machine.trace.operations)
        found: list[bytes] = []

        def call() -> None:
            with untorn.open(PATH, "rb", storage=self.storage) as file:
                found.append(file.read())

        try:
            if not self._attempt(call):
                return
        except FileNotFoundError:
            assert None in self.history.legal(power=self.power)
            return
        assert found[0] in self.history.legal(power=self.power)
        if self.shown is not None:
            assert found[0] == self.shown, "two readers saw two states"
        self.shown = found[0]
        self.seen["looked at a hot file" if self.crashed else "looked at a plain file"] += 1
        made = {operation.name for operation in self.machine.trace.operations[before:]}
        assert not made & CHANGES, made

    # Reading and writing

    def read(self, length: int, offset: int | None) -> None:
        start = self.position if offset is None else offset
        expected = self.content[start : start + length]
        got: list[bytes] = []

        def call() -> None:
            got.append(self.file.read(length) if offset is None else self.file.pread(length, offset))

        if self._attempt(call):
            assert got[0] == expected
            if offset is None:
                self.position = start + len(expected)

    def seek(self, offset: int, whence: int) -> None:
        base = (0, self.position, len(self.content))[whence]
        if base + offset < 0:
            raises(OSError, lambda: self.file.seek(offset, whence))
        else:
            self.position = base + offset
            assert self.file.seek(offset, whence) == self.position

    def write(self, data: bytes) -> None:
        start = len(self.content) if self.append else self.position
        self._write(lambda: self.file.write(data), start, data, moves=True)

    def pwritev(self, buffers: Sequence[bytes], offset: int) -> None:
        self._write(lambda: self.file.pwritev(buffers, offset), offset, b"".join(buffers))

    def append_write(self, data: bytes) -> None:
        self._write(lambda: self.file.pwrite(data, 0, untorn.RWF_APPEND), len(self.content), data)

    def write_durably(self, data: bytes, offset: int) -> None:
        if self.levels:
            raises(untorn.TransactionError, lambda: self.file.pwrite(data, offset, untorn.RWF_DSYNC))
            return
        after = overwritten(self.content, offset, data)
        if self._attempt(lambda: self.file.pwrite(data, offset, untorn.RWF_DSYNC), after, reserves=True):
            self.content = after
            self.history.commit(after, durable=True)

    def _write(self, call: Callable[[], int], start: int, data: bytes, *, moves: bool = False) -> None:
        lengths: list[int] = []
        before = self.file.stats()
        if self._attempt(lambda: lengths.append(call()), reserves=True):
            after = self.file.stats()
            self.seen["spilled in a write"] += after["bytes_to_log"] > before["bytes_to_log"]
            self.seen["a folio was read in for a write"] += after["folios_loaded"] > before["folios_loaded"]
            self.seen["checkpoint in an open session"] += after["checkpoints"] > 0
            assert lengths == [len(data)]
            self.content = overwritten(self.content, start, data)
            if moves and data:  # a write of nothing moves nothing, not even to where it would have been appended
                self.position = start + len(data)
            self._may_commit()

    def truncate(self, size: int) -> None:
        if self._attempt(lambda: self.file.truncate(size), reserves=True):
            self.content = resized(self.content, size)
            self._may_commit()

    def _may_commit(self) -> None:
        """In mode ``write`` every prefix of the writes is a legal commit."""
        if self.commit_mode == "write" and not self.levels:
            self.history.maybe(self.content)

    # Commits and transactions

    def flush(self) -> None:
        commits = self.commit_mode in ("flush", "write") and not self.levels
        if self._attempt(self.file.flush, *([self.content] if commits else [])) and commits:
            self.history.commit(self.content, durable=True)
            self._no_checkpoint_waits()

    def commit(self, *, durable: bool) -> None:
        if self.levels:
            raises(untorn.TransactionError, self.file.commit)
        elif self._attempt(lambda: self.file.commit(durable=durable), self.content):
            self.history.commit(self.content, durable=durable)
            self._no_checkpoint_waits()

    def _no_checkpoint_waits(self) -> None:
        design = self.file._inode.design
        assert self.faulted or not (design.checkpoint_due() and design.reclaimable()), "a checkpoint found no space"

    def rollback(self) -> None:
        if self.levels:
            raises(untorn.TransactionError, self.file.rollback)
        elif self._attempt(self.file.rollback):
            self.content = self._whole()
            self.history.settle(self.content, power=False)
            self.position = self.file.tell()

    def begin(self) -> None:
        level = Level(self.file.transaction(), self.content, self.position)
        if self._attempt(level.block.__enter__):
            self.levels.append(level)
            self.seen["nested transaction" if len(self.levels) > 1 else "transaction"] += 1

    def end(self, *, keep: bool) -> None:
        level = self.levels.pop()
        commits = keep and not self.levels and self.commit_mode in ("flush", "write")
        error = None if keep else KeyError("raised in the block")

        def call() -> None:
            level.block.__exit__(type(error) if error else None, error, None)

        if not self._attempt(call, *([self.content] if commits else [])):
            return
        if not keep:
            self.content, self.position = level.content, level.position
            self.seen["rolled back to a savepoint" if self.levels else "transaction raised"] += 1
        elif commits:
            self.history.commit(self.content, durable=True)
        self._may_commit()

    # Ends

    def close(self) -> None:
        """A normal close. Within a transaction that one decides, and is left well, which commits in every mode."""
        rolls_back = self.commit_mode == "explicit" and not self.levels
        content, blocks = self.content, bool(self.levels)

        def call() -> None:
            try:
                self._close_and_leave()
            except untorn.CheckpointError:
                self.seen["checkpoint without space at close"] += 1
                if not rolls_back:
                    self.history.commit(content, durable=True)
                raise

        if self._attempt(call, *([] if rolls_back else [content])):
            if not rolls_back:
                self.history.commit(content, durable=True)
            if blocks:
                self.seen["closed within a transaction"] += 1
            self.tidy()
            self.seen[f"closed in mode {self.commit_mode}"] += 1

    def _close_and_leave(self) -> None:
        self.file.close()
        for level in reversed(self.levels):
            level.block.__exit__(None, None, None)

    def leave_by_exception(self) -> None:
        """Leaving ``with`` by an exception, or garbage collection: what was not committed is rolled back."""
        error = KeyError("left by an exception")
        if self._attempt(lambda: self.file.__exit__(KeyError, error, None)):
            if getattr(error, "__notes__", ()):  # it could not be rolled back at once
                assert self.fired
                self.let_go()
            else:
                self.tidy()

    def tidy(self) -> None:
        """After a clean close: one ordinary file, nothing beside it, no mark."""
        file, self.file = self.file, None
        assert file.closed
        assert self._beside() == [os.path.basename(PATH)]
        assert MARK not in self.machine.attributes(PATH)
        self.history.settle(self.machine.read_file(PATH), power=False)
        self.crashed = False

    def _beside(self) -> list[str]:
        name = os.path.basename(PATH)
        return [one for one in self.machine.listdir("/") if one.startswith(name) and ".aside-" not in one]

    # Others

    def edit(self, content: bytes) -> None:
        """Another program writes the file. No commit of ours is lost or written over it without a word."""
        self.storage.clear()
        self.fault = None
        raw = self.machine.read_file(PATH) if self.exists() else None
        loses_nothing = raw in self.history.legal(power=self.power)
        self.machine.another_process(EDITOR).write_file(PATH, content)
        if self.file is not None:
            commits = self.commit_mode != "explicit" or bool(self.levels)
            self._close_edited(content, raw == self.content if commits else loses_nothing)
        self._reopen_edited(content, loses_nothing)

    def _close_edited(self, content: bytes, loses_nothing: bool) -> None:
        try:
            self._close_and_leave()
        except untorn.ForeignEditError:
            self.seen["edit of an open file refused at close"] += 1
            self.let_go()
        else:
            assert loses_nothing, "commits were dropped without a word"
            self.file = None
        assert self.machine.read_file(PATH) == content, "the edit was written over"

    def _reopen_edited(self, content: bytes, loses_nothing: bool) -> None:
        try:
            with untorn.open(PATH, "r+b", storage=self.storage) as file:
                assert file.read() == content
        except untorn.ForeignEditError:
            self.seen["edit of a hot file refused at open"] += 1
            assert self.crashed
            assert self.machine.read_file(PATH) == content, "the edit was written over"
            raises(untorn.ForeignEditError, lambda: untorn.open(PATH, "rb", storage=self.storage))
            self._discard()
        except untorn.CorruptLogError as error:
            # A recovery that was killed as it wrote a slot: what it says must be true of that, too.
            if "cut off as it wrote that slot, and another program has changed the file" not in str(error):
                raise
            assert self.crashed
            assert self.machine.read_file(PATH) == content, "the edit was written over"
            self.seen["edit behind a lost slot refused at open"] += 1
            self._discard()
        else:
            assert loses_nothing, "commits were dropped without a word"
            self.seen["edit of a plain file taken"] += 1
        assert self.machine.read_file(PATH) == content
        self.history.restart(content)
        self.levels = []
        self.crashed = self.power = False
        self.shown = None

    def _discard(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", untorn.UntornWarning)
            untorn.recover(PATH, on_damage="discard", storage=self.storage)

    def may_be_edited(self) -> bool:
        """Whether there is a file, room for another, and no checkpoint half done, of which nothing can be said."""
        if not self.exists() or self.machine.free_bytes() < ROOM:
            return False
        if log_path(PATH)[1:] not in self.machine.listdir("/"):
            return True
        file = self.machine.open(log_path(PATH), os.O_RDONLY)
        slot = read_slots(file)
        file.close()
        return slot is None or slot.kind is not SlotKind.CHECKPOINT
