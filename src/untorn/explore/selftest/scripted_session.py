"""A file used through untorn on a simulated machine, step by step, and what the world is told of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from untorn.api import file as file_module
from untorn.api import functions as api
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import Choose
from untorn.errors import UntornError, UntornWarning
from untorn.explore.oracles import Content
from untorn.storage.fault_injection import Fault, FaultyStorage, ProcessDeath

PATH: Final = "/f"
BLOCK: Final = 4096
EDITOR: Final = 99
"""Number of the process that edits behind untorn's back."""


def stamp(serial: int, length: int) -> bytes:
    """Bytes that no other serial number gives."""
    return Random(serial).randbytes(length)


class Script:
    """The machine, the handle if one is open, a model of the bytes, and every state that was ever committed.

    ``("begin", k)`` is acknowledged before the commit of state k may begin, ``("durable", k)`` when a durable one
    has returned, ``("ordered", k)`` when one that only orders has. Between ``("closed", k)``, after a clean close or a
    recovery, and ``("opened", k)`` the file is an ordinary one. ``("edit", k)`` and ``("edited", k)`` stand around what
    another program wrote.
    """

    def __init__(self, initial: Content, **machine: Any) -> None:
        self.machine = SimulatedStorage(**machine)
        if initial is not None:
            self.machine.write_file(PATH, initial)
        self.states: list[Content] = [initial]
        self.content = initial or b""
        self.transactions = 0
        self.file: Any = None
        self._died = False
        self._serial = 1000

    # Sessions

    def open(self, mode: str = "r+b", fault: Fault | None = None, **options: Any) -> None:
        """Begins a session with a small cache and log, unless told otherwise; ``fault`` counts from here."""
        options = {"folio_size": BLOCK, "cache_bytes": 64 * BLOCK, "checkpoint_bytes": 64 * BLOCK, **options}
        self._tell("opened")
        if self.states[-1] is None:
            self._begin(b"")
        if mode[0] == "w":
            self.content = b""
        self.file = api.open(PATH, mode, storage=FaultyStorage(self.machine, *[fault] if fault else []), **options)
        if self._died and mode[0] != "w":
            self._learn()
        self._died = False

    def _learn(self) -> None:
        """What the last session had committed when it died, untorn tells itself; the judges are the crashes."""
        self.content = self.file.pread(1 << 30, 0)
        self.file._inode.pages.clean.clear()  # what is done next has to read in what it needs
        at = max(at for at, state in enumerate(self.states) if state == self.content)
        del self.states[at + 1 :]

    def close(self) -> None:
        """A clean close, which commits."""
        self._begin(self.content)
        self.file.close()
        self.file = None
        self._tell("durable")
        self._tell("closed")

    def recover(self) -> None:
        """What waits in a log goes home."""
        api.recover(PATH, storage=self.machine)
        self._tell("closed")

    def discard(self) -> None:
        """The file is taken as it is, without the commits that wait in its log."""
        self.content = self.machine.read_file(PATH)
        self.states.append(self.content)
        self._tell("begin")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntornWarning)
            api.recover(PATH, on_damage="discard", storage=self.machine)
        self._tell("durable")

    def leave(self) -> None:
        """Leaves by an exception: what was not committed is rolled back."""
        self.file.__exit__(KeyError, KeyError(), None)
        self.file = None
        self._tell("closed")
        self.content = self.states[-1] or b""

    def kill(self) -> None:
        """The process dies; another one takes its place on the same machine."""
        file, self.file = self.file, None
        self.machine.kill_process()
        if file is not None:
            file_module._live.pop(id(file), None)
            file._inode.forked()
        self._died = True

    def meets(self, step: Callable[[], object]) -> None:
        """A step that may meet a fault or a refusal; then the session is over."""
        try:
            step()
        except (OSError, UntornError, ProcessDeath):
            self.kill()

    def cut_power(self, choose: Choose) -> None:
        """The power fails, and of what was not synced only what is chosen stays. A new trace begins here.

        What the file holds then is told by untorn itself, and is the only state from here on.
        """
        self.kill()
        self.machine = self.machine.power_cut(choose)
        with api.open(PATH, "rb", storage=self.machine) as file:
            content = file.read()
        self.machine.settle()
        self.states = [content]

    def edit(self, content: bytes) -> None:
        """Another program writes the file, and what it wrote is the only state from then on."""
        self.states.append(content)
        self._tell("edit")
        self.machine.another_process(EDITOR).write_file(PATH, content)
        self._tell("edited")
        self.content = content

    def scribble(self, content: bytes) -> None:
        """Another program writes the file and does not sync; until we do, it may be anything."""
        self.states.append(content)
        self._tell("edit")
        file = self.machine.another_process(EDITOR).open(PATH, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        file.write([content], 0)
        file.close()
        self.content = content

    def commit_scribble(self) -> None:
        """A durable commit that changes nothing acknowledges what the other program wrote."""
        self.file.commit()
        self._tell("edited")

    # Within a session

    def write(self, offset: int, length: int) -> None:
        """Bytes that were never written before."""
        self._serial += 1
        data = stamp(self._serial, length)
        self.file.pwrite(data, offset)
        old = self.content
        self.content = old[:offset].ljust(offset, b"\0") + data + old[offset + length :]

    def truncate(self, size: int) -> None:
        self.file.truncate(size)
        self.content = self.content[:size].ljust(size, b"\0")

    def commit(self, *, durable: bool = True) -> None:
        """One more transaction is over."""
        self._begin(self.content)
        self.file.commit(durable=durable)
        self._tell("durable" if durable else "ordered")
        self.transactions += 1

    def rollback(self) -> None:
        self.file.rollback()
        self.content = self.states[-1] or b""

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """A block of writes; the outermost one commits durably. With ``keep`` False it is rolled back."""
        content, depth = self.content, self.file._begin()
        yield
        commits = keep and depth == 1
        if commits:
            self._begin(self.content)
        self.file._end(depth, keep=keep)
        if not keep:
            self.content = content
        if commits:
            self._tell("durable")
            self.transactions += 1

    def _begin(self, content: bytes) -> None:
        """What is about to be committed is the newest state."""
        if content != self.states[-1]:
            self.states.append(content)
        self._tell("begin")

    def _tell(self, word: str) -> None:
        """Acknowledges something of the newest state."""
        self.machine.acknowledge((word, len(self.states) - 1))
