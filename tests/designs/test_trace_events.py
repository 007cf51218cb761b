"""What a trace shows: each step of a write on its way to disk, with flags as the kernel prints them."""

from __future__ import annotations

from tests.support.atomic_machine import ALL, BLOCK, FOLIO, machine, opened
from untorn import RWF_ATOMIC, RWF_DSYNC, TraceEvent

NEW = b"n" * FOLIO


def story(design: str) -> list[TraceEvent]:
    """An atomic write, a plain one of another folio, and a flush."""
    steps: list[TraceEvent] = []
    with opened(machine(), design) as file:
        file.pwrite(b"", 0, RWF_DSYNC)
        file.set_trace(steps.append)
        if design != "plain":
            file.pwrite(NEW[: 2 * BLOCK], 0, RWF_ATOMIC)
        file.pwrite(b"p", FOLIO + 10)
        file.flush()
        file.set_trace(None)
        file.pwrite(b"not told", 0)
    return steps


def test_the_way_of_a_write_under_the_rfc() -> None:
    assert story("folio-flag") == [
        TraceEvent("write", 0, "locked|uptodate|dirty|atomic", "AA__", 0, FOLIO),
        TraceEvent("write", 1, "locked|uptodate|dirty", "D___", FOLIO, FOLIO),
        TraceEvent("writeback", 0, "uptodate|atomic|writeback", "AA__", 0, FOLIO),
        TraceEvent("writeback", 1, "uptodate|writeback", "D___", FOLIO, FOLIO),
        TraceEvent("bio", flags="REQ_OP_WRITE|REQ_ATOMIC", offset=0, length=2 * BLOCK, target="home"),
        TraceEvent("bio", flags="REQ_OP_WRITE", offset=FOLIO, length=BLOCK, target="home"),
        TraceEvent("end_writeback", 0, "uptodate", "____", 0, FOLIO),
        TraceEvent("end_writeback", 1, "uptodate", "____", FOLIO, FOLIO),
        TraceEvent("fsync", target="home"),
    ]


def test_the_way_of_a_write_with_a_flag_on_the_mapping() -> None:
    steps = story("mapping-flag")
    assert not any("atomic" in step.flags for step in steps)
    assert [(step.event, step.folio) for step in steps] == [
        ("write", 0),
        ("writeback", 0),
        ("bio", -1),
        ("end_writeback", 0),
        ("write", 1),
        ("writeback", 1),
        ("bio", -1),
        ("end_writeback", 1),
        ("fsync", -1),
    ]


def test_the_way_of_a_write_through() -> None:
    assert story("writethrough") == [
        TraceEvent("write", 0, "locked|uptodate|writeback", "DD__", 0, FOLIO),
        TraceEvent("bio", flags="REQ_OP_WRITE|REQ_ATOMIC", offset=0, length=2 * BLOCK, target="home"),
        TraceEvent("end_writeback", 0, "uptodate", "____", 0, FOLIO),
        TraceEvent("write", 1, "locked|uptodate|writeback", "D___", FOLIO, FOLIO),
        TraceEvent("bio", flags="REQ_OP_WRITE", offset=FOLIO, length=BLOCK, target="home"),
        TraceEvent("end_writeback", 1, "uptodate", "____", FOLIO, FOLIO),
        TraceEvent("fsync", target="home"),
    ]


def test_the_way_of_a_write_by_copy_on_write() -> None:
    steps = story("cow")
    assert [(step.event, step.folio, step.flags) for step in steps] == [
        ("write", 0, "locked|uptodate|dirty"),
        ("write", 1, "locked|uptodate|dirty"),
        ("writeback", 0, "uptodate|writeback"),
        ("writeback", 1, "uptodate|writeback"),
        ("bio", -1, "REQ_OP_WRITE"),
        ("end_writeback", 0, "uptodate"),
        ("end_writeback", 1, "uptodate"),
        ("fdatasync", -1, ""),
    ]
    assert {step.target for step in steps if step.event in ("bio", "fdatasync")} == {"log"}


def test_the_way_of_a_commit_in_home_and_of_a_checkpoint() -> None:
    steps: list[TraceEvent] = []
    file = opened(machine(), "cow")
    file.set_trace(steps.append)
    file.pwrite(NEW, FOLIO, RWF_ATOMIC | RWF_DSYNC)
    assert steps[-3:] == [
        TraceEvent("bio", flags="REQ_OP_WRITE|REQ_ATOMIC", offset=FOLIO, length=FOLIO, target="home"),
        TraceEvent("end_writeback", 1, "uptodate", "____", FOLIO, FOLIO),
        TraceEvent("fdatasync", target="home"),
    ]
    file.pwrite(b"ab", 5)
    file.close()
    assert steps[-3:] == [
        TraceEvent("fdatasync", target="log"),
        TraceEvent("checkpoint", length=BLOCK, target="home"),
        TraceEvent("fsync", target="home"),
    ]


def test_the_way_of_a_plain_write() -> None:
    assert [(step.event, step.length, step.flags) for step in story("plain")] == [
        ("write", FOLIO, "locked|uptodate|dirty"),
        ("writeback", FOLIO, "uptodate|writeback"),
        ("bio", 1, "REQ_OP_WRITE"),
        ("end_writeback", FOLIO, "uptodate"),
        ("fsync", 0, ""),
    ]


def test_every_bio_is_told_and_counted() -> None:
    for design in ALL[:-1]:
        steps: list[TraceEvent] = []
        with opened(machine(), design) as file:
            file.set_trace(steps.append)
            for number in (5, 1, 2):
                file.pwrite(NEW, number * FOLIO)
            file.flush()
            told = [step for step in steps if step.event == "bio"]
            stats = file.stats()
            assert (stats["bios"], stats["bytes_to_home"]) == (len(told), sum(step.length for step in told))


def test_without_an_observer_a_write_calls_nothing_more() -> None:
    """The hot path is bound once: what it costs to be able to trace is nothing."""
    with opened(machine(), "cow") as file:
        assert file._write == file._inode.write
        file.set_trace(print)
        assert file._write == file._inode.write_traced
        file.set_trace(None)
        assert file._write == file._inode.write
