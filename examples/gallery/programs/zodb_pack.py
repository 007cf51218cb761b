"""ZODB: a FileStorage is packed. The packed file takes the place of the old one and was never synced.

After the crash somebody puts the old file back if there is none; see ``zodb_pack_window``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ZODB import DB
from ZODB.FileStorage import FileStorage

from zodb_commit import NEW, OLD, put


def prepare(dir: Path) -> None:
    put(FileStorage(str(dir / "Data.fs")), OLD)
    put(FileStorage(str(dir / "Data.fs")), NEW)


def pack(storage: FileStorage) -> None:
    database = DB(storage)
    database.pack(time.time())
    database.close()


def workload(dir: Path) -> None:
    pack(FileStorage(str(dir / "Data.fs")))


def recover(dir: Path) -> None:
    if not (dir / "Data.fs").exists():
        os.replace(dir / "Data.fs.old", dir / "Data.fs")


def check(dir: Path) -> None:
    database = DB(FileStorage(str(dir / "Data.fs")))
    root = database.open().root()
    assert sorted(root) == ["one", "two"], f"of two objects {len(root)} are left"
    found = [root[name]["value"] for name in ("one", "two")]
    database.close()
    assert found == [NEW, NEW], "the objects have other values"
