"""numpy: an array is saved over an old one of the same shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from untorn.explore.interpose import acknowledged

OLD, NEW = np.zeros(400), np.ones(400)


def prepare(dir: Path) -> None:
    with open(dir / "array.npy", "wb") as file:
        np.save(file, OLD)


def workload(dir: Path) -> None:
    np.save(dir / "array.npy", NEW)


def check(dir: Path) -> None:
    found = np.load(dir / "array.npy")
    states = [NEW] if acknowledged() else [OLD, NEW]
    assert any(np.array_equal(found, state) for state in states), "not an array that was saved"
