"""The same with the missing syncs: of the data, of the directory file and of their names."""

from __future__ import annotations

from pathlib import Path

from dbm_dumb import check, put
from durably import sync
from untorn.explore.interpose import ack

__all__ = ["check", "workload"]


def workload(dir: Path) -> None:
    put(dir / "data")
    sync(dir / "data.dat")
    sync(dir / "data.dir")
    sync(dir)
    ack("closed")
