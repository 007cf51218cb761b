"""ZODB: one transaction changes two objects of a FileStorage. Its mark and its data share one fsync.

A storage that refuses to open counts as good here, and so does one that opens well the second time; see
``zodb_refused`` and ``zodb_first_open``. What is left is a storage that opens and lies.
"""

from __future__ import annotations

import logging
from pathlib import Path

import transaction
from persistent.mapping import PersistentMapping
from ZODB import DB
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import CorruptedTransactionError

from untorn.explore.interpose import ack, acknowledged

logging.getLogger("ZODB").addHandler(logging.NullHandler())  # it tells each truncation to stderr

OLD, NEW = "old " * 200, "new " * 200


def put(storage: FileStorage, value: str) -> None:
    """One transaction that gives two objects this value."""
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


def look(dir: Path) -> None:
    database = DB(FileStorage(str(dir / "Data.fs")))
    root = database.open().root()
    found = [root[name]["value"] for name in ("one", "two")]
    database.close()
    assert found in ([OLD, OLD], [NEW, NEW]), "a wrong value, and no error: one object is new and the other is old"
    assert found[0] == NEW or NEW not in acknowledged(), "an acknowledged transaction is lost"


def check(dir: Path) -> None:
    try:
        FileStorage(str(dir / "Data.fs")).close()
    except CorruptedTransactionError:
        assert NEW not in acknowledged(), "an acknowledged transaction is lost"
        return
    look(dir)
