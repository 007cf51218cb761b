"""What the designs cost, counted in the trace; and how a program splits its writes by what a design takes."""

from __future__ import annotations

import pytest

from untorn.debate.compare.costs import Costs, costs
from untorn.debate.compare.devices import DEVICES
from untorn.debate.compare.runner import DESIGNS, Call, calls_of, takes
from untorn.debate.compare.workloads import COMBINED, SYNC, WORKLOADS, K, append, atomic, plain
from untorn.storage.interface import RWF_APPEND, RWF_ATOMIC, AtomicLimits

PAGE = 8 * K
TAKES = "nvme-16k"
SIXTEEN = AtomicLimits(4 * K, 16 * K, 0, 1)
ANY = AtomicLimits(1, 1 << 40, 0, 1 << 40)


def counted(workload: str, design: str, device: str = TAKES) -> Costs:
    return costs(WORKLOADS[workload], design, DEVICES[device])


@pytest.mark.parametrize("design", DESIGNS)
def test_what_the_trace_says_is_what_the_design_itself_counts(design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from untorn.debate.compare import costs as counting
    from untorn.debate.compare.runner import open_file

    opened = []

    def remembered(*arguments: object) -> object:
        opened.append(open_file(*arguments))  # type: ignore[arg-type]
        return opened[-1]

    monkeypatch.setattr(counting, "open_file", remembered)
    found = counted("random-8k", design)
    (file,) = opened
    stats = file._inode.design.stats()
    if design == "cow":
        assert found.bytes >= stats["bytes_to_log"] + stats["bytes_to_home"] > 0
    else:
        assert (found.bios, found.atomic_bios, found.bytes) == (
            stats["bios"], stats["atomic_bios"], stats["bytes_to_home"],
        )  # fmt: skip


def test_only_the_folio_flag_spends_bits_on_folios_and_only_the_mapping_flag_on_files() -> None:
    bits = {design: (found.folio_bits, found.file_bits) for design in DESIGNS for found in [counted("hot", design)]}
    assert {design for design, (folio, _) in bits.items() if folio} == {"folio-flag"}
    assert {design for design, (_, file) in bits.items() if file} == {"mapping-flag"}


def test_a_mix_makes_the_mapping_flag_write_early_and_nothing_else_does() -> None:
    assert counted("mixed-apart", "mapping-flag").forced > 0
    assert counted("random-8k", "mapping-flag").forced == 0
    assert counted("mixed-apart", "folio-flag").forced == 0


def test_writethrough_sends_hot_pages_each_time_and_writeback_once() -> None:
    through, back = counted("hot", "writethrough"), counted("hot", "folio-flag")
    assert through.bios == through.calls == 192
    assert through.bytes == through.user_bytes > 3 * back.bytes


def test_a_combined_write_is_one_bio_only_where_the_whole_of_it_is_taken() -> None:
    assert counted("combined", "writethrough", "nvme-128k").mean_bio == COMBINED
    assert counted("combined", "writethrough", TAKES).mean_bio == 16 * K
    assert counted("combined", "cow", TAKES).calls == 24


def test_a_program_asks_for_as_few_calls_as_the_limits_allow() -> None:
    whole = RWF_ATOMIC
    assert list(calls_of(atomic(8 * K, 24 * K, PAGE), SIXTEEN)) == [
        Call(8 * K, PAGE, whole),
        Call(16 * K, 16 * K, whole),
    ]
    assert list(calls_of(atomic(8 * K, 24 * K, PAGE), ANY)) == [Call(8 * K, 24 * K, whole)]
    assert list(calls_of(atomic(0, 32 * K), SIXTEEN)) == [Call(0, 32 * K)]
    assert list(calls_of(plain(0, PAGE), ANY)) == [Call(0, PAGE)]
    assert list(calls_of(append(PAGE, PAGE), SIXTEEN)) == [Call(PAGE, PAGE, whole | RWF_APPEND)]
    assert [call.is_sync for call in calls_of(SYNC, SIXTEEN)] == [True]


def test_a_page_of_an_odd_size_is_taken_by_copy_on_write_alone() -> None:
    for odd in (atomic(0, 12 * K), atomic(4 * K, PAGE), append(512, 4 * K)):
        assert not takes(SIXTEEN, odd)
        assert takes(ANY, odd)
    assert takes(SIXTEEN, atomic(PAGE, PAGE))
    assert not takes(AtomicLimits(), atomic(0, 4 * K))
    assert not takes(ANY, plain(0, PAGE))


def test_what_was_not_recorded_says_that_it_was_generated() -> None:
    assert WORKLOADS["checkpoint"].generated.startswith("generated")
