"""The same with a storage of the user's own that replaces the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinydb import TinyDB
from tinydb.storages import Storage

from durably import replace
from tinydb_insert import DOCUMENTS, check, prepare
from untorn.explore.interpose import ack

__all__ = ["check", "prepare", "steps"]


class Renamed(Storage):
    """JSON in a file that is written anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Any:
        return json.loads(self._path.read_bytes())

    def write(self, data: Any) -> None:
        replace(self._path, json.dumps(data).encode())


def insert(dir: Path) -> None:
    with TinyDB(dir / "db.json", storage=Renamed) as database:
        database.insert(DOCUMENTS[2])
    ack(3)


def remove(dir: Path) -> None:
    with TinyDB(dir / "db.json", storage=Renamed) as database:
        database.remove(doc_ids=[2])
    ack(2)


steps = [insert, remove]
