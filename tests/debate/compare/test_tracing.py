"""Traces of a few writes, steps from a text, and the file that a viewer opens."""

from __future__ import annotations

import json

import pytest

from untorn.debate.compare.devices import DEVICES
from untorn.debate.compare.perfetto import events
from untorn.debate.compare.runner import DESIGNS
from untorn.debate.compare.tracing import Line, StepsError, parse, trace
from untorn.debate.compare.workloads import SYNC, WORKLOADS, K, append, atomic, plain

TAKES = DEVICES["nvme-16k"]


def traced(design: str, workload: str = "mixed-overlapping") -> list[Line]:
    return trace(WORKLOADS[workload], design, TAKES)


def test_the_flag_goes_where_a_plain_write_comes_over_it() -> None:
    writes = [(line.folio, line.flags, line.blocks) for line in traced("folio-flag") if line.event == "write"]
    assert writes == [
        (0, "locked|uptodate|dirty|atomic", "AA__"),
        (0, "locked|uptodate|dirty", "DD__"),
        (1, "locked|uptodate|dirty|atomic", "AA__"),
    ]
    bios = [line.flags for line in traced("folio-flag") if line.event == "bio"]
    assert bios == ["REQ_OP_WRITE", "REQ_OP_WRITE|REQ_ATOMIC"]


def test_the_mapping_flag_writes_back_within_the_call_of_the_other_kind() -> None:
    lines = traced("mapping-flag")
    second = [line.number for line in lines if line.event == "pwrite"][1]
    assert [line.event for line in lines if line.call == second] == [
        "pwrite", "writeback", "bio", "end_writeback", "write",
    ]  # fmt: skip


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_step_belongs_to_the_call_before_it_and_the_last_call_is_the_close(design: str, workload: str) -> None:
    lines = traced(design, workload)
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    call = 0
    for line in lines:
        call = line.number if line.is_call else call
        assert line.call == call
    assert [line.event for line in lines if line.is_call][-1] == "close"


def test_steps_are_read_from_a_text() -> None:
    found = parse("steps", "size 32K  # at first\n\natomic 0 8K\natomic 8192 16k 8K\nwrite 4K 512\nsync\nappend 1K\n")
    assert found.short_size == 32 * K
    assert found.short == (
        atomic(0, 8 * K), atomic(8 * K, 16 * K, 8 * K), plain(4 * K, 512), SYNC, append(32 * K, K),
    )  # fmt: skip


def test_an_append_comes_behind_what_was_written_before() -> None:
    assert parse("", "size 4K\nappend 8K\nappend 4K").short == (append(4 * K, 8 * K), append(12 * K, 4 * K))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("jump 512", "expected size"),
        ("write 4K", "expected size"),
        ("write 0 100", "100: sizes and offsets are multiples of 512"),
        ("write 0 1G", "'1G' is no number"),
        ("write -512 512", "'-512' is no number"),
        ("write 0 0", "a write has a length"),
        ("atomic 0 8K 3K", "a multiple of the pages"),
        ("write 0 100M", "at most 64M"),
        ("sync\nsize 8K", "expected size"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(line: str, reason: str) -> None:
    with pytest.raises(StepsError, match=rf"^line {1 + line.count(chr(10))}: .*{reason}"):
        parse("steps", line)


@pytest.mark.parametrize("design", DESIGNS)
def test_the_perfetto_file_is_sound(design: str) -> None:
    found = json.loads(json.dumps(events(traced(design), "title")))["traceEvents"]
    threads = {one["tid"] for one in found if one["name"] == "thread_name"}
    begun: set[tuple[str, str, int]] = set()
    for one in found:
        assert one["pid"] == 1
        assert one["ph"] in "MXibeC"
        assert one["ph"] in "MC" or (one["tid"] in threads and one["ts"] > 0)
        if one["ph"] in "be":  # a viewer joins those that have all of these
            both = (one["cat"], one["name"], one["id"])
            assert (both in begun) is (one["ph"] == "e")
            begun ^= {both}
    assert not begun, "a folio is in writeback for ever"
    assert sum(one["ph"] == "X" and one["cat"] == "bio" for one in found) == sum(
        line.event == "bio" for line in traced(design)
    )
    assert any(one["ph"] == "b" for one in found), "no folio was ever in writeback"
