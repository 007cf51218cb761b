"""diskcache: a value in a file of its own, as Cache stores it.

Cache keeps the name of that file in SQLite, whose code in C opens its files itself, so the explorer refuses Cache.
Here the name goes into a file that is replaced durably, which is what SQLite promises at best.
"""

from __future__ import annotations

import json
from pathlib import Path

import diskcache

from durably import replace
from untorn.explore.interpose import ack, acknowledged

VALUE = b"value " * 10_000


def disk(dir: Path) -> diskcache.Disk:
    return diskcache.Disk(str(dir), min_file_size=1024)


def workload(dir: Path) -> None:
    _, mode, name, _ = disk(dir).store(VALUE, read=False)
    replace(dir / "row.json", json.dumps([mode, name]).encode())
    ack("stored")


def check(dir: Path) -> None:
    row = dir / "row.json"
    if not row.exists():
        assert not acknowledged(), "the row is lost"
        return
    mode, name = json.loads(row.read_bytes())
    found = disk(dir).fetch(mode, name, None, read=False)
    assert found == VALUE, f"the value of {len(VALUE)} bytes has {len(found)}, or other ones"
