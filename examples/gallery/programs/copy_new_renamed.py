"""The same the safe way: copied under another name, synced, renamed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from copy_new import check, prepare
from durably import sync

__all__ = ["check", "prepare", "workload"]


def workload(dir: Path) -> None:
    shutil.copyfile(dir / "here", dir / "there.new")
    sync(dir / "there.new")
    os.replace(dir / "there.new", dir / "there")
    sync(dir)
