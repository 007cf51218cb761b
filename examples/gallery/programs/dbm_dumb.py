"""dbm.dumb: keys are put, the database is closed. Nothing was ever synced."""

from __future__ import annotations

import dbm.dumb
from pathlib import Path

from untorn.explore.interpose import ack, acknowledged

KEYS = 3


def value(number: int) -> bytes:
    return f"{number}".encode() * 300


def put(path: Path) -> None:
    with dbm.dumb.open(str(path), "c") as database:
        for number in range(KEYS):
            database[f"key {number}"] = value(number)


def workload(dir: Path) -> None:
    put(dir / "data")
    ack("closed")


def check(dir: Path) -> None:
    if not acknowledged():
        return  # until then the program knows that nothing may be there
    with dbm.dumb.open(str(dir / "data"), "r") as database:
        assert sorted(database.keys()) == [f"key {number}".encode() for number in range(KEYS)], "keys are missing"
        for number in range(KEYS):
            assert database[f"key {number}"] == value(number), f"key {number} has another value"
