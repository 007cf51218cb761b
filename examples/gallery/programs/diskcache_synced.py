"""The same with the missing syncs: of the value and of the directories that lead to it."""

from __future__ import annotations

import json
from pathlib import Path

from diskcache_value import VALUE, check, disk
from durably import replace, sync
from untorn.explore.interpose import ack

__all__ = ["check", "workload"]


def workload(dir: Path) -> None:
    _, mode, name, _ = disk(dir).store(VALUE, read=False)
    value = dir / name
    for path in (value, value.parent, value.parent.parent, dir):
        sync(path)
    replace(dir / "row.json", json.dumps([mode, name]).encode())
    ack("stored")
