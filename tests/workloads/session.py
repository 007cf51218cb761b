"""One generated sequence on a simulated machine: what each operation does, and what is told to the world of it.

The bytes that a write puts somewhere depend on the place and on how much had been written to storage by then, on
nothing else. So two writes that storage cannot tell apart are the same write, and sequences that do the same to storage
have the same recording, byte for byte: one exploration stands for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Any, Final

from untorn.api import functions as api
from untorn.errors import ForeignEditError, HandleFailedError
from untorn.explore.oracles import Content
from untorn.explore.selftest.scripted_session import BLOCK, PATH, Script

CLOSE: Final = "close"
LEAVE: Final = "leave"
ENDINGS: Final = (CLOSE, LEAVE)

SIZE: Final = BLOCK + 700
"""Bytes of the file that a sequence starts with, if there is one."""
_LOW: Final = 1000
"""What ``cut`` leaves of it."""
_HIGH: Final = 2 * BLOCK + 300
"""What ``extend`` makes of it."""
_CACHE: Final = 8 * BLOCK
_MUCH: Final = 5 * BLOCK
"""More than may be dirty at once: half of the cache."""
_EDITED: Final = 1500
_EDITS: Final = 1 << 20
"""Added to the serial number of a stream of bytes that another program writes."""


@lru_cache(maxsize=64)
def _stream(serial: int) -> bytes:
    """Bytes for every place of a file that no other serial number gives."""
    return Random(serial).randbytes(_MUCH + BLOCK)


class Session(Script):
    """A script made of operations by name.

    ``("kept", k)`` is acknowledged when a session begins on what another program wrote, and ``("survived", 0)`` when
    one has recovered what a process left that died: all of that is durable from then on.
    """

    def __init__(self, initial: Content, *, watched: bool = False, **machine: Any) -> None:
        """``watched``: no two writes have the same bytes, and what is read is compared with what should be there."""
        super().__init__(initial, **machine)
        self.first = 0
        """The event before the last operation: the crashes before it are those of a shorter sequence."""
        self.ended = 0
        """The event at which the session had ended cleanly."""
        self.over = False
        """Refused for good: another program's edit stands against commits that wait in the log."""
        self._watched = watched
        self._foreign = False
        """Another program wrote the file while it was open here."""
        self._told: list[tuple[str, int]] = []

    def run(self, operations: Sequence[str], ending: str = CLOSE) -> None:
        """Opens the file, does it all, and ends the session cleanly: by a close, or by an exception that rolls back."""
        self._enter()
        for at, name in enumerate(operations):
            if at and at == len(operations) - 1:
                self.first = self.machine.trace.now
            self._step(OPERATIONS[name])
        self._look()
        if ending == LEAVE:
            self.first = self.machine.trace.now
        while not self.over and self.file is not None:  # a second time if the first was refused
            self._step(Session.leave if ending == LEAVE else Session.close)
        self.ended = self.machine.trace.now

    def _step(self, step: Callable[[Session], None]) -> None:
        """One operation, unless the sequence is over; what another program's edit makes fail ends the session."""
        if self.over:
            return
        try:
            step(self)
        except (ForeignEditError, HandleFailedError):
            if not self._foreign:
                raise
            self.kill()
            self._enter()

    # Sessions

    def _enter(self) -> None:
        """A process opens the file, which recovers what another one left."""
        try:
            self.open("r+b" if PATH in self.machine.disk.live.paths() else "w+b", cache_bytes=_CACHE)
        except ForeignEditError:
            if not self._foreign:
                raise
            self.over = True
            return
        if self._foreign:
            self._foreign = False
            self._tell("kept")
        self.content = self.states[-1] or b""
        self._look()

    def _look(self) -> None:
        """What is read is what was written; where another program wrote, what it wrote is compared when all is over."""
        if self._watched and not self._foreign and not self.over and self.file.pread(1 << 30, 0) != self.content:
            raise AssertionError("what is read is not what was written")

    def kill(self) -> None:
        super().kill()
        self._died = False  # what the next process must find is known, and compared in the end

    def die(self) -> None:
        """The process dies, and another one recovers what it had committed, and goes on."""
        self.kill()
        waiting = api.status(PATH, storage=self.machine).commits
        self._enter()
        if waiting:
            self._tell("survived")

    def leave(self) -> None:
        error = KeyError()
        self.file.__exit__(KeyError, error, None)
        self.file = None
        self.content = self.states[-1] or b""
        notes = getattr(error, "__notes__", None)
        if notes and not self._foreign:
            raise AssertionError(f"rolling back failed: {notes}")
        if notes:
            self.kill()
            self._enter()

    def reopen(self) -> None:
        self.close()
        self._enter()

    def edit_open(self) -> None:
        """Another program writes the file while it is open here."""
        self._foreign = True
        self.edit(_stream(_EDITS + self._serial_now())[:_EDITED])
        self.machine.acknowledge(("durable", len(self.states) - 1))  # it synced what it wrote

    # Within a session

    def put(self, offset: int, length: int) -> None:
        """Bytes by their place and by what was written to storage so far."""
        data = _stream(self._serial_now())[offset : offset + length]
        self.file.pwrite(data, offset)
        old = self.content
        self.content = old[:offset].ljust(offset, b"\0") + data + old[offset + length :]

    def _serial_now(self) -> int:
        if self._watched:
            self._serial += 1
            return self._serial
        return sum(operation.name == "pwritev" for operation in self.machine.trace.operations)

    def savepoint(self) -> None:
        """A block that is rolled back after a part of it was spilled; what was uncommitted before stays so."""
        with self.transaction(keep=False):
            self.put(BLOCK // 2, BLOCK)
            with self.transaction(keep=False):
                self.put(0, 100)

    def spill(self) -> None:
        """More than may be dirty at once, folio by folio."""
        for at in range(0, _MUCH, BLOCK):
            self.put(at, BLOCK)

    def checkpoint(self) -> None:
        """A commit that only orders, and finds the log full."""
        design = self.file._inode.design
        usual, design._checkpoint_bytes = design._checkpoint_bytes, 0
        self.commit(durable=False)
        design._checkpoint_bytes = usual

    def _begin(self, content: bytes) -> None:
        if not self._foreign:
            super()._begin(content)

    def _tell(self, word: str) -> None:
        """What was told already is no news; and while another program's edit stands, nothing is promised of our own."""
        said = (word, len(self.states) - 1)
        stale = said in self._told or (word == "ordered" and ("durable", said[1]) in self._told)
        if stale or word in ("opened", "closed") or (self._foreign and word not in ("edit", "edited")):
            return
        self._told.append(said)
        super()._tell(word)


_BY_KIND: Final[tuple[dict[str, Callable[[Session], None]], ...]] = (
    {
        "write": lambda session: session.put(0, BLOCK),
        "overlap": lambda session: session.put(BLOCK - 300, 700),
        "append": lambda session: session.put(len(session.content), 100),
        "cut": lambda session: session.truncate(min(_LOW, len(session.content))),
        "extend": lambda session: session.truncate(max(_HIGH, len(session.content))),
        "savepoint": Session.savepoint,
        "spill": Session.spill,
    },
    {
        "commit": lambda session: session.commit(),
        "order": lambda session: session.commit(durable=False),
        "checkpoint": Session.checkpoint,
    },
    {"reopen": Session.reopen, "kill": Session.die, "edit": Session.edit_open},
)
CHANGES: Final = tuple(_BY_KIND[0])
COMMITS: Final = tuple(_BY_KIND[1])
SESSION_ENDS: Final = tuple(_BY_KIND[2])
OPERATIONS: Final = {**_BY_KIND[0], **_BY_KIND[1], **_BY_KIND[2]}
