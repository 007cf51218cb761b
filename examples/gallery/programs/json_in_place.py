"""json over an old file."""

from __future__ import annotations

import json
from pathlib import Path

from rename_unsynced import NEW, check, prepare

__all__ = ["check", "prepare", "workload"]


def workload(dir: Path) -> None:
    with open(dir / "settings.json", "w") as file:
        json.dump(NEW, file)
