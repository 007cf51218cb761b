"""shutil.copyfile: a file is copied over an older version."""

from __future__ import annotations

import shutil
from pathlib import Path

from untorn.explore.interpose import acknowledged

OLD, NEW = b"old " * 500, b"new " * 700


def prepare(dir: Path) -> None:
    (dir / "there").write_bytes(OLD)
    (dir / "here").write_bytes(NEW)


def workload(dir: Path) -> None:
    shutil.copyfile(dir / "here", dir / "there")


def check(dir: Path) -> None:
    states = [NEW] if acknowledged() else [OLD, NEW]
    assert (dir / "there").read_bytes() in states, "neither the old version nor the new one"
