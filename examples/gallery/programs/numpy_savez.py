"""numpy: an array is saved over an old one with savez. (np.save writes by code in C, which the explorer refuses.)"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from untorn.explore.interpose import acknowledged

OLD, NEW = np.zeros(400), np.ones(400)


def prepare(dir: Path) -> None:
    np.savez(dir / "array.npz", array=OLD)


def workload(dir: Path) -> None:
    np.savez(dir / "array.npz", array=NEW)


def check(dir: Path) -> None:
    with np.load(dir / "array.npz") as file:
        found = file["array"]
    states = [NEW] if acknowledged() else [OLD, NEW]
    assert any(np.array_equal(found, state) for state in states), "not an array that was saved"
