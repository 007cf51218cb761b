"""A live writer on a real file, killed by SIGKILL in mid-work, again and again.

This is the death of a process, not of the power: the kernel keeps what was written, synced or not. What dies is
the rest of the transaction.
"""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Final

from untorn.api.functions import recover, status
from untorn.demo.cuts import Kind, Tick
from untorn.demo.pattern import PAGE, Pattern
from untorn.demo.subject import Subject
from untorn.errors import UntornError
from untorn.log.writer import log_path
from untorn.sizes import SECTOR

PATIENCE_S: Final = 30.0
"""Seconds that a writer may take to its first commit."""


class WriterError(Exception):
    """The writer ended by itself or did not start: nothing was shown."""


@dataclass(frozen=True)
class KillEffort:
    """How often, and what is written meanwhile."""

    kills: int = 8
    pages: int = 64
    """In each transaction, of 16 KiB each."""
    delay_s: float = 0.12
    """Longest time from a writer's first acknowledged transaction to its end."""
    limit_s: float = 10.0
    """On a slow disk there are fewer kills, but always two."""


@dataclass
class Kills:
    """What the kills left."""

    kind: Kind
    kills: int = 0
    acknowledged: int = 0
    """Transactions that the writers said were durable."""
    torn: int = 0
    """Kills after which the file was not exactly one commit."""
    lost: int = 0
    """Kills after which an acknowledged transaction was missing."""
    refused: int = 0
    """Kills after which recovery failed."""
    logs: int = 0
    """Kills that left commits in a log, for recovery to bring home."""
    recovered: int = 0
    """Commits that it brought home."""
    example: str = ""

    @property
    def bad(self) -> int:
        """Kills after which the file was neither the last acknowledged commit nor a later one."""
        return self.torn + self.lost + self.refused


