"""The same the safe way: set in a copy, which is synced and renamed over the old file."""

from __future__ import annotations

import shutil
from pathlib import Path

from dotenv import set_key

from dotenv_set_key import check, prepare
from durably import replace

__all__ = ["check", "prepare", "workload"]


def workload(dir: Path) -> None:
    shutil.copyfile(dir / ".env", dir / "copy")
    set_key(str(dir / "copy"), "TOKEN", "new")
    replace(dir / ".env", (dir / "copy").read_bytes())
