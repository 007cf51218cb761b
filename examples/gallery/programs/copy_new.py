"""shutil.copyfile to a new name: what has that name may be a part of the file, or as many zeros."""

from __future__ import annotations

import shutil
from pathlib import Path

CONTENT = b"content " * 300


def prepare(dir: Path) -> None:
    (dir / "here").write_bytes(CONTENT)


def workload(dir: Path) -> None:
    shutil.copyfile(dir / "here", dir / "there")


def check(dir: Path) -> None:
    there = dir / "there"
    assert not there.exists() or there.read_bytes() == CONTENT, "a copy that is none"
