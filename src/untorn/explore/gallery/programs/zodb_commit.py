"""ZODB: one transaction changes two objects of a FileStorage. Its mark and its data share one fsync.

The storage is opened and closed once before anybody looks, so only what stays bad counts; see ``zodb_first_open``.
"""

from __future__ import annotations

import logging
from pathlib import Path

import transaction
from persistent.mapping import PersistentMapping
from ZODB import DB
from ZODB.FileStorage import FileStorage

from untorn.explore.interpose import ack, acknowledged

logging.getLogger("ZODB").addHandler(logging.NullHandler())  # it tells each truncation to stderr

OLD, NEW = "old " * 200, "new " * 200


def put(storage: FileStorage, value: str) -> None:
    """One transaction that gives both accounts this value."""
    database = DB(storage)
    root = database.open().root()
    for name in ("one", "two"):
        root.setdefault(name, PersistentMapping())["value"] = value
    transaction.commit()
    ack(value)
    database.close()


def prepare(dir: Path) -> None:
    put(FileStorage(str(dir / "Data.fs")), OLD)


def workload(dir: Path) -> None:
    put(FileStorage(str(dir / "Data.fs")), NEW)


def recover(dir: Path) -> None:
    FileStorage(str(dir / "Data.fs")).close()


def check(dir: Path) -> None:
    database = DB(FileStorage(str(dir / "Data.fs")))
    root = database.open().root()
    found = [root[name]["value"] for name in ("one", "two")]
    database.close()
    assert found in ([OLD, OLD], [NEW, NEW]), "neither the old objects nor the new ones"
    assert found[0] == NEW or NEW not in acknowledged(), "an acknowledged transaction is lost"
