"""The same done right: write, fsync, rename, fsync of the directory. It is also durable."""

from __future__ import annotations

import json
from pathlib import Path

from durably import replace
from rename_unsynced import NEW, OLD, prepare
from untorn.explore.interpose import ack, acknowledged

__all__ = ["check", "prepare", "workload"]


def workload(dir: Path) -> None:
    replace(dir / "settings.json", json.dumps(NEW).encode())
    ack("saved")


def check(dir: Path) -> None:
    found = json.loads((dir / "settings.json").read_text())
    assert found in ([NEW] if acknowledged() else [OLD, NEW]), "not the settings that were saved"
