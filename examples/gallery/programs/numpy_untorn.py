"""The same through untorn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import untorn
from numpy_savez import NEW, check, prepare
from untorn.explore.interpose import ack

__all__ = ["check", "prepare", "recover", "workload"]


def workload(dir: Path) -> None:
    with untorn.open(dir / "array.npz", "wb") as file:
        np.savez(file, array=NEW)
    ack("saved")


def recover(dir: Path) -> None:
    untorn.recover(dir / "array.npz")