@dataclass
class Expected:
    """What the file holds after a transaction, found by going through them all."""

    original: bytes
    pattern: Pattern
    transaction: int = 0
    written: dict[int, int] = field(default_factory=dict)
    """By page: the transaction that last wrote it."""

    def advance(self, transaction: int) -> None:
        """Goes forward to the state after ``transaction``."""
        while self.transaction < transaction:
            self.transaction += 1
            self.written.update(dict.fromkeys(self.pattern.places(self.transaction), self.transaction))

    def copy(self) -> Expected:
        """The same, to go forward alone."""
        return Expected(self.original, self.pattern, self.transaction, dict(self.written))

    def page(self, page: int) -> bytes:
        """What the page must hold."""
        transaction = self.written.get(page)
        if transaction is None:
            return self.original[page * PAGE : (page + 1) * PAGE]
        return self.pattern.page(transaction, page)

    def pages(self) -> range:
        """All pages, the last one perhaps a part only."""
        return range(-(-len(self.original) // PAGE))


def kill_writers(kind: Kind, subject: Subject, effort: KillEffort, seed: int, tick: Tick) -> Kills:
    """Lets writers write on the copy, each where the last one stopped, and kills each of them in mid-work.

    The copy is as it was at first when this returns. WriterError if a writer fails by itself.
    """
    pages = len(subject.original) // PAGE
    pattern = Pattern(seed, pages, min(effort.pages, pages))
    expected = Expected(subject.original, pattern)
    chance = random.Random(seed)
    kills = Kills(kind)
    limit = time.monotonic() + effort.limit_s
    for number in range(effort.kills):
        delay = chance.uniform(0, effort.delay_s)
        acknowledged = _kill_one(kind, subject.path, pattern, expected.transaction + 1, delay)
        kills.kills += 1
        kills.acknowledged += max(acknowledged - expected.transaction, 0)
        if kind is Kind.UNTORN and not _recovered(subject.path, kills):
            break
        expected.advance(acknowledged)
        verdict = judge(subject.path, expected)
        if verdict:
            kills.torn += verdict == "torn"
            kills.lost += verdict == "lost"
            kills.example = kills.example or f"kill {number + 1}, after transaction {acknowledged}: {verdict}"
            _put_right(subject.path, expected)
        tick((number + 1) / effort.kills)
        if time.monotonic() > limit and number:
            break
    _put_right(subject.path, Expected(subject.original, pattern))
    return kills


def _recovered(path: str, kills: Kills) -> bool:
    """Recovery as the next open would do it; False if it fails, which leaves the user without his file."""
    try:
        kills.logs += status(path).commits > 0
        kills.recovered += recover(path)
    except (UntornError, OSError) as error:
        kills.refused += 1
        kills.example = kills.example or f"recovery failed: {error}"
        return False
    return True


def judge(path: str, expected: Expected) -> str:
    """Whether the file is exactly one commit, at or after the expected one, to which ``expected`` then advances.

    Returns "" if so, else "torn" or "lost". Any program's read serves: recovery left an ordinary file.
    """
    if os.path.lexists(log_path(path)):
        return "torn"
    with open(path, "rb") as file:
        data = file.read()
    newest = _newest(data, expected)
    lost = newest < expected.transaction
    state = Expected(expected.original, expected.pattern) if lost else expected.copy()
    state.advance(newest)
    whole = len(data) == len(state.original) and all(
        data[page * PAGE : (page + 1) * PAGE] == state.page(page) for page in state.pages()
    )
    if not whole:
        return "torn"
    if lost:
        return "lost"
    expected.advance(newest)
    return ""


def _newest(data: bytes, expected: Expected) -> int:
    """The newest transaction of which a sector is there: each one writes some, so the file is it or none."""
    newest = 0
    for start in range(0, len(data), PAGE):
        page = data[start : start + PAGE]
        if page != expected.original[start : start + PAGE]:
            sectors = (page[at : at + SECTOR] for at in range(0, len(page), SECTOR))
            newest = max(newest, *map(expected.pattern.transaction_of, sectors))
    return newest


def _put_right(path: str, expected: Expected) -> None:
    """Writes the expected content."""
    with open(path, "r+b") as file:
        file.truncate(len(expected.original))
        for page in expected.pages():
            content = expected.page(page)
            if os.pread(file.fileno(), len(content), page * PAGE) != content:
                os.pwrite(file.fileno(), content, page * PAGE)
        os.fsync(file.fileno())


def _kill_one(kind: Kind, path: str, pattern: Pattern, first: int, delay_s: float) -> int:
    """Starts a writer, kills it some time after its first transaction; returns the last one it acknowledged."""
    numbers = (pattern.seed, pattern.pages, pattern.pages_each, first)
    # -P: a directory that happens to be called untorn in the current one must not be run.
    command = [sys.executable, "-P", "-m", "untorn.demo.writer", path, kind, *map(str, numbers)]
    with _running(command) as (writer, output, errors):
        ready, _, _ = select.select([output], [], [], PATIENCE_S)
        told = os.read(output.fileno(), 1 << 16) if ready else b""
        if told:
            time.sleep(delay_s)
        alive = writer.poll() is None
        writer.kill()  # SIGKILL
        writer.wait()
        told += output.read()
        if not alive or not told:
            errors.seek(0)
            last = errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise WriterError(f"the writer did not run ({last or 'it said nothing'}); nothing was shown")
    # A line without its end was not told.
    return int(told[: told.rindex(b"\n")].rpartition(b"\n")[2])


@contextmanager
def _running(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]]:
    """The process, what it tells and what it complains of; gone afterwards, whatever happens."""
    with tempfile.TemporaryFile() as errors:
        # A session of its own: Ctrl-C is for us, and the writer is to die of SIGKILL only.
        writer = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, bufsize=0
        )
        assert writer.stdout is not None
        try:
            with writer.stdout as output:
                yield writer, output, errors
        finally:
            writer.kill()
            writer.wait()
