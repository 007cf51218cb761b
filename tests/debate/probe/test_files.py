"""Linux's own files and untorn's, in every design, on file systems with and without atomic writes."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

import pytest

import untorn
from tests.debate.probe.simulated import LIMITS, size_limit
from tests.debate.probe.test_assertions import named, outcome_of, silent
from tests.support.mounts import mounted
from untorn.api.options import DesignName
from untorn.crashmodel.storage import SimulatedStorage
from untorn.debate.probe import NO_ATOMIC_WRITES, Findings, Verdict, probe
from untorn.debate.probe.assertions import ASSERTIONS
from untorn.debate.probe.scratch_file import Scratch, Subject, Unsupported
from untorn.debate.probe.targets import LinuxSubject, UntornScratch, UntornSubject
from untorn.designs.cow import CopyOnWrite
from untorn.storage.interface import AtomicLimits

DESIGNS: tuple[DesignName, ...] = get_args(DesignName)
CLAIMING = tuple(design for design in DESIGNS if design != "plain")
HOLES = {"size-limit", "append", "append-place"}
"""What does not hold in Linux 6.18."""
FOR_LINUX_ONLY = {"fault", "read", "unwritten", "shared", "dirty-cache", "mapping"}
"""What untorn's file has no call for."""


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[str]:
    with mounted("xfs", tmp_path) as folder:
        yield str(folder)


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[str]:
    with mounted("ext4", tmp_path) as folder:
        yield str(folder)


def names(found: Findings, verdict: Verdict) -> set[str]:
    return {outcome.name for outcome in found.outcomes if outcome.verdict is verdict}


def failures(found: Findings) -> list[tuple[str, str]]:
    return [(outcome.name, outcome.detail) for outcome in found.outcomes if outcome.verdict is Verdict.FAIL]


@pytest.mark.needs_root
def test_direct_writes_on_xfs_hold_but_for_the_holes_that_are_known(xfs: str) -> None:
    found = probe(LinuxSubject(xfs, direct=True), silent)

    if found.lacking == NO_ATOMIC_WRITES:
        pytest.skip("this kernel has no atomic writes on XFS without such a device")
    assert found.lacking is None
    assert {name for name, _ in failures(found)} <= HOLES
    assert names(found, Verdict.UNSUPPORTED) <= {"no-promise", "shared"}
    assert len(found.outcomes) == len(ASSERTIONS)


@pytest.mark.needs_root
@pytest.mark.parametrize("direct", [True, False])
def test_ext4_without_such_a_device_offers_none_and_refuses_all(ext4: str, direct: bool) -> None:
    found = probe(LinuxSubject(ext4, direct=direct), silent)

    assert found.lacking == NO_ATOMIC_WRITES
    assert names(found, Verdict.PASS) == {"no-promise"}
    assert failures(found) == []


@pytest.mark.needs_root
def test_buffered_writes_on_xfs_are_refused(xfs: str) -> None:
    found = probe(LinuxSubject(xfs, direct=False), silent)

    assert names(found, Verdict.PASS) == {"no-promise"}
    assert failures(found) == []


def check_untorn(subject: UntornSubject, *, claims: bool) -> None:
    found = probe(subject, silent)

    assert failures(found) == []
    if not claims:
        assert found.lacking == NO_ATOMIC_WRITES
        assert names(found, Verdict.PASS) == {"no-promise"}
        return
    assert found.lacking is None
    any_size = found.limits.unit_min == 1
    untried = {"no-promise"} | FOR_LINUX_ONLY | ({"too-small", "too-large"} if any_size else set())
    assert names(found, Verdict.UNSUPPORTED) == untried
    assert names(found, Verdict.PASS) >= HOLES
    assert any(outcome.relaxed for outcome in found.outcomes) == any_size


@pytest.mark.needs_root
@pytest.mark.parametrize("design", DESIGNS)
def test_untorn_on_xfs_passes_in_every_design_and_has_no_hole(xfs: str, design: DesignName) -> None:
    if not probe(LinuxSubject(xfs, direct=True), silent, [named("limits")]).limits.unit_min:
        pytest.skip("this kernel has no atomic writes on XFS without such a device")
    check_untorn(UntornSubject(xfs, design), claims=design != "plain")


@pytest.mark.parametrize("design", DESIGNS)
def test_untorn_passes_in_every_design_that_claims_atomicity_here(tmp_path: Path, design: DesignName) -> None:
    kernel = probe(LinuxSubject(str(tmp_path), direct=True), silent, [named("limits")]).limits

    check_untorn(
        UntornSubject(str(tmp_path), design), claims=design == "cow" or (design != "plain" and kernel.unit_min > 0)
    )


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(
    "limits", [LIMITS, AtomicLimits(4096, 16384, 0, 1), AtomicLimits(4096, 1 << 20, 0, 1), AtomicLimits()]
)
def test_untorn_on_a_simulated_device_passes_in_every_design(design: DesignName, limits: AtomicLimits) -> None:
    storage = SimulatedStorage(atomic=limits)
    claims = design == "cow" or (design != "plain" and limits.unit_min > 0)

    check_untorn(SimulatedUntorn("/", design, storage=storage), claims=claims)


class SimulatedUntorn(UntornSubject):
    """On a simulated machine it is that machine that limits the size of files."""

    def create(self) -> Scratch:
        storage = self._storage

        class Limited(UntornScratch):
            def limited(self, size: int) -> AbstractContextManager[None]:
                assert isinstance(storage, SimulatedStorage)
                return size_limit(storage, size)

        return Limited(f"/file-{next(self._numbers)}", self._design, storage)


def test_control_a_design_that_loses_a_part_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = CopyOnWrite.read_folio
    monkeypatch.setattr(CopyOnWrite, "read_folio", lambda self, index: whole(self, index)[:-1] + b"\0")

    found = probe(UntornSubject(str(tmp_path), "cow"), silent)

    assert found.failures > 0


def test_control_a_short_write_of_untorn_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = untorn.File.pwritev

    def short(self: untorn.File, buffers: list[bytes], offset: int, flags: int = 0) -> int:
        limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
        data = b"".join(buffers)
        return whole(self, [data[: len(data) // 2]], offset, flags) if limited else whole(self, buffers, offset, flags)

    monkeypatch.setattr(untorn.File, "pwritev", short)

    assert outcome_of(UntornSubject(str(tmp_path), "cow"), "size-limit").verdict is Verdict.FAIL


def test_the_limit_of_this_process_is_as_before(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    subject: Subject = UntornSubject(str(tmp_path), "cow")
    file = subject.create()

    with pytest.raises(KeyboardInterrupt), file.limited(1 << 20):
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == (1 << 20, before[1])
        raise KeyboardInterrupt
    file.close()

    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before


def test_a_hard_limit_that_is_too_low_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1000, 1000))
    file = UntornSubject(str(tmp_path), "cow").create()

    with pytest.raises(Unsupported, match="no file of more than 1000 bytes"), file.limited(5000):
        pass
    file.close()


def test_a_failed_file_of_untorn_is_read_after_its_recovery(tmp_path: Path) -> None:
    """Under the limit the commit fails, and the handle with it: then what counts is what the next open gives."""
    subject = UntornSubject(str(tmp_path), "cow")
    outcome = outcome_of(subject, "size-limit")

    assert outcome.verdict is Verdict.PASS
    assert [name for name in os.listdir(tmp_path) if "-untorn" in name] == []
