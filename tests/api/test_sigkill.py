"""A real writer on a real file system, killed by SIGKILL at random moments.

The process dies, and the kernel keeps what was written: so every commit that had returned must be there, durable
or not. (What power failures leave is the simulator's matter.)
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import untorn
from tests.api.story import MODES, CommitMode, Step, Writer, steps
from tests.support.real_files import read, sidecar, snapshot
from untorn.log.format import SLOT_OFFSETS, SlotKind, decode_slot

FILES = 5
KILLS = 10
"""Of each file, one after the other: four modes make 200."""

_REPORT = struct.Struct("<cI")


class Report:
    """What the writer said before it died."""

    def __init__(self, data: bytes) -> None:
        self.ready = False
        self.issued = 0
        """The last state that it began to commit."""
        self.promised = 0
        """The last state whose commit had returned."""
        for at in range(0, len(data) // _REPORT.size * _REPORT.size, _REPORT.size):
            kind, number = _REPORT.unpack_from(data, at)
            assert kind != b"!", data[at + _REPORT.size :].decode()
            self.ready = True
            if kind == b"i":
                self.issued = number
            elif kind == b"p":
                self.promised = number


def work(path: Path, mode: CommitMode, seed: int, base: bytes, say: Callable[[bytes, int], object]) -> None:
    """The writer: reports each state before it is committed, and after that has returned."""
    writer = Writer(str(path), mode)
    say(b"r", 0)
    number = 0
    for step in steps(seed, mode, base):
        if step.state is not None:
            number += 1
            say(b"i", number)
        writer.do(step)
        if step.promises:
            say(b"p", number)


def kill(job: Callable[[Callable[[bytes, int], object]], None], reports: int, delay_s: float) -> Report:
    """Forks a writer and kills it so many seconds after so many reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            job(lambda kind, number: os.write(writing, _REPORT.pack(kind, number)))
        except BaseException:
            os.write(writing, _REPORT.pack(b"!", 0) + traceback.format_exc().encode())
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read(reports * _REPORT.size)
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
        said += pipe.read()
    os.waitpid(child, 0)
    return Report(said)


def legal(seed: int, mode: CommitMode, base: bytes, report: Report) -> list[bytes]:
    """The states that the file may have after a crash."""
    states = [base]
    stories = (step.state for step in steps(seed, mode, base) if step.state is not None)
    for number, state in enumerate(itertools.islice(stories, report.issued), start=1):
        if number == report.promised:
            states.clear()
        if number >= report.promised:
            states.append(state)
    return states


def describe(path: Path) -> str:
    """What the kill left, for the count of how many different moments were met."""
    if not sidecar(path).exists():
        return "no log"
    log = sidecar(path).read_bytes()
    slots = [decode_slot(log[at : at + 512]) for at in SLOT_OFFSETS]
    valid = [slot for slot in slots if slot is not None]
    if not valid:
        return "a log not begun"
    newest = max(valid, key=lambda slot: slot.generation)
    if newest.kind is SlotKind.CHECKPOINT:
        return "in a checkpoint"
    return "commits" if untorn.status(path).commits else "no commits"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("file", range(FILES))
def test_a_killed_writer_leaves_a_legal_commit(tmp_path: Path, mode: CommitMode, file: int) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"")
    base = b""
    chance = random.Random(f"{mode} {file}")
    for round_ in range(KILLS):
        seed = chance.randrange(1 << 30)
        # Some die within open, which recovers what the one before left.
        reports = chance.randrange(1, 30) if chance.random() < 0.8 else 0
        report = kill(lambda say: work(path, mode, seed, base, say), reports, chance.random() * 0.006)  # noqa: B023
        before = snapshot(tmp_path)
        with untorn.open(path, "rb") as reader:
            found = reader.read()
        assert snapshot(tmp_path) == before
        states = legal(seed, mode, base, report)
        assert any(found == state for state in states), (
            f"kill {round_} of seed {seed}: {len(found)} bytes, none of the {len(states)} states from "
            f"{report.promised} (returned) to {report.issued} (issued)"
        )
        if chance.random() < 0.4:
            untorn.recover(path)
            assert read(path) == found
            assert os.listdir(tmp_path) == [path.name]
        base = found


def test_the_kills_meet_many_different_moments(tmp_path: Path) -> None:
    """The control: a fair part of such kills leaves a log with commits in it, and some work behind them."""
    path = tmp_path / "data"
    path.write_bytes(b"")
    met: Counter[str] = Counter()
    for seed in range(25):
        with untorn.open(path, "rb") as reader:
            base = reader.read()
        report = kill(lambda say: work(path, "flush", seed, base, say), 1 + seed, 0.0003 * seed)  # noqa: B023
        met[describe(path)] += 1
        met["work done"] += report.promised > 3
    assert met["work done"] > 10, met
    assert met["commits"] + met["in a checkpoint"] > 5, met


def test_the_control_a_plain_writer_is_torn(tmp_path: Path) -> None:
    """The same kills tear an ordinary file that is overwritten page by page."""
    path = tmp_path / "data"
    pages = 300
    path.write_bytes(b"\0" * pages * 4096)

    def plainly(say: Callable[[bytes, int], object]) -> None:
        with path.open("r+b", buffering=0) as file:
            say(b"r", 0)
            for number in itertools.count(1):
                file.seek(0)
                for _ in range(pages):
                    file.write(bytes([number % 251]) * 4096)

    torn = 0
    for seed in range(15):
        kill(plainly, 1, 0.001 * seed)
        torn += len(set(read(path))) > 1
    assert torn > 0


@pytest.mark.parametrize("mode", MODES)
def test_the_writer_does_what_its_story_says(tmp_path: Path, mode: CommitMode) -> None:
    """The control of the story: undisturbed, the file is what the model says at every commit."""
    path = tmp_path / "data"
    path.write_bytes(b"")
    writer = Writer(str(path), mode)
    stats: Counter[str] = Counter()
    last: Step | None = None
    for step in itertools.islice(steps(5, mode, b""), 150):
        if step.call == "reopen":
            stats.update(writer.file.stats())
        writer.do(step)
        if step.state is not None:
            assert writer.file.pread(1 << 20, 0) == step.state, step.call
        last = step
    assert last is not None
    stats.update(writer.file.stats())
    writer.file.close()
    assert stats["checkpoints"] > 2
    assert stats["bytes_to_log"] > 1 << 20
