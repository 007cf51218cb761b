"""The same through untorn, with nothing else changed; it is also durable."""

from __future__ import annotations

import json
from pathlib import Path

import untorn
from rename_synced import check, prepare
from rename_unsynced import NEW
from untorn.explore.interpose import ack

__all__ = ["check", "prepare", "recover", "workload"]


def workload(dir: Path) -> None:
    with untorn.open(dir / "settings.json", "w", encoding="utf-8") as file:
        json.dump(NEW, file)
    ack("saved")


def recover(dir: Path) -> None:
    untorn.recover(dir / "settings.json")
