"""shelve over dbm.dumb: a shelf that is on the disk gets one more entry."""

from __future__ import annotations

import dbm.dumb
import shelve
from pathlib import Path
from typing import Any, Literal

from untorn.explore.interpose import ack, acknowledged


def opened(path: Path, flag: Literal["r", "c"]) -> shelve.Shelf[Any]:
    return shelve.Shelf(dbm.dumb.open(str(path), flag))  # type: ignore[arg-type]  # as shelve itself does


def put(path: Path, key: str, value: object) -> None:
    with opened(path, "c") as shelf:
        shelf[key] = value


def prepare(dir: Path) -> None:
    put(dir / "shelf", "old", list(range(100)))


def workload(dir: Path) -> None:
    put(dir / "shelf", "new", list(range(200)))
    ack("new")


def check(dir: Path) -> None:
    look(dir / "shelf")


def look(path: Path) -> None:
    with opened(path, "r") as shelf:
        assert shelf["old"] == list(range(100)), "the old entry has another value"
        if acknowledged():
            assert shelf["new"] == list(range(200)), "the new entry has another value"
