"""The same through untorn, with nothing else changed; it is also durable."""

from __future__ import annotations

import pickle
from pathlib import Path

import untorn
from pickle_in_place import NEW, OLD, prepare
from untorn.explore.interpose import ack, acknowledged

__all__ = ["check", "prepare", "recover", "workload"]


def workload(dir: Path) -> None:
    with untorn.open(dir / "state.pickle", "wb") as file:
        pickle.dump(NEW, file)
    ack("saved")


def recover(dir: Path) -> None:
    untorn.recover(dir / "state.pickle")


def check(dir: Path) -> None:
    with open(dir / "state.pickle", "rb") as file:
        assert pickle.load(file) in ([NEW] if acknowledged() else [OLD, NEW]), "not the state that was saved"
