"""ZODB: one transaction changes two objects of a FileStorage. Its mark and its data share one fsync."""

from __future__ import annotations

from pathlib import Path

import transaction
from persistent.mapping import PersistentMapping
from ZODB import DB
from ZODB.FileStorage import FileStorage

from untorn.explore.interpose import ack, acknowledged

OLD, NEW = "old " * 200, "new " * 200


def put(storage: FileStorage, value: str) -> None:
    """One transaction that gives both accounts this value."""
    database = DB(storage)
    connection = database.open()
    root = connection.root()
    for name in ("one", "two"):
        root.setdefault(name, PersistentMapping())["value"] = value
    transaction.commit()
    ack(value[:3])
    database.close()


def prepare(dir: Path) -> None:
    put(FileStorage(str(dir / "Data.fs")), OLD)


def workload(dir: Path) -> None:
    put(FileStorage(str(dir / "Data.fs")), NEW)


def check(dir: Path) -> None:
    database = DB(FileStorage(str(dir / "Data.fs")))
    root = database.open().root()
    found = [root[name]["value"] for name in ("one", "two")]
    database.close()
    assert found in ([OLD, OLD], [NEW, NEW]), "neither the old objects nor the new ones"
    assert found[0] == NEW or "new" not in acknowledged(), "an acknowledged transaction is lost"
