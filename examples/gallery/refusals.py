"""What cannot be explored as it is: the explorer refuses it with words, and misses nothing silently."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from examples.gallery.entry import version
from untorn.explore.exception_text import message_of
from untorn.explore.search.engine import recorded
from untorn.explore.targets.python_module import FunctionTarget


@dataclass(frozen=True)
class Refusal:
    """A workload that is refused."""

    name: str
    workload: Callable[[Path], object]
    instead: str
    """What can be explored."""
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The distributions that are not installed."""
        return [need for need in self.needs if version(need) is None]

    def words(self) -> str:
        """What a user is told who tries it; empty if it runs."""
        try:
            recorded(FunctionTarget(self.name, workload=self.workload, check=lambda _: None))
        except Exception as error:
            notes = getattr(error, "__notes__", [])
            return " ".join([f"{type(error).__name__}: {message_of(error)}", *notes])
        return ""


def _sqlite(dir: Path) -> None:
    sqlite3.connect(dir / "rows.db").close()


def _cache(dir: Path) -> None:
    import diskcache  # noqa: PLC0415

    diskcache.Cache(str(dir / "cache")).close()


def _hdf5(dir: Path) -> None:
    import h5py  # noqa: PLC0415

    h5py.File(dir / "data.h5", "w").close()


def _array(dir: Path) -> None:
    import numpy as np  # noqa: PLC0415

    with open(dir / "array", "wb") as file:
        np.zeros(10).tofile(file)


def _program(dir: Path) -> None:
    subprocess.run([sys.executable, "-c", "", str(dir)], check=True)


REFUSALS: Final = (
    Refusal("sqlite3", _sqlite, "Nothing of it: SQLite opens its files in C."),
    Refusal("diskcache.Cache", _cache, "diskcache.Disk, which writes the values: see diskcache-value.", ("diskcache",)),
    Refusal("h5py.File with a path", _hdf5, "h5py.File with a file object: see h5py-update.", ("h5py",)),
    Refusal("ndarray.tofile", _array, "numpy.save and numpy.savez, with a path or a file object.", ("numpy",)),
    Refusal("a subprocess", _program, "What it does, done in this process."),
)
