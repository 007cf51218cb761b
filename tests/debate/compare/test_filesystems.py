"""The part on real file systems: what is measured, and what is said where it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.machine import needs
from untorn.debate.compare import filesystems
from untorn.debate.compare.mounts import LackingError, extents, mounted


def quiet(words: str, done: float) -> None:
    pass


def test_without_root_it_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = filesystems.measure(["hot"], ["plain"], writes=2, progress=quiet)
    assert found.timings == []
    assert {system.lacking for system in found.systems} == {"only root may mount a file system"}


def test_without_the_tools_it_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program: None)
    with pytest.raises(LackingError, match=r"^mkfs\.xfs is not installed$"), mounted("xfs"):
        pass


def test_extents_of_a_file_of_one_piece_are_told_or_nothing_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 8192)
    assert extents(str(path)) in (1, None)


@pytest.mark.needs_root
@needs("mkfs.xfs", "mkfs.ext4", "mount", "umount")
def test_durable_writes_are_timed_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = filesystems.measure(["hot"], ["plain", "writethrough", "cow"], writes=4, progress=quiet)
    if any(system.lacking for system in found.systems):
        pytest.skip("; ".join(system.lacking for system in found.systems if system.lacking))
    for one in found.timings:
        assert one.writes == one.asked == 4
        assert 0 < one.p50_us <= one.p99_us
    plain, cow = found.find("xfs", "hot", "plain"), found.find("ext4", "hot", "cow")
    assert plain is not None
    assert cow is not None
    assert (plain.taken, cow.taken) == (0, 4)
    assert plain.extents == plain.extents_before
    assert os.listdir(tmp_path) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text(encoding="utf-8")
