"""h5py: a dataset is added to a file and flushed. The code in C is handed a file object, so it can be explored."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import h5py
import numpy as np

from untorn.explore.interpose import acknowledged

OLD, NEW = np.arange(100), np.arange(200)


def put(file: IO[bytes], name: str, array: np.ndarray) -> None:
    with h5py.File(file, "a") as book:
        book[name] = array


def prepare(dir: Path) -> None:
    with open(dir / "data.h5", "w+b") as file:
        put(file, "old", OLD)


def workload(dir: Path) -> None:
    with open(dir / "data.h5", "r+b") as file:
        put(file, "new", NEW)


def check(dir: Path) -> None:
    with open(dir / "data.h5", "rb") as file, h5py.File(file, "r") as book:
        assert np.array_equal(book["old"], OLD), "the old dataset has other values"
        if "new" in book or acknowledged():
            assert np.array_equal(book["new"], NEW), "the new dataset has other values"
