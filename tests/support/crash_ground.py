"""A simulated machine with one file that is used through untorn, the faults planted in it, and its crashes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from typing import Any, Final, NamedTuple, Self, TypeVar

import untorn
from tests.support.file_history import Content, History
from untorn.api import file as file_module
from untorn.crashmodel.storage import SimulatedStorage
from untorn.crashmodel.variables import Choose
from untorn.sizes import BLOCK
from untorn.storage.fault_injection import Fault, FaultyStorage, ProcessDeath
from untorn.storage.interface import NO_SPACE

PATH: Final = "/file"

_T = TypeVar("_T")


class PausingStorage(FaultyStorage):
    """Leaves what the test itself looks at undisturbed and uncounted."""

    paused = False

    def call(self, name: str, path: str, make: Callable[[int | None], _T], **rest: Any) -> _T:
        return make(None) if self.paused else super().call(name, path, make, **rest)


class Level(NamedTuple):
    """A transaction that is open, and what to go back to."""

    block: AbstractContextManager[None]
    content: bytes
    position: int


class Ground:
    """The machine, the handle if one is open, and what is known. ``seen`` counts the situations that came up."""

    def __init__(self, initial: Content, seen: Counter[str] | None = None, **options: Any) -> None:
        self.machine = SimulatedStorage(**options)
        if initial is not None:
            self.machine.write_file(PATH, initial)
        self.storage = PausingStorage(self.machine)
        self.history = History(initial)
        self.seen: Counter[str] = Counter() if seen is None else seen
        self.file: Any = None
        self.commit_mode = ""
        self.append = False
        self.content = b""
        self.position = 0
        self.levels: list[Level] = []
        self.crashed = False
        """Whether the last session ended other than by a close that returned."""
        self.power = False
        """Whether the power was cut since the file was last seen."""
        self.shown: Content = None
        """What a reader saw since the last crash."""
        self.fault: str | None = None
        """What was planted and has not come yet."""
        self.tight = "capacity" in options or "size_max" in options
        """Whether space may run out."""
        self.faulted = False
        """Whether a fault was met in this session: what it left need not be as without it."""
        self.fired: str | None = None
        self._fired_at = 0
        self._options: dict[str, Any] = {}

    # Faults

    def plant(self, kind: str, **fault: Any) -> None:
        """A fault at a call still to come; ``kind`` is for ``seen``."""
        self.storage.clear()
        self.fault = kind

        def fire() -> None:
            self.fault, self.fired, self._fired_at = None, kind, len(self.storage.log) - 1
            self.faulted = True

        self.storage.add(Fault(before=fire, **fault))

    def _begin(self) -> None:
        self.fired = None

    def _attempt(self, call: Callable[[], object], *in_flight: Content, reserves: bool = False) -> bool:
        """Makes a call that may be cut short, leaving one of ``in_flight`` committed; whether it returned.

        Only a call that ``reserves`` space may find none.
        """
        self._begin()
        try:
            call()
        except ProcessDeath:
            self.seen["died in a call"] += 1
            self.history.maybe(*in_flight)
            self.let_go()
            return False
        except OSError as error:
            if self.fired is None and not (self.tight and reserves and error.errno in NO_SPACE):
                raise
            self._failed(error, *in_flight)
            return False
        if self.fired is not None:
            self.seen[f"survived: {self.fired}"] += 1
        self._check_space()
        return True

    def _check_space(self) -> None:
        """Just what is needed is reserved, after every call."""
        if self.file is not None and not self.file.closed and not self.faulted:
            self.storage.paused = True
            self.file._inode.assert_space()
            self.storage.paused = False

    def make_room(self, blocks: int) -> None:
        """So many blocks are free from now on, if there were fewer."""
        disk = self.machine.disk
        if disk.options.capacity is not None:
            more = max(blocks - disk.free_blocks(), 0) * BLOCK
            disk.options = replace(disk.options, capacity=disk.options.capacity + more)

    def _failed(self, error: OSError, *in_flight: Content) -> None:
        """An injected error came through: the handle is out of work, or nothing changed."""
        self.storage.clear()
        self.fault = None
        self.seen[f"failed: {self.fired or 'no space'}"] += 1
        if (
            self.fired
            and self.storage.log[self._fired_at] == "sync_directory"
            and None in self.history.legal(power=True)
        ):
            self.history.nameless = True
        if self.file is None or self.file.closed:
            self.history.maybe(*in_flight)
            self.let_go()
            return
        try:
            self.file.pread(1, 0)
        except untorn.HandleFailedError:
            self.seen["handle out of work"] += 1
            assert not isinstance(error, untorn.HandleFailedError), "the first error is the cause itself"
            self.history.maybe(*in_flight)
            for refused in (lambda: self.file.write(b"x"), self.file.commit, self.file.close):
                raises(untorn.HandleFailedError, refused)
            assert self.file.closed
            self.let_go()
        else:
            self.compare()
            self._check_space()

    def _whole(self) -> bytes:
        """The whole content, as the handle shows it."""
        self.storage.paused = True
        content: bytes = self.file.pread(1 << 30, 0)
        self.storage.paused = False
        return content

    def compare(self) -> None:
        """The handle shows what the model holds."""
        content = self._whole()
        assert content == self.content, History(self.content)._explain(content, False)
        assert self.file.tell() == self.position

    # Crashes

    def let_go(self) -> None:
        """The session is over without a close: nothing of it must act any more."""
        file, self.file = self.file, None
        if file is not None:
            file_module._live.pop(id(file), None)
            file._inode.forked()
        self.levels = []
        self.crashed = True
        self.kill()

    def kill(self) -> None:
        """The process dies, and another one takes its place."""
        self.storage.dead = True
        if self.file is not None:
            self.let_go()
            return
        self.machine.kill_process()
        self.storage = PausingStorage(self.machine)
        self.fault = None

    def cut_power(self, choose: Choose) -> None:
        """The process dies, and of what was not synced only what is chosen stays."""
        if self.file is not None:
            self.kill()
        self.machine = self.machine.power_cut(choose)
        # What is left of each file is of a time of its own, and all together may be more than the disk ever held.
        self.make_room(0)
        self.storage = PausingStorage(self.machine)
        self.fault = None
        self.power = True
        self.shown = None

    def after_cut(self, choose: Choose) -> Self:
        """What a power cut just now would leave; this machine runs on."""
        other = copy(self)
        other.machine = self.machine.power_cut(choose, at=self.machine.trace.now)
        other.storage = PausingStorage(other.machine)
        other.history = copy(self.history)
        other.history.states = list(self.history.states)
        other.file = other.fault = other.shown = None
        other.levels = []
        other.crashed = other.power = True
        return other

    def exists(self) -> bool:
        """Whether the file has a name."""
        return os.path.basename(PATH) in self.machine.listdir("/")


def raises(kind: type[BaseException], call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
