"""What a file may hold: the list of states that were committed, and how far back a crash may go."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

Content = bytes | None
"""Of a file; None where there is none."""


def stamp(serial: int, length: int) -> bytes:
    """Bytes that no other serial number gives, so that no two writes can be taken for one another."""
    return Random(serial).randbytes(length)


def overwritten(content: bytes, offset: int, data: bytes) -> bytes:
    """``content`` with ``data`` at ``offset``, as POSIX has it: a gap before it is zeros."""
    if not data:
        return content
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]


def resized(content: bytes, size: int) -> bytes:
    """``content`` cut or extended with zeros to ``size``."""
    return content[:size].ljust(size, b"\0")


class History:
    """States in the order in which they were, or may have been, committed.

    After a power cut any state from ``durable`` on is legal, after the death of the process alone any
    from ``issued`` on, for what was written stays in the kernel's cache.
    """

    def __init__(self, state: Content) -> None:
        self.states: list[Content] = [state]
        self.durable = 0
        self.issued = 0
        self.nameless = False
        """The sync of a new file's name failed: no sync will ever make it durable."""

    def maybe(self, *states: Content) -> None:
        """These may have been committed, in this order, but nobody was told."""
        self.states += states

    def commit(self, state: Content, *, durable: bool) -> None:
        """A commit of this state was acknowledged."""
        self.states.append(state)
        self.issued = len(self.states) - 1
        if durable:
            self.durable = self.issued

    def legal(self, *, power: bool) -> Sequence[Content]:
        """What the file may hold after a crash."""
        never_named = [None] if power and self.nameless else []
        return never_named + self.states[self.durable if power else self.issued :]

    def settle(self, state: Content, *, power: bool) -> None:
        """The file was seen to hold this state after a crash, a rollback or an error; it goes on from there."""
        legal = self.legal(power=power)
        assert state in legal, self._explain(state, power)
        if state is None and self.nameless:
            self.restart(None)
        last = len(self.states) - 1 - self.states[::-1].index(state)
        del self.states[last + 1 :]
        self.issued = last
        if power:
            self.durable = last

    def recovered(self, *, power: bool) -> None:
        """A writer opened the file after a crash, which made durable what it found, but for a file's name."""
        if power:
            self.issued = self.durable
        elif self.states[self.durable] is not None:
            self.durable = self.issued

    def restart(self, state: Content) -> None:
        """The file durably holds this state, whatever it held before."""
        self.states = [state]
        self.durable = self.issued = 0
        self.nameless = self.nameless and state is not None

    def _explain(self, state: Content, power: bool) -> str:
        crash = "a power cut" if power else "the death of the process, a rollback or an error"
        floor = self.durable if power else self.issued
        lines = [f"after {crash} the file holds {_shape(state)}, which is none of the states from {floor} on:"]
        lines += [f"  {at}: {_shape(one)}{_difference(one, state)}" for at, one in enumerate(self.states)]
        return "\n".join(lines)


def _shape(state: Content) -> str:
    return "no file" if state is None else f"{len(state)} bytes"


def _difference(one: Content, other: Content) -> str:
    """Where the two differ, so that a failure can be read."""
    if one == other:
        return " THE SAME"
    if one is None or other is None:
        return ""
    first = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    count = sum(a != b for a, b in zip(one, other, strict=False))
    return f", first difference at {first}, {count} bytes differ"
