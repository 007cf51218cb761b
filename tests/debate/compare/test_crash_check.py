"""Which designs tear which workloads, by the explorer. Hardware that writes atomically is simulated here."""

from __future__ import annotations

import pytest

from untorn.debate.compare.crash_check import Crashes, Explorer, Verdict
from untorn.debate.compare.devices import DEVICES
from untorn.debate.compare.page_stamps import Known, Page, overwritten, stamped
from untorn.debate.compare.runner import DESIGNS
from untorn.debate.compare.workloads import SYNC, WORKLOADS, K, Workload, atomic, plain
from untorn.sizes import SECTOR

PAGE = 8 * K
TAKES = "nvme-16k"
"""A device whose atomic writes are large enough for every page here."""
EXPLORER = Explorer(count=0)
ATOMIC = tuple(design for design in DESIGNS if design != "plain")


def crashes(workload: str, design: str, device: str = TAKES) -> Crashes:
    return EXPLORER.crashes(WORKLOADS[workload], design, DEVICES[device])


@pytest.mark.parametrize("workload", WORKLOADS)
def test_plain_tears_in_every_workload(workload: str) -> None:
    found = crashes(workload, "plain")
    assert found.torn
    assert found.headline.startswith("torn: ")
    assert "The power fails after operation" in found.story, "nobody is told how"


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("device", ["none", TAKES, "nvme-128k"])
def test_copy_on_write_is_whole_in_every_state_with_and_without_atomic_devices(workload: str, device: str) -> None:
    found = crashes(workload, "cow", device)
    assert found.verdict is Verdict.WHOLE
    assert found.complete
    assert found.certified or "RWF_ATOMIC" in found.uncertified


def test_copy_on_write_is_certified_where_the_device_has_no_atomic_writes() -> None:
    assert all(crashes(workload, "cow", "none").certified for workload in ("random-8k", "mixed-overlapping"))


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("design", ["mapping-flag", "writethrough"])
def test_a_flag_on_the_mapping_and_writethrough_are_whole_in_every_state(workload: str, design: str) -> None:
    found = crashes(workload, design)
    assert found.verdict is Verdict.WHOLE
    assert found.complete


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_flag_on_the_folio_tears_exactly_where_a_plain_write_came_over_it(workload: str) -> None:
    found = crashes(workload, "folio-flag")
    if workload == "mixed-overlapping":
        assert found.verdict is Verdict.LOST
        assert "write 1 at 0" in found.headline, "another page than the one that was written over"
        assert found.kept.startswith(("certified", "no bad state")), "the other pages were not explored"
    else:
        assert found.verdict is Verdict.WHOLE
        assert found.complete


def test_a_sync_before_the_plain_write_keeps_the_promise_of_the_folio_flag() -> None:
    synced = Workload("synced", "", 4 * PAGE, (atomic(0, PAGE), SYNC, plain(0, 4 * K), SYNC), 0, ())
    assert Explorer(count=0).crashes(synced, "folio-flag", DEVICES[TAKES]).verdict is Verdict.WHOLE


@pytest.mark.parametrize("design", ATOMIC[:-1])
@pytest.mark.parametrize("device", ["none", "nvme-4k"])
def test_a_device_that_cannot_write_the_page_whole_is_no_reason_to_claim_it(design: str, device: str) -> None:
    assert crashes("random-8k", design, device).verdict is Verdict.REFUSED


def test_a_design_that_tears_what_it_took_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a writethrough that leaves REQ_ATOMIC out of its bios."""
    from untorn.designs.bio import Bio
    from untorn.kernel_designs.writethrough import WriteThrough

    whole = WriteThrough.submit

    def torn(self: WriteThrough, bio: Bio, flags: int = 0) -> None:
        whole(self, bio._replace(atomic=False), flags)

    monkeypatch.setattr(WriteThrough, "submit", torn)
    found = Explorer(count=0).crashes(WORKLOADS["random-8k"], "writethrough", DEVICES[TAKES])
    assert found.verdict is Verdict.TORN


def test_a_boundary_changes_no_crash_state() -> None:
    explorer = Explorer(count=0)
    for design in ATOMIC:
        found = [explorer.crashes(WORKLOADS["hot"], design, DEVICES[name]) for name in (TAKES, f"{TAKES}-b128k")]
        assert found[0] is found[1], "other operations were written"


# The oracle


def known() -> Known:
    return Known(4 * PAGE, [(1, atomic(0, PAGE)), (2, plain(0, 4 * K)), (3, atomic(PAGE, PAGE))])


def shown(*serials: int, size: int = 4 * PAGE) -> bytes:
    """A file whose sectors are of these writes, and the last of them to the end."""
    of = [*serials, *[serials[-1]] * (size // SECTOR - len(serials))]
    return b"".join(stamped(serial, at * SECTOR, SECTOR) for at, serial in enumerate(of))


@pytest.mark.parametrize(
    ("serials", "torn"),
    [
        ([0], False),
        ([1] * 16 + [0], False),
        ([1] * 15 + [0], True),
        ([0] * 15 + [1, 0], True),
        ([2] * 8 + [1] * 8 + [0], False),
        ([2] * 8 + [0], False),
        ([2] * 3 + [1] * 13 + [0], False),
        ([2] * 8 + [1] * 7 + [0], True),
    ],
)
def test_a_page_is_torn_if_some_of_it_is_new_and_some_older(serials: list[int], torn: bool) -> None:
    page = Page(1, 0, PAGE)
    if torn:
        with pytest.raises(AssertionError, match=r"^torn: of the 8,192 bytes of write 1 at 0, "):
            known().judge(shown(*serials), page)
    else:
        known().judge(shown(*serials), page)


def test_zeros_and_a_file_that_ends_before_count_as_older() -> None:
    page = Page(1, 0, PAGE)
    known().judge(bytes(PAGE), page)
    known().judge(b"", page)
    for half in (shown(1)[: PAGE // 2], shown(1)[: PAGE // 2] + bytes(PAGE // 2)):
        with pytest.raises(AssertionError, match=r"^torn: "):
            known().judge(half, page)


def test_what_nobody_wrote_is_garbage() -> None:
    for content in (b"x" * PAGE, stamped(1, SECTOR, PAGE)):
        with pytest.raises(AssertionError, match=r"^garbage: sector 0"):
            known().judge(content, Page(1, 0, PAGE))


def test_only_a_plain_write_before_the_sync_is_a_mix() -> None:
    page = Page(1, 0, PAGE)
    first = atomic(0, PAGE)
    assert overwritten(page, [first, plain(4 * K, 4 * K)])
    assert not overwritten(page, [first, plain(PAGE, 4 * K)])
    assert not overwritten(page, [first, atomic(0, PAGE)])
    assert not overwritten(page, [first, SYNC, plain(0, 4 * K)])
    assert not overwritten(Page(2, 0, PAGE), [plain(0, PAGE), first])
