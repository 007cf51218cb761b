"""The same through untorn."""

from __future__ import annotations

from pathlib import Path

import untorn
from h5py_update import NEW, check, prepare, put
from untorn.explore.interpose import ack

__all__ = ["check", "prepare", "recover", "workload"]


def workload(dir: Path) -> None:
    with untorn.open(dir / "data.h5", "r+b") as file:
        put(file, "new", NEW)
    ack("saved")


def recover(dir: Path) -> None:
    untorn.recover(dir / "data.h5")
