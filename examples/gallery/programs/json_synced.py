"""The same with an fsync, which is not enough: the old file is cut off before."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rename_unsynced import NEW, check, prepare

__all__ = ["check", "prepare", "workload"]


def workload(dir: Path) -> None:
    with open(dir / "settings.json", "w") as file:
        json.dump(NEW, file)
        file.flush()
        os.fsync(file.fileno())
