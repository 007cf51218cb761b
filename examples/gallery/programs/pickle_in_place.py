"""pickle over an old file: ``open(path, "wb")`` cuts the old one off before the new one is there."""

from __future__ import annotations

import pickle
from pathlib import Path

OLD = {"epoch": 1, "weights": list(range(300))}
NEW = {"epoch": 2, "weights": list(range(300, 700))}


def prepare(dir: Path) -> None:
    with open(dir / "state.pickle", "wb") as file:
        pickle.dump(OLD, file)


def workload(dir: Path) -> None:
    with open(dir / "state.pickle", "wb") as file:
        pickle.dump(NEW, file)


def check(dir: Path) -> None:
    with open(dir / "state.pickle", "rb") as file:
        assert pickle.load(file) in (OLD, NEW), "neither the old state nor the new one"
