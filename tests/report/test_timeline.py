"""Layouts of timelines: order, room, what is too much for a picture."""

from __future__ import annotations

from itertools import pairwise

from untorn.report.timeline import LANES_MAX, Cut, Event, lay_out


def writes(count: int, lanes: int = 1) -> list[Event]:
    """One write after the other, on each lane in turn."""
    return [
        Event(f"/f{n % lanes}", "write", 10 * n + 1, 10 * n + 2, f"write {n}", n, label="4 KiB") for n in range(count)
    ]


def test_marks_follow_one_another_and_gaps_in_time_take_no_room() -> None:
    line = lay_out(writes(20))
    xs = [mark.x for mark in line.marks]

    assert xs == sorted(xs)
    assert len({round(b - a, 6) for a, b in pairwise(xs)}) == 1
    assert all(mark.x >= 0 and mark.x + mark.width <= line.width for mark in line.marks)


def test_a_cut_lies_between_what_came_before_and_what_came_after() -> None:
    line = lay_out(writes(3), [Cut(12, "crash", "why")])
    (cut,) = line.lines

    assert line.marks[1].x + line.marks[1].width <= cut.x <= line.marks[2].x


def test_a_cut_within_an_operation_lies_within_its_bar() -> None:
    line = lay_out(writes(3), [Cut(11, "crash", "why")])

    assert line.marks[1].x <= line.lines[0].x <= line.marks[1].x + line.marks[1].width


def test_cuts_at_one_place_share_a_line() -> None:
    line = lay_out(writes(3), [Cut(12, "crash 1", "a"), Cut(15, "crash 2", "b"), Cut(2, "crash 3", "c")])

    assert [(cut.label, cut.title) for cut in line.lines] == [("crash 3", "c"), ("crash 1, crash 2", "a\nb")]


def test_what_never_returned_reaches_the_end() -> None:
    events = [*writes(3), Event("/f0", "sync", 31, None, "sync", 3)]
    line = lay_out(events)

    assert line.marks[-1].x + line.marks[-1].width > max(mark.x + mark.width for mark in line.marks[:-1])


def test_a_lane_holds_what_was_done_to_it_and_what_was_told_is_last() -> None:
    events = [
        Event("told", "told", 1, 2, "ack", 0),
        Event("/a", "name", 3, 4, "rename", 1, target="/b"),
        Event("/b", "write", 5, 6, "write", 2),
    ]
    line = lay_out(events)

    assert [lane.label for lane in line.lanes] == ["/a", "/b", "told"]
    told, rename, write = line.marks
    assert rename.target_y == line.lanes[1].y
    assert line.lanes[1].y < write.y < line.lanes[2].y < told.y


def test_many_files_share_the_last_lane() -> None:
    line = lay_out(writes(100, lanes=40))

    assert len(line.lanes) == LANES_MAX
    assert line.lanes[-1].label == f"{40 - LANES_MAX + 1} other files"
    assert len(line.marks) == 100


def test_three_thousand_operations_are_all_there_with_an_overview_that_fits() -> None:
    line = lay_out(writes(3000), [Cut(29_000, "crash", "why")])

    assert len(line.marks) == 3000
    assert line.width > 3000
    assert line.buckets
    assert all(0 <= one.x <= 1000 - line.bucket + 0.01 and 0 <= one.y <= 40 for one in line.buckets)
    assert 950 < line.bucket_lines[0].x < 1000
    assert not lay_out(writes(30)).buckets


def test_nothing_is_a_timeline_too() -> None:
    assert lay_out([]).marks == []


def test_a_label_stands_in_a_bar_only_where_it_fits() -> None:
    wide, narrow = lay_out(writes(1, 1)), lay_out(writes(300))

    assert [mark.label for mark in narrow.marks] == [""] * 300
    assert all(len(mark.label) * 6 <= mark.width for mark in wide.marks)
