"""The safe way with such files: the entry goes into a synced copy, and a symbolic link switches to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from durably import sync
from shelve_update import look, put
from untorn.explore.interpose import ack


def prepare(dir: Path) -> None:
    (dir / "first").mkdir()
    put(dir / "first" / "shelf", "old", list(range(100)))
    os.symlink("first", dir / "current")


def workload(dir: Path) -> None:
    second = dir / "second"
    shutil.copytree(dir / "first", second)
    put(second / "shelf", "new", list(range(200)))
    for path in second.iterdir():
        sync(path)
    sync(second)
    sync(dir)
    os.symlink("second", dir / "next")
    os.replace(dir / "next", dir / "current")
    sync(dir)
    ack("new")


def check(dir: Path) -> None:
    look(dir / "current" / "shelf")
